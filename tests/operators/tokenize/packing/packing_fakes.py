"""Documents of given lengths, and rows as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from token_fakes import TEXTS, MemoryShard, published, stream
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from operators.tokenize.packing.layout import Documents, Packed
from operators.tokenize.tokens import Tokenize
from pipeline.value import Artifact


def made(lengths: list[int], group: list[int] | None = None) -> Documents:
    """Documents back to back in one shard."""
    length = np.array(lengths, np.int64)
    number = np.arange(len(lengths))
    return Documents(
        shard=np.zeros(len(lengths), np.int32),
        document=number.astype(np.int32),
        start=np.cumsum(length) - length,
        length=length,
        num_bytes=length,
        rewritten=np.zeros(len(lengths), np.bool_),
        order=(number.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15),
        group=None if group is None else np.array(group, np.uint64),
    )


def pieces(packed: Packed, documents: Documents) -> list[list[tuple[int, int, int]]]:
    """(document, first token of it, tokens) of each row."""
    flat = [
        (int(piece["document"]), int(piece["start"] - documents.start[piece["document"]]), int(piece["length"]))
        for piece in packed.pieces
    ]
    return [flat[a:b] for a, b in zip(packed.rows[:-1], packed.rows[1:], strict=True)]


class Committed(MemoryShard):
    """A committed shard of files."""

    def __init__(self, paths: Mapping[str, Path], facts: Mapping[str, Any], index: int = 0) -> None:
        super().__init__(index=index)
        self._paths, self._facts = paths, facts

    def file(self, suffix: str) -> Path:
        return self._paths[suffix]

    @property
    def facts(self) -> Mapping[str, Any]:
        return self._facts


def token_shard(folder: Path, tokenizer: Path, *tables: pa.Table, index: int = 0) -> Committed:
    """Documents through the verb ``tokenize``."""
    result = stream(Tokenize(tokenizer=Artifact(file=str(tokenizer))), folder / f"task{index}", *tables)
    return Committed(published(result, folder / f"shard{index}"), result.facts, index)


MARKS = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")


def byte_level(path: Path, *, special: tuple[str, ...] = MARKS, blank: bool = False, composed: bool = False) -> Path:
    """A byte-level tokenizer of 400 ids; ``blank`` before each text, or texts ``composed`` to NFC."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=blank)
    tokenizer.decoder = decoders.ByteLevel()
    if composed:
        tokenizer.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", *special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.save(str(path))
    return path
