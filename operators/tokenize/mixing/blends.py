"""A mixture as other trainers take it: Megatron-LM's list of weights and prefixes, OLMo-core's list of sources.

Both name whole files, so each file must hold documents of one stratum. ``shard_strata`` says where a shard's documents
belong; a Megatron ``.idx`` of some documents of a ``.bin`` needs no copy of the tokens, since it names them by their
place in it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.errors import UserError
from pipeline.pretrain.data.mixture import Mixture

Prefix = tuple[str, int]
"""Of a Megatron dataset (path without ``.bin`` and ``.idx``), and the tokens in it."""


def shard_strata(mixture: Mixture, documents: str) -> npt.NDArray[np.int64]:
    """(documents,) Number of the stratum, in the mixture's order, of each document of a shard's ``docs.parquet``.

    Raises:
        UserError: a document is of no stratum that the mixture knows; or see ``Stratification.labels``.
    """
    codes, labels = mixture.rule.labels(documents)
    strange = sorted(set(labels) - set(mixture.labels))
    if strange:
        msg = f"{documents} has documents of {strange[0]!r}, a stratum the mixture does not know; mix again"
        raise UserError(msg)
    return np.array([mixture.labels.index(label) for label in labels], np.int64)[codes]


def megatron_blend(mixture: Mixture, prefixes: Mapping[str, Sequence[Prefix]], stage: int | None = None) -> list[str]:
    """``--data-path`` of Megatron-LM: weight, prefix, weight, prefix, ...

    prefixes: the datasets of each stratum that is drawn from. A stratum's weight is shared out by their tokens. stage:
    whose weights, from 0; None: over the whole plan, since Megatron knows no stages.

    Raises:
        UserError: a stratum has a weight and no tokens.
    """
    blend: list[str] = []
    for label, weight in shares(mixture, stage).items():
        parts = [part for part in prefixes.get(label, ()) if part[1]]
        whole = sum(tokens for _, tokens in parts)
        if weight and not whole:
            raise UserError(_absent(label, weight))
        if weight:
            blend.extend(text for prefix, tokens in parts for text in (f"{weight * tokens / whole:.9g}", prefix))
    return blend


def olmo_sources(mixture: Mixture, paths: Mapping[str, Sequence[str]], stage: int | None = None) -> str:
    """YAML of OLMo-core's ``SourceMixtureList``, to be built with ``requested_tokens`` of the plan.

    paths: the payloads of each stratum that is drawn from. stage: as for ``megatron_blend``.

    Raises:
        UserError: a stratum has a weight and no payload.
    """
    lines = ["sources:"]
    of = {stratum.label: stratum for stratum in mixture.strata}
    for label, weight in shares(mixture, stage).items():
        if not weight:
            continue
        if not paths.get(label):
            raise UserError(_absent(label, weight))
        # OLMo-core refuses a source of which it would need more than it has times this; it takes nothing below 1.
        repetition = max(1.0, math.ceil(1e4 * weight * mixture.tokens / of[label].tokens) / 1e4)
        lines += [
            f"  - source_name: {json.dumps(label)}",
            f"    target_ratio: {weight!r}",
            f"    max_repetition_ratio: {repetition!r}",
            "    paths:",
            *(f"      - {json.dumps(path)}" for path in paths[label]),
        ]
    return "\n".join(lines) + "\n"


def shares(mixture: Mixture, stage: int | None = None) -> dict[str, float]:
    """Share of each stratum in the tokens of a stage, or of the whole plan; adds up to 1."""
    if stage is not None:
        return dict(zip(mixture.labels, mixture.stages[stage].weights, strict=True))
    begins = [0, *(one.end for one in mixture.stages)]
    lengths = np.diff(begins) / mixture.tokens
    return dict(
        zip(mixture.labels, (lengths @ np.array([one.weights for one in mixture.stages])).tolist(), strict=True)
    )


def _absent(label: str, weight: float) -> str:
    return f"stratum {label!r} has {weight:.3g} of the mixture, but nothing was exported for it: export its tokens too"
