"""Precision and recall of ScrubPii on labelled spans: ``python -m benchmarks.pii_quality FILE.jsonl.zst ...``.

Rows: ``text``, ``spans`` and, if any, ``decoys``, both of ``{start, end, type, value}``.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.labelled_rows import as_table, read_rows
from operators.kernels.buffers import text_buffers
from operators.kernels.pii_spans import EMAIL, IP, find_pii

KINDS = {"EMAIL": EMAIL, "EMAIL_ADDRESS": EMAIL, "IP": IP, "IP_ADDRESS": IP}
NAMES = {EMAIL: "email", IP: "ip"}


def main(paths: list[Path]) -> None:
    """Print a line per file and type."""
    for path in paths:
        rows = list(read_rows(path))
        data, offsets, _ = text_buffers(as_table([row["text"] for row in rows])["text"])
        spans, kinds = find_pii(data, offsets, np.arange(len(rows)), EMAIL | IP)
        found = [set() for _ in rows]
        for (start, end, row), kind in zip(spans.tolist(), kinds.tolist(), strict=True):
            found[row].add((start - int(offsets[row]), end - int(offsets[row]), kind))
        report(path, rows, found)


def report(path: Path, rows: list[dict[str, Any]], found: list[set[tuple[int, int, int]]]) -> None:
    """Print what was found exactly, missed, and found where it should not be."""
    exact, gold, hits, wrong, decoys = Counter(), Counter(), Counter(), [], Counter()
    for row, spans in zip(rows, found, strict=True):
        truth = {(*in_bytes(row["text"], span), KINDS[span["type"]]) for span in row["spans"] if span["type"] in KINDS}
        gold.update(kind for *_, kind in truth)
        hits.update(kind for *_, kind in spans)
        exact.update(kind for *_, kind in truth & spans)
        wrong += [(NAMES[k], row["text"].encode()[s:e].decode()) for s, e, k in spans - truth]
        wrong += [(f"missed {NAMES[k]}", row["text"].encode()[s:e].decode()) for s, e, k in truth - spans]
        for decoy in row.get("decoys", ()):
            start, end = in_bytes(row["text"], decoy)
            decoys[f"{decoy['type']}, {any(s < end and start < e for s, e, _ in spans)}"] += 1
    for kind, name in NAMES.items():
        precision, recall = exact[kind] / max(hits[kind], 1), exact[kind] / max(gold[kind], 1)
        print(
            f"{path.name} {name}: {gold[kind]} labelled, precision {precision:.4f}, recall {recall:.4f} (exact spans)"
        )
    print("  decoys, whether touched:", dict(sorted(decoys.items())))
    print("  differences:", wrong[:20])


def in_bytes(text: str, span: dict[str, Any]) -> tuple[int, int]:
    """A span of characters as one of UTF-8 bytes."""
    return len(text[: span["start"]].encode()), len(text[: span["end"]].encode())


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
