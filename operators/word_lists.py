"""Word lists: those that come with the package, and the user's own files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from operators.kernels.buffers import text_buffers
from operators.kernels.keywords_edges import EdgeRule
from operators.kernels.keywords_fold import Fold, folded
from operators.kernels.keywords_lexicon import Search, compile_search
from pipeline.errors import RunFailedError, UserError
from pipeline.named_files import FileState, content

LISTS_SHA256 = "d6d5e25d3725e11dde763d3a05e87d8726e5f6ec4a9d9018ea9ef40c2b66d4e4"
"""Of the shipped lists; it stands in the source, so that another list is another fingerprint."""

ALLOWED = {"ja": frozenset({"sm", "グロ", "女の子"}), "zh": frozenset({"性"})}
"""Entries that are everyday words or parts of them: C4's own exceptions."""

MAX_ENTRY_CHARS = 1000
"""A longer entry is a mistake, such as a text in place of a list; and it bounds the work at any place of a text."""


@cache
def shipped_names() -> tuple[str, ...]:
    """Names of the lists that come with the package: a language, or a language and what is on it."""
    return tuple(sorted(path.stem for path in _folder().glob("*.txt")))


@cache
def shipped_list(name: str) -> tuple[str, ...]:
    """The entries of a shipped list, all of them, in its order.

    Raises:
        RunFailedError: the shipped lists are not those of this version.
    """
    return parse_list(_shipped()[name], f"{_folder() / name}.txt")


@cache
def _shipped() -> dict[str, bytes]:
    """The files of all shipped lists, as they were checked."""
    contents = _contents()
    if (found := _sha256(contents)) != LISTS_SHA256:
        msg = f"the word lists in {_folder()} have sha256 {found}, expected {LISTS_SHA256}; install the package again"
        raise RunFailedError(msg)
    return contents


def lists_sha256() -> str:
    """sha256 over names and bytes of the shipped lists."""
    return _sha256(_contents())


def _contents() -> dict[str, bytes]:
    return {name: (_folder() / f"{name}.txt").read_bytes() for name in shipped_names()}


def _sha256(contents: Mapping[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name, content_of_one in contents.items():
        whole.update(f"{name} {len(content_of_one)}\n".encode() + content_of_one)
    return whole.hexdigest()


def read_list(file: FileState) -> tuple[str, ...]:
    """The entries of a file; see ``parse_list``.

    Raises:
        UserError: the file cannot be read, has changed since the run was planned, or is no list.
    """
    try:
        found = content(file)
    except OSError as error:
        msg = f"cannot read the word list {file.path}: {error}; it must be UTF-8, an entry a line"
        raise UserError(msg) from error
    return parse_list(found, file.path)


def parse_list(found: bytes, path: str) -> tuple[str, ...]:
    """The entries of a list, one a line, in its order, without blank lines and blanks around them.

    path: named in messages.

    Raises:
        UserError: the list is not UTF-8, has no entry, or a line too long for one.
    """
    try:
        text = found.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"cannot read the word list {path}: {error}; it must be UTF-8, an entry a line"
        raise UserError(msg) from error
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if (longest := max(map(len, lines))) > MAX_ENTRY_CHARS:
        msg = f"the word list {path} has a line of {longest} characters; an entry has {MAX_ENTRY_CHARS} at most"
        raise UserError(msg)
    entries = tuple(entry for line in lines if (entry := line.strip()))
    if not entries:
        msg = f"the word list {path} has no entry; a list that finds nothing is left out of the recipe instead"
        raise UserError(msg)
    return entries


def search_for(lists: Sequence[Iterable[str]], fold: Fold | None, rule: EdgeRule, *, blanks: bool = False) -> Search:
    """How the entries of several lists are found in texts; entries are numbered list by list.

    fold: what was done to the texts, and is done to the entries; None: they are as the texts are.
    """
    entries, listed = [], []
    for number, entries_of_one in enumerate(lists):
        entries.extend(entries_of_one)
        listed.extend([number] * (len(entries) - len(listed)))
    texts = text_buffers(pa.array(entries, pa.large_string()))
    return compile_search(
        texts if fold is None else folded(texts, fold), np.array(listed, np.int32), rule, blanks=blanks
    )


def _folder() -> Path:
    return Path(__file__).parent / "data" / "toxicity"
