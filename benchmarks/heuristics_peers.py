"""Heuristic chains of four tools and ours, side by side: ``python -m benchmarks.heuristics_peers documents.jsonl.zst``.

Each tool runs in its own process and environment (``benchmarks/peers/install.py``) on one core and gets the same chunks of
documents as we do, in turn: chunk 1 to us, to them, to the next, chunk 2 to us, ... Only the filters are timed, in CPU
seconds of the process, after documents that warm up; reading, imports and the pipes are not. A slow tool stops at
``--seconds`` of its own work, and its ratios are taken over the documents that it saw. Three kinds of text: English and
Chinese documents of the file, and Python sources of this interpreter's standard library. ``--kinds english --seconds 30``
takes six minutes.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.labelled_rows import read_rows
from benchmarks.peers.process import Side, has_punkt, installed
from benchmarks.peers.sources import python_sources

Reply = dict[str, Any]

CHUNK_ROWS = 1000
WARM_ROWS = 100


class Entry(NamedTuple):
    """A row of a table: a tool, what it is asked to do, and which of our chains its speed is held against."""

    tool: str
    job: str
    what: str
    against: str


def _juicer(job: str, what: str, against: str) -> Entry:
    return Entry("juicer", job, what, against)


_SIX = "alphanumeric, line lengths, character and word 10-gram repetition, special characters, length, words"
CHAINS = {
    "english": (
        Entry("sluice", "chain english", "Gopher repetition + quality, C4, FineWeb: the chain", "english"),
        Entry("sluice", "chain short", "Gopher repetition + quality, FineWeb: the short chain", "short"),
        Entry("datatrove", "chain english", "the chain as shipped; a dropped text is not looked at again", "english"),
        Entry("datatrove", "chain english nltk", "the same with NLTK's words, as when FineWeb was made", "english"),
        Entry("nemo", "chain english", "heuristic_filter_english_pipeline.yaml: 28 filters", "english"),
        Entry("dolma", "chain english", "taggers gopher_v2 and c4_v2", "english"),
        _juicer("chain english", _SIX, "short"),
        _juicer("chain english n-grams", "the same with word repetition for n = 2 to 10", "short"),
        _juicer("chain english nearest", "the same and stop words, long words, javascript and {", "english"),
    ),
    "code": (
        Entry("sluice", "chain code", "CodeQuality(flavour nemo)", "code"),
        Entry("nemo", "chain code", "Python comments, lines, letters, XML header", "code"),
    ),
    "chinese": (
        Entry("sluice", "chain chinese", "Gopher repetition + quality, FineWeb with FineWeb2's limits", "chinese"),
        Entry("datatrove", "chain chinese", "the same, words by spaCy with jieba, as shipped", "chinese"),
        Entry("nemo", "chain chinese", "heuristic_filter_non_english_pipeline.yaml, words by jieba", "chinese"),
        Entry("dolma", "chain chinese", "taggers gopher_v2 and c4_v2: a Chinese paragraph is one word", "chinese"),
        _juicer("chain chinese", "as above: a Chinese paragraph is one word", "chinese"),
    ),
}
"""Our chains run twice: ``chain NAME`` through ``pipeline.apply``, ``operators NAME`` as the operators alone."""


class Tally(NamedTuple):
    """What one tool has done of one kind of text, and what we did of the same documents."""

    documents: int = 0
    megabytes: float = 0.0
    seconds: float = 0.0
    our_seconds: float = 0.0
    """Through ``pipeline.apply``."""
    operator_seconds: float = 0.0
    """Our operators alone."""
    kept: int = 0
    peak_mib: float = 0.0

    def plus(self, texts: Sequence[str], reply: Reply, ours: tuple[Reply, Reply]) -> Tally:
        """With one chunk more; ours: through ``apply``, and the operators alone."""
        size = sum(len(text.encode()) for text in texts) / 1e6
        kept = reply["kept"]
        seconds, whole, alone = (float(str(one["cpu_s"])) for one in (reply, *ours))
        return Tally(
            self.documents + len(texts), self.megabytes + size, self.seconds + seconds,
            self.our_seconds + whole, self.operator_seconds + alone,
            self.kept + (sum(kept) if isinstance(kept, list) else 0), max(self.peak_mib, float(str(reply["peak_mib"]))),
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
    entries = [entry for entry in chain if installed(entry.tool) and ("nltk" not in entry.job or has_punkt())]
    missing = {entry.tool for entry in chain} - {entry.tool for entry in entries}
    peers = [(entry, Side(entry.tool, core=options.core)) for entry in entries if entry.tool != "sluice"]
    ours = Side("sluice", core=options.core)
    tallies = {entry: Tally() for entry in entries}
    whole = list(chunks(texts_of(kind, path), options.limit))
    for entry, side in peers:
        side.ask(entry.job, whole[0][:WARM_ROWS])
    for name in dict.fromkeys(entry.against for entry in entries):
        _ours(ours, name, whole[-1])  # as much scratch memory as a process has that works on such chunks all day
    for chunk in whole:
        pairs = {name: _ours(ours, name, chunk) for name in dict.fromkeys(entry.against for entry in entries)}
        for entry in entries[: len(entries) - len(peers)]:
            tallies[entry] = tallies[entry].plus(chunk, pairs[entry.against][0], pairs[entry.against])
        for entry, side in peers:
            if tallies[entry].seconds < options.seconds:
                tallies[entry] = tallies[entry].plus(chunk, side.ask(entry.job, chunk), pairs[entry.against])
    for side in (ours, *(side for _, side in peers)):
        side.__exit__()
    write(kind, tallies)
    if missing:
        print(f"\nNot installed, so not run: {', '.join(sorted(missing))}")


def _ours(side: Side, name: str, chunk: list[str]) -> tuple[Reply, Reply]:
    """Our replies over one chunk: through ``apply``, and the operators alone."""
    return side.ask(f"chain {name}", chunk), side.ask(f"operators {name}", chunk)


def write(kind: str, tallies: dict[Entry, Tally]) -> None:
    """Print a table."""
    heads = (
        "tool", "what it runs", "documents", "MB", "MB/s", "docs/s", "kept", "peak MiB",
        "we, the chain held against", "`apply`, MB/s", "ratio", "operators, MB/s", "ratio",
    )  # fmt: skip
    print(f"\n### {kind}\n\n| {' | '.join(heads)} |\n|{' --- |' * len(heads)}")
    for entry, tally in tallies.items():
        kept = f"{tally.kept / tally.documents:.0%}" if entry.tool != "dolma" else "scores only"
        cells = (
            entry.tool, entry.what, f"{tally.documents:,}", f"{tally.megabytes:.1f}",
            f"{tally.megabytes / tally.seconds:.2f}", f"{tally.documents / tally.seconds:,.0f}", kept,
            f"{tally.peak_mib:.0f}", entry.against,
            f"{tally.megabytes / tally.our_seconds:.1f}", f"{tally.seconds / tally.our_seconds:.0f}",
            f"{tally.megabytes / tally.operator_seconds:.1f}", f"{tally.seconds / tally.operator_seconds:.0f}",
        )  # fmt: skip
        print(f"| {' | '.join(cells)} |", flush=True)


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
