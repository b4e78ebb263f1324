"""Speed of the heuristic filters on one core: ``python -m benchmarks.heuristics documents.jsonl.zst [--limit 10000]``.

Each line gives the first and the best of several passes over the same documents, in Arrow buffers of their own per batch,
nothing shared between lines; other documents warm up. ``chain`` runs all filters of a recipe over each batch, which finds its words and lines once;
``over c4's texts`` runs FineWeb's rules over what C4's left of each text, whose lines and words are found anew; ``apply``
is that through ``pipeline.apply``, with verdicts, dropped rows, excerpts and account; by 500 documents, and by as many as
a run hands out at once.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pyarrow as pa
import zstandard

from operators.extract.fix_text import FixText
from operators.filters.c4_lines import C4Lines
from operators.filters.chinese_quality import ChineseQuality
from operators.filters.fineweb_quality import FinewebQuality
from operators.filters.gopher_quality import GopherQuality
from operators.filters.gopher_repetition import GopherRepetition
from operators.kernels.segmentation import segments
from pipeline.apply import apply
from pipeline.shards import ROWS_PER_READ

BATCH_ROWS = 500
PASSES = 5


def texts(path: Path, limit: int) -> Iterator[str]:
    """The ``text`` field of each line."""
    opened = zstandard.open(path, "rb") if path.suffix == ".zst" else path.open("rb")
    with io.BufferedReader(opened) as lines:
        for k, line in enumerate(lines):
            if k == limit:
                return
            yield orjson.loads(line)["text"]


def tables(documents: list[str], rows: int) -> list[pa.Table]:
    """The documents in tables of so many rows, each in buffers of its own."""
    return [
        pa.table(
            {
                "id": pa.array([str(row) for row in range(k, min(k + rows, len(documents)))]),
                "text": pa.array(documents[k : k + rows], pa.large_string()),
            }
        )
        for k in range(0, len(documents), rows)
    ]


def seconds(run: Callable[[pa.Table], object], batches: list[pa.Table]) -> tuple[float, float]:
    """CPU seconds of the first pass and of the best one."""
    passes = []
    for _ in range(PASSES):
        segments(batches[0].slice(0, 1))  # what is remembered of the last batch goes, the memory for the next one stays
        begin = time.thread_time()
        for batch in batches:
            run(batch)
        passes.append(time.thread_time() - begin)
    return passes[0], min(passes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--limit", type=int, default=10_000)
    arguments = parser.parse_args()
    documents = list(texts(arguments.path, arguments.limit))
    others = list(texts(arguments.path, arguments.limit + ROWS_PER_READ))[arguments.limit :] or documents
    batches, of_a_run = tables(documents, BATCH_ROWS), tables(documents, ROWS_PER_READ)
    megabytes = sum(len(text.encode()) for text in documents) / 1e6
    repetition, quality, c4, fineweb = GopherRepetition(), GopherQuality(), C4Lines(), FinewebQuality()
    runs: dict[str, Callable[[pa.Table], object]] = {
        "gopher_repetition": repetition.measure,
        "gopher_repetition dclm": GopherRepetition(flavour="dclm").measure,
        "gopher_repetition dolma": GopherRepetition(flavour="dolma").measure,
        "gopher_quality": quality.measure,
        "c4_lines": c4.map,
        "chinese_quality": ChineseQuality().measure,
        "fix_text": FixText().map,
        "words (unicode)": lambda docs: segments(docs).words("unicode"),
        "chain: repetition + quality": lambda docs: (repetition.measure(docs), quality.measure(docs)),
        "chain: repetition + quality + c4": lambda docs: (
            repetition.measure(docs),
            quality.measure(docs),
            c4.map(docs),
        ),
        "chain: the same + fineweb": lambda docs: (
            repetition.measure(docs),
            quality.measure(docs),
            c4.map(docs),
            fineweb.measure(docs),
        ),
        "chain: fineweb over c4's texts": lambda docs: (
            repetition.measure(docs),
            quality.measure(docs),
            fineweb.measure(c4.map(docs)),
        ),
        "apply: the same": lambda docs: apply([repetition, quality, c4, fineweb], docs),
    }
    as_in_a_run = f"apply: the same, by {ROWS_PER_READ:,}"
    runs[as_in_a_run] = runs["apply: the same"]
    print(
        f"{len(documents)} documents, {megabytes:.1f} MB, one core, MB/s of the first and the best of {PASSES} passes"
    )
    for name, run in runs.items():
        given, rows = (of_a_run, ROWS_PER_READ) if name == as_in_a_run else (batches, BATCH_ROWS)
        for batch in tables(others, rows)[:2]:  # compiles, and touches the memory of a process that does this all day
            run(batch)
        first, best = seconds(run, given)
        print(f"{name:34s} {megabytes / first:8.1f} {megabytes / best:8.1f} {len(documents) / best:10.0f} docs/s")


if __name__ == "__main__":
    main()
