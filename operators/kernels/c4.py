"""Kernel for C4's rules: which lines of a page stay, and whether the page does."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.kernels.buffers import ByteArray, FlagArray, IntArray, TextBuffers, large_strings, text_buffers
from operators.kernels.bytewise import code_point, code_point_before, copy_bytes, count_chars, next_byte, trim
from operators.kernels.compiled import lean_kernel
from operators.kernels.segmentation import Segments
from operators.kernels.spans import Spans, count_sentences
from operators.kernels.unicode_table import DECIMAL, SPACE, unicode_flags

COUNTS = ("lines", "kept_lines", "long_word_lines", "unfinished_lines", "short_lines", "javascript_lines", "policy_lines",
          "sentences")  # fmt: skip
"""Rows of the result, up to the line where a page rule fired."""

PAGE_RULES = ("lorem_ipsum", "curly_bracket", "too_few_sentences")

_KEPT, _LONG_WORD, _UNFINISHED, _SHORT, _JAVASCRIPT, _POLICY, _SENTENCES = 1, 2, 3, 4, 5, 6, 7
_LOREM_PAGE, _BRACKET_PAGE, _FEW_SENTENCES_PAGE = 0, 1, 2
_PHRASES = (b"lorem ipsum", b"javascript", b"terms of use", b"privacy policy", b"cookie policy", b"uses cookies",
            b"use of cookies", b"use cookies", b"[edit]", b"[citation needed]")  # fmt: skip


def _phrase_table() -> npt.NDArray[np.uint8]:
    """uint8 (10, 20): the length of a phrase, then its bytes."""
    table = np.zeros((len(_PHRASES), 20), np.uint8)
    for row, phrase in enumerate(_PHRASES):
        table[row, 0] = len(phrase)
        table[row, 1 : 1 + len(phrase)] = list(phrase)
    table.setflags(write=False)
    return table


PHRASES = _phrase_table()
FIRSTS = np.isin(np.arange(256), list(b"ljtpcuLJTPCU{")).astype(np.uint8)

Tables = tuple[IntArray, ByteArray, ByteArray]
"""End marks (code points), the phrases, and 1 for each byte that a phrase may begin with, or a curly bracket."""


class Rules(NamedTuple):
    """What to do with a line; numbers of -1 and False turn a rule off."""

    max_word_chars: int
    min_words: int
    min_sentences: int
    count_after_citations: bool
    strip_page: bool
    citations: bool
    end_mark: bool
    lorem_ipsum: bool
    javascript: bool
    curly_bracket: bool
    policy: bool


@lean_kernel
def _count_line_words(data: ByteArray, flags: FlagArray, first: int, last: int, enough: int) -> tuple[int, int]:
    """(words as ``str.split()`` finds them, counted up to ``enough``; code points of the longest)."""
    words, longest, chars, position = 0, 0, 0, first
    while position < last and words <= enough:
        code, size = code_point(data, position)
        if flags[code] & SPACE:
            words += chars > 0
            longest = max(longest, chars)
            chars = 0
        else:
            chars += 1
        position += size
    return words + (chars > 0), max(longest, chars)


@lean_kernel
def _citation_end(data: ByteArray, flags: FlagArray, phrases: ByteArray, position: int, last: int) -> int:
    """End of ``[digits]``, ``[edit]`` or ``[citation needed]`` at a position, which holds "[", 0 for none."""
    stop = position + 1
    while stop < last:
        code, size = code_point(data, stop)
        if not flags[code] & DECIMAL:
            break
        stop += size
    if stop < last and data[stop] == 93:
        return stop + 1
    for row in range(8, 10):
        size = phrases[row, 0]
        same = position + size <= last
        for k in range(size):
            same = same and data[position + k] == phrases[row, 1 + k]
        if same:
            return position + size
    return 0


@lean_kernel
def _copy_line(
    data: ByteArray,
    flags: FlagArray,
    phrases: ByteArray,
    first: int,
    last: int,
    citations: bool,
    target: ByteArray,
    at: int,
) -> int:
    """Copy a line without its citations; returns the end in ``target``."""
    position = first
    while citations and position < last:
        stop = next_byte(data, position, last, 91)
        copy_bytes(data, position, stop, target, at)
        at += stop - position
        if stop == last:
            return at
        end = _citation_end(data, flags, phrases, stop, last)
        if end == 0:
            target[at] = 91
            at += 1
            end = stop + 1
        position = end
    copy_bytes(data, position, last, target, at)
    return at + last - position


@lean_kernel
def _phrase_here(data: ByteArray, position: int, last: int, phrase: ByteArray) -> bool:
    """Whether the lower-cased text holds a phrase at a position; the Kelvin sign is lower-cased to k too."""
    for k in range(1, phrase[0] + 1):
        if position >= last:
            return False
        if (data[position] | 32 if 65 <= data[position] <= 90 else data[position]) == phrase[k]:
            position += 1
        elif phrase[k] == 107 and position + 3 <= last and code_point(data, position)[0] == 0x212A:
            position += 3
        else:
            return False
    return True


@lean_kernel
def _find_phrases(data: ByteArray, first: int, last: int, phrases: ByteArray, firsts: ByteArray) -> int:
    """Bits of what a line holds: 1 lorem ipsum, 2 javascript, 4 a policy phrase, 8 a curly bracket."""
    found = 0
    for position in range(first, last):
        byte = data[position]
        if not firsts[byte]:
            continue
        if byte == 123:
            found |= 8
            continue
        lower = byte | 32
        following = data[position + 1] | 32 if position + 1 < last else np.uint8(0)
        if lower == 108 and following == 111:
            found |= _phrase_here(data, position, last, phrases[0])
        elif lower == 106 and following == 97:
            found |= 2 * _phrase_here(data, position, last, phrases[1])
        elif lower == 116 and following == 101:
            found |= 4 * _phrase_here(data, position, last, phrases[2])
        elif lower == 112 and following == 114:
            found |= 4 * _phrase_here(data, position, last, phrases[3])
        elif lower == 99 and following == 111:
            found |= 4 * _phrase_here(data, position, last, phrases[4])
        elif lower == 117 and following == 115:
            for row in range(5, 8):
                found |= 4 * _phrase_here(data, position, last, phrases[row])
    return found


@lean_kernel
def _is_finished(target: ByteArray, first: int, last: int, end_marks: IntArray) -> bool:
    """Whether a line ends in an end mark and not in three dots."""
    if first == last:
        return False
    if last - first >= 3 and target[last - 1] == 46 and target[last - 2] == 46 and target[last - 3] == 46:
        return False
    code = code_point_before(target, last)[0]
    for mark in end_marks:  # noqa: SIM110  # kernels have no generators
        if mark == code:
            return True
    return False


@lean_kernel
def _judge_line(
    data: ByteArray,
    flags: FlagArray,
    first: int,
    last: int,
    rules: Rules,
    tables: Tables,
    target: ByteArray,
    at: int,
) -> tuple[int, int]:
    """(fate of a stripped line, its end in ``target``); a page rule is returned as -1 - rule."""
    end_marks, phrases, firsts = tables
    enough = max(rules.min_words, 0)
    if rules.max_word_chars >= 0 and last - first > rules.max_word_chars:
        if _count_line_words(data, flags, first, last, last - first)[1] > rules.max_word_chars:
            return _LONG_WORD, at
    end = _copy_line(data, flags, phrases, first, last, rules.citations, target, at)
    if rules.end_mark and not _is_finished(target, at, end, end_marks):
        return _UNFINISHED, at
    if rules.count_after_citations:
        words = _count_line_words(target, flags, at, end, enough)[0]
    else:
        words = _count_line_words(data, flags, first, last, enough)[0]
    if words < enough:
        return _SHORT, at
    found = _find_phrases(target, at, end, phrases, firsts)
    if rules.lorem_ipsum and found & 1:
        return -1 - _LOREM_PAGE, at
    if rules.javascript and found & 2:
        return _JAVASCRIPT, at
    if rules.curly_bracket and found & 8:
        return -1 - _BRACKET_PAGE, at
    if rules.policy and found & 4:
        return _POLICY, at
    return _KEPT, end


@lean_kernel
def edit_pages(
    texts: TextBuffers,
    lines: Spans,
    flags: FlagArray,
    rules: Rules,
    tables: Tables,
    target: ByteArray,
    ends: IntArray,
    counts: IntArray,
    page_rule: IntArray,
) -> None:
    """Write what is left of each page to ``target``; ``ends`` (N + 1), ``counts`` (8, N), ``page_rule`` (N), -1 for none."""
    at = 0
    ends[0] = 0
    for text in range(texts.offsets.shape[0] - 1):
        begin = at
        for row in range(lines.bounds[text], lines.bounds[text + 1]):
            counts[0, text] += 1
            first = lines.trim_start[row]
            place = at + (counts[_KEPT, text] > 0)
            last = first + lines.trim_size[row]
            fate, end = _judge_line(texts.data, flags, first, last, rules, tables, target, place)
            if fate < 0:
                page_rule[text] = -1 - fate
                break
            counts[fate, text] += 1
            if fate == _KEPT:
                if rules.min_sentences >= 0:
                    counts[_SENTENCES, text] += count_sentences(target, flags, place, end)
                target[at] = 10 if place > at else target[at]
                at = end
        if page_rule[text] < 0 and counts[_SENTENCES, text] < rules.min_sentences:
            page_rule[text] = _FEW_SENTENCES_PAGE
        if page_rule[text] >= 0 or not texts.valid[text]:
            at = begin
        elif rules.strip_page:
            first, last, _ = trim(target, flags, begin, at)
            if first > begin:
                for k in range(last - first):
                    target[begin + k] = target[first + k]
            at = begin + last - first
        ends[text + 1] = at
        before = count_chars(texts.data, texts.offsets[text], texts.offsets[text + 1])
        counts[8, text] = before - count_chars(target, begin, at)


class Pages(NamedTuple):
    """N pages after the rules."""

    text: pa.Array
    """large_string, null where nothing is left or a page rule fired."""
    counts: IntArray
    """int64 (9, N): ``COUNTS``, then code points removed."""
    page_rule: IntArray
    """int64 (N,), index into ``PAGE_RULES`` or -1."""


def pages(found: Segments, rules: Rules, end_marks: tuple[str, ...]) -> Pages:
    """Apply the rules to every text."""
    texts, lines = found.texts, found.spans("splitlines")
    num_texts = texts.offsets.size - 1
    target = np.empty(int(texts.offsets[-1] - texts.offsets[0]) + 16, np.uint8)
    ends = np.empty(num_texts + 1, np.int64)
    counts, page_rule = np.zeros((len(COUNTS) + 1, num_texts), np.int64), np.full(num_texts, -1, np.int64)
    tables = np.array([ord(mark) for mark in end_marks], np.int64), PHRASES, FIRSTS
    edit_pages(texts, lines, unicode_flags(), rules, tables, target, ends, counts, page_rule)
    return Pages(large_strings(target, ends, ends[1:] > ends[:-1]), counts, page_rule)


def warm() -> None:
    """Compile the kernels of this module."""
    texts = text_buffers(pa.array(["Six words are enough for this.", None], pa.large_string()))
    rules = Rules(1000, 3, 5, False, True, True, True, True, True, True, True)
    pages(Segments(texts), rules, (".",))
