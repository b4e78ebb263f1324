"""Which pairs deduplication finds, by their Jaccard value: the formula, and pairs of that very value run through it.

    python -m benchmarks.dedup_scurve [--pairs 400]

A pair shares a run of random words and differs in the rest, so that its exact Jaccard value over 5-grams is set. With
a threshold next to nothing a document goes as soon as it shares a bucket; with 0.7 the estimate must agree as well.
"""

from __future__ import annotations

import argparse
import random
import string
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datasketch import MinHashLSH

from benchmarks.dedup_quality import table
from benchmarks.dedup_systems import recipe, write_shards
from pipeline.session import Settings
from workflows import load, run

SHAPES = ((14, 8), (9, 13), (16, 7), (20, 5), (25, 10), (20, 13), (26, 11), (450, 20))
"""FineWeb; what datasketch takes for 0.8 and 128; others in use, down to Lee et al.'s 450 x 20."""
MEASURED = ((14, 8), (9, 13), (20, 5))
VALUES = (0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
GRAMS = 200
NEXT_TO_NOTHING = 0.01


def found_by(value: float, bands: int, rows: int) -> float:
    """Chance that one of the bands agrees."""
    return 1 - (1 - value**rows) ** bands


def half(bands: int, rows: int) -> float:
    """The Jaccard value of which half is found."""
    return (1 - 0.5 ** (1 / bands)) ** (1 / rows)


def word(chance: random.Random) -> str:
    """A word that hardly comes twice."""
    return "".join(chance.choices(string.ascii_lowercase, k=10))


def pairs(value: float, count: int, chance: random.Random) -> Iterator[tuple[str, str, float]]:
    """Pairs of texts of GRAMS 5-grams each that share their first words, with their exact Jaccard value."""
    shared = round(2 * GRAMS * value / (1 + value))
    for _ in range(count):
        same = [word(chance) for _ in range(shared + 4)]
        left, right = ([*same, *(word(chance) for _ in range(GRAMS - shared))] for _ in range(2))
        yield " ".join(left), " ".join(right), shared / (2 * GRAMS - shared)


def removed(docs: Sequence[dict[str, Any]], **near: Any) -> set[str]:
    """Ids of what goes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shards(folder, docs, 1)
        path = recipe(folder, {"minhash": {"ngram": 5, **near}})
        done = run(load(path), folder / "run", settings=Settings(backend="inline", progress="none"))
        left = {key for part in done["unique"].documents() for key in part["record_id"].to_pylist()}
    return {doc["id"] for doc in docs} - left


def measured(count: int) -> None:
    """Formula and measurement side by side."""
    chance = random.Random(4)
    docs, exact = [], {}
    for value in VALUES:
        for number, (left, right, true) in enumerate(pairs(value, count, chance)):
            exact[value] = true
            docs += [{"id": f"{value}/{number}/{side}", "text": text} for side, text in (("a", left), ("b", right))]
    runs = {f"{bands} x {r}": removed(docs, bands=bands, rows=r, threshold=NEXT_TO_NOTHING) for bands, r in MEASURED}
    runs["14 x 8 and estimate >= 0.7"] = removed(docs, bands=14, rows=8, threshold=0.7)
    shares = {
        name: {value: sum(key.startswith(f"{value}/") for key in gone) / count for value in VALUES}
        for name, gone in runs.items()
    }
    print(f"\n{count} pairs a row; formula, then measured")
    head = ["Jaccard", *(part for name in list(runs)[:3] for part in (f"{name}, formula", "measured")), list(runs)[3]]
    table(
        head,
        [
            [
                f"{exact[value]:.3f}",
                *(
                    f"{number:.3f}"
                    for b, r in MEASURED
                    for number in (found_by(exact[value], b, r), shares[f"{b} x {r}"][value])
                ),
                f"{shares['14 x 8 and estimate >= 0.7'][value]:.3f}",
            ]
            for value in VALUES
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=400)
    options = parser.parse_args()
    at = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    table(
        ["bands x rows", "slots", "half found at", *(str(value) for value in at)],
        [
            [f"{b} x {r}", b * r, f"{half(b, r):.3f}", *(f"{found_by(value, b, r):.3f}" for value in at)]
            for b, r in SHAPES
        ],
    )
    rows = []
    for threshold, num_perm in ((0.7, 112), (0.7, 128), (0.8, 112), (0.8, 128), (0.9, 128)):
        chosen = MinHashLSH(threshold=threshold, num_perm=num_perm)
        rows.append([threshold, num_perm, f"{chosen.b} x {chosen.r}", f"{found_by(threshold, chosen.b, chosen.r):.3f}"])
    print("\nWhat datasketch's optimal_param chooses, and the share of pairs at the threshold itself that it finds")
    table(["threshold", "num_perm", "bands x rows", "found at the threshold"], rows)
    measured(options.pairs)


if __name__ == "__main__":
    main()
