"""Check packed sequences: no token of a document lost, none twice, no row too long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from operators.tokenize.packing.layout import Int64s
from operators.tokenize.packing.reader import RELATED, SequenceShard, sequence_shards
from operators.tokenize.shards.reader import TokenShard
from pipeline.dataset import Run
from pipeline.pretrain.data.pieces import PIECE, PieceArray


def verify(run: Run, step: str) -> list[str]:
    """What is wrong with the sequences of a packing step; empty where nothing is.

    Each document stands in the sequences from its first token to its last, its pieces one after the other, each begun
    with the last token of the one before; no sequence is longer than it may be; and, once the step is complete, no
    document is missing. Memory: 100 bytes a piece of a shard, or of the whole step where related documents were put together.
    """
    shards = sequence_shards(run, step)
    problems = [f"shard {number}: {text}" for number, shard in enumerate(shards) for text in _rows(shard)]
    if problems or not run[step].complete:
        return problems
    if RELATED in run.nodes[step]["inputs"]:
        return _documents(shards, shards[0].tokens if shards else {})
    found = (_documents([shard], {number: shard.tokens[number]}) for number, shard in enumerate(shards))
    return [text for texts in found for text in texts]


def _rows(shard: SequenceShard) -> list[str]:
    rows, pieces = np.asarray(shard.packed.rows), shard.packed.pieces
    if rows[0] != 0 or rows[-1] != len(pieces) or (np.diff(rows) < 1).any():
        return ["its rows do not cover its pieces"]
    lengths = np.add.reduceat(pieces["length"].astype(np.int64), rows[:-1]) if len(pieces) else rows[:-1]
    if (lengths > shard.sequence_length + 1).any():
        return [f"a sequence of {int(lengths.max())} tokens, at most {shard.sequence_length + 1} are allowed"]
    own = pieces[pieces["rewritten"] == 1]
    if len(own) and int((own["start"] + own["length"]).max()) != len(shard.rewritten):
        return ["its rewritten documents do not fill their payload"]
    return []


def _documents(shards: Sequence[SequenceShard], tokens: Mapping[int, TokenShard]) -> list[str]:
    """Every document of some token shards, by all pieces of it."""
    pieces = np.concatenate([np.empty(0, PIECE), *(np.asarray(shard.packed.pieces) for shard in shards)])
    pieces = pieces[np.lexsort((pieces["length"], pieces["start"], pieces["document"], pieces["shard"]))]
    return [text for number in sorted(tokens) for text in _shard(number, tokens[number].offsets, pieces)]


def _shard(number: int, offsets: Int64s, pieces: PieceArray) -> list[str]:
    mine = pieces[slice(*np.searchsorted(pieces["shard"], [number, number + 1]))]
    document, start, end = mine["document"], mine["start"], mine["start"] + mine["length"]
    new = np.append(True, document[1:] != document[:-1])[: len(mine)]
    last = np.append(new[1:], True)[: len(mine)]
    if not np.array_equal(document[new], np.arange(len(offsets) - 1)):
        return [f"{len(offsets) - 1 - int(new.sum())} documents of token shard {number} are in no sequence"]
    copied = mine["rewritten"] == 1
    begins = np.where(new, np.where(copied, start, offsets[document]), np.append(0, end[:-1] - 1)[: len(mine)])
    wrong = (start != begins) | (last & ~copied & (end != offsets[document + 1])) | (mine["length"] < 1)
    return [f"document {int(document[wrong][0])} of token shard {number} is not whole"] if wrong.any() else []
