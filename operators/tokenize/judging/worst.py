"""The documents that a tokenizer cuts into the smallest pieces."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.tokenize.judging.counts import Group, Texts

MIN_BYTES = 100
"""Shorter documents are not looked at: two letters in two tokens say nothing."""
SHARE = 0.01
_EXAMPLES = 8
_EXCERPT_CHARS = 160


class Worst:
    """Collects bytes per token of every document of ``MIN_BYTES`` or more: 20 bytes a document."""

    def __init__(self) -> None:
        self._bytes: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]
        self._tokens: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]
        self._groups: list[npt.NDArray[np.int32]] = [np.zeros(0, np.int32)]
        self._numbers: dict[Group, int] = {}
        self._examples: list[tuple[float, str, dict[str, Any]]] = []

    def add(self, texts: Texts, tokens: npt.NDArray[np.int64]) -> None:
        """Add the documents of a batch; tokens: int64 (N,)."""
        rows = np.flatnonzero((texts.bytes >= MIN_BYTES) & (tokens > 0))
        if not len(rows):
            return
        self._bytes.append(texts.bytes[rows])
        self._tokens.append(tokens[rows])
        self._groups.append(self._groups_of(texts)[rows])
        rates = texts.bytes[rows] / tokens[rows]
        few = rows[np.argsort(rates, kind="stable")[:_EXAMPLES]]
        found = [_example(texts, int(row), int(tokens[row])) for row in few]
        ranked = [*self._examples, *((one["bytes_per_token"], one["id"], one) for one in found)]
        self._examples = sorted(ranked, key=lambda one: one[:2])[:_EXAMPLES]

    def to_json(self) -> dict[str, Any] | None:
        """The worst 1 % (at least one document) together, whose they are, and the very worst; None without documents."""
        sizes, tokens, groups = (np.concatenate(part) for part in (self._bytes, self._tokens, self._groups))
        if not len(sizes):
            return None
        rates = sizes / tokens
        chosen = np.argsort(rates, kind="stable")[: math.ceil(SHARE * len(rates))]
        names = [f"{source}|{language}" for source, language in self._numbers]
        whose = Counter(names[group] for group in groups[chosen].tolist())
        return {
            "documents_looked_at": len(sizes),
            "min_bytes": MIN_BYTES,
            "docs": len(chosen),
            "bytes": int(sizes[chosen].sum()),
            "tokens": int(tokens[chosen].sum()),
            "bytes_per_token": round(int(sizes[chosen].sum()) / int(tokens[chosen].sum()), 6),
            "up_to_bytes_per_token": round(float(rates[chosen[-1]]), 6),
            "by_group": dict(sorted(whose.items(), key=lambda one: (-one[1], one[0]))),
            "examples": [one for _, _, one in self._examples],
        }

    def _groups_of(self, texts: Texts) -> npt.NDArray[np.int32]:
        """int32 (N,): a number for the source and language of each document."""
        source, language = texts.source.dictionary_encode(), texts.language.dictionary_encode()
        codes = source.indices.to_numpy().astype(np.int64) * len(language.dictionary) + language.indices.to_numpy()
        pairs, places = np.unique(codes, return_inverse=True)
        numbers = []
        for pair in pairs.tolist():
            one, other = divmod(pair, len(language.dictionary))
            group = (source.dictionary[one].as_py(), language.dictionary[other].as_py())
            numbers.append(self._numbers.setdefault(group, len(self._numbers)))
        return np.array(numbers, np.int32)[places]


def _example(texts: Texts, row: int, tokens: int) -> dict[str, Any]:
    return {
        **named(texts, row),
        "bytes": int(texts.bytes[row]),
        "tokens": tokens,
        "bytes_per_token": round(int(texts.bytes[row]) / tokens, 6),
        "excerpt": str(texts.docs["text"][row])[:_EXCERPT_CHARS],
    }


def named(texts: Texts, row: int) -> dict[str, Any]:
    """What a document is called."""
    key = texts.docs["id"][row].as_py()
    return {
        "id": key.hex() if isinstance(key, bytes) else key,
        "source": texts.source[row].as_py(),
        "language": texts.language[row].as_py(),
    }
