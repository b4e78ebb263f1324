"""Kernels for Gopher's repetition rules: frequent and repeated n-grams of words, and all measures together."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from operators.kernels.buffers import ByteArray, FloatArray, TextBuffers, text_buffers
from operators.kernels.compiled import lean_kernel
from operators.kernels.joined_ngrams import JoinScratch, join_room, joined_copies
from operators.kernels.repeated_lines import (
    DATATROVE,
    DCLM,
    DOLMA,
    DOLMA_V2,
    RPV2,
    LineScratch,
    repeated_lines,
    text_chars,
)
from operators.kernels.scratch import scratch
from operators.kernels.segmentation import Segments, WordRule
from operators.kernels.shared_hashes import PART_ROWS
from operators.kernels.spans import Spans
from operators.kernels.word_ngrams import (
    Grams,
    all_chars,
    most_frequent,
    next_level,
    number_frequent,
    number_words,
    repeated_chars,
    room_for,
)
from operators.kernels.words import Words

ONE_IN = 4096
"""In longer texts, what occurs less often than one in so many words is at first taken for none of the most frequent
n-grams. 50 MB of English joined up have a 4-gram that is one in 400, and books one in some thousands."""
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


@lean_kernel
def _top(n: int, num_words: int, frequent: tuple[int, int], flavour: int, chars: int, grams: Grams) -> float:
    """``top_n_gram`` of one text of ``chars`` code points; frequent: see ``most_frequent``."""
    best, times = frequent
    if flavour == DATATROVE:
        return (best + n - 1) * times / chars
    if flavour in (DOLMA, DOLMA_V2) or times > 1:
        return best * times / grams.chars_before[num_words]
    return 0.0


@lean_kernel
def _top_ngrams(
    data: ByteArray, words: Words, bounds: tuple[int, int], one_in: int, grams: Grams, chars: int, out: FloatArray
) -> None:
    """Datatrove's ``top_2_gram`` to ``top_4_gram`` of one text: fills ``out`` (3,).

    If some 4-gram occurs ``least`` times, the most frequent n-grams do so too, and all words in them: others need not be
    counted. What to begin with is a guess, and a wrong one is lowered until it holds.
    """
    least = max(2, (bounds[1] - bounds[0]) // one_in)
    out[:] = 0.0
    while True:
        num_words, listed = number_frequent(data, words, bounds, False, least, grams)
        times = 2
        for n in range(2, min(num_words, 4) + 1):
            listed, different = next_level(n, num_words, listed, least, grams)
            frequent = most_frequent(n, different, False, grams)
            out[n - 2] = _top(n, num_words, frequent, DATATROVE, chars, grams)
            times = frequent[1]
        if times >= least or least == 2:
            return
        least = max(2, times, least // 8)


@lean_kernel
def _repeated(n: int, num_words: int, listed: int, flavour: int, grams: Grams) -> float:
    """Share of the code points in n-grams seen more than once: of the words (DCLM, RPv2) or of all n-grams (Dolma)."""
    covered, inside = repeated_chars(n, listed, grams)
    if flavour in (DOLMA, DOLMA_V2):
        return inside / all_chars(n, num_words, grams)
    return covered / grams.chars_before[num_words]


@lean_kernel
def _counted_ngrams(
    data: ByteArray, words: Words, bounds: tuple[int, int], flavour: int, grams: Grams, chars: int, out: FloatArray
) -> None:
    """The other references' nine measures of n-grams of one text: fills ``out`` (10,) from row 1 on.

    Row 0 holds the code points of repeated lines, which Dolma divides by those of all words.
    """
    num_words, listed = number_words(data, words, bounds[0], bounds[1], flavour == DCLM, grams)
    if flavour in (DOLMA, DOLMA_V2):
        out[0] = out[0] / max(grams.chars_before[num_words], 1)
    out[1:] = 0.0
    for n in range(2, min(num_words, 10) + 1):
        listed, different = next_level(n, num_words, listed, 2, grams)
        if n < 5:
            frequent = most_frequent(n, different, flavour == DCLM, grams)
            out[n - 1] = _top(n, num_words, frequent, flavour, chars, grams)
        else:
            out[n - 1] = _repeated(n, num_words, listed, flavour, grams)


@lean_kernel
def repeated_ngrams(
    texts: TextBuffers,
    words: Words,
    lines: Spans,
    flavour: int,
    one_in: int,
    grams: Grams,
    room: JoinScratch,
    out: FloatArray,
) -> None:
    """Fill rows 4 to 12 of ``out`` (13, N): top 2-, 3-, 4-grams, then repeated 5- to 10-grams; 0 where there is no n-gram.

    lines: those that are not empty. one_in: see ``ONE_IN``. grams, room: scratch, see ``word_ngrams``, ``joined_ngrams``.
    """
    for text in range(texts.offsets.shape[0] - 1):
        begin, end = texts.offsets[text], texts.offsets[text + 1]
        if not texts.valid[text] or begin == end:
            out[4:, text] = np.nan
            continue
        bounds = words.bounds[text], words.bounds[text + 1]
        chars = text_chars(lines, text, end - begin)[0]
        if flavour == DATATROVE:
            _top_ngrams(texts.data, words, bounds, one_in, grams, chars, out[4:7, text])
            joined_copies(texts.data, words, bounds, grams, room, chars, out[7:, text])
            continue
        _counted_ngrams(texts.data, words, bounds, flavour, grams, chars, out[3:, text])
        if np.isnan(out[0, text]):  # dclm: a blank text
            out[4:, text] = np.nan


def repetition(
    found: Segments, rule: WordRule, flavour: int, *, one_in: int = ONE_IN, part_rows: int = PART_ROWS
) -> FloatArray:
    """The 13 measures of N texts, float64 (13, N), in datatrove's order; NaN throughout where a text is null or empty.

    one_in, part_rows: how much is held in tables at once in long texts (see ``ONE_IN`` and ``shared_hashes``); they
    change the time and never a measure.
    """
    texts, words, lines = found.texts, found.words(rule), found.spans("nonempty_lines")
    paragraphs = found.spans("paragraphs") if flavour == DCLM else lines
    out = np.empty((len(NAMES), words.bounds.size - 1))
    longest = max(int(np.diff(spans.bounds).max(initial=0)) for spans in (lines, paragraphs)) + 1
    pieces = LineScratch(scratch(4 * longest, np.int32)[0], *scratch(longest, np.int32, np.int64, np.int32, np.int64))
    repeated_lines(texts, lines, paragraphs, flavour, pieces, out)
    longest, longest_bytes = (int(np.diff(one).max(initial=0)) for one in (words.bounds, texts.offsets))
    grams = room_for(longest)
    room = join_room(longest, longest_bytes, grams, part_rows)
    repeated_ngrams(texts, words, lines, flavour, one_in, grams, room, out)
    return out


def warm() -> None:
    """Compile the kernels of this module."""
    found = Segments(text_buffers(pa.array(["a b c d e f a b c d e f", None], pa.large_string())))
    for flavour in (DATATROVE, DCLM, DOLMA, DOLMA_V2, RPV2):
        repetition(found, "split", flavour)
