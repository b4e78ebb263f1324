"""Sets of documents with known similar pairs, and exact Jaccard values by two definitions.

A folder of data has ``throughput/{base,planted,planted_pairs,truth_pairs_j30}.jsonl.zst`` and ``dedup/NAME_docs``,
``NAME_pairs``, ``NAME_truth_j30``, and ``dedup/paws_dev``: documents with ``id``, ``text``, ``lang``; pairs with
``id_a``, ``id_b`` and ``jaccard_w5``, and where they are known ``kind``, ``rate``, ``same_page``, ``label``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.labelled_rows import read_rows
from operators.kernels.shingles import shingle_hashes

NGRAM = 5
SETS = ("throughput", "small", "natural", "versions", "paws")

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W_]+")
"""Gives back the files' Jaccard values to their four places (250 of 250 pairs of throughput drawn at random)."""

Shingles = npt.NDArray[np.integer[Any]]


@dataclass
class DocumentSet:
    """Documents by id, in the order of their file, and what is known of their pairs."""

    name: str
    docs: dict[str, dict[str, Any]]
    truth: list[dict[str, Any]] = field(default_factory=list)
    """Similar pairs, each with ``jaccard_w5``."""
    pairs: list[dict[str, Any]] = field(default_factory=list)
    """Pairs that somebody made or labelled."""

    @cached_property
    def texts(self) -> dict[str, str]:
        """Id to text."""
        return {key: doc["text"] for key, doc in self.docs.items()}

    @cached_property
    def megabytes(self) -> float:
        """UTF-8 bytes of all texts, in 1e6."""
        return sum(len(text.encode()) for text in self.texts.values()) / 1e6


def load_set(data: Path, name: str) -> DocumentSet:
    """One of ``SETS``."""
    if name == "throughput":
        folder = data / "throughput"
        rows = [*read_rows(folder / "base.jsonl.zst"), *read_rows(folder / "planted.jsonl.zst")]
        truth, pairs = (list(read_rows(folder / f"{part}.jsonl.zst")) for part in ("truth_pairs_j30", "planted_pairs"))
        return DocumentSet(name, {row["id"]: row for row in rows}, truth, pairs)
    if name == "paws":
        return _sentences(data / "dedup" / "paws_dev.jsonl.zst")
    docs = {row["id"]: row for row in read_rows(data / "dedup" / f"{name}_docs.jsonl.zst")}
    pairs = list(read_rows(data / "dedup" / f"{name}_pairs.jsonl.zst"))
    truth = data / "dedup" / f"{name}_truth_j30.jsonl.zst"
    return DocumentSet(name, docs, list(read_rows(truth)) if truth.exists() else pairs, pairs)


def _sentences(path: Path) -> DocumentSet:
    """Each sentence a document; every pair is told apart by ``label``: 1 where both say the same."""
    docs, pairs = {}, []
    for row in read_rows(path):
        keys = [f"{row['id']}/{side}" for side in "ab"]
        for key, side in zip(keys, "ab", strict=True):
            docs[key] = {"id": key, "text": row[f"text_{side}"], "lang": "en", "source": "paws"}
        pairs.append({"id_a": keys[0], "id_b": keys[1], "label": row["label"]})
    found = DocumentSet("paws", docs, pairs=pairs)
    measure = Similarity(found)
    for pair in pairs:
        pair["jaccard_w5"] = measure.jaccard(pair["id_a"], pair["id_b"])[0]
    found.truth = pairs
    return found


def words(text: str) -> list[str]:
    """NFKC, lower case; a Han or kana character at which a word would begin is one: the words of the pairs' values."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


def word_shingles(text: str) -> Shingles:
    """Sorted hashes of the distinct word 5-grams; of the whole text where it has fewer words."""
    found = words(text)
    grams = {tuple(found[k : k + NGRAM]) for k in range(len(found) - NGRAM + 1)} or {tuple(found)}
    return np.sort(np.fromiter((hash(gram) for gram in grams), np.int64, len(grams)))


def folded_shingles(texts: Sequence[str]) -> list[Shingles]:
    """The same by our own folding: sorted distinct 32-bit hashes; none where a text is shorter than a shingle."""
    hashes, starts = shingle_hashes(pa.array(texts, pa.large_string()), NGRAM)
    return [np.unique(hashes[starts[k] : starts[k + 1]]) for k in range(len(texts))]


class Similarity:
    """Exact Jaccard values between documents of a set; the shingles of every document asked for are kept."""

    def __init__(self, docs: DocumentSet) -> None:
        self._texts = docs.texts
        self._words: dict[str, Shingles] = {}
        self._folded: dict[str, Shingles] = {}

    def jaccard(self, left: str, right: str) -> tuple[float, float]:
        """By the definition of the pairs, and by ours."""
        if self._texts[left] == self._texts[right]:
            return 1.0, 1.0
        return _jaccard(*map(self._by_words, (left, right))), _jaccard(*map(self._by_folding, (left, right)))

    def _by_words(self, key: str) -> Shingles:
        if key not in self._words:
            self._words[key] = word_shingles(self._texts[key])
        return self._words[key]

    def _by_folding(self, key: str) -> Shingles:
        if key not in self._folded:
            (self._folded[key],) = folded_shingles([self._texts[key]])
        return self._folded[key]


def _jaccard(left: Shingles, right: Shingles) -> float:
    both = len(np.intersect1d(left, right, assume_unique=True))
    either = len(left) + len(right) - both
    return both / either if either else 0.0
