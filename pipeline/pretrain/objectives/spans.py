"""How much of a row span corruption hides, in how many spans; free of torch, since a recipe is checked by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.pretrain.config import Objective


def spans(length: int, objective: Objective) -> tuple[int, int]:
    """Tokens to hide of so many, at least 2, and in how many spans; something is hidden and something is kept."""
    hidden = min(max(round(length * objective.rate), 1), length - 1)
    count = min(max(round(hidden / objective.mean_span), 1), hidden, length - hidden)
    return hidden, count


def fitting(length: int, width: int, objective: Objective) -> int:
    """The most tokens, up to ``length``, that with their masks and the EOS are no more than ``width``; 0: none are."""
    used = min(length, width)
    while used >= 2 and used + 2 * spans(used, objective)[1] + 1 > width:
        used -= 1
    return used if used >= 2 else 0


def most_spans(width: int, objective: Objective) -> int:
    """Spans of a full row: so many mask ids are needed."""
    used = fitting(width, width, objective)
    return max((spans(length, objective)[1] for length in range(2, used + 1)), default=0)


def mask_ids_needed(objective: Objective, sequence_length: int) -> int:
    """Ids that an objective hides tokens by."""
    return {"prefix": 0, "mlm": 1, "span": most_spans(sequence_length + 1, objective)}[objective.kind]
