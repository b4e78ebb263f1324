"""Merges over counted pieces: those of the tokenizers library, and of byte-pair encoding as printed."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.trainers import BpeTrainer, WordPieceTrainer

from operators.kernels.bpe_tokens import characters, symbols_of
from operators.kernels.bpe_training import learn

Merges = list[tuple[str, str]]

WORDS = st.text("ab", min_size=1, max_size=9) | st.text("abc中", min_size=1, max_size=12) | st.text("a", min_size=1)


def flat(words: list[str]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    encoded = [word.encode() for word in words]
    return np.frombuffer(b"".join(encoded) + b"\0", np.uint8), np.cumsum([0, *map(len, encoded)])


def ours(counts: Counter[str], tokens: list[str], most: int, least: int, prefix: str = "") -> tuple[list[str], Merges]:
    """Tokens and merges from given initial tokens, each of one character (and the prefix)."""
    first, rest = np.full((2, 0x110000), -1, np.int32)
    for number, token in enumerate(tokens):
        if len(token) == 1:
            first[ord(token)] = number
        if token.startswith(prefix) and len(token) == len(prefix) + 1:
            rest[ord(token[-1])] = number
    data, offsets = flat(list(counts))
    symbols = np.empty(int(offsets[-1]), np.int32)
    begins = symbols_of(data, offsets, first, rest, symbols)
    token_data, bounds = flat(tokens)
    marks = np.frombuffer(prefix.encode(), np.uint8)
    merges, data, ends = learn(
        symbols, begins, np.array(list(counts.values())), token_data[:-1], bounds, marks, most, least
    )
    spelt = [data[a:b].tobytes().decode() for a, b in pairwise(ends)]
    last = {(spelt[left], spelt[right]): number for number, (left, right, _) in enumerate(merges.tolist())}
    return spelt, sorted(last, key=last.__getitem__)


def theirs(trainer: Any, counts: Counter[str]) -> dict[str, Any]:
    tokenizer = Tokenizer(models.BPE() if isinstance(trainer, BpeTrainer) else models.WordPiece())
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.train_from_iterator((" ".join([word] * count) for word, count in counts.items()), trainer)
    return json.loads(tokenizer.to_str())["model"]


def slow(counts: Counter[str], tokens: list[str], most: int, least: int) -> Merges:
    """As printed: merge the most frequent pair everywhere; of equally frequent ones that of the lowest tokens."""
    ids = {token: number for number, token in enumerate(tokens)}
    split, merges = {word: list(word) for word in counts}, []
    while len(ids) < most:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in split.items():
            for pair in pairwise(parts):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], ids[pair[0]], ids[pair[1]]))
        if pairs[best] < least:
            break
        merges.append(best)
        ids.setdefault("".join(best), len(ids))
        split = {word: merged(parts, best) for word, parts in split.items()}
    return merges


def merged(parts: list[str], pair: tuple[str, str]) -> list[str]:
    out, place = [], 0
    while place < len(parts):
        found = tuple(parts[place : place + 2]) == pair
        out.append("".join(pair) if found else parts[place])
        place += 2 if found else 1
    return out


@pytest.mark.parametrize(
    ("counts", "most", "expected"),
    [
        ({"hug": 10, "pug": 5, "pun": 12, "bun": 4, "hugs": 5}, 10, [("u", "g"), ("u", "n"), ("h", "ug")]),
        ({"aaaa": 1}, 3, [("a", "a"), ("aa", "aa")]),
        ({"aaaaa": 1}, 3, [("a", "a"), ("aa", "a")]),  # two pairs that both occur once: the lower tokens first
        ({"ab": 2, "cd": 2}, 6, [("a", "b"), ("c", "d")]),
        ({"a": 9, "b": 9}, 9, []),
    ],
)
def test_worked_by_hand(counts: dict[str, int], most: int, expected: Merges) -> None:
    letters = sorted({letter for word in counts for letter in word})
    assert ours(Counter(counts), letters, most, 1)[1] == expected


@settings(max_examples=150, deadline=None)
@given(words=st.lists(WORDS, min_size=1, max_size=40), more=st.integers(0, 60), least=st.integers(0, 3))
def test_equals_the_library(words: list[str], more: int, least: int) -> None:
    counts = Counter(words)
    letters = sorted({letter for word in counts for letter in word})
    model = theirs(BpeTrainer(vocab_size=len(letters) + more, min_frequency=least, show_progress=False), counts)
    tokens, merges = ours(counts, letters, len(letters) + more, least)
    assert {token: number for number, token in enumerate(tokens)} == model["vocab"]
    assert merges == [tuple(pair) for pair in model["merges"]]


@settings(max_examples=60, deadline=None)
@given(words=st.lists(WORDS, min_size=1, max_size=25), more=st.integers(0, 40), least=st.integers(1, 3))
def test_equals_plain_byte_pair_encoding(words: list[str], more: int, least: int) -> None:
    """Where no two pairs spell one token: there the library, and we, let merged pairs keep their counts."""
    counts = Counter(words)
    letters = sorted({letter for word in counts for letter in word})
    expected = slow(counts, letters, len(letters) + more, least)
    if len({left + right for left, right in expected}) == len(expected):
        assert ours(counts, letters, len(letters) + more, least)[1] == expected


@settings(max_examples=60, deadline=None)
@given(words=st.lists(WORDS, min_size=1, max_size=40), more=st.integers(0, 60))
def test_pieces_of_words_equal_the_library(words: list[str], more: int) -> None:
    """The library numbers ``##x`` in another order each time, so its own numbers are where we start from."""
    counts = Counter(words)
    letters = sorted({letter for word in counts for letter in word})
    inner = {f"##{letter}" for word in counts for letter in word[1:]}
    trainer = WordPieceTrainer(vocab_size=len(letters) + len(inner) + more, show_progress=False)
    vocabulary = theirs(trainer, counts)["vocab"]
    start = sorted({*letters, *inner}, key=vocabulary.__getitem__)
    tokens, _ = ours(counts, start, len(start) + more, 0, prefix="##")
    assert {token: number for number, token in enumerate(tokens)} == vocabulary


def test_a_character_without_a_token_parts_its_neighbours() -> None:
    assert ours(Counter({"axb": 5, "ab": 1}), ["a", "b"], 9, 2)[1] == []
    assert ours(Counter({"axb": 5, "ab": 2}), ["a", "b"], 9, 2)[1] == [("a", "b")]


def test_counts_beyond_32_bits() -> None:
    counts = Counter({"ab": 3 << 40, "cd": (3 << 40) + 1})
    assert ours(counts, list("abcd"), 6, 1)[1] == [("c", "d"), ("a", "b")]


def test_order_of_pieces_does_not_matter() -> None:
    words = Counter(f"{k % 7}{k % 5}{k % 3}" * (k % 4 + 1) for k in range(300))
    letters = sorted("0123456")
    backwards = Counter(dict(reversed(words.items())))
    assert ours(words, letters, 120, 1) == ours(backwards, letters, 120, 1)


def test_characters() -> None:
    data, offsets = flat(["aé", "中a"])
    found = characters(data, offsets, np.array([3, 2]))
    assert {chr(code): int(found[code]) for code in np.flatnonzero(found)} == {"a": 5, "é": 3, "中": 2}
