"""Gopher repetition: golden vectors of the reference codes, twins that count with Python's own containers."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given

from operators.filters.gopher_repetition import GopherRepetition
from operators.kernels.buffers import text_buffers
from operators.kernels.repeated_lines import DATATROVE
from operators.kernels.repetition import repetition
from operators.kernels.segmentation import Segments
from tests.operators.texts import ONE_MEGABYTE, REPETITIVE, TEXTS, table

COLUMNS = ("duplicate_line_fraction", "duplicate_line_chars", "duplicate_paragraph_fraction", "duplicate_paragraph_chars",
           "top_2_gram", "top_3_gram", "top_4_gram", "duplicate_5_gram", "duplicate_6_gram")  # fmt: skip

V1 = "red fox\nred fox\nblue owl\n\nred fox"
V2 = "red fox\nblue owl\n"
V3 = "p1 x\n\np1 x\n\np2 y"
V4 = "aa bb cc dd ee aa bb cc dd ee"
V5 = "a a a a a a a a"
V6 = "one two three"
V9 = "aa bb cc dd ee ff aa bb cc dd ee ff aa bb cc dd ee ff"

# Measured by running the reference projects' own functions on words of str.split; where they skip a rule or keep the
# text without computing, 0 stands here, which keeps it too. None: the rule does not exist there, so 0 as well.
GOLDEN = [
    ("datatrove", V1, (0.5, 0.4242, 0, 0, 0.6364, 0.3333, 0.4545, 0, 0)),
    ("dclm", V1, (0.75, 0.7241, 0, 0, 0.72, 0, 0, 0, 0)),
    ("dolma", V1, (0.6, 0.84, 0, 0, 0.72, 0.36, 0.48, 0, 0)),
    ("dolma_v2", V1, (0.75, 0.84, 0, 0, 0.72, 0.36, 0.48, 0, 0)),
    ("rpv2", V1, (0, 0, 0, 0, 0.72, 0, 0, 0, 0)),
    ("datatrove", V2, (0, 0, 0, 0, 0.4118, 0.7059, 0.9412, 0, 0)),
    ("dclm", V2, (0, 0, 0, 0, 0, 0, 0, 0, 0)),
    ("dolma", V2, (0, 0, 0, 0, 0.4615, 0.7692, 1, 0, 0)),
    ("dolma_v2", V2, (0, 0, 0, 0, 0.4615, 0.7692, 1, 0, 0)),
    ("rpv2", V2, (0, 0, 0, 0, 0, 0, 0, 0, 0)),
    ("datatrove", V3, (0.3333, 0.25, 0.3333, 0.25, 0.5, 0.4375, 0.5625, 0, 0)),
    ("dclm", V3, (0.6667, 0.6667, 0.6667, 0.6667, 0.6667, 0, 0, 0, 0)),
    ("dolma", V3, (0.8, 0.8889, 0, 0, 0.6667, 0.5556, 0.6667, 0, 0)),
    ("dolma_v2", V3, (0.6667, 0.8889, 0, 0, 0.6667, 0.5556, 0.6667, 0, 0)),
    ("rpv2", V3, (0, 0, 0, 0, 0.6667, 0, 0, 0, 0)),
    ("datatrove", V4, (0, 0, 0, 0, 0.3448, 0.5517, 0.7586, 0.3448, 0)),
    ("dclm", V4, (0, 0, 0, 0, 0.4, 0.6, 0.8, 1, 0)),
    ("dolma", V4, (0, 0, 0, 0, 0.4, 0.6, 0.8, 0.3333, 0)),
    ("dolma_v2", V4, (0, 0, 0, 0, 0.4, 0.6, 0.8, 0.3333, 0)),
    ("rpv2", V4, (0, 0, 0, 0, 0.4, 0.6, 0.8, 1, 0)),
    ("datatrove", V5, (0, 0, 0, 0, 1.4, 2, 2.3333, 0.3333, 0.4)),
    ("dclm", V5, (0, 0, 0, 0, 1.75, 2.25, 2.5, 1, 1)),
    ("dolma", V5, (0, 0, 0, 0, 1.75, 2.25, 2.5, 1, 1)),
    ("dolma_v2", V5, (0, 0, 0, 0, 1.75, 2.25, 2.5, 1, 1)),
    ("rpv2", V5, (0, 0, 0, 0, 1.75, 2.25, 2.5, 1, 1)),
    ("datatrove", V6, (0, 0, 0, 0, 0.5385, 1, 0, 0, 0)),
    ("dolma", V6, (0, 0, 0, 0, 0.5455, 1, 0, 0, 0)),
    ("dolma_v2", V6, (0, 0, 0, 0, 0.5455, 1, 0, 0, 0)),
    ("rpv2", V6, (0, 0, 0, 0, 0, 0, 0, 0, 0)),
    ("datatrove", "", (None,) * 9),
    ("dclm", "", (None,) * 9),
    ("dolma", "", (None,) * 9),
    ("dolma_v2", "", (None,) * 9),
    ("rpv2", "", (None,) * 9),
    ("datatrove", "\n\n", (0.5, 0, 0, 0, 0, 0, 0, 0, 0)),
    ("dolma_v2", "\n\n", (1, 0, 0, 0, 0, 0, 0, 0, 0)),
    ("datatrove", V9, (0, 0, 0, 0, 0.283, 0.4528, 0.6226, 0.3774, 0.4528)),
    ("dclm", V9, (0, 0, 0, 0, 0.3333, 0.5, 0.6667, 1, 1)),
    ("dolma", V9, (0, 0, 0, 0, 0.3333, 0.5, 0.6667, 1, 1)),
    ("dolma_v2", V9, (0, 0, 0, 0, 0.3333, 0.5, 0.6667, 1, 1)),
    ("rpv2", V9, (0, 0, 0, 0, 0.3333, 0.5, 0.6667, 1, 1)),
]


def measured(text: str, **options) -> dict[str, float | None]:
    """Every measure of one text, which stands between two others."""
    columns = GopherRepetition(**options).measure(table("x y x y", text, None))
    return {name: column.to_pylist()[1] for name, column in columns.items()}


@pytest.mark.parametrize("words", ["split", "unicode"])
@pytest.mark.parametrize(("flavour", "text", "expected"), GOLDEN)
def test_golden_vectors(flavour, text, expected, words):
    """The texts hold letters and digits only, so both rules find the same words."""
    found = measured(text, flavour=flavour, words=words)
    assert tuple(None if found[name] is None else round(found[name], 4) for name in COLUMNS) == expected


def later_copies(pieces):
    copies = [piece for k, piece in enumerate(pieces) if piece in pieces[:k]]
    return len(copies) / len(pieces), sum(map(len, copies))


def slow_datatrove(text):
    words, size = text.split(), len(text)
    paragraph_fraction, paragraph_chars = later_copies(re.split("\n{2,}", text.strip()))
    line_fraction, line_chars = later_copies(re.split("\n+", text))
    values = [paragraph_fraction, paragraph_chars / size, line_fraction, line_chars / size]
    for n in (2, 3, 4):
        grams = [" ".join(words[k : k + n]) for k in range(len(words) - n + 1)]
        most = max(Counter(grams).values(), default=0)
        first = next((gram for gram in grams if grams.count(gram) == most), "")
        values.append(len(first) * most / size)
    for n in range(5, 11):
        seen, copied, k = set(), 0, 0
        while k + n <= len(words):
            gram = "".join(words[k : k + n])
            copied += len(gram) if gram in seen else 0
            k += n if gram in seen else 1
            seen.add(gram)
        values.append(copied / size)
    return values


def slow_dclm(text):
    words = text.split()
    values = [None] * 4
    for k, separator in ((0, "\n\n"), (2, "\n")):
        pieces = [piece.strip() for piece in text.split(separator) if piece.strip()]
        copies = [piece for piece in pieces if pieces.count(piece) > 1]
        if len(pieces) == 1:
            values[k], values[k + 1] = 0, 0
        elif pieces:
            values[k], values[k + 1] = len(copies) / len(pieces), sum(map(len, copies)) / sum(map(len, pieces))
    for n in range(2, 11):
        grams = Counter(tuple(words[k : k + n]) for k in range(len(words) - n + 1))
        most = max(grams.values(), default=1)
        chars = 0
        if most > 1 and n < 5:
            chars = most * max(len("".join(gram)) for gram, count in grams.items() if count == most)
        elif most > 1:
            inside = {k + i for k in range(len(words) - n + 1) if grams[tuple(words[k : k + n])] > 1 for i in range(n)}
            chars = sum(len(words[i]) for i in inside)
        values.append(chars / len("".join(words)) if words else None)
    return values if values[2] is not None else [None] * 13


def slow_dolma(text, line_break="\n"):
    words, lines = text.split(), re.split(line_break, text)
    chars = len("".join(words))
    copies = [line for line in lines if lines.count(line) > 1]
    values = [0, 0, len(copies) / len(lines), sum(map(len, copies)) / max(chars, 1)]
    for n in range(2, 11):
        grams = [tuple(words[k : k + n]) for k in range(len(words) - n + 1)]
        if not grams:
            values.append(0)
        elif n < 5:
            gram, count = Counter(grams).most_common(1)[0]
            values.append(len("".join(gram)) * count / chars)
        else:
            again = [gram for gram in grams if grams.count(gram) > 1]
            values.append(sum(len("".join(gram)) for gram in again) / sum(len("".join(gram)) for gram in grams))
    return values


def slow_dolma_v2(text):
    return slow_dolma(text, "\n+")


def slow_rpv2(text):
    words = text.split()
    values = [0, 0, 0, 0]
    for n in range(2, 11):
        grams = Counter(tuple(words[k : k + n]) for k in range(len(words) - n + 1))
        gram, count = grams.most_common(1)[0] if grams else ((), 0)
        chars = len("".join(gram)) * count if count > 1 else 0
        if n >= 5:
            repeated = [k for k in range(len(words) - n + 1) if grams[tuple(words[k : k + n])] > 1]
            chars = sum(len(words[k]) for k in {k + i for k in repeated for i in range(n)})
        values.append(chars / max(len("".join(words)), 1))
    return values


TWINS = {
    "datatrove": slow_datatrove,
    "dclm": slow_dclm,
    "dolma": slow_dolma,
    "dolma_v2": slow_dolma_v2,
    "rpv2": slow_rpv2,
}


@pytest.mark.parametrize(("flavour", "twin"), TWINS.items())
def test_equals_the_slow_twin(flavour, twin):
    """Exactly, to the last bit: both divide the same integers. DCLM's words are those with a letter or digit."""

    def check(text):
        if text and (flavour != "dclm" or all(any(c.isalnum() for c in word) for word in text.split())):
            assert list(measured(text, flavour=flavour, words="split").values()) == twin(text)

    given(TEXTS)(check)()
    given(REPETITIVE)(check)()


def counted(text, one_in, part_rows):
    """Datatrove's measures, with little held in tables at once."""
    found = Segments(text_buffers(table("x y x y", text, None)["text"]))
    return repetition(found, "split", DATATROVE, one_in=one_in, part_rows=part_rows)[:, 1].tolist()


@pytest.mark.parametrize(("one_in", "part_rows"), [(1, 1), (3, 2), (8, 8)])
@given(text=REPETITIVE)
def test_long_texts_equal_the_slow_twin(text, one_in, part_rows):
    """What texts of megabytes need, rare words left out and hashes in parts, is used on short ones."""
    if text:
        assert counted(text, one_in, part_rows) == slow_datatrove(text)


def test_how_much_is_counted_at_once_changes_no_measure():
    """20,000 words, the k-th word of the language 1/k times as often as the first, and a stretch that comes again."""
    ranks = 1 / np.arange(1, 3000)
    words = np.random.default_rng(7).choice([f"word{k}" for k in range(1, 3000)], 20_000, p=ranks / ranks.sum())
    text = " ".join([*words, *words[700:900]])
    usual = counted(text, 10**9, 10**9)
    assert usual[4] > 0.01
    assert usual[12] > 0.005
    for one_in, part_rows in ((50, 64), (4096, 1 << 12), (10**4, 300)):
        assert counted(text, one_in, part_rows) == usual


def test_rpv2_counts_normalised_words():
    """Lower case, no ASCII punctuation, NFD: "Red-fox!" and "redfox" are one word, É is two code points."""
    text = "Red-fox! É x redfox, É"
    assert measured(text, flavour="rpv2")["top_2_gram"] == 2 * 8 / 17
    assert measured(text, flavour="rpv2", words="split")["top_2_gram"] == 0
    assert set(measured("?! ...", flavour="rpv2").values()) == {None}


def test_words_that_join_to_the_same_letters_are_one_ngram_for_datatrove():
    """ "ab c" and "a bc" collide there: both windows of five words read "abcdefg"."""
    text = "ab c d e fg xx a bc de f g"
    assert measured(text, words="split")["duplicate_5_gram"] == 7 / len(text)
    assert measured(text, flavour="dclm")["duplicate_5_gram"] == 0


def test_long_ngrams_that_differ_late_are_told_apart():
    """Words far longer than the 40 bytes looked at first, equal but for their last letter, are no copies."""
    word = "x" * 60
    text = " ".join(f"{word}{last}" for last in "abcdefghij")
    assert measured(text, words="split")["duplicate_5_gram"] == 0
    assert measured(f"{text} {text}", words="split")["duplicate_5_gram"] == 610 / (2 * len(text) + 1)


@pytest.mark.parametrize("size", range(5, 61))
def test_copies_of_every_size_are_found_whatever_stands_around_them(size):
    """Five words of ``size`` bytes in all, of which the first, the middle or the last takes what the others leave."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789" * 2
    for widths in ((size - 4, 1, 1, 1, 1), (1, 1, size - 4, 1, 1), (1, 1, 1, 1, size - 4)):
        ends = np.cumsum(widths).tolist()
        five = " ".join(letters[end - width : end] for end, width in zip(ends, widths, strict=True))
        text = f"Left {five} Right Other {five} Side"
        found = measured(text, words="split")
        assert found["duplicate_5_gram"] == size / len(text)
        assert found["duplicate_6_gram"] == 0


def test_dclm_takes_the_longer_of_two_frequent_ngrams_and_dolma_the_first():
    text = "a b a b longer word longer word"
    assert measured(text, flavour="dclm")["top_2_gram"] == 2 * 10 / 24
    assert measured(text, flavour="dolma")["top_2_gram"] == 2 * 2 / 24
    assert measured(text, flavour="rpv2")["top_2_gram"] == 2 * 2 / 24


@pytest.mark.parametrize("flavour", TWINS)
@pytest.mark.parametrize("name", ONE_MEGABYTE)
def test_long_texts_take_linear_time(name, flavour):
    found = GopherRepetition(flavour=flavour).measure(table(ONE_MEGABYTE[name]))
    assert all(len(column) == 1 for column in found.values())


def test_bounds_stand_in_the_order_of_each_reference():
    assert [bound.reason for bound in GopherRepetition().bounds] == [
        "dup_para_frac", "dup_para_char_frac", "dup_line_frac", "dup_line_char_frac", "top_2_gram", "top_3_gram",
        "top_4_gram", *(f"duplicated_{n}_n_grams" for n in range(5, 11)),
    ]  # fmt: skip
    assert [bound.measure for bound in GopherRepetition(flavour="dclm").bounds][:4] == [
        "duplicate_line_fraction", "duplicate_paragraph_fraction", "duplicate_line_chars", "duplicate_paragraph_chars",
    ]  # fmt: skip
    assert len(GopherRepetition(flavour="dolma").bounds) == 11
    assert len(GopherRepetition(flavour="dolma_v2").bounds) == 11
    assert GopherRepetition(flavour="rpv2").bounds == GopherRepetition(flavour="dolma").bounds[2:]
    assert "top_3_gram" not in [bound.measure for bound in GopherRepetition(max_top_3_gram=None).bounds]
    limits = {bound.measure: bound.max for bound in GopherRepetition().bounds}
    assert (limits["duplicate_line_fraction"], limits["duplicate_line_chars"]) == (0.3, 0.2)
    assert [limits[f"top_{n}_gram"] for n in (2, 3, 4)] == [0.2, 0.18, 0.16]
    assert [limits[f"duplicate_{n}_gram"] for n in range(5, 11)] == [0.15, 0.14, 0.13, 0.12, 0.11, 0.1]
