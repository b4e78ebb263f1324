"""Kernel for the measures of Chinese text, by characters."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.kernels.buffers import ByteArray, FlagArray, FloatArray, Int32Array, IntArray, TextBuffers, text_buffers
from operators.kernels.bytewise import code_point, code_point_before, slot_of, table_mask
from operators.kernels.compiled import lean_kernel
from operators.kernels.han_script import SIMPLIFIED, TABLE_CODES, TRADITIONAL, han_scripts
from operators.kernels.secret import secret
from operators.kernels.segmentation import Segments
from operators.kernels.spans import Spans
from operators.kernels.unicode_table import CODE_POINTS, DECIMAL, HAN, PUNCTUATION, SENTENCE_END, SPACE, unicode_flags
from operators.kernels.wrapping import minus, plus, times

MEASURES = (
    "num_chars",
    "han_fraction",
    "chars_per_line",
    "finished_line_fraction",
    "duplicate_char_fraction",
    "digit_fraction",
    "distinct_char_fraction",
    "char_entropy",
    "traditional_fraction",
)
"""Rows of the result."""

LINE_CLOSERS = "”’」』）》】\"'):：；;"
"""What may end a finished line beside the sentence ends: closing quotes and brackets, and ； ： of lists and speech."""

Scratch = tuple[IntArray, Int32Array, IntArray, Int32Array, Int32Array]
Options = tuple[int, int, IntArray, ByteArray]


@lean_kernel
def _decode(
    data: ByteArray,
    flags: FlagArray,
    scripts: ByteArray,
    first: int,
    last: int,
    codes: IntArray,
) -> tuple[int, int, int, int, int, int, int]:
    """Write the code points that are not white space.

    Returns (all code points, those, Han, digits, punctuation, Han of simplified script only, of traditional only).
    """
    chars, solid, han, digits, marks, simplified, traditional, position = 0, 0, 0, 0, 0, 0, 0, first
    while position < last:
        code, size = code_point(data, position)
        flag = flags[code]
        position += size
        chars += 1
        if flag & SPACE:
            continue
        codes[solid] = code
        solid += 1
        if flag & HAN:
            han += 1
            if code < TABLE_CODES:
                simplified += scripts[code] == SIMPLIFIED
                traditional += scripts[code] == TRADITIONAL
        digits += (flag & DECIMAL) != 0
        marks += (flag & PUNCTUATION) != 0
    return chars, solid, han, digits, marks, simplified, traditional


@lean_kernel
def _spread(codes: IntArray, num_codes: int, count: Int32Array) -> tuple[int, float]:
    """(distinct code points, entropy in nats); ``count`` (0x110000,) is 0 before and after."""
    for k in range(num_codes):
        count[codes[k]] += 1
    distinct, entropy = 0, 0.0
    for k in range(num_codes):
        times = count[codes[k]]
        if times > 0:
            share = times / num_codes
            entropy -= share * np.log(share)
            distinct += 1
            count[codes[k]] = 0
    return distinct, np.floor(entropy * 1e9 + 0.5) / 1e9  # the last bits of a logarithm differ between C libraries


@lean_kernel
def _same_codes(codes: IntArray, one: int, other: int, size: int) -> bool:
    for k in range(size):  # noqa: SIM110  # kernels have no generators
        if codes[one + k] != codes[other + k]:
            return False
    return True


@lean_kernel
def _covered(
    codes: IntArray,
    num_codes: int,
    size: int,
    digest: IntArray,
    first_at: Int32Array,
    table: Int32Array,
) -> int:
    """Code points inside n-grams that occur more than once, the first copy included, each counted once."""
    grams = num_codes - size + 1
    if grams < 1:
        return 0
    base, highest, rolling = secret(1) | 1, np.int64(1), np.int64(0)
    for k in range(size):
        rolling = plus(times(rolling, base), codes[k])
        highest = times(highest, base)
    mask = table_mask(grams)
    table[: mask + 1] = 0
    for position in range(grams):
        if position > 0:
            rolling = plus(times(rolling, base), codes[position + size - 1])
            rolling = minus(rolling, times(codes[position - 1], highest))
        digest[position] = rolling
        first_at[position] = -1  # occurs once
        slot = slot_of(rolling, mask)
        while table[slot] != 0:
            other = table[slot] - 1
            if digest[other] == rolling and _same_codes(codes, other, position, size):
                first_at[position] = other
                first_at[other] = other
                break
            slot = (slot + 1) & mask
        if table[slot] == 0:
            table[slot] = position + 1
    covered, reached = 0, 0
    for position in range(grams):
        if first_at[position] >= 0:
            covered += position + size - max(position, reached)
            reached = position + size
    return covered


@lean_kernel
def _lines(
    data: ByteArray,
    flags: FlagArray,
    lines: Spans,
    text: int,
    closers: IntArray,
    long_line: int,
) -> tuple[int, int, int]:
    """(lines that are not blank, their code points, those that end in an end mark or have ``long_line`` of them)."""
    rows, chars, finished = 0, 0, 0
    for row in range(lines.bounds[text], lines.bounds[text + 1]):
        if lines.trim_size[row] == 0:
            continue
        rows += 1
        chars += lines.trim_chars[row]
        code = code_point_before(data, lines.trim_start[row] + lines.trim_size[row])[0]
        ends = (flags[code] & SENTENCE_END) != 0
        for closer in closers:
            ends |= code == closer
        finished += ends or lines.trim_chars[row] >= long_line
    return rows, chars, finished


@lean_kernel
def chinese_measures(
    texts: TextBuffers,
    lines: Spans,
    flags: FlagArray,
    options: Options,
    scratch: Scratch,
    out: FloatArray,
) -> None:
    """Fill ``out`` (9, N), NaN where undefined. options: (n-gram size, long line, closers, scripts of characters)."""
    size, long_line, closers, scripts = options
    codes, count, digest, first_at, table = scratch
    for text in range(texts.offsets.shape[0] - 1):
        if not texts.valid[text]:
            out[:, text] = np.nan
            continue
        chars, solid, han, digits, marks, simplified, traditional = _decode(
            texts.data, flags, scripts, texts.offsets[text], texts.offsets[text + 1], codes
        )
        rows, line_chars, finished = _lines(texts.data, flags, lines, text, closers, long_line)
        distinct, entropy = _spread(codes, solid, count)
        out[0, text] = chars
        out[1, text] = han / solid
        out[2, text] = line_chars / rows
        out[3, text] = finished / rows
        out[4, text] = _covered(codes, solid, size, digest, first_at, table) / solid
        out[5, text] = digits / (solid - marks) if solid > marks else (0.0 if solid > 0 else np.nan)
        out[6, text] = distinct / solid
        out[7, text] = entropy if solid > 0 else np.nan
        out[8, text] = traditional / (simplified + traditional)


def chinese(found: Segments, *, ngram_chars: int, long_line_chars: int) -> npt.NDArray[np.float64]:
    """The measures of N texts, float64 (9, N); see ``MEASURES``."""
    texts = found.texts
    longest = int(np.diff(texts.offsets).max(initial=0)) + 1
    scratch = (
        np.empty(longest, np.int64), np.zeros(CODE_POINTS, np.int32), np.empty(longest, np.int64),
        np.empty(longest, np.int32), np.empty(4 * longest + 4, np.int32),
    )  # fmt: skip
    out = np.empty((len(MEASURES), texts.offsets.size - 1))
    closers = np.array([ord(closer) for closer in LINE_CLOSERS], np.int64)
    options = (ngram_chars, long_line_chars, closers, han_scripts())
    chinese_measures(texts, found.spans("splitlines"), unicode_flags(), options, scratch, out)
    return out


def warm() -> None:
    """Compile the kernels of this module."""
    chinese(Segments(text_buffers(pa.array(["第一行。", None], pa.large_string()))), ngram_chars=13, long_line_chars=30)
