"""Time and memory of every node of deduplication at 1/16, 1/4 and all of a corpus, with fitted exponents.

    python -m benchmarks.dedup_scaling DATA [--lines]

Subsets of ``throughput`` base + planted by hash of the id, not copies: a document is in the sixteenth, the quarter and
the whole or in the latter. ``--lines`` takes every line of ten words and more as a document: fewer bytes, many more
documents. Shards hold about the same number of documents at each size. CPU seconds, one process, inline.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xxhash

from benchmarks.dedup_measured import in_a_process
from benchmarks.dedup_peers import LEAST_WORDS
from benchmarks.dedup_quality import table
from benchmarks.dedup_sets import load_set
from benchmarks.dedup_systems import recipe, write_shards

PARTS = (16, 4, 1)
SHARDS = 16


def documents(data: Path, *, lines: bool) -> list[dict[str, Any]]:
    """All of the corpus, or all of its long lines."""
    docs = load_set(data, "throughput").texts
    if not lines:
        return [{"id": key, "text": text, "lang": "en"} for key, text in docs.items()]
    return [
        {"id": f"{key}/{number}", "text": line, "lang": "en"}
        for key, text in docs.items()
        for number, line in enumerate(text.split("\n"))
        if len(line.split()) >= LEAST_WORDS
    ]


def cost(rows: Sequence[Mapping[str, Any]], shards: int) -> dict[str, Any]:
    """What every node costs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shards(folder, rows, shards)
        recipe(folder, {})
        return in_a_process(folder)


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Slope of the logarithms, least squares."""
    x, y = ([math.log(max(value, 1e-6)) for value in values] for values in (sizes, costs))
    middle = sum(x) / len(x)
    return sum((a - middle) * b for a, b in zip(x, y, strict=True)) / sum((a - middle) ** 2 for a in x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--lines", action="store_true")
    options = parser.parse_args()
    rows = documents(options.data, lines=options.lines)
    subsets = {
        part: [row for row in rows if xxhash.xxh3_64_intdigest(row["id"].encode()) % part == 0] for part in PARTS
    }
    sizes = [sum(len(row["text"].encode()) for row in subset) / 1e6 for subset in subsets.values()]
    found = [cost(subset, max(1, SHARDS // part)) for part, subset in subsets.items()]
    named = [f"1/{part}" if part > 1 else "all" for part in PARTS]
    counts = [len(subset) for subset in subsets.values()]
    described = (f"{n} {count:,} documents, {size:.1f} MB" for n, count, size in zip(named, counts, sizes, strict=True))
    print("; ".join(described) + f"; load {Path('/proc/loadavg').read_text().split()[0]}")
    start = found[-1]["whole"]["start_mib"]
    print(f"The process stands at {start:.0f} MiB before it begins; exponents over documents, of CPU seconds")
    names = [*found[-1]["nodes"], "whole"]
    costs = {name: [one["whole"] if name == "whole" else one["nodes"][name] for one in found] for name in names}
    table(
        ["node", *(f"CPU s, {name}" for name in named), "exponent", "1/4 to all", "documents/s", *(f"MiB, {name}" for name in named)],
        [
            [
                name,
                *(f"{one['cpu_s']:.2f}" for one in each),
                f"{exponent(counts, [one['cpu_s'] for one in each]):.2f}",
                f"{exponent(counts[1:], [one['cpu_s'] for one in each[1:]]):.2f}",
                f"{(counts[2] - counts[1]) / max(1e-6, each[2]['cpu_s'] - each[1]['cpu_s']):,.0f}",
                *(f"{one['peak_mib']:.0f}" for one in each),
            ]
            for name, each in costs.items()
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
