"""Our English chain by document length and by threads: ``python -m benchmarks.heuristics_peers_scaling documents.jsonl.zst``.

Lengths: English documents of the file joined to texts of a given size, 50 MB of them at least, and one of the largest; the
peers named with ``--peers`` get the first ``--peer-mb`` of the same texts, as far as a text fits into that. CPU seconds, best of ``--passes``. Threads: chunks
of ordinary documents over a pool of threads in one process (the kernels release the lock), wall time.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.labelled_rows import read_rows
from benchmarks.peers.process import HERE, Side, installed

LENGTHS_KB = (1, 10, 100, 1_000, 10_000, 50_000)
TOTAL_MB = 50
CHUNK_ROWS = 1000


def joined(texts: Sequence[str], size_kb: int, total_mb: float) -> list[str]:
    """Texts of about ``size_kb`` each, cut from all of them in a row, as often as needed."""
    made, current, room = list[str](), "", int(total_mb * 1000 / size_kb) or 1
    while True:
        for text in texts:
            current += text + "\n\n"
            while len(current) >= size_kb * 1000:
                made.append(current[: size_kb * 1000])
                current = current[size_kb * 1000 :]
                if len(made) == room:
                    return made


def chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    """In chunks of rows."""
    rest = iter(texts)
    while chunk := list(islice(rest, CHUNK_ROWS)):
        yield chunk


def speed(side: Side, texts: Sequence[str], passes: int) -> tuple[float, float]:
    """(MB/s of CPU time, peak MiB) over all texts, best of some passes."""
    size = sum(len(text.encode()) for text in texts) / 1e6
    best, peak = float("inf"), 0.0
    for _ in range(passes):
        replies = [side.ask("chain english", chunk) for chunk in chunks(texts)]
        best = min(best, sum(reply["cpu_s"] for reply in replies))
        peak = max(reply["peak_mib"] for reply in replies)
    return size / best, peak


def by_length(texts: Sequence[str], options: argparse.Namespace) -> None:
    """One line a length."""
    peers = [peer for peer in options.peers if installed(peer)]
    print(f"| kB a document | documents | MB/s | peak MiB | {' | '.join(f'{peer}, MB/s' for peer in peers)} |")
    print("| --- | --- | --- | --- |" + " --- |" * len(peers))
    for size_kb in LENGTHS_KB:
        made = joined(texts, size_kb, TOTAL_MB)
        with Side("sluice", options.core) as side:
            side.ask("chain english", made[:1])
            ours, peak = speed(side, made, options.passes)
        cells = []
        for peer in peers:
            few = made[: int(options.peer_mb * 1000 / size_kb)]
            if not few:
                cells.append("")
                continue
            with Side(peer, options.core) as side:
                side.ask("chain english", texts[:20])
                cells.append(f"{speed(side, few, 1)[0]:.2f}")
        print(f"| {size_kb:,} | {len(made):,} | {ours:.1f} | {peak:.0f} | {' | '.join(cells)} |", flush=True)


def by_threads(texts: Sequence[str], threads: Sequence[int], passes: int) -> None:
    """One line a number of threads."""
    sys.path.insert(0, str(HERE))  # the sides import one another as they do in their own processes
    from benchmarks.peers.sluice_side import JOBS

    job = JOBS["chain english"]()
    size = sum(len(text.encode()) for text in texts) / 1e6
    print("\n| threads | MB/s (wall) |\n| --- | --- |")
    for number in threads:
        best = float("inf")
        for _ in range(passes):
            batches = [job.load(chunk) for chunk in chunks(texts)]
            with ThreadPoolExecutor(number) as pool:
                begin = time.perf_counter()
                results: list[Any] = list(pool.map(job.run, batches))
                best = min(best, time.perf_counter() - begin)
            assert len(results) == len(batches)
        print(f"| {number} | {size / best:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument(
        "--limit", type=int, default=30_000, help="documents read: so many that the longest text holds none twice"
    )
    parser.add_argument("--peers", nargs="*", default=["nemo", "dolma"])
    parser.add_argument("--peer-mb", type=float, default=2.0)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    options = parser.parse_args()
    rows = islice(read_rows(options.path), options.limit)
    texts = [row["text"] for row in rows if row.get("lang", "en") == "en"]
    by_length(texts, options)
    by_threads(texts, options.threads, options.passes)


if __name__ == "__main__":
    main()
