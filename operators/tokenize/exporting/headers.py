"""Token files with a header of their own: llm.c's and litdata's (litgpt)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from operators.tokenize.exporting.folder import ExportFolder
from operators.tokenize.exporting.parts import TRAIN, Part, spans
from pipeline.errors import UserError

_LLMC = {2: (20240520, 1), 4: (20240801, 7)}  # bytes a token -> magic number, version: its GPT-2 and Llama 3 layouts
_LLMC_TOKENS = (1 << 31) - 1
_LITDATA_TYPES = {2: 20, 4: 16}  # bytes a token -> litdata's number of torch.uint16, torch.int32 (since litdata 0.2.5)
_LITDATA_HEADER = 12
CHUNK_BYTES = 1 << 30
"""Most bytes of tokens in one chunk of litdata, whose offsets have 32 bits; a longer document has a chunk of its own."""


def llmc(folder: ExportFolder, parts: Sequence[Part], prefix: str, name: str) -> None:
    """``tokens_train_000000.bin``: 256 numbers of 32 bits, then the tokens, the end mark before each document.

    Tokens of 32 bits have llm.c's Llama 3 header, which its ``train_llama3.py`` reads.

    Raises:
        UserError: more tokens in a shard than its header can say.
    """
    del name
    for part in parts:
        if part.num_tokens > _LLMC_TOKENS:
            msg = f"shard {part.index} has {part.num_tokens:,} tokens, llm.c takes {_LLMC_TOKENS:,} a file; tokenize into smaller shards"
            raise UserError(msg)
        header = np.zeros(256, "<i4")
        header[:3] = [*_LLMC[part.itemsize], part.num_tokens]
        folder.write(f"tokens_{prefix.rstrip('/') or TRAIN}_{part.index:06d}.bin", [header, *_marks_first(part)])


def _marks_first(part: Part) -> Iterator[npt.NDArray[Any]]:
    """The tokens moved on by one: the last end mark comes first, so that each stands before its document."""
    before = np.array([part.facts["eos_id"]], f"<u{part.itemsize}")
    for block in part.blocks():
        if len(block):
            yield np.concatenate([before, block[:-1]])
            before = block[-1:]


class Chunk(NamedTuple):
    """One file of litdata, with a single item."""

    name: str
    num_tokens: int
    itemsize: int

    @property
    def num_bytes(self) -> int:
        """Of the file."""
        return self.num_tokens * self.itemsize + _LITDATA_HEADER


def litgpt(folder: ExportFolder, parts: Sequence[Part], prefix: str, name: str) -> None:
    """Chunks of litdata, one item each (a shard, or a piece of one), and ``index.json``, for its TokensLoader.

    The loader takes windows within a chunk, so the tokens that do not fill one at the end of each are not read.
    """
    del name
    chunks: list[Chunk] = []
    for part in parts:
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(part.lengths)])
        itemsize, blocks = part.itemsize, Cut(part.blocks())
        for number, (first, after) in enumerate(spans(offsets, CHUNK_BYTES // itemsize)):
            chunk = Chunk(f"chunk-{part.index}-{number}.bin", int(offsets[after] - offsets[first]), itemsize)
            write_chunk(folder, prefix, chunk, blocks.take(chunk.num_tokens))
            chunks.append(chunk)
    folder.write(f"{prefix}index.json", [litdata_index(chunks)])


def write_chunk(folder: ExportFolder, prefix: str, chunk: Chunk, tokens: Iterable[npt.NDArray[Any]]) -> None:
    """One chunk: the number of its items, where they begin and end, the item.

    Raises:
        UserError: a document of 4 GiB.
    """
    if chunk.num_bytes >= 1 << 32:
        msg = f"a document of {chunk.num_tokens:,} tokens is more than a chunk of litdata holds; split it before"
        raise UserError(msg)
    header = np.array([1, _LITDATA_HEADER, chunk.num_bytes], "<u4")
    folder.write(f"{prefix}{chunk.name}", itertools.chain([header], tokens))


def litdata_index(chunks: Sequence[Chunk]) -> bytes:
    """``index.json``."""
    config = {
        "chunk_bytes": max(one.num_bytes for one in chunks), "chunk_size": None, "compression": None, "data_spec": None,
        "data_format": [f"no_header_tensor:{_LITDATA_TYPES[chunks[0].itemsize]}"], "encryption": None,
        "item_loader": "TokensLoader",
    }  # fmt: skip
    listed = [
        {"chunk_bytes": one.num_bytes, "chunk_size": 1, "dim": one.num_tokens, "filename": one.name} for one in chunks
    ]
    return orjson.dumps({"chunks": listed, "config": config}, option=orjson.OPT_SORT_KEYS)


class Cut:
    """Arrays one after the other, handed out in other lengths."""

    def __init__(self, blocks: Iterator[npt.NDArray[Any]]) -> None:
        self._blocks = blocks
        self._rest: npt.NDArray[Any] = np.zeros(0, np.uint8)

    def take(self, count: int) -> Iterator[npt.NDArray[Any]]:
        """The next ``count`` elements, in pieces."""
        while count:
            if not len(self._rest):
                self._rest = next(self._blocks)
            piece, self._rest = self._rest[:count], self._rest[count:]
            count -= len(piece)
            if len(piece):
                yield piece
