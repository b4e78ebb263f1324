"""What ``sluice plan --training`` says of a law of one's own: how well it holds, and what to beware of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.dataset import Dataset
from pipeline.planning.fit import Fit
from pipeline.planning.formula import short
from pipeline.planning.plan import Plan
from pipeline.planning.points import Known
from pipeline.pretrain.trained import tokenizer_hash

_FAR = 100
"""Operations of a plan over those of the largest run fitted to: 8 to 12 runs usually span about that."""


def fit_words(found: Plan, fitted: Fit) -> str:
    """How far off a law without the largest run is there, and what the law of all of them expects."""
    bits = fitted.bits_per_byte(found.loss) if found.loss <= found.guessing else None
    expected = "" if bits is None else f"; {bits:.3f} bits per byte are expected"
    return (
        f"{len(fitted.points)} runs; without {fitted.held_out.name}, it is off there by "
        f"{100 * fitted.held_out_error:+.2f} %{expected}"
    )


def fit_warnings(found: Plan, dataset: Dataset, fitted: Fit | None, known: Known) -> tuple[str, ...]:
    """Of the runs that a law was fitted to, before those of the law itself."""
    if fitted is None:
        return ()
    warnings = [*fitted.warnings, *(f"left out: {one}" for one in known.left_out)]
    if None not in (made_with := tokenizer_hash(dataset), fitted.tokenizer) and made_with != fitted.tokenizer:
        warnings.append("the corpus is of another tokenizer than the runs': the loss is of their tokens")
    further = 6 * found.parameters.total * found.tokens / fitted.points[-1].flops
    if further > _FAR:
        warnings.append(
            f"{short(further)} times the operations of the largest run: the law is not known to carry so far"
        )
    return tuple(warnings)


def fit_as_json(found: Plan, fitted: Fit) -> Mapping[str, Any]:
    """The law and its error as plain data."""
    return {
        "constants": {name: getattr(fitted.law, name) for name in ("e", "a", "b", "alpha", "beta")},
        "runs": len(fitted.points),
        "held_out": fitted.held_out.name,
        "held_out_error": fitted.held_out_error,
        "bits_per_byte": fitted.bits_per_byte(found.loss) if found.loss <= found.guessing else None,
    }
