"""The shipped lists of boilerplate phrases, and what is made of a list."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from operators.kernels.phrases import (
    ANYWHERE,
    AT_EDGE,
    AT_WORD,
    BREAK,
    MIN_INNER,
    Phrases,
    fold_phrases,
    make_phrases,
)
from pipeline.errors import RunFailedError

LISTS_SHA256 = "bd3a1309065ff745f29cefa30b2df41345bd3bdfb743b1fc2804710091e22987"
"""Of the shipped lists; it stands in the source, so that another list is another fingerprint."""


@cache
def shipped_languages() -> tuple[str, ...]:
    """Languages that a list comes with."""
    return tuple(sorted(path.stem for path in _folder().glob("*.txt")))


def lists_sha256() -> str:
    """sha256 over names and bytes of the shipped lists."""
    return _sha256(_contents())


def _contents() -> dict[str, bytes]:
    """Each shipped list by language, as its file holds it."""
    return {name: (_folder() / f"{name}.txt").read_bytes() for name in shipped_languages()}


def _sha256(contents: Mapping[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name, content in contents.items():
        whole.update(f"{name} {len(content)}\n".encode() + content)
    return whole.hexdigest()


@cache
def phrase_table(languages: tuple[str, ...], phrases: tuple[str, ...]) -> Phrases:
    """The phrases of some shipped lists and a list of one's own, for the kernels; made once per process.

    Raises:
        RunFailedError: the shipped lists are not those of this version.
        ValueError: a phrase cannot be told apart from others; see ``edges_of``.
    """
    contents = _contents() if languages else {}  # read once: what is used is what was hashed
    if languages and (found := _sha256(contents)) != LISTS_SHA256:
        msg = f"the boilerplate lists in {_folder()} have sha256 {found}, expected {LISTS_SHA256}; install the package again"
        raise RunFailedError(msg)
    lines = [line for language in languages for line in _lines(contents[language])]
    return make_phrases(keys_of([*lines, *phrases]))


def keys_of(phrases: list[str]) -> dict[tuple[int, ...], set[tuple[int, int]]]:
    """The keys of phrases, and where each may start and end.

    Raises:
        ValueError: a phrase without letter or number, with a separator of items in it, or too short for a star before it.
    """
    parsed = [_parsed(phrase) for phrase in phrases]
    found: dict[tuple[int, ...], set[tuple[int, int]]] = {}
    for phrase, (_, edges), key in zip(phrases, parsed, fold_phrases([text for text, _ in parsed]), strict=True):
        if not key:
            msg = f"the phrase {phrase!r} has neither letter nor number"
            raise ValueError(msg)
        if BREAK in key:
            msg = f"the phrase {phrase!r} holds a mark that separates items, such as | or •; list the items one by one"
            raise ValueError(msg)
        if edges[0] != AT_EDGE and len(key) < MIN_INNER:
            msg = f"the phrase {phrase!r} has fewer than {MIN_INNER} characters; a star before it would match too much"
            raise ValueError(msg)
        found.setdefault(key, set()).add(edges)
    return found


def _parsed(phrase: str) -> tuple[str, tuple[int, int]]:
    """The phrase without its stars, and where it may start and end."""
    text = phrase.strip()
    start = end = AT_EDGE
    if text.startswith("*"):
        start = AT_WORD if text[1:2].isspace() else ANYWHERE
        text = text[1:]
    if text.endswith("*"):
        end = AT_WORD if text[-2:-1].isspace() else ANYWHERE
        text = text[:-1]
    return text, (start, end)


def _lines(content: bytes) -> list[str]:
    lines = content.decode().split("\n")
    return [line for line in lines if line and not line.startswith("#")]


def _folder() -> Path:
    return Path(__file__).parent.parent / "data" / "boilerplate"
