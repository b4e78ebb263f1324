"""Word lists, and where their entries occur."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import ahocorasick_rs
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operators.kernels.buffers import OffsetArray, TextBuffers
from pipeline.errors import RunFailedError, UserError
from pipeline.value import Artifact

LISTS_SHA256 = "d6d5e25d3725e11dde763d3a05e87d8726e5f6ec4a9d9018ea9ef40c2b66d4e4"
"""Of the shipped lists; it stands in the source, so that another list is another fingerprint."""

# Entries that are everyday words or parts of them: C4's own exceptions, each for its language only.
_ALLOWED = {"ja": {"sm", "グロ", "女の子"}, "zh": {"性"}}

_WINDOW_BYTES = 1 << 20
"""Searched at once: hits are Python tuples, and a text may consist of nothing else."""


@cache
def shipped_lists() -> tuple[str, ...]:
    """Names of the lists that come with the package: a language, or a language and what is on it."""
    return tuple(sorted(path.stem for path in _folder().glob("*.txt")))


def matcher(lists: tuple[str, ...], files: tuple[Artifact, ...]) -> Matcher:
    """The entries of shipped lists and of files, kept for the life of the process until one of the files changes.

    Raises:
        RunFailedError: the shipped lists are not those of this version.
        UserError: a file is not made yet, or cannot be read.
    """
    return _kept(lists, tuple(_state(file) for file in files))


def _state(file: Artifact) -> tuple[str, str]:
    """Path, and what tells whether it still holds the same: its sha256 where known, else size and time of change."""
    if file.file is None:
        msg = f"the list of step {file.step!r} is not made yet; outside a workflow name a {{file: path}}"
        raise UserError(msg)
    if file.sha256 is not None:
        return file.file, file.sha256
    try:
        stat = Path(file.file).stat()
    except OSError:  # reading it says what is wrong
        return file.file, ""
    return file.file, f"{stat.st_size} {stat.st_mtime_ns}"


@cache
def _kept(lists: tuple[str, ...], files: tuple[tuple[str, str], ...]) -> Matcher:
    if lists and (found := lists_sha256()) != LISTS_SHA256:
        msg = f"the word lists in {_folder()} have sha256 {found}, expected {LISTS_SHA256}; install the package again"
        raise RunFailedError(msg)
    entries: set[str] = set()
    for name in lists:
        entries |= _entries(_folder() / f"{name}.txt") - _ALLOWED.get(name.partition("-")[0], set())
    for path, _ in files:
        entries |= _entries(Path(path))
    return Matcher(entries)


def lists_sha256() -> str:
    """sha256 over names and bytes of the shipped lists."""
    whole = hashlib.sha256()
    for name in shipped_lists():
        content = (_folder() / f"{name}.txt").read_bytes()
        whole.update(f"{name} {len(content)}\n".encode() + content)
    return whole.hexdigest()


class Matcher:
    """Finds lower-cased entries in lower-cased text, as UTF-8 bytes."""

    def __init__(self, entries: Iterable[str]) -> None:
        lowered = pc.utf8_lower(pa.array(sorted(set(entries)), pa.string())).to_pylist()
        self._patterns = [entry.encode() for entry in sorted(set(lowered))]
        self._longest = max(map(len, self._patterns), default=0)
        # The automaton written out: 252 MB/s, against 80 MB/s of the others; some MB for 700 entries.
        self._automaton = ahocorasick_rs.BytesAhoCorasick(
            self._patterns, implementation=ahocorasick_rs.Implementation.DFA
        )

    def find(self, texts: TextBuffers) -> tuple[OffsetArray, OffsetArray]:
        """Where entries start and end in ``texts.data``, int64 each, by start and the longest first.

        All of them, those inside of others and those across two texts as well.
        """
        first, last = int(texts.offsets[0]), int(texts.offsets[-1])
        hits: list[np.ndarray] = [np.zeros((0, 3), np.int64)]
        for start in range(first, last, _WINDOW_BYTES):
            # What starts in the next window is found there.
            stop = min(start + _WINDOW_BYTES, last)
            window: Any = texts.data[start : min(stop + self._longest - 1, last)]
            found = np.array(self._automaton.find_matches_as_indexes(window, overlapping=True), np.int64).reshape(-1, 3)
            found[:, 1:] += start
            hits.append(found[found[:, 1] < stop])
        whole = np.concatenate(hits)
        order = np.lexsort((-whole[:, 2], whole[:, 1]))
        return whole[order, 1], whole[order, 2]


def _entries(path: Path) -> set[str]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"cannot read the word list {path}: {error}; it must be UTF-8, an entry a line"
        raise UserError(msg) from error
    return {entry for line in lines if (entry := line.strip())}


def _folder() -> Path:
    return Path(__file__).parent.parent / "data" / "toxicity"
