"""What a trained classifier is worth on texts it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_EXAMPLES = 20
_EXCERPT_CHARS = 200


class HeldOut(NamedTuple):
    """A text kept back from training."""

    id: str
    label: str
    line: str


def auc(scores: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counted half.

    None where either side is empty.
    """
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if not num_positive or not num_negative:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(mean_rank[place][positive].sum())
    return (rank_sum - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative)


def card(rows: Sequence[HeldOut], scores: dict[str, npt.NDArray[np.float64]], cut: float) -> dict[str, Any]:
    """AUC, precision and recall at the cut, and the examples nearest to it on both sides, for each label.

    scores: label -> probability for each row. A precision or recall of nothing is None.
    """
    truth = np.array([row.label for row in rows], object)
    return {label: _one_label(rows, values, truth == label, cut) for label, values in sorted(scores.items())}


def _one_label(
    rows: Sequence[HeldOut], scores: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_], cut: float
) -> dict[str, Any]:
    above = scores >= cut
    hits = int((above & positive).sum())
    order = np.argsort(scores, kind="stable")
    at = int((~above).sum())
    return {
        "auc": auc(scores, positive),
        "held_out": int(positive.sum()),
        "above_cut": int(above.sum()),
        "precision_at_cut": hits / int(above.sum()) if above.any() else None,
        "recall_at_cut": hits / int(positive.sum()) if positive.any() else None,
        "just_below_cut": [_example(rows[i], scores[i]) for i in order[max(at - _EXAMPLES, 0) : at][::-1]],
        "just_above_cut": [_example(rows[i], scores[i]) for i in order[at : at + _EXAMPLES]],
    }


def _example(row: HeldOut, score: float) -> dict[str, Any]:
    return {"id": row.id, "label": row.label, "score": round(float(score), 6), "excerpt": row.line[:_EXCERPT_CHARS]}
