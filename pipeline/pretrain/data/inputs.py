"""Committed token shards, and sequences packed from them, as a training run names them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.errors import UserError
from pipeline.pretrain.config import PackedFiles, TokenData, TokenFiles
from pipeline.work import Shard

OF_ONE_TOKENIZER = ("dtype", "vocab_size", "eos_id", "tokenizer_sha256")
"""Facts that all token shards of a run share."""


def token_data(shards: Sequence[Shard], sequences: Sequence[Shard] = ()) -> TokenData:
    """The files to train on. shards: of tokens, in plan order. sequences: packed from all of these; none: as they come.

    Raises:
        UserError: there are none, or they were made by different tokenizers or packed in different ways.
    """
    facts = _agreed(shards, OF_ONE_TOKENIZER, "token shard")
    if not facts:
        msg = "no token shards to train on"
        raise UserError(msg)
    packed = _agreed(sequences, ("sequence_length",), "shard of sequences")
    if packed and [shard.index for shard in shards] != list(range(len(shards))):
        msg = (
            f"packed sequences name token shards by number, and of {len(shards)} some are missing: run their step again"
        )
        raise UserError(msg)
    return TokenData(
        shards=tuple(
            TokenFiles(tokens=_path(shard, ".bin"), documents=_path(shard, ".docs.parquet")) for shard in shards
        ),
        packed=tuple(
            PackedFiles(
                pieces=_path(shard, ".pieces.npy"),
                rows=_path(shard, ".rows.npy"),
                rewritten=_path(shard, ".bin") if shard.facts["rewritten"] else None,
            )
            for shard in sequences
        ),
        packed_length=packed.get("sequence_length", 0),
        **facts,
    )


def _agreed(shards: Sequence[Shard], names: Sequence[str], what: str) -> dict[str, Any]:
    """What all shards say of these facts."""
    made: list[dict[str, Any]] = [{name: shard.facts[name] for name in names} for shard in shards]
    for shard, facts in zip(shards, made, strict=True):
        for name, value in facts.items():
            if value != made[0][name]:
                msg = f"{what} {shard.index} has {name}={value!r}, shard {shards[0].index} {made[0][name]!r}"
                raise UserError(msg)
    return made[0] if made else {}


def _path(shard: Shard, suffix: str) -> str:
    return str(shard.file(suffix).resolve())
