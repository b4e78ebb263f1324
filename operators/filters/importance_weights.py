"""Files for importance weights: hashed counts of words in a set of texts to be like (target) and in one to choose from."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.kernels.buffers import text_buffers
from operators.kernels.rpv2_importance import feature_counts, log_ratios
from operators.kernels.segmentation import Segments
from pipeline.errors import UserError
from pipeline.named_files import FileState, content

BUCKETS = 10_000
"""As many as DSIR and RedPajama-V2 take."""

_HASH = "fnv1a64"
_FIELDS = ("hash", "target_counts", "source_counts", "target_words", "source_words")


class FeatureCounts(NamedTuple):
    """What a set of texts amounts to."""

    counts: npt.NDArray[np.int64]
    """int64 (B,): how often words and pairs of words of each bucket occur."""
    words: int
    documents: int


class Importance(NamedTuple):
    """A target and a source, ready to score texts."""

    ratios: npt.NDArray[np.float64]
    """float64 (B,): log of the share of a bucket in the target, less that in the source."""
    target_words: float
    """Mean words of a text."""
    source_words: float


def count_features(tables: Iterable[pa.Table], buckets: int = BUCKETS) -> FeatureCounts:
    """Counts over the ``text`` columns (large_string) of tables; null texts are left out.

    Words are runs of letters and digits or of punctuation (``word_punct``); a feature is a word or two neighbouring
    ones joined by a blank, its bucket the 64-bit FNV-1a hash of its UTF-8 modulo ``buckets``, on every machine.
    """
    counts, words, documents = np.zeros(buckets, np.int64), 0, 0
    for table in tables:
        found = Segments(text_buffers(table["text"]))
        counts += feature_counts(found, buckets)
        words += int(found.words("word_punct").bounds[-1])
        documents += table.num_rows - table["text"].null_count
    return FeatureCounts(counts, words, documents)


def write_importance(path: str | Path, target: FeatureCounts, source: FeatureCounts) -> None:
    """Write the file that ``redpajama_signals: {importance: {books: {file: ...}}}`` takes, an ``.npz``.

    Raises:
        ValueError: a set holds no word, or the two were counted into different numbers of buckets.
    """
    if not target.words or not source.words or target.counts.size != source.counts.size:
        msg = (
            f"target and source need words and equally many buckets; they have {target.words} and {source.words} "
            f"words, {target.counts.size} and {source.counts.size} buckets"
        )
        raise ValueError(msg)
    means = (one.words / one.documents for one in (target, source))
    fields: dict[str, Any] = dict(zip(_FIELDS, (_HASH, target.counts, source.counts, *means), strict=True))
    with Path(path).open("wb") as file:
        np.savez_compressed(file, **fields)


@cache
def read_importance(file: FileState) -> Importance:
    """What ``write_importance`` wrote; kept for the life of the process as long as the file stays as it is.

    Raises:
        UserError: no such file, another kind of file, or one that has changed since the run was planned.
    """
    path = file.path
    try:
        with np.load(io.BytesIO(content(file))) as stored:
            kind, target, source, target_words, source_words = (stored[name] for name in _FIELDS)
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        msg = f"cannot read the importance weights {path}: {error}; make them with operators.filters.importance_weights"
        raise UserError(msg) from error
    if str(kind) != _HASH:
        msg = f"the importance weights {path} count features by hash {kind}, this version by {_HASH}; make them again"
        raise UserError(msg)
    return Importance(log_ratios(target, source), float(target_words), float(source_words))
