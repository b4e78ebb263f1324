"""Heuristic chains of four tools and ours, side by side: ``python -m benchmarks.heuristics_peers documents.jsonl.zst``.

Each tool runs in its own process and environment (``benchmarks/peers/install.py``) on one core and gets the same chunks of
documents as we do, in turn: chunk 1 to us, to them, to the next, chunk 2 to us, ... Only the filters are timed, in CPU
seconds of the process, after a chunk that warms up; reading, imports and the pipes are not. A slow tool stops at
``--seconds`` of its own work, and its ratio is taken over the documents that it saw. Three kinds of text: English and
Chinese documents of the file, and Python sources of this interpreter's standard library.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from benchmarks.labelled_rows import read_rows
from benchmarks.peers.process import Side, has_punkt, installed
from benchmarks.peers.sources import python_sources

CHUNK_ROWS = 1000
JUICER = "alphanumeric, line lengths, character and word 10-gram repetition, special characters, length, words"
CHAINS = {
    "english": (
        (
            "sluice",
            "chain english",
            "Gopher repetition + quality, C4, FineWeb; all measures of all rows, account of drops",
        ),
        ("datatrove", "chain english", "the same four filters as shipped; a dropped text is not looked at again"),
        ("datatrove", "chain english nltk", "the same with NLTK's words, as when FineWeb was made"),
        ("nemo", "chain english", "heuristic_filter_english_pipeline.yaml: 28 filters"),
        ("dolma", "chain english", "taggers gopher_v2 and c4_v2"),
        ("sluice", "operators english", "our operators alone, without account, excerpts and moving of rows"),
        ("juicer", "chain english", JUICER),
        ("juicer", "chain english n-grams", "the same with word repetition for n = 2 to 10, as Gopher has it"),
    ),
    "code": (
        ("sluice", "chain code", "CodeQuality(flavour nemo)"),
        ("nemo", "chain code", "Python comments, lines, letters, XML header"),
    ),
    "chinese": (
        ("sluice", "chain chinese", "Gopher repetition, FineWeb, Gopher quality with FineWeb2's limits for cmn_Hani"),
        ("datatrove", "chain chinese", "the same, words by spaCy with jieba, as shipped"),
        ("nemo", "chain chinese", "heuristic_filter_non_english_pipeline.yaml, words by jieba, without SymbolsToWords"),
        ("dolma", "chain chinese", "taggers gopher_v2 and c4_v2: a Chinese paragraph is one word"),
        ("juicer", "chain chinese", "as above: a Chinese paragraph is one word"),
    ),
}


class Tally(NamedTuple):
    """What one tool has done of one kind of text, and what we did of the same documents."""

    documents: int = 0
    megabytes: float = 0.0
    seconds: float = 0.0
    our_seconds: float = 0.0
    kept: int = 0
    peak_mib: float = 0.0

    def plus(self, texts: Sequence[str], reply: dict[str, object], ours: dict[str, object]) -> Tally:
        """With one chunk more."""
        size = sum(len(text.encode()) for text in texts) / 1e6
        kept = reply["kept"]
        return Tally(
            self.documents + len(texts), self.megabytes + size, self.seconds + float(str(reply["cpu_s"])),
            self.our_seconds + float(str(ours["cpu_s"])), self.kept + (sum(kept) if isinstance(kept, list) else 0),
            max(self.peak_mib, float(str(reply["peak_mib"]))),
        )  # fmt: skip


def chunks(texts: Iterator[str], limit: int) -> Iterator[list[str]]:
    """Up to ``limit`` documents in chunks."""
    rest = islice(texts, limit)
    while chunk := list(islice(rest, CHUNK_ROWS)):
        yield chunk


def texts_of(kind: str, path: Path) -> Iterator[str]:
    """Documents of one kind."""
    if kind.startswith("code"):
        return python_sources()
    lang = {"english": "en", "chinese": "zh"}[kind]
    return (row["text"] for row in read_rows(path) if row.get("lang") == lang)


def measure(kind: str, path: Path, options: argparse.Namespace) -> None:
    """One table: all tools over one kind of text, chunk by chunk in turn."""
    chain = CHAINS[kind.removeprefix("code, ").replace("web chain", "english")]
    entries = [entry for entry in chain if installed(entry[0]) and ("nltk" not in entry[1] or has_punkt())]
    missing = {entry[0] for entry in chain} - {entry[0] for entry in entries}
    sides = [Side(name, core=options.core) for name, _, _ in entries]
    tallies = [Tally() for _ in entries]
    whole = list(chunks(texts_of(kind, path), options.limit))
    for side, (_, job, _) in zip(sides, entries, strict=True):
        side.ask(job, whole[0])
    for chunk in whole:
        ours = sides[0].ask(entries[0][1], chunk)
        tallies[0] = tallies[0].plus(chunk, ours, ours)
        for k in range(1, len(entries)):
            if tallies[k].seconds < options.seconds:
                tallies[k] = tallies[k].plus(chunk, sides[k].ask(entries[k][1], chunk), ours)
    for side in sides:
        side.__exit__()
    print(
        f"\n## {kind}\n\n| tool | what it runs | documents | MB | MB/s | docs/s | kept | peak MiB | we, same documents, MB/s | ratio |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for (name, _, what), tally in zip(entries, tallies, strict=True):
        kept = f"{tally.kept / tally.documents:.0%}" if name != "dolma" else "scores only"
        print(
            f"| {name} | {what} | {tally.documents:,} | {tally.megabytes:.1f} | {tally.megabytes / tally.seconds:.2f} "
            f"| {tally.documents / tally.seconds:,.0f} | {kept} | {tally.peak_mib:.0f} "
            f"| {tally.megabytes / tally.our_seconds:.1f} | {tally.seconds / tally.our_seconds:.0f} |"
        )
    if missing:
        print(f"\nNot installed, so not run: {', '.join(sorted(missing))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--limit", type=int, default=5000, help="documents of each kind")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="CPU seconds after which a tool gets no more chunks"
    )
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--kinds", nargs="*", default=["english", "chinese", "code", "code, web chain"])
    options = parser.parse_args()
    cpu = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), platform.machine()
    )
    load = Path("/proc/loadavg").read_text().split()[0]
    print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {cpu.partition(': ')[2]}, Python {platform.python_version()}, load {load}"
    )
    for kind in options.kinds:
        measure(kind, options.path, options)


if __name__ == "__main__":
    main()
