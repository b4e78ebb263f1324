"""The barrier side by side, from signatures on disk to verdicts: ours, datatrove, text-dedup, datasketch's LSH.

    python -m benchmarks.dedup_peers DATA [--documents 100000] [--whole]

The documents are lines of ten words and more of ``throughput`` base + planted (``--whole``: its documents), so that
there are many; 14 bands of 8 over word 5-grams. Signatures are made first and only told beside. Everything runs in
one process of its own, one task at a time: CPU seconds and the largest resident set are of that process. datatrove's
stage 4 reads all texts and writes those that stay; we write bitmaps, and the audit of a sample is off. A few minutes, most of them datatrove's signatures.
"""

from __future__ import annotations

import argparse
import json
import pickle
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from datasketch import MinHashLSH

from benchmarks.dedup_measured import in_a_process, peak_mib
from benchmarks.dedup_quality import table
from benchmarks.dedup_sets import NGRAM, load_set
from benchmarks.dedup_systems import (
    BANDS,
    ROWS,
    THRESHOLD,
    available,
    datasketch_signatures,
    our_shingles,
    peer,
    recipe,
    write_jsonl,
    write_shards,
)
from pipeline.dataset import Run

SHARDS = 8
LEAST_WORDS = 10


def documents(data: Path, count: int, *, whole: bool) -> list[dict[str, Any]]:
    """The first ``count`` documents, or lines, that have at least ten words."""
    docs = load_set(data, "throughput").texts
    texts = docs.values() if whole else (line for text in docs.values() for line in text.split("\n"))
    long = (text for text in texts if whole or len(text.split()) >= LEAST_WORDS)
    return [{"id": str(k), "text": text, "lang": "en"} for k, text in enumerate(islice(long, count))]


def ours(folder: Path, rows: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, float]], int]:
    """Signatures, then everything else anew in a fresh process: ([signatures, barrier, its nodes alone], removed)."""
    write_shards(folder, rows, SHARDS)
    near = {"ngram": NGRAM, "bands": BANDS, "rows": ROWS, "threshold": THRESHOLD}
    recipe(folder, {"exact": True, "minhash": near, "audit": 0})
    signatures = in_a_process(folder)["nodes"]["unique.signatures"]
    done = Run.open(str(folder / "run"))
    for name, node in done.nodes.items():
        if name not in ("docs", "unique.signatures"):
            shutil.rmtree(folder / "run" / node["dataset"])
    again = in_a_process(folder)
    assert "unique.signatures" not in again["nodes"]
    removed = sum(count.docs for count in Run.open(str(folder / "run"))["unique"].ledger.duplicates.values())
    return [signatures, again["whole"], added(list(again["nodes"].values()))], removed


def datatrove(folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Its stages: signatures in a process of their own, then the rest."""
    write_shards(folder, rows, SHARDS)
    run = ("datatrove", "datatrove_stages.py", folder, "eng")
    return [*peer(*run, "signatures"), *peer(*run, "buckets", "cluster", "filter")]


def textdedup(folder: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Its command, signatures included: it keeps nothing on disk between."""
    write_jsonl(folder / "docs.jsonl", ({"key": row["id"], "text": row["text"]} for row in rows))
    return peer("textdedup", "textdedup_run.py", folder, 1)[0]


def datasketch(folder: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Ask and insert, over our shingles; signatures are made and written before, in this process."""
    sets = our_shingles([row["text"] for row in rows])
    signatures = datasketch_signatures([found for found in sets if found])
    with (folder / "signatures.pkl").open("wb") as file:
        pickle.dump(signatures, file)
    command = [sys.executable, "-m", "benchmarks.dedup_peers", "--index", str(folder / "signatures.pkl")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    return json.loads(done.stdout)


def index(path: Path) -> dict[str, Any]:
    """Take signatures from disk, ask an index for each, insert it if nothing is found."""
    wall, cpu = time.perf_counter(), time.process_time()
    with path.open("rb") as file:
        signatures = pickle.load(file)
    lsh, removed = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS)), 0
    for number, signature in enumerate(signatures):
        if lsh.query(signature):
            removed += 1
        else:
            lsh.insert(number, signature)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"wall_s": wall, "cpu_s": cpu, "peak_mib": peak_mib(), "removed": removed}


def added(stages: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Stages one after another."""
    return {
        "wall_s": sum(stage["wall_s"] for stage in stages),
        "cpu_s": sum(stage["cpu_s"] for stage in stages),
        "peak_mib": max(stage["peak_mib"] for stage in stages),
    }


def measure(rows: Sequence[Mapping[str, Any]], place: Path) -> list[tuple[str, Mapping[str, Any], object]]:
    """(What, its cost, documents removed) of every system there is."""
    folders = {name: place / name for name in ("ours", "datatrove", "textdedup", "datasketch")}
    for folder in folders.values():
        folder.mkdir()
    (signatures, barrier, nodes), removed = ours(folders["ours"], rows)
    found: list[tuple[str, Mapping[str, Any], object]] = [
        ("ours: barrier, nodes alone", nodes, removed),
        ("ours: barrier, with the start of a run", barrier, removed),
    ]
    if available("datatrove"):
        first, *rest = datatrove(folders["datatrove"], rows)
        kept = sum(1 for path in (folders["datatrove"] / "kept").glob("*") for _ in path.open())
        found.append(("datatrove: stages 2 + 3", added(rest[:2]), len(rows) - kept))
        found.append(("datatrove: stages 2 + 3 + 4", added(rest), len(rows) - kept))
    index_cost = datasketch(folders["datasketch"], rows)
    found.append(("datasketch: load, query, insert", index_cost, index_cost["removed"]))
    found.append(("ours: read and signatures", signatures, ""))
    if available("datatrove"):
        found.append(("datatrove: stage 1", first, ""))
    if available("text-dedup"):
        cost = textdedup(folders["textdedup"], rows)
        found.append(("text-dedup: its command, signatures included", cost, cost["removed"]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--index", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.index:
        print(json.dumps(index(options.index)))
        return
    rows = documents(options.data, options.documents, whole=options.whole)
    megabytes = sum(len(row["text"].encode()) for row in rows) / 1e6
    load = Path("/proc/loadavg").read_text().split()[0]
    print(f"{len(rows):,} documents, {megabytes:.1f} MB; {platform.machine()}, load {load}")
    with tempfile.TemporaryDirectory() as place:
        found = measure(rows, Path(place))
    ours_s = found[0][1]["cpu_s"]
    table(
        ["", "documents/s of CPU", "CPU s", "seconds", "peak MiB", "CPU against our nodes", "removed"],
        [
            [what, f"{len(rows) / cost['cpu_s']:,.0f}", f"{cost['cpu_s']:.2f}", f"{cost['wall_s']:.2f}",
             f"{cost['peak_mib']:.0f}", f"{cost['cpu_s'] / ours_s:.1f}", removed]
            for what, cost, removed in found
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
