"""The sides of the comparison of tokenizers: each takes batches of documents, and each says what it made."""

from __future__ import annotations

import importlib
import json
import tempfile
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

from operators.tokenize.encoder import Encoder, EngineName
from operators.tokenize.engines import Engine, Gigatoken
from operators.tokenize.shards.sink import TokenizeSink
from operators.tokenize.specials import as_text, without_specials
from pipeline.commit import commit
from pipeline.storage import Storage
from pipeline.work import Task

EOS = "<|endoftext|>"

Made = tuple[npt.NDArray[Any], npt.NDArray[np.int64]]
"""Ids of some documents back to back, and the number of each."""

_FIRST_CALL = ("a", "\u4e2d")  # what the engines set up in it, 0.03 CPU s, is once a process as our check is: not timed

SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""The split of cl100k_base, for what takes an expression and not a tokenizer.json."""


class Side(Protocol):
    """One way to tokenize; a new one for each pass, so that its caches are empty."""

    def add(self, docs: pa.Table) -> None:
        """Encode a batch: what is timed."""
        ...

    def settle(self) -> None:
        """Turn the batch into a form that can be compared; not timed."""
        ...

    def close(self) -> None:
        """What comes after the last batch; timed."""
        ...

    def made(self) -> Made:
        """All ids."""
        ...


class Lists:
    """A library that takes a list of strings."""

    def __init__(self, encode: Callable[[list[str]], Any], flat: Callable[[Any], Made]) -> None:
        self._encode = encode
        self._flat = flat
        self._last: Any = None
        self._parts: list[Made] = []

    def add(self, docs: pa.Table) -> None:
        """Encode a batch."""
        self._last = self._encode(docs["text"].to_pylist())

    def settle(self) -> None:
        """Keep the batch for the comparison."""
        self._parts.append(self._flat(self._last))
        self._last = None

    def close(self) -> None:
        """See ``Side``."""

    def made(self) -> Made:
        """All ids."""
        ids, sizes = zip(*self._parts, strict=True)
        return np.concatenate(ids), np.concatenate(sizes)


class Bare:
    """A fast engine as we call it, from Arrow buffers to ids in memory: the fastest way in that we found."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._last: Made = (np.zeros(0, np.uint32), np.zeros(1, np.int64))
        self._parts: list[Made] = []

    def add(self, docs: pa.Table) -> None:
        """Encode a batch."""
        self._last = self._engine.encode(docs["text"].combine_chunks())

    def settle(self) -> None:
        """Keep the batch for the comparison."""
        ids, offsets = self._last
        self._parts.append((ids.astype(np.uint32), np.diff(offsets)))

    def close(self) -> None:
        """See ``Side``."""

    def made(self) -> Made:
        """All ids."""
        ids, sizes = zip(*self._parts, strict=True)
        return np.concatenate(ids), np.concatenate(sizes)


class Committed:
    """The step as a worker runs it: encode, end marks, payload, indexes, account, hashes, commit."""

    def __init__(self, tokenizer_json: str, engine: EngineName) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sluice-bench-")
        scratch = Path(self._folder.name, "scratch")
        scratch.mkdir()
        self._storage = Storage(Path(self._folder.name))
        self._encoder = Encoder(tokenizer_json, engine)
        # Held against the reference once a process, as ``start`` shows: here on one word and one character, so that an
        # engine's cache of pieces stays as good as empty.
        for texts in (pa.array([word * 300] * 1000, pa.large_string()) for word in ("word ", "\u4e2d \u4e2d")):
            for _ in range(4):  # half a megabyte is checked, a part of it in each go
                self._encoder.encode(texts)
        eos = self._encoder.token_id(EOS)
        self._sink = TokenizeSink(self._encoder, eos, Task("tokens", 0, {}, scratch))
        self._outputs: dict[str, Path] = {}

    def add(self, docs: pa.Table) -> None:
        """Encode a batch."""
        self._sink.add(docs)

    def settle(self) -> None:
        """Keep the batch for the comparison."""

    def close(self) -> None:
        """See ``Side``."""
        record = commit(self._storage, "tokens", 0, self._sink.close(), {}, 0.0)
        self._outputs = {output.suffix: Path(self._folder.name, output.name) for output in record.outputs}

    def made(self) -> Made:
        """All ids."""
        payload = np.fromfile(self._outputs[".bin"], self._encoder.dtype).astype(np.uint32)
        offsets = np.load(self._outputs[".offsets.npy"])
        inner = np.ones(len(payload), bool)
        inner[offsets[1:] - 1] = False
        self._folder.cleanup()
        return payload[inner], np.diff(offsets) - 1


def _of_lists(lists: list[list[int]]) -> Made:
    sizes = np.array([len(ids) for ids in lists], np.int64)
    return np.fromiter(chain.from_iterable(lists), np.uint32, int(sizes.sum())), sizes


def _of_encodings(encodings: Any) -> Made:
    return _of_lists([encoding.ids for encoding in encodings])


def _of_bytes(flat: tuple[bytes, bytes]) -> Made:
    return np.frombuffer(flat[0], "<u4"), np.diff(np.frombuffer(flat[1], "<u8").astype(np.int64))


def _reference(tokenizer_json: str) -> Side:
    tokenizer = Tokenizer.from_str(as_text(tokenizer_json))
    tokenizer.encode_special_tokens = True

    def encode(texts: list[str]) -> list[list[int]]:
        return [one.ids for one in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    return Lists(encode, _of_lists)


def _tiktoken(tokenizer_json: str) -> Side:
    library = importlib.import_module("tiktoken")
    data = json.loads(tokenizer_json)
    letters = {letter: byte for byte, letter in _letters().items()}
    specials = {token["content"]: token["id"] for token in data["added_tokens"]}
    # Its rank of a token is the order of merges: that of the ids, since each merge makes the next one.
    ranks = {bytes(letters[c] for c in t): n for t, n in data["model"]["vocab"].items() if t not in specials}
    encoding = library.Encoding("bench", pat_str=SPLIT, mergeable_ranks=ranks, special_tokens=specials)

    def encode(texts: list[str]) -> list[list[int]]:
        return [encoding.encode_ordinary(text) for text in texts]

    return Lists(encode, _of_lists)


def _letters() -> dict[int, str]:
    """The letter by which a byte-level tokenizer writes each byte."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    letters = {**{byte: chr(byte) for byte in shown}, **{byte: chr(256 + k) for k, byte in enumerate(hidden)}}
    assert set(letters.values()) == set(ByteLevel.alphabet())
    return letters


def _kitoken(tokenizer_json: str) -> Side:
    library = importlib.import_module("kitoken")
    tokenizer = library.Kitoken.from_tokenizers(without_specials(as_text(tokenizer_json)).encode())
    return Lists(lambda texts: [tokenizer.encode(text, False) for text in texts], _of_lists)


def _tokie(tokenizer_json: str) -> Side:
    library = importlib.import_module("tokie")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(without_specials(as_text(tokenizer_json)))
        file.flush()
        tokenizer = library.Tokenizer.from_json(file.name)
    # Its encode_batch uses every core whatever is asked for.
    return Lists(lambda texts: [tokenizer.encode(text, add_special_tokens=False) for text in texts], _of_encodings)


def _fastokens(tokenizer_json: str) -> Side:
    tokenizer = importlib.import_module("fastokens").Tokenizer.from_json_str(without_specials(as_text(tokenizer_json)))
    tokenizer.encode_batch_flat(list(_FIRST_CALL))
    return Lists(tokenizer.encode_batch_flat, _of_bytes)


def _gigatoken(tokenizer_json: str) -> Side:
    engine = Gigatoken(without_specials(as_text(tokenizer_json)))
    engine.encode(pa.array(_FIRST_CALL, pa.large_string()))
    return Bare(engine)


REFERENCE = "tokenizers: encode_batch_fast, .ids"
DEFAULT = "sluice: to a committed shard, tokenizers only"
FAST = "sluice: to a committed shard, engine auto"
BARE = ("gigatoken: bare, ids in memory", "fastokens: bare, ids in memory")

Make = Callable[[str], Side]

SIDES: dict[str, Make] = {
    REFERENCE: _reference,
    "tiktoken: encode_ordinary": _tiktoken,
    "kitoken: encode": _kitoken,
    "tokie: encode": _tokie,
    BARE[1]: _fastokens,
    BARE[0]: _gigatoken,
    DEFAULT: lambda text: Committed(text, "tokenizers"),
    FAST: lambda text: Committed(text, "auto"),
}
"""Name to a maker from a tokenizer.json."""
