"""Kernel for datatrove's repeated n-grams: words joined with nothing, and a scan that jumps over each copy it finds."""

from __future__ import annotations

from operators.kernels.buffers import ByteArray, FloatArray, Int32Array, IntArray
from operators.kernels.bytewise import copy_bytes, hash_bytes, load_word, same_bytes, slot_of, table_mask
from operators.kernels.compiled import lean_kernel
from operators.kernels.words import Words

_PREFIX = 40
"""Bytes looked at before an n-gram is hashed; 10 words have 42 in English prose."""
_FIRST_PREFIX = 16
"""Bytes looked at in the first round; 5 words have 21 in English prose, and shorter n-grams are always hashed."""

Scratch = tuple[Int32Array, ByteArray, IntArray, IntArray, ByteArray, Int32Array, Int32Array]


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
    """Fill ``shared``: how many of the packed bytes from each word on may occur at another word, 0, 16, 24 ... _PREFIX.

    The first round looks at 16 bytes, each further one at the next 8 of the words left by the one before. ``seen`` has room for 8 slots a word, which
    hold 1 or 2 for once or more; two keys in one slot cost time later and nothing else.
    """
    left = num_words
    for word in range(num_words):
        shared[word], listed[word], key[word] = 0, word, 0
    for size in range(_FIRST_PREFIX, _PREFIX + 1, 8):
        mask = 2 * table_mask(left) + 1
        seen[: mask + 1] = 0
        for k in range(left):
            word = listed[k]
            if at[word] + size <= at[num_words]:
                if size == _FIRST_PREFIX:
                    key[word] = load_word(packed, at[word]) * -4658895280553007687
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
        if word + size > num_words:
            break
        length = at[word + size] - at[word]
        if length < _FIRST_PREFIX or shared[word] >= min(length & ~7, _PREFIX):
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
def joined_copies(
    data: ByteArray,
    words: Words,
    first: int,
    last: int,
    chars_before: IntArray,
    chars: int,
    scratch: Scratch,
    out: FloatArray,
    text: int,
) -> None:
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
