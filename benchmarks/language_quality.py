"""Accuracy of Language on labelled sentences: ``python -m benchmarks.language_quality FILE.jsonl.zst``.

Rows: ``text``, ``lang`` (ISO 639-1).
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from benchmarks.labelled_rows import as_table, read_rows
from operators.classify.language import LABELS, UNDETERMINED, Language

# One written language under two codes.
SAME = {"nb": "no", "no": "no", "iw": "he", "wuu": "zh", "yue": "zh"}


def main(path: Path) -> None:
    """Print accuracy over all, over long enough texts, over confident ones, and the worst languages."""
    rows = [row for row in read_rows(path) if SAME.get(row["lang"], row["lang"]) in LABELS]
    measures = Language(min_chars=0).measure(as_table([row["text"] for row in rows]))
    labels = [SAME.get(label, label) for label in measures["label"].to_pylist()]
    truth = [SAME.get(row["lang"], row["lang"]) for row in rows]
    scores = [score or 0.0 for score in measures["score"].to_pylist()]
    long_enough = [len(row["text"]) >= Language().min_chars for row in rows]
    right = [label == lang for label, lang in zip(labels, truth, strict=True)]
    sure = [score >= (Language().min_score or 0) for score in scores]
    line("all sentences", right)
    line("of 50 characters and more", [ok for ok, use in zip(right, long_enough, strict=True) if use])
    both = [ok for ok, use, is_sure in zip(right, long_enough, sure, strict=True) if use and is_sure]
    line("of those, with a score of 0.65 and more", both)
    totals = Counter(truth)
    hits = Counter(lang for lang, ok in zip(truth, right, strict=True) if ok)
    recall = sorted((hits[lang] / total, lang) for lang, total in totals.items())
    print(f"{len(totals)} languages, mean recall {sum(value for value, _ in recall) / len(recall):.4f}")
    print("lowest recall:", ", ".join(f"{lang} {value:.2f}" for value, lang in recall[:10]))
    print("undetermined:", labels.count(UNDETERMINED))


def line(name: str, right: list[bool]) -> None:
    """Print one share."""
    print(f"{name}: {sum(right)} of {len(right)}, {sum(right) / max(len(right), 1):.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
