"""Kernels for Gopher's repetition rules: frequent and repeated n-grams of words, and all measures together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from operators.kernels.buffers import ByteArray, FloatArray, Int32Array, IntArray, TextBuffers, text_buffers
from operators.kernels.bytewise import count_chars, same_bytes, slot_of, table_mask
from operators.kernels.compiled import lean_kernel
from operators.kernels.joined_ngrams import Scratch, joined_copies
from operators.kernels.repeated_lines import DATATROVE, DCLM, DOLMA, repeated_lines
from operators.kernels.segmentation import Segments, WordRule
from operators.kernels.words import Words

TOP_SIZES = (2, 3, 4)
DUPLICATE_SIZES = (5, 6, 7, 8, 9, 10)

NAMES = (
    "duplicate_paragraph_fraction",
    "duplicate_paragraph_chars",
    "duplicate_line_fraction",
    "duplicate_line_chars",
    *(f"top_{n}_gram" for n in TOP_SIZES),
    *(f"duplicate_{n}_gram" for n in DUPLICATE_SIZES),
)
"""Rows of the result."""

Numbers = tuple[Int32Array, Int32Array, Int32Array, IntArray, IntArray]


@lean_kernel
def _intern(left: Any, right: Any, grams: int, key: IntArray, count: Int32Array, table: Int32Array, mask: int) -> int:
    """Number of the n-gram (left, right), new ones from ``grams`` on."""
    pair = left << 32 | right
    slot = slot_of(pair, mask)
    while table[slot] != 0:
        gram = table[slot] - 1
        if key[gram] == pair:
            count[gram] += 1
            return gram
        slot = (slot + 1) & mask
    table[slot] = grams + 1
    key[grams] = pair
    count[grams] = 1
    return grams


@lean_kernel
def _first_equal_word(data: ByteArray, words: Words, first: int, row: int, table: Int32Array, mask: int) -> int:
    """``_first_equal`` for words, whose hash settles it up to 7 bytes."""
    digest = words.hash[row]
    slot = slot_of(digest, mask)
    while table[slot] != 0:
        other = first + table[slot] - 1
        if words.hash[other] == digest:
            size = words.size[row]
            if digest >= 0 or (
                words.size[other] == size and same_bytes(data, words.start[other], words.start[row], size)
            ):
                return other
        slot = (slot + 1) & mask
    table[slot] = row - first + 1
    return row


@lean_kernel
def number_words(
    data: ByteArray,
    words: Words,
    first: int,
    last: int,
    word_id: Int32Array,
    count: Int32Array,
    table: Int32Array,
    drop_marks: bool,
) -> int:
    """Give equal words one number: fills ``word_id`` and ``count``; returns how many words there are of one text.

    drop_marks: leave out words without letter or digit. ``word_id[k]`` counts words from 0, ``count`` those numbers.
    """
    mask = table_mask(last - first)
    table[: mask + 1] = 0
    kept = 0
    for row in range(first, last):
        if drop_marks and not words.flags[row] & 12:  # ALPHA | NUMERIC
            continue
        original = _first_equal_word(data, words, first, row, table, mask) - first
        word_id[0, kept] = original
        word_id[1, kept] = words.chars[row]
        kept += 1
        if original == row - first:
            count[original] = 1
        else:
            count[original] += 1
    return kept


@lean_kernel
def _next_level(
    size: int,
    words: int,
    ids: Int32Array,
    word_id: Int32Array,
    counts: Int32Array,
    key: IntArray,
    table: Int32Array,
) -> int:
    """Turn numbers of (size - 1)-grams into numbers of size-grams, in place; returns how many numbers there are.

    An n-gram is unique if either (n - 1)-gram in it is: it is then number -1 and is not looked up. In ordinary text
    that leaves next to nothing to do from n = 4 on. ``counts`` is (2, M): old counts and room for the new.
    """
    old, new = counts[size % 2], counts[(size + 1) % 2]
    grams = words - size + 1
    mask = table_mask(grams)
    table[: mask + 1] = 0
    numbers = 0
    for position in range(grams):
        left, right = ids[position], ids[position + 1]
        if left < 0 or right < 0 or old[left] == 1 or old[right] == 1:
            ids[position] = -1
            continue
        gram = _intern(np.int64(left), np.int64(word_id[0, position + size - 1]), numbers, key, new, table, mask)
        numbers += gram == numbers
        ids[position] = gram
    return numbers


@lean_kernel
def _top(
    size: int,
    grams: int,
    ids: Int32Array,
    chars_before: IntArray,
    count: Int32Array,
    flavour: int,
) -> tuple[int, int]:
    """(code points of the most frequent n-gram without blanks, its count) under a flavour's rule for ties."""
    best, best_chars = 1, chars_before[size] - chars_before[0]
    for position in range(grams):
        number = ids[position]
        if number < 0 or count[number] < max(best, 2):
            continue
        chars = chars_before[position + size] - chars_before[position]
        if count[number] > best or (flavour == DCLM and chars > best_chars):
            best, best_chars = count[number], chars
    return best_chars, best


@lean_kernel
def _repeated(size: int, grams: int, ids: Int32Array, chars_before: IntArray, count: Int32Array, flavour: int) -> float:
    """Share of the code points that lie in n-grams seen more than once: covered words (DCLM) or of all n-grams (Dolma)."""
    covered, reached, inside, total = 0, 0, 0, 0
    for position in range(grams):
        chars = chars_before[position + size] - chars_before[position]
        total += chars
        if ids[position] < 0 or count[ids[position]] < 2:
            continue
        inside += chars
        begin = max(position, reached)
        reached = position + size
        covered += chars_before[reached] - chars_before[begin]
    if flavour == DOLMA:
        return inside / total
    return covered / chars_before[grams + size - 1]


@lean_kernel
def repeated_ngrams(
    texts: TextBuffers,
    words: Words,
    flavour: int,
    scratch: Scratch,
    numbers: Numbers,
    out: FloatArray,
) -> None:
    """Fill rows 4 to 12 of ``out`` (13, N): top 2-, 3-, 4-grams, then repeated 5- to 10-grams; 0 where there is no n-gram.

    scratch: (table int32, packed uint8, at int64, digest int64, seen uint8, shared int32,
    listed int32). numbers: (word_id int32 (2, M), ids int32,
    counts int32 (2, M), key int64, chars_before int64), each with room for the longest text.
    """
    word_id, ids, counts, key, chars_before = numbers
    table = scratch[0]
    for text in range(texts.offsets.shape[0] - 1):
        if not texts.valid[text] or texts.offsets[text] == texts.offsets[text + 1]:
            continue
        first, last = words.bounds[text], words.bounds[text + 1]
        num_words = number_words(texts.data, words, first, last, word_id, counts[0], table, flavour == DCLM)
        chars_before[0] = 0
        for k in range(num_words):
            ids[k] = word_id[0, k]
            chars_before[k + 1] = chars_before[k] + word_id[1, k]
        chars = count_chars(texts.data, texts.offsets[text], texts.offsets[text + 1])
        if flavour == DOLMA:  # until here the numerator alone
            out[3, text] = out[3, text] / max(chars_before[num_words], 1)
        for size in range(2, 11 if flavour != DATATROVE else 5):
            grams = num_words - size + 1
            if grams < 1:
                break
            _next_level(size, num_words, ids, word_id, counts, key, table)
            count = counts[(size + 1) % 2]
            if size >= 5:
                out[size + 2, text] = _repeated(size, grams, ids, chars_before, count, flavour)
                continue
            top, times = _top(size, grams, ids, chars_before, count, flavour)
            if flavour == DATATROVE:
                out[size + 2, text] = (top + size - 1) * times / chars
            elif flavour == DOLMA or times > 1:
                out[size + 2, text] = top * times / chars_before[num_words]
        if flavour == DATATROVE:
            joined_copies(texts.data, words, first, last, chars_before, chars, scratch, out, text)


def repetition(found: Segments, rule: WordRule, flavour: int) -> FloatArray:
    """The 13 measures of N texts, float64 (13, N), in datatrove's order; NaN throughout where a text is null or empty."""
    texts, words, lines, paragraphs = found.texts, found.words(rule), found.spans("lines"), found.spans("paragraphs")
    num_texts = words.bounds.size - 1
    longest = max(int(np.diff(one.bounds).max(initial=0)) for one in (words, lines, paragraphs))
    longest_bytes = int(np.diff(texts.offsets).max(initial=0))
    table = np.empty(4 * longest + 4, np.int32)
    count = np.empty(longest + 1, np.int32)
    out = np.zeros((4 + 9, num_texts))
    repeated_lines(texts, lines, paragraphs, flavour, table, count, out)
    out[4:, np.isnan(out[0])] = np.nan
    scratch = (
        table, np.empty(longest_bytes + 8, np.uint8), np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64),
        np.empty(8 * longest + 8, np.uint8), np.empty(longest + 1, np.int32), np.empty(longest + 1, np.int32),
    )  # fmt: skip
    numbers = (
        np.empty((2, longest + 1), np.int32), np.empty(longest + 1, np.int32), np.empty((2, longest + 1), np.int32),
        np.empty(longest + 1, np.int64), np.empty(longest + 2, np.int64),
    )  # fmt: skip
    repeated_ngrams(texts, words, flavour, scratch, numbers, out)
    return out


def warm() -> None:
    """Compile the kernels of this module."""
    found = Segments(text_buffers(pa.array(["a b c d e f a b c d e f", None], pa.large_string())))
    for flavour in (DATATROVE, DCLM, DOLMA):
        repetition(found, "split", flavour)
