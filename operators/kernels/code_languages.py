"""Programming languages: their names, files, and the table that tells comments from code and strings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from operators.kernels.buffers import ByteArray, Int32Array
from operators.kernels.shipped import shipped

SHA256 = "e9e2ef922821171c8c06f430783cc1f99e6541f33a4a73d9d63044d8bf333a66"
"""Of the shipped table; it stands in the source, so that another table is another fingerprint."""

LINE, BLOCK, NESTED, LONG, STRING, LONG_STRING, CHARACTER, REGEX, CODE = range(9)
"""What a rule finds: a comment to the end of the line; one up to its closing mark; one in which others may stand; one in
long brackets such as [==[ ]==]; a string; one in long brackets; a single character in quotes, where it is one; a regular
expression of JavaScript; code that only looks like one of these."""

ANYWHERE, WORD_START, LINE_START, COLUMN_ONE = range(4)
"""Where a rule may begin: anywhere; not in the midst of a word; behind blanks only; at the very start of a line."""

DOUBLED = 255
"""In place of an escape character: the closing mark twice stands for itself."""

_PATH = Path(__file__).parent.parent / "data" / "code_languages.json"

_KINDS = {
    "line": (LINE, ANYWHERE), "line_at_word": (LINE, WORD_START), "line_at_start": (LINE, LINE_START),
    "line_at_column_one": (LINE, COLUMN_ONE), "block": (BLOCK, ANYWHERE), "block_at_start": (BLOCK, COLUMN_ONE),
    "nested": (NESTED, ANYWHERE), "long": (LONG, ANYWHERE), "long_string": (LONG_STRING, ANYWHERE), "string": (STRING, ANYWHERE), "text": (STRING, ANYWHERE), "char": (CHARACTER, ANYWHERE),
    "regex": (REGEX, ANYWHERE), "code": (CODE, ANYWHERE),
}  # fmt: skip
"""By key of the shipped table; a ``text`` is a string that may hold line breaks."""


class Lexer(NamedTuple):
    """The rules of L languages, R in all; those of a language that begin with the same byte form a chain."""

    first: npt.NDArray[np.int16]
    """int16 (L, 256): the rule to try first at a byte, -1 for none."""
    following: npt.NDArray[np.int16]
    """int16 (R,): the rule to try next, -1 for none; longer openings come first."""
    pool: ByteArray
    """uint8, openings and closings."""
    opening: Int32Array
    """int32 (R, 2): start and size in ``pool``."""
    closing: Int32Array
    """int32 (R, 2)"""
    kind: ByteArray
    """uint8 (R,)"""
    where: ByteArray
    """uint8 (R,)"""
    escape: ByteArray
    """uint8 (R,): the byte that takes the next one's meaning, ``DOUBLED``, or 0."""
    breaks: ByteArray
    """uint8 (R,): 1 where a string may hold line breaks."""
    docstrings: ByteArray
    """uint8 (L,): 1 where a string at the head of a body is a comment (Python)."""


@cache
def _shipped() -> Mapping[str, Mapping[str, Any]]:
    content = shipped(_PATH, SHA256)
    return orjson.loads(content)


@cache
def language_names() -> tuple[str, ...]:
    """The languages known, by their first name."""
    return tuple(_shipped()["languages"])


@cache
def _by_name() -> dict[str, str]:
    found = {}
    for language, entry in _shipped()["languages"].items():
        found |= dict.fromkeys((language, *entry["names"]), language)
    return found


@cache
def _by_file() -> dict[str, str]:
    found = {}
    for language, entry in _shipped()["languages"].items():
        found |= dict.fromkeys(entry["files"], language)
    return found


def language_named(name: str) -> str | None:
    """The language of that name, case and blanks aside: ``C#``, ``Visual Basic``, ``js``."""
    return _by_name().get("-".join(name.lower().split()))


def language_of_file(kind: str) -> str | None:
    """The language of an extension with its dot, or of a file name: ``.py``, ``Makefile``."""
    return _by_file().get(kind) or _by_file().get(kind.lower())


def _rules(syntax: Mapping[str, Any]) -> Iterator[tuple[bytes, bytes, int, int, int, bool]]:
    """(opening, closing, kind, where, escape, may hold line breaks) of each rule of a syntax."""
    for key, marks in syntax.items():
        if key == "docstrings":
            continue
        kind, where = _KINDS[key]
        for mark in ["/"] if marks is True else marks:
            opening, closing, escape = (*mark, "", "")[:3] if isinstance(mark, list) else (mark, "", "")
            code = DOUBLED if escape == "double" else ord(escape or "\0")
            yield opening.encode(), closing.encode(), kind, where, code, key == "text"


@cache
def lexer() -> Lexer:
    """The rules of all languages, in the order of ``language_names``."""
    shipped, names = _shipped(), language_names()
    first, following, rows = np.full((len(names), 256), -1, np.int16), [], []
    docstrings = np.zeros(len(names), np.uint8)
    for number, name in enumerate(names):
        syntax = shipped["syntaxes"][shipped["languages"][name]["syntax"]]
        docstrings[number] = syntax.get("docstrings", False)
        for rule in sorted(_rules(syntax), key=lambda rule: len(rule[0])):  # put before those already there
            following.append(int(first[number, rule[0][0]]))
            first[number, rule[0][0]] = len(rows)
            rows.append(rule)
    pool, spans = b"", {}
    for mark in dict.fromkeys(mark for rule in rows for mark in rule[:2]):
        spans[mark] = (len(pool), len(mark))
        pool += mark
    columns = list(zip(*rows, strict=True))
    tables = (
        first,
        np.array(following, np.int16),
        np.frombuffer(pool, np.uint8),
        np.array([spans[mark] for mark in columns[0]], np.int32),
        np.array([spans[mark] for mark in columns[1]], np.int32),
        *(np.array(column, np.uint8) for column in columns[2:]),
        docstrings,
    )
    for table in tables:
        table.setflags(write=False)
    return Lexer(*tables)
