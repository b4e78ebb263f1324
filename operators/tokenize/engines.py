"""The libraries that turn text into token ids: the reference, and faster ones that must agree with it."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from itertools import chain
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tokenizers import Tokenizer

from operators.kernels.buffers import text_buffers

Ids = npt.NDArray[Any]
Offsets = npt.NDArray[np.int64]

_SLICE_BYTES = 1 << 20  # Python objects of one MiB of text at a time: some 20 MB


class Engine(Protocol):
    """Encodes a column of texts on the calling thread; special tokens in a text are ordinary text.

    Raises:
        RuntimeError: it cannot; the libraries are written in Rust, and what they call a panic is raised as this.
    """

    name: str

    def encode(self, column: pa.Array) -> tuple[Ids, Offsets]:
        """uint32 ids back to back, and int64 (N + 1,) offsets; ``column`` has no nulls."""
        ...


@contextlib.contextmanager
def _panics(name: str) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        # pyo3's PanicException derives from BaseException, so it would end a worker as an interrupt does.
        if type(error).__name__ != "PanicException":
            raise
        msg = f"{name} panicked: {error}"
        raise RuntimeError(msg) from error


class Reference:
    """The tokenizers library.

    tokenizer_json: as made by ``as_text``.
    """

    name = "tokenizers"

    def __init__(self, tokenizer_json: str) -> None:
        # A worker has one core; the library takes its number of threads from here and nowhere else.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        self._tokenizer.encode_special_tokens = True

    def vocabulary(self) -> dict[str, int]:
        """Token to id, added tokens included."""
        return self._tokenizer.get_vocab(with_added_tokens=True)

    def encode(self, column: pa.Array) -> tuple[Ids, Offsets]:
        """See ``Engine``."""
        pieces: list[Ids] = [np.zeros(0, np.uint32)]
        lengths: list[int] = [0]
        for part in slices(column):
            with _panics(self.name):
                encodings = self._tokenizer.encode_batch_fast(part.to_pylist(), add_special_tokens=False)
            lists = [encoding.ids for encoding in encodings]
            sizes = [len(ids) for ids in lists]
            pieces.append(np.fromiter(chain.from_iterable(lists), np.uint32, sum(sizes)))
            lengths.extend(sizes)
        return np.concatenate(pieces), np.cumsum(np.array(lengths, np.int64))


class Gigatoken:
    """The gigatoken library, fed with Arrow's own buffers."""

    name = "gigatoken"

    def __init__(self, tokenizer_json: str) -> None:
        # The optional extra "fast".
        self._awkward = importlib.import_module("awkward")
        with _panics(self.name):
            self._tokenizer = importlib.import_module("gigatoken").Tokenizer.from_json(tokenizer_json)

    def encode(self, column: pa.Array) -> tuple[Ids, Offsets]:
        """See ``Engine``."""
        texts = text_buffers(column)
        contents, index = self._awkward.contents, self._awkward.index
        chars = contents.NumpyArray(texts.data, parameters={"__array__": "char"})
        strings = contents.ListOffsetArray(index.Index64(texts.offsets), chars, parameters={"__array__": "string"})
        with _panics(self.name):
            layout = self._tokenizer.encode_batch(self._awkward.Array(strings), parallel=False).layout
        offsets = np.asarray(layout.offsets.data, np.int64)
        ids = np.asarray(layout.content.data)[offsets[0] : offsets[-1]]
        return ids, offsets - offsets[0]


class Fastokens:
    """The fastokens library."""

    name = "fastokens"

    def __init__(self, tokenizer_json: str) -> None:
        # The optional extra "fast".
        with _panics(self.name):
            self._tokenizer = importlib.import_module("fastokens").Tokenizer.from_json_str(tokenizer_json)

    def encode(self, column: pa.Array) -> tuple[Ids, Offsets]:
        """See ``Engine``."""
        with _panics(self.name):
            ids, offsets = self._tokenizer.encode_batch_flat(column.to_pylist())
        return np.frombuffer(ids, "<u4"), np.frombuffer(offsets, "<u8").astype(np.int64)


FASTEST_FIRST: tuple[type[Gigatoken | Fastokens], ...] = (Gigatoken, Fastokens)
"""On most texts. Where a tokenizer works on bytes, the second is 1.5 to 2.7 times as fast on Han, whose clauses are single
pieces and seldom seen before; where it merges characters, the first is faster there too (21 to 23 MB/s beside 8 to 9)."""


def slices(column: pa.Array) -> Iterator[pa.Array]:
    """Neighbouring texts of about one MiB, of a column without nulls."""
    offsets = text_buffers(column).offsets
    start = 0
    while start < len(column):
        end = int(np.searchsorted(offsets, offsets[start] + _SLICE_BYTES, side="left"))
        end = min(max(end, start + 1), len(column))
        yield column.slice(start, end - start)
        start = end
