"""Searches every byte of a run, decompressed where it is compressed, for what was taken down."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from zstandard import ZstdDecompressor

from pipeline.storage import Storage
from pipeline.stores import open_input
from pipeline.takedown.finder import Finder
from pipeline.takedown.generation import PENDING
from pipeline.takedown.suppression import LIST_FILE, Suppression

CHUNK = 16 << 20
NOT_SEARCHED = (LIST_FILE, PENDING, "run.lock")
"""What has to name what was taken down."""

_URL_GOES_ON = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/?#[]@!$&'()*+,;=%")
_UNZSTD = ZstdDecompressor()
_LEAST_URL = 12  # shorter ones are found in columns of URLs only
_OTHERS = 1000  # documents with the same words that are named


_KINDS = ("ids", "urls", "texts", "tokens")


@dataclass(frozen=True)
class Needles:
    """What is searched for. urls, texts: as bytes; tokens: as they lie in payloads of token shards.

    holders: 16 bytes of an id and a stretch of tokens each: the other documents that held the stretch before anything was
    rewritten. Who else has it afterwards has it of a document that should be gone.
    """

    ids: frozenset[bytes] = frozenset()
    urls: frozenset[bytes] = frozenset()
    texts: frozenset[bytes] = frozenset()
    tokens: frozenset[bytes] = frozenset()
    holders: frozenset[bytes] = frozenset()

    def joined(self, other: Needles) -> Needles:
        """Both."""
        return Needles(*(getattr(self, name) | getattr(other, name) for name in (*_KINDS, "holders")))

    def counts(self) -> dict[str, int]:
        """How many there are of each kind."""
        return {name: len(getattr(self, name)) for name in _KINDS}

    def to_json(self) -> dict[str, list[str]]:
        """Plain data."""
        return {name: sorted(one.hex() for one in getattr(self, name)) for name in (*_KINDS, "holders")}

    @classmethod
    def from_json(cls, data: Mapping[str, Sequence[str]]) -> Needles:
        """Read what ``to_json`` wrote."""
        return cls(**{name: frozenset(bytes.fromhex(one) for one in data[name]) for name in (*_KINDS, "holders")})


@dataclass
class Proof:
    """What a search showed.

    needles: how many were searched for, by kind. present: (file, what) of the documents themselves: must be empty. elsewhere: id (hex) or file -> what of other documents'
    text holds the same words, or names the URL.
    """

    files: int = 0
    num_bytes: int = 0
    needles: Mapping[str, int] = field(default_factory=dict)
    present: list[tuple[str, str]] = field(default_factory=list)
    elsewhere: dict[str, set[str]] = field(default_factory=dict)

    def also(self, where: str, what: str) -> None:
        """Note another document."""
        if where in self.elsewhere or len(self.elsewhere) < _OTHERS:
            self.elsewhere.setdefault(where, set()).add(what)


def prove(storage: Storage, needles: Needles, forbidden: Suppression) -> Proof:
    """Search every file of a run but those that must name what was taken down."""
    search = _Search(needles, forbidden)
    proof = search.proof
    raw: list[tuple[str, str, bytes]] = []
    names = set(storage.list(""))
    for name in sorted(names):
        if name in NOT_SEARCHED or name.startswith(".scratch/"):
            continue
        proof.files += 1
        if name.endswith(".parquet"):
            search.rows(name, storage.local_path(name))
        elif name.endswith(".bin") and f"{name[:-4]}.offsets.npy" in names:
            search.payload(name, storage.local_path(name))
        else:
            raw += [(name, kind, needle) for kind, needle in search.stream(storage, name)]
    shared = search.shared
    for name, kind, needle in sorted({*raw, *search.unowned}):
        if kind in ("text", "tokens") and needle in shared:
            proof.also(name, kind)
        else:
            proof.present.append((name, kind))
    return proof


def holders(storage: Storage, payloads: Iterable[str], needles: Needles, forbidden: Suppression) -> Needles:
    """The same, with the other documents that hold the stretches of tokens in payloads as they are."""
    search = _Search(needles, forbidden)
    for name in payloads:
        search.payload(name, storage.local_path(name))
    return replace(needles, holders=needles.holders | search.held)


class _Search:
    def __init__(self, needles: Needles, forbidden: Suppression) -> None:
        self._forbidden = forbidden
        patterns: dict[bytes, str] = {}
        for one in needles.ids:
            halves = one[:8][::-1] + one[8:][::-1]  # as two little-endian numbers
            patterns |= {one: "id", halves: "id", one.hex().encode(): "id"}
        urls = [one for one in needles.urls if len(one) >= _LEAST_URL]
        patterns |= dict.fromkeys(needles.texts, "text") | dict.fromkeys(urls, "url")
        self._patterns = list(patterns.items())
        self._finder = Finder([one for one, _ in self._patterns])
        self._tokens = sorted(needles.tokens)
        self._token_finder = Finder(self._tokens)
        self._longest = max((len(one) for one in (*patterns, *self._tokens)), default=1)
        self._holders = needles.holders
        self.proof = Proof(needles=needles.counts())
        self.held: set[bytes] = set()
        """As ``Needles.holders``."""
        self.shared: set[bytes] = set()
        """Stretches of text that other documents have too."""
        self.unowned: list[tuple[str, str, bytes]] = []
        """Hits in tables that do not say whose rows they are: file, kind, stretch."""

    # -- rows -----------------------------------------------------------------------------------------------------

    def rows(self, name: str, path: Path) -> None:
        """A Parquet file: whose row is a hit?"""
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                if {"id", "url"} & set(table.column_names) and self._forbidden.rows(table).any():
                    self.proof.present.append((name, "id or URL"))
                for column in table.column_names:
                    self._column(name, table, column)

    def _column(self, name: str, table: pa.Table, column: str) -> None:
        array = _flat(table[column])
        if array is None or not len(array):
            return
        data, starts = _bytes_of(array)
        self.proof.num_bytes += len(data)
        for which, at in self._finder.hits(data):
            needle, kind = self._patterns[which]
            if kind == "url" and (column.endswith("url") or _goes_on(data, at + len(needle))):
                continue  # a column of URLs was compared whole
            row = int(np.searchsorted(starts, at, side="right")) - 1
            owner = table["id"][row].as_py() if "id" in table.column_names and len(array) == len(table) else None
            if kind == "text" and owner is None:
                self.unowned.append((name, kind, needle))
            elif kind == "id" or owner is None:
                self.proof.present.append((name, kind))
            else:
                self.proof.also(owner.hex(), kind)
                self.shared.add(needle)

    # -- other files ----------------------------------------------------------------------------------------------

    def payload(self, name: str, path: Path) -> None:
        """Tokens: a stretch is another document's if it lies in it whole, and did so before."""
        if not self._tokens or not path.stat().st_size:
            return
        data = np.memmap(path, np.uint8, "r")
        self.proof.num_bytes += len(data)
        size = np.dtype(_dtype_of(path)).itemsize
        offsets = np.load(path.with_suffix(".offsets.npy"), mmap_mode="r") * size
        table = pq.read_table(path.with_suffix(".docs.parquet"), columns=["id", "url"])
        gone, ids = self._forbidden.rows(table), table["id"]
        for start in range(0, len(data), CHUNK):
            part = bytes(data[start : start + CHUNK + self._longest])
            for which, at in self._token_finder.hits(part):
                begin, needle = start + at, self._tokens[which]
                if begin % size:
                    continue
                row = int(np.searchsorted(offsets, begin, side="right")) - 1
                inside = row < len(ids) and begin + len(needle) <= offsets[row + 1] and not gone[row]
                self._token_hit(name, ids[row].as_py() if inside else None, needle)

    def _token_hit(self, name: str, owner: bytes | None, needle: bytes) -> None:
        """owner: None where the stretch is of no document that may be there."""
        if owner is not None:
            self.held.add(owner + needle)
        if owner is not None and owner + needle in self._holders:
            self.proof.also(owner.hex(), "tokens")
        elif (name, "tokens") not in self.proof.present:
            self.proof.present.append((name, "tokens"))

    def stream(self, storage: Storage, name: str) -> Iterator[tuple[str, bytes]]:
        """Any other file, as it is and, where it is compressed, as it was: (kind, needle) of each hit."""
        # Not by a local copy: a file such as the log is not the same for ever.
        with _opened(storage, name) as file:
            yield from self._read(file)
        if name.endswith((".gz", ".zst", ".zstd")):
            with _opened(storage, name) as file:
                inner: Any = (
                    gzip.GzipFile(fileobj=file)
                    if name.endswith(".gz")
                    else _UNZSTD.stream_reader(file, read_across_frames=True)
                )
                yield from self._read(inner)

    def _read(self, file: IO[Any]) -> Iterator[tuple[str, bytes]]:
        held = b""
        while chunk := file.read(CHUNK):
            data = held + chunk
            self.proof.num_bytes += len(chunk)
            for which, at in self._finder.hits(data):
                needle, kind = self._patterns[which]
                if kind != "url" or not _goes_on(data, at + len(needle)):
                    yield kind, needle
            held = data[-self._longest :]


def _opened(storage: Storage, name: str) -> IO[Any]:
    return open_input(f"{storage.uri}/{name}")


def _goes_on(data: Any, at: int) -> bool:
    """True where a URL does not end here."""
    return at < len(data) and data[at] in _URL_GOES_ON


def _flat(column: pa.ChunkedArray) -> Any:
    """Strings or bytes of a column, of lists of them their members; None of anything else."""
    array: Any = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    while pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        array = array.flatten()
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if pa.types.is_string(array.type) or pa.types.is_binary(array.type) or pa.types.is_fixed_size_binary(array.type):
        return array.cast(pa.large_binary())
    is_large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    return array.cast(pa.large_binary()) if is_large else None


def _bytes_of(array: Any) -> tuple[memoryview, np.ndarray]:
    """The bytes of an array of large_binary, and where each value begins in them."""
    offsets = np.frombuffer(memoryview(array.buffers()[1]), np.int64)[array.offset : array.offset + len(array) + 1]
    data = array.buffers()[2]
    view = memoryview(data)[int(offsets[0]) : int(offsets[-1])] if data is not None else memoryview(b"")
    return view, offsets[:-1] - offsets[0]


def _dtype_of(path: Path) -> str:
    """u2 or u4, by the size of a payload and of its tokens."""
    tokens = int(np.load(path.with_suffix(".offsets.npy"), mmap_mode="r")[-1])
    return "<u4" if tokens and path.stat().st_size == 4 * tokens else "<u2"
