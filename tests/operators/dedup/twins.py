"""Slow, obvious twins of the kernels and of the whole step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from datasketch import MinHash

from operators.kernels.fold import ALONE, LETTER, MARK, SKIP, fold_table

M64 = (1 << 64) - 1


def folded_words(text: str) -> list[list[int]]:
    """The words of a text as lists of folded code points."""
    table = fold_table()
    words: list[list[int]] = []
    is_open, takes_letters = False, True
    for char in text:
        entry = int(table[ord(char)])
        kind, code = entry >> 24, entry & 0xFFFFFF
        if kind == SKIP or (kind == MARK and not is_open):
            continue
        if kind == MARK or (kind == LETTER and is_open and takes_letters):
            words[-1].append(code)
        elif kind in (LETTER, ALONE):
            words.append([code])
            is_open, takes_letters = True, kind == LETTER
        else:
            is_open = False
    return words


def finish64(value: int) -> int:
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & M64
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & M64
    return value ^ value >> 33


def word_hash(word: Sequence[int]) -> int:
    value = 0
    for code in word:
        value = (value ^ code) * 0x9E3779B97F4A7C15 & M64
    return finish64(value)


def shingles(text: str, ngram: int) -> list[int]:
    """32-bit hashes of the n-grams of a text."""
    words = [word_hash(word) for word in folded_words(text)]
    hashes = []
    for start in range(len(words) - ngram + 1):
        value = 0
        for word in words[start : start + ngram]:
            value = (value * 0xBF58476D1CE4E5B9 + word) & M64
        hashes.append(finish64(value) >> 32)
    return hashes


def same(value: int) -> int:
    return value


def datasketch_signature(hashes: Sequence[int], num_perm: int) -> list[int]:
    sketch = MinHash(num_perm, scheme="affine32", hashfunc=same)
    sketch.update_batch(hashes)
    return sketch.hashvalues.tolist()


def slot_byte(slot: int) -> int:
    """Top byte of murmur3's 32-bit finisher."""
    slot = (slot ^ slot >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    slot = (slot ^ slot >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return (slot ^ slot >> 16) >> 24


@cache
def sketch_bytes(text: str, ngram: int, num_perm: int) -> bytes | None:
    """The slot bytes of a text, None where it has no shingle."""
    hashes = shingles(text, ngram)
    return bytes(slot_byte(slot) for slot in datasketch_signature(hashes, num_perm)) if hashes else None


@dataclass(frozen=True)
class Doc:
    id: bytes
    text: str | None
    date: str | None = None
    epoch: int = 0


@dataclass(frozen=True)
class Verdict:
    """How a document went: kind, the document that stays for it, equal slots."""

    kind: str
    rep: bytes
    equal: int


@dataclass(frozen=True)
class Rule:
    exact: bool = True
    ngram: int = 5
    bands: int = 14
    rows: int = 8
    threshold: float = 0.7
    keep: str = "longest"

    @property
    def num_perm(self) -> int:
        return max(112, self.bands * self.rows)


def decide(docs: Sequence[Doc], rule: Rule) -> dict[bytes, Verdict]:
    """The O(n^2) rule: in content order, gone if identical to an earlier one, or similar to one that stays."""
    verdicts: dict[bytes, Verdict] = {}
    stays: list[tuple[bytes, bytes]] = []
    first_of: dict[str, bytes] = {}
    num_perm = rule.num_perm
    for doc in sorted(docs, key=lambda doc: (doc.epoch, _order(doc, rule.keep))):
        if doc.text is None:
            continue
        if rule.exact and doc.text in first_of:
            original = first_of[doc.text]
            verdicts[doc.id] = Verdict("exact", original, num_perm)
            if original in verdicts:
                verdicts[doc.id] = Verdict("exact", verdicts[original].rep, verdicts[original].equal)
            continue
        first_of.setdefault(doc.text, doc.id)
        sketch = sketch_bytes(doc.text, rule.ngram, num_perm)
        if sketch is None:
            continue
        best = None
        for key, other in stays:
            if not any(
                sketch[k : k + rule.rows] == other[k : k + rule.rows]
                for k in range(0, rule.bands * rule.rows, rule.rows)
            ):
                continue
            equal = sum(a == b for a, b in zip(sketch, other, strict=True))
            estimate = (equal / num_perm - 1 / 256) / (1 - 1 / 256)
            if estimate >= rule.threshold and (best is None or equal > best.equal):
                best = Verdict("near", key, equal)
        if best is None:
            stays.append((doc.id, sketch))
        else:
            verdicts[doc.id] = best
    return verdicts


def _order(doc: Doc, keep: str) -> tuple[object, bytes]:
    digits = int((doc.date or "").replace("-", "") or 0)
    match keep:
        case "longest":
            return -len((doc.text or "").encode()), doc.id
        case "newest":
            return -digits if doc.date else 1, doc.id
        case "oldest":
            return digits if doc.date else 10**9, doc.id
        case _:
            return 0, doc.id
