"""A mixture for trainers that draw from whole files: the tokens of each stratum, and the weights in their words."""

from __future__ import annotations

import re
from collections.abc import Mapping

from operators.tokenize.exporting import trainers
from operators.tokenize.exporting.folder import ExportFolder
from operators.tokenize.exporting.parts import Part
from operators.tokenize.mixing.blends import megatron_blend, olmo_sources, shard_strata, shares
from pipeline.dataset import Dataset
from pipeline.pretrain.data.mixture import Mixture, read_mixture

MIXTURES = {"megatron": trainers.megatron, "olmo": trainers.olmo}
"""What a mixture can be exported to."""


def mixture(folder: ExportFolder, dataset: Dataset, source: Dataset, to: str) -> Mapping[str, list[Part]]:
    """A folder for each stratum that is drawn from, and ``data_args.txt`` (Megatron-LM) or ``source_mixture.yaml`` (OLMo).

    source: the token shards mixed. Weights are those over the whole plan. For Megatron-LM the payloads are linked whatever
    strata they hold, for OLMo-core those that hold one. Returns the parts of each stratum.

    Raises:
        UserError: the plan knows a stratum that the shards lack, or the other way round.
    """
    (artifact,) = dataset.shards()
    plan = read_mixture(artifact.file(".json").read_text())
    strata = {label: parts for label, parts in _strata(plan, source).items() if shares(plan)[label]}
    prefixes = {
        label: f"{number:03d}-{re.sub(r'[^0-9A-Za-z_.-]+', '_', label)}/" for number, label in enumerate(strata)
    }
    for label, parts in strata.items():
        if parts:
            MIXTURES[to](folder, parts, prefixes[label], f"sluice-{parts[0].facts['tokenizer_sha256'][:16]}")
    at = {label: folder.out / prefixes[label] for label in strata}
    if to == "megatron":
        datasets = {
            label: [(str(at[label] / f"{part.index:05d}"), part.num_tokens) for part in parts]
            for label, parts in strata.items()
        }
        blend = megatron_blend(plan, datasets)
        lines = [f"{weight} {prefix}\n" for weight, prefix in zip(blend[0::2], blend[1::2], strict=True)]
        folder.write("data_args.txt", ["".join(lines).encode()])
    else:
        paths = {
            label: [str(at[label] / f"part-{part.index:05d}.npy") for part in parts] for label, parts in strata.items()
        }
        folder.write("source_mixture.yaml", [olmo_sources(plan, paths).encode()])
    return strata


def _strata(plan: Mixture, source: Dataset) -> dict[str, list[Part]]:
    """The parts of each stratum."""
    strata: dict[str, list[Part]] = {label: [] for label in plan.labels}
    for shard in source.shards():
        if not shard.facts["docs"]:
            continue
        codes = shard_strata(plan, str(shard.file(".docs.parquet")))
        for number, label in enumerate(plan.labels):
            chosen = codes == number
            if chosen.any():
                strata[label].append(Part(shard, None if chosen.all() else chosen))
    return strata
