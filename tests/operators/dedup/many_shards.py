"""Steps over more shards and partitions than their process may open files: what ``test_many_shards`` starts."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from operators.dedup.lines.verb import DedupLines
from operators.dedup.split.verb import Split
from operators.dedup.substrings.verb import DedupSubstrings
from operators.dedup.verb import Dedup
from tests.operators.dedup import runner
from tests.operators.dedup.lines import runner as lines_runner
from tests.operators.dedup.substrings import runner as substrings_runner

NUM_SHARDS = NUM_PARTITIONS = 20  # the time grows with the square
MOST_FILES = 20
CUT: dict[str, Any] = {"partitions": NUM_PARTITIONS}
SHARED_LINE = "this very line stands in every one of the documents of all shards"


def corpus(num_shards: int = NUM_SHARDS) -> list[list[pa.Table]]:
    """Two documents a shard: an exact copy of one of ten texts, and a near copy of another."""
    shards = []
    for k in range(num_shards):
        words = [f"f{k % 10}w{j}" for j in range(30)]
        texts = [f"{' '.join(words)}\n{SHARED_LINE}", f"{' '.join(words)} tail{k}\n{SHARED_LINE}"]
        ids = [f"{k:08d}{row:08d}".encode() for row in (0, 1)]
        docs = runner.documents(texts, ids=ids).append_column("url", pa.nulls(2, pa.string()))
        shards.append([docs.append_column("language.label", pa.array(["en", "en"]))])
    return shards


def dedup(folder: Path) -> int:
    """Exact copies, edges, clusters, alarm, verdicts and index; returns how many documents stay: one of each text."""
    step = Dedup.model_validate({**CUT, "index": True, "audit": 5})
    found = runner.run(step, corpus(), folder)
    return sum(sum(found.keep(shard)) for shard in range(NUM_SHARDS))


def lines(folder: Path) -> int:
    """Lines that several documents hold; returns how many documents still have the shared line."""
    step = DedupLines.model_validate({**CUT, "keep": "first", "min_documents": 2})
    found = lines_runner.run(step, corpus(), folder)
    return sum(SHARED_LINE in (text or "") for text in found.texts().values())


def split(folder: Path) -> int:
    """Held-out sets by clusters; returns how many documents are in one of the sides."""
    step = Split.model_validate({**CUT, "held_out": {"validation": 0.3}})
    found = runner.run(step, corpus(), folder, "parts")  # pyrefly: ignore[bad-argument-type]
    names = ("parts", "parts.validation")
    return sum(int(result.ledger.kept.docs) for name in names for result in found.results[name])


def substrings(folder: Path) -> int:
    """Runs of words; returns how many documents still hold the shared line."""
    del folder
    step = DedupSubstrings.model_validate({**CUT, "min_tokens": 10})
    return sum(SHARED_LINE in text for text in substrings_runner.run(step, corpus()).texts().values())


STEPS: dict[str, Callable[[Path], int]] = {one.__name__: one for one in (dedup, lines, split, substrings)}


def main(folder: str) -> None:
    """Run steps with few file descriptors, and print what each returns."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_FILES, MOST_FILES))
    for name, step in STEPS.items():
        print(name, step(Path(folder) / name))  # read by the test


if __name__ == "__main__":
    main(*sys.argv[1:])
