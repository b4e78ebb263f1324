"""Rows of tokens made into a batch of an objective."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.pretrain.data.batch import Batch
from pipeline.pretrain.model.vocabulary import padded_vocabulary
from pipeline.pretrain.objectives.mlm import mlm_batch, mlm_targets
from pipeline.pretrain.objectives.prefix import prefix_batch, prefix_targets
from pipeline.pretrain.objectives.span import span_batch, span_targets
from pipeline.pretrain.objectives.spans import mask_ids_needed

if TYPE_CHECKING:
    from pipeline.pretrain.config import Objective


def prepare(
    tokens: NDArray[np.int64],
    lengths: NDArray[np.int64],
    keys: NDArray[np.uint64],
    objective: Objective,
    *,
    eos_id: int,
    vocab_size: int,
) -> Batch:
    """Rows stay rows; what is hidden in one follows from its key and length alone.

    tokens: int64 (N, T + 1). lengths: int64 (N,), tokens of each row, behind which lies padding. keys: uint64 (N,). The
    objective is one that ``check_objective`` passed. Returns a batch of (N, T).

    Raises:
        UserError: a mask id stands in the text itself.
    """
    _check_masks_are_no_text(tokens, objective)
    match objective.kind:
        case "prefix":
            return prefix_batch(tokens, lengths, keys)
        case "span":
            return span_batch(tokens, lengths, keys, objective, eos_id=eos_id)
        case "mlm":
            return mlm_batch(tokens, lengths, keys, objective, vocab_size=vocab_size)


def _check_masks_are_no_text(tokens: NDArray[np.int64], objective: Objective) -> None:
    # Seen as the text is read: what a tokenizer calls special is not recorded with its tokens.
    found = np.isin(objective.mask_ids, tokens)
    if found.any():
        taken = [one for one, seen in zip(objective.mask_ids, found, strict=True) if seen]
        msg = (
            f"mask_ids {taken} stand in the text itself: a mask must stand for nothing else; name ids of special_tokens that "
            "train_tokenizer was given, or spare rows of the embedding"
        )
        raise UserError(msg)


def count_targets(
    lengths: NDArray[np.int64],
    keys: NDArray[np.uint64],
    objective: Objective,
    *,
    width: int,
    breaks: NDArray[np.bool_] | None = None,
) -> int:
    """How many targets ``prepare`` makes of rows, without their tokens.

    width: T + 1. breaks: bool (N, T + 1), tokens that are no targets of the prefix objective, see ``RowSource.breaks``.
    """
    match objective.kind:
        case "prefix":
            return prefix_targets(lengths, keys, width, breaks)
        case "span":
            return span_targets(lengths, width, objective)
        case "mlm":
            return mlm_targets(lengths, width, objective)


def check_objective(objective: Objective, *, sequence_length: int, eos_id: int, vocab_size: int) -> None:
    """Refuse what cannot be prepared.

    Raises:
        UserError: too few mask ids, or ids that are taken or not in the embedding.
    """
    ids = objective.mask_ids
    needed = mask_ids_needed(objective, sequence_length)
    if len(ids) < needed:
        msg = (
            f"objective {objective.kind} over {sequence_length} positions needs {needed} mask_ids, there are {len(ids)}: "
            "name ids that stand for nothing else, as those of special_tokens that train_tokenizer was given"
            f"{_spare(vocab_size)}"
        )
        raise UserError(msg)
    last = padded_vocabulary(vocab_size) - 1
    beyond = [one for one in ids if one > last]
    if beyond:
        msg = (
            f"mask_ids {beyond} lie behind the embedding, whose last id is {last}: name ids of special_tokens that "
            f"train_tokenizer was given{_spare(vocab_size)}"
        )
        raise UserError(msg)
    if eos_id in ids:
        msg = (
            f"mask_ids name {eos_id}, which ends every document: name ids of special_tokens that train_tokenizer was given"
            f"{_spare(vocab_size)}"
        )
        raise UserError(msg)


def _spare(vocab_size: int) -> str:
    """Rows of the embedding that are no token's, where there are any."""
    last = padded_vocabulary(vocab_size) - 1
    return f", or the embedding's spare rows {vocab_size} to {last}" if vocab_size <= last else ""
