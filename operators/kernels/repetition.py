"""Kernels for Gopher's repetition rules: repeated lines and paragraphs, frequent and repeated n-grams of words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.kernels.buffers import text_buffers
from operators.kernels.bytewise import copy_bytes, count_chars, hash_bytes, load_word, same_bytes, slot_of, table_mask
from operators.kernels.compiled import lean_kernel
from operators.kernels.segmentation import Segments, WordRule

FloatArray = npt.NDArray[np.float64]

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

_PREFIX = 40
"""Bytes looked at before an n-gram is hashed; 10 words have 42 in English prose."""

DATATROVE = 0
DCLM = 1
DOLMA = 2


@lean_kernel
def _first_equal(
    data: ByteArray,
    start: IntArray,
    size: IntArray,
    digest: IntArray,
    first: int,
    row: int,
    table: Int32Array,
    mask: int,
) -> int:
    """First row in [first, row] with the bytes of ``row``; ``table`` holds rows - first + 1, 0 where free."""
    slot = slot_of(digest[row], mask)
    while table[slot] != 0:
        other = first + table[slot] - 1
        if digest[other] == digest[row] and size[other] == size[row] and same_bytes(data, start[other], start[row], size[row]):
            return other
        slot = (slot + 1) & mask
    table[slot] = row - first + 1
    return row


@lean_kernel
def _later_copies(
    data: ByteArray,
    start: IntArray,
    size: IntArray,
    chars: IntArray,
    digest: IntArray,
    first: int,
    last: int,
    table: Int32Array,
) -> tuple[int, int]:
    """(rows equal to an earlier row, their code points), empty rows included."""
    mask = table_mask(last - first)
    table[: mask + 1] = 0
    copies, copied = 0, 0
    for row in range(first, last):
        if _first_equal(data, start, size, digest, first, row, table, mask) != row:
            copies += 1
            copied += chars[row]
    return copies, copied


@lean_kernel
def _all_copies(
    data: ByteArray,
    start: IntArray,
    size: IntArray,
    chars: IntArray,
    digest: IntArray,
    first: int,
    last: int,
    table: Int32Array,
    count: Int32Array,
    skip_blank: bool,
) -> tuple[int, int, int, int]:
    """(rows with an equal, their code points, rows, their code points); blank rows left out on request."""
    mask = table_mask(last - first)
    table[: mask + 1] = 0
    rows, total, copies, copied = 0, 0, 0, 0
    for row in range(first, last):
        if skip_blank and size[row] == 0:
            continue
        rows += 1
        total += chars[row]
        original = _first_equal(data, start, size, digest, first, row, table, mask)
        if original == row:
            count[row - first] = 1
            continue
        found = count[original - first]
        count[original - first] += 1
        new = 2 if found == 1 else 1  # the second copy makes the first one a copy too
        copies += new
        copied += new * chars[row]
    return copies, copied, rows, total


@lean_kernel
def repeated_lines(
    texts: TextBuffers,
    lines: Spans,
    paragraphs: Spans,
    flavour: int,
    table: Int32Array,
    count: Int32Array,
    out: FloatArray,
) -> None:
    """Fill ``out`` (4, N): paragraph fraction, paragraph chars, line fraction, line chars; NaN where undefined.

    lines: split at ``\\n``. table, count: scratch, int32.
    """
    data = texts.data
    for text in range(texts.offsets.shape[0] - 1):
        first, last = texts.offsets[text], texts.offsets[text + 1]
        if not texts.valid[text] or first == last:
            out[:, text] = np.nan
            continue
        if flavour == DATATROVE:
            chars = count_chars(data, first, last)
            bounds = paragraphs.bounds[text], paragraphs.bounds[text + 1]
            copies, copied = _later_copies(
                data, paragraphs.start, paragraphs.size, paragraphs.chars, paragraphs.hash, bounds[0], bounds[1], table)
            out[0, text], out[1, text] = copies / (bounds[1] - bounds[0]), copied / chars
            copies, copied, pieces = _newline_run_copies(data, lines, text, table)
            out[2, text], out[3, text] = copies / pieces, copied / chars
        elif flavour == DCLM:
            for k, spans in ((0, paragraphs), (2, lines)):
                copies, copied, rows, total = _all_copies(
                    data, spans.trim_start, spans.trim_size, spans.trim_chars, spans.trim_hash,
                    spans.bounds[text], spans.bounds[text + 1], table, count, True)
                out[k, text] = copies / rows if rows != 1 else 0.0
                out[k + 1, text] = copied / total if rows != 1 else 0.0
        else:
            copies, copied, rows, _ = _all_copies(
                data, lines.start, lines.size, lines.chars, lines.hash,
                lines.bounds[text], lines.bounds[text + 1], table, count, False)
            out[0, text], out[1, text] = 0.0, 0.0
            out[2, text], out[3, text] = copies / rows, copied


@lean_kernel
def _newline_run_copies(data: ByteArray, lines: Spans, text: int, table: Int32Array) -> tuple[int, int, int]:
    """Later copies among ``re.split("\\n+", text)``: the lines that are not empty, and '' at an end that is a line break."""
    first, last = lines.bounds[text], lines.bounds[text + 1]
    mask = table_mask(last - first)
    table[: mask + 1] = 0
    copies, copied, pieces, empty = 0, 0, 0, 0
    for row in range(first, last):
        if lines.size[row] == 0:
            empty += last - first > 1 and (row == first or row == last - 1)
            continue
        pieces += 1
        if _first_equal(data, lines.start, lines.size, lines.hash, first, row, table, mask) != row:
            copies += 1
            copied += lines.chars[row]
    return copies + (empty == 2), copied, pieces + empty


@lean_kernel
def _intern(left: int, right: int, grams: int, key: IntArray, count: Int32Array, table: Int32Array, mask: int) -> int:
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
            if digest >= 0 or (words.size[other] == size and same_bytes(data, words.start[other], words.start[row], size)):
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
    size: int, words: Words, ids: Int32Array, word_id: Int32Array, counts: Int32Array, key: IntArray, table: Int32Array,
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
    size: int, grams: int, ids: Int32Array, chars_before: IntArray, count: Int32Array, flavour: int,
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
def _pack(data: ByteArray, words: Words, first: int, last: int, packed: ByteArray, at: IntArray) -> int:
    """Words joined with nothing, and where in them each begins."""
    used = 0
    for row in range(first, last):
        at[row - first] = used
        start, size = words.start[row], words.size[row]
        copy_bytes(data, start, start + size, packed, used)
        used += size
    at[last - first] = used
    return used


@lean_kernel
def _share_prefixes(
    num_words: int,
    packed: ByteArray,
    at: IntArray,
    seen: ByteArray,
    shared: Int32Array,
    listed: Int32Array,
    key: IntArray,
) -> None:
    """Fill ``shared``: how many of the packed bytes from each word on may occur at another word, 0, 8, 16 ... _PREFIX.

    Each round looks at the next 8 bytes of the words left by the one before. ``seen`` has room for 8 slots a word, which
    hold 1 or 2 for once or more; two keys in one slot cost time later and nothing else.
    """
    left = num_words
    for word in range(num_words):
        shared[word], listed[word], key[word] = 0, word, 0
    for size in range(8, _PREFIX + 1, 8):
        mask = 2 * table_mask(left) + 1
        seen[: mask + 1] = 0
        for k in range(left):
            word = listed[k]
            if at[word] + size <= at[num_words]:
                key[word] = (key[word] ^ load_word(packed, at[word] + size - 8)) * -7046029254386353131
                key[word] ^= key[word] >> 32
                slot = slot_of(key[word], mask)
                seen[slot] = min(seen[slot] + 1, 2)
        found = 0
        for k in range(left):
            word = listed[k]
            if at[word] + size <= at[num_words] and seen[slot_of(key[word], mask)] == 2:
                shared[word] = size
                listed[found] = word
                found += 1
        left = found


@lean_kernel
def _scan_copies(
    size: int,
    num_words: int,
    left: int,
    packed: ByteArray,
    at: IntArray,
    scratch: tuple[Int32Array, Int32Array, Int32Array, IntArray],
    chars_before: IntArray,
) -> tuple[int, int]:
    """Datatrove's scan: code points of n-grams equal to one seen before, joined with nothing; each hit jumps n words.

    An n-gram can only be equal to another if as much of its beginning is shared as ``_share_prefixes`` looked at: in
    ordinary text that leaves a fifth of the words for 5-grams and hardly any for 10-grams. ``listed`` holds the ``left``
    words that smaller n-grams left over. Returns (code points, words left over).
    """
    table, shared, listed, digest = scratch
    found = 0
    for k in range(left):
        word = listed[k]
        if word + size <= num_words and shared[word] >= min((at[word + size] - at[word]) & ~7, _PREFIX):
            listed[found] = word
            found += 1
    mask = table_mask(found)
    table[: mask + 1] = 0
    copied, free_from = 0, 0
    for k in range(found):
        word = listed[k]
        if word < free_from:
            continue
        length = at[word + size] - at[word]
        digest[word] = hash_bytes(packed, at[word], at[word] + length)
        slot = slot_of(digest[word], mask)
        hit = False
        while table[slot] != 0 and not hit:
            other = table[slot] - 1
            hit = (
                digest[other] == digest[word]
                and at[other + size] - at[other] == length
                and same_bytes(packed, at[other], at[word], length)
            )
            slot = (slot + 1) & mask
        if hit:
            copied += chars_before[word + size] - chars_before[word]
            free_from = word + size
        else:
            table[slot] = word + 1
    return copied, found


@lean_kernel
def _joined_copies(
    data: ByteArray,
    words: Words,
    first: int,
    last: int,
    chars_before: IntArray,
    chars: int,
    scratch: Scratch,
    out: FloatArray,
    text: int,
) -> int:
    """``duplicate_5_gram`` to ``duplicate_10_gram`` of datatrove for one text."""
    table, packed, at, digest, seen, shared, listed = scratch
    num_words = last - first
    if num_words < 5:
        return
    _pack(data, words, first, last, packed, at)
    _share_prefixes(num_words, packed, at, seen, shared, listed, digest)
    left = num_words
    for word in range(num_words):
        listed[word] = word
    for size in range(5, min(10, num_words) + 1):
        copied, left = _scan_copies(size, num_words, left, packed, at, (table, shared, listed, digest), chars_before)
        out[size + 2, text] = copied / chars


@lean_kernel
def repeated_ngrams(
    texts: TextBuffers, words: Words, flavour: int, scratch: Scratch, numbers: Numbers, out: FloatArray,
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
        alive = num_words
        for size in range(2, 11 if flavour != DATATROVE else 5):
            grams = num_words - size + 1
            if grams < 1:
                break
            alive = _next_level(size, num_words, ids, word_id, counts, key, table)
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
            _joined_copies(texts.data, words, first, last, chars_before, chars, scratch, out, text)


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
