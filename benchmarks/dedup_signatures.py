"""MinHash signatures side by side: speed from text, and error against exact Jaccard.

    python -m benchmarks.dedup_signatures throughput/base.jsonl.zst --pairs dedup/small dedup/natural

datasketch runs in this environment, rensa and datatrove in their own (``python benchmarks/peers/install.py datatrove
rensa``). The path is a .jsonl.zst with ``text``. A name of ``--pairs`` stands for NAME_docs.jsonl.zst (``id``, ``text``)
and the similar pairs NAME_truth_j30.jsonl.zst, or NAME_pairs.jsonl.zst where there is none (``id_a``, ``id_b``).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash
import zstandard
from datasketch import MinHash as Datasketch

from benchmarks.peers.process import Side, installed
from benchmarks.peers.word_ngrams import word_ngrams
from operators.dedup.sketch import sketch
from operators.kernels.minhash import minhash, signatures, slots
from operators.kernels.shingles import shingle_hashes
from pipeline.documents import ID_TYPE

NUM_PERM, NGRAM = 112, 5
_BATCH = 2000
_SMALL, _LARGE = 100, 300  # n-grams of the smaller document of a pair
Floats = npt.NDArray[np.float64]
Seconds = Callable[[], float]


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a .jsonl.zst."""
    with path.open("rb") as raw:
        stream = zstandard.ZstdDecompressor().stream_reader(raw)
        yield from map(json.loads, io.TextIOWrapper(stream, encoding="utf-8"))


def with_datasketch(texts: Sequence[str]) -> list[Datasketch]:
    """The fastest way to use datasketch that we know: ``bulk`` over xxh32 of space-joined lower-cased word 5-grams."""
    sets = [[ngram.encode() for ngram in word_ngrams(text)] for text in texts]
    return Datasketch.bulk(sets, num_perm=NUM_PERM, scheme="affine32", hashfunc=xxhash.xxh32_intdigest)


# -- speed ----------------------------------------------------------------------------------------------------------


def fresh(texts: Sequence[str]) -> list[pa.Array]:
    """The texts in buffers that no cache has seen."""
    return [pa.array(texts[k : k + _BATCH], pa.large_string()) for k in range(0, len(texts), _BATCH)]


def _timed(load: Callable[[], Any], work: Callable[[Any], object]) -> Seconds:
    """CPU seconds of this thread; what is loaded is new for each round."""

    def seconds() -> float:
        loaded = load()
        start = time.thread_time()
        work(loaded)
        return time.thread_time() - start

    return seconds


def _asked(side: Side, job: str, texts: Sequence[str]) -> Seconds:
    """CPU seconds of the side's whole process, whose libraries are told to use one thread; it is warmed up here."""
    side.ask(job, list(texts[:1]))
    return lambda: float(side.ask(job, list(texts))["cpu_s"])


def _tables(texts: Sequence[str]) -> list[pa.Table]:
    return [pa.table({"id": pa.array([bytes(16)] * len(column), ID_TYPE), "text": column}) for column in fresh(texts)]


def _own_jobs(texts: Sequence[str]) -> dict[str, Seconds]:
    def hashed() -> list[Any]:
        return [shingle_hashes(column, NGRAM) for column in fresh(texts)]

    def load() -> list[pa.Array]:
        return fresh(texts)

    return {
        "shingles (UTF-8 to 32-bit hashes)": _timed(load, lambda some: [shingle_hashes(c, NGRAM) for c in some]),
        "permutations (hashes to slots)": _timed(hashed, lambda some: [minhash(h, at, NUM_PERM) for h, at in some]),
        "SIGNATURES (text to 112 slots)": _timed(load, lambda some: [signatures(c, NGRAM, NUM_PERM) for c in some]),
        "sketch (slots, exact hash, date, bytes)": _timed(
            lambda: _tables(texts),
            lambda some: [sketch(one, shingle_hashes(one["text"], NGRAM), NUM_PERM) for one in some],
        ),
    }


def _write_hashes(texts: Sequence[str], path: Path) -> str:
    hashes, starts = shingle_hashes(pa.array(texts, pa.large_string()), NGRAM)
    np.savez(path, hashes=hashes, starts=starts)
    return str(path)


def _rensa_jobs(side: Side, texts: Sequence[str], hashes: str) -> dict[str, Seconds]:
    ways = ("RMinHash", "RMinHash matrix", "RMinHash rho", "CMinHash", "CMinHash bulk")
    jobs = {f"rensa {way}, 112, shingles in Python": _asked(side, f"{way}/112", texts) for way in ways}
    for slots_ in (112, 128):
        for way in ("RMinHash", "RMinHash rho"):
            name = f"rensa {way}, {slots_}, from our hashes"
            jobs[name] = _asked(side, f"hashes {way}/{slots_}", [hashes])
    return jobs


def speed(texts: Sequence[str], share: int, rounds: int) -> None:
    """Print MB/s of every side on every ``share``-th document, and of ours on all, in interleaved rounds."""
    fewer = list(texts[::share])
    size, fewer_size = (sum(len(text.encode()) for text in some) / 1e6 for some in (texts, fewer))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        jobs = _own_jobs(fewer)
        ours = len(jobs)
        jobs["datasketch bulk, affine32, xxh32"] = _timed(lambda: fewer, with_datasketch)
        if installed("rensa"):
            hashes = _write_hashes(fewer, folder / "hashes.npz")
            jobs |= _rensa_jobs(stack.enter_context(Side("rensa")), fewer, hashes)
        if installed("datatrove"):
            side = stack.enter_context(Side("datatrove signatures"))
            jobs |= {f"datatrove MinhashDedupSignature, {h}": _asked(side, h, fewer) for h in ("xxhash", "sha1")}
        for work in list(jobs.values())[:ours]:
            work()  # compiles
        whole = _own_jobs(texts)
        found: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            for name, work in jobs.items():
                found[name].append(fewer_size / work())
            for name, work in whole.items():
                found[f"{name}, all documents"].append(size / work())
    print(
        f"{len(fewer)} documents, {fewer_size:.1f} MB (all: {len(texts)}, {size:.1f} MB); MB/s of CPU time, one thread"
    )
    base = statistics.median(found["SIGNATURES (text to 112 slots)"])
    print("| work | lowest | median | highest | SIGNATURES / this |\n| --- | --- | --- | --- | --- |")
    for name, rates in found.items():
        middle = statistics.median(rates)
        print(f"| {name} | {min(rates):.2f} | {middle:.2f} | {max(rates):.2f} | {base / middle:.2f} |")
    shingles = statistics.median(found["shingles (UTF-8 to 32-bit hashes)"])
    for name in (name for name in found if "from our hashes" in name):
        with_kernel = 1 / (1 / shingles + 1 / statistics.median(found[name]))
        print(f"| {name}, our shingle kernel before it | | {with_kernel:.1f} | | {base / with_kernel:.2f} |")


# -- error ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimates:
    """What a tool says of pairs: its estimate, the exact Jaccard similarity of the n-grams it was given, its slots."""

    estimate: Floats
    exact: Floats
    slots: int = NUM_PERM


def pairs_of(names: Sequence[str]) -> list[str]:
    """Texts, two by two: the similar pairs whose Jaccard similarity is below 1 (of equal sets no MinHash errs)."""
    texts: list[str] = []
    for name in names:
        docs = {record["id"]: record["text"] for record in read(Path(f"{name}_docs.jsonl.zst"))}
        truth = Path(f"{name}_truth_j30.jsonl.zst")
        for pair in read(truth if truth.exists() else Path(f"{name}_pairs.jsonl.zst")):
            if pair["jaccard_w5"] < 1:
                texts += [docs[pair["id_a"]], docs[pair["id_b"]]]
    return texts


def _jaccard(sets: Sequence[set[Any]]) -> Floats:
    return np.array([
        len(left & right) / len(left | right) if left and right else np.nan
        for left, right in zip(sets[0::2], sets[1::2], strict=True)
    ])  # fmt: skip


def _agreement(signed: npt.NDArray[Any]) -> Floats:
    return (signed[0::2] == signed[1::2]).mean(axis=1)


def _own_estimates(texts: Sequence[str]) -> tuple[dict[str, Estimates], npt.NDArray[np.int64]]:
    """Ours with whole slots and with the bytes of them that a run keeps; and the n-grams of each pair's smaller text."""
    hashes, starts = shingle_hashes(pa.array(texts, pa.large_string()), NGRAM)
    sets = [set(hashes[starts[k] : starts[k + 1]].tolist()) for k in range(len(texts))]
    signed = minhash(hashes, starts, NUM_PERM)
    exact = _jaccard(sets)
    by_bytes = (_agreement(slots(signed)) - 1 / 256) / (1 - 1 / 256)
    lengths = np.diff(starts).reshape(-1, 2).min(axis=1)
    return {
        "ours, 112 slots of 32 bits": Estimates(_agreement(signed), exact),
        "ours, 112 slots of 8 bits (what a run keeps)": Estimates(by_bytes, exact),
    }, lengths


def _peer_estimates(texts: Sequence[str]) -> Iterator[tuple[str, Estimates]]:
    exact = _jaccard([set(word_ngrams(text)) for text in texts])
    yield (
        "datasketch bulk, affine32, xxh32",
        Estimates(_agreement(np.array([one.hashvalues for one in with_datasketch(texts)])), exact),
    )
    if installed("rensa"):
        with Side("rensa") as side, TemporaryDirectory() as folder:
            hashes = [_write_hashes(texts, Path(folder) / "hashes.npz")]
            ours = next(iter(_own_estimates(texts)[0].values())).exact
            for way in ("RMinHash", "RMinHash rho", "CMinHash", "hashes RMinHash", "hashes RMinHash rho"):
                for slots_ in (112, 128):
                    given, truth = (hashes, ours) if way.startswith("hashes") else (list(texts), exact)
                    reply = side.ask(f"pairs {way}/{slots_}", given)
                    yield f"rensa {way}, {slots_} slots", Estimates(np.array(reply["estimates"]), truth, slots_)
    if installed("datatrove"):
        with Side("datatrove signatures") as side:
            reply = side.ask("pairs xxhash", list(texts))
            yield "datatrove, its own n-grams", Estimates(np.array(reply["estimates"]), np.array(reply["exact"]))


def error(names: Sequence[str]) -> None:
    """Print mean absolute error, and root mean square error over that of a perfect MinHash, of each tool."""
    texts = pairs_of(names)
    own, lengths = _own_estimates(texts)
    groups = {
        "all": lengths > 0,
        f"< {_SMALL} n-grams": (lengths > 0) & (lengths < _SMALL),
        f">= {_LARGE} n-grams": lengths >= _LARGE,
    }
    counts = ", ".join(f"{name}: {int(chosen.sum())}" for name, chosen in groups.items())
    print(f"\n{len(texts) // 2} pairs with Jaccard below 1 of {', '.join(names)} ({counts})")
    print("| signatures | " + " | ".join(f"{name}: MAE | RMSE / theory | bias" for name in groups) + " |")
    print("| --- |" + " --- | --- | --- |" * len(groups))
    for name, found in [*own.items(), *_peer_estimates(texts)]:
        cells = [cell for chosen in groups.values() for cell in _cells(found, chosen)]
        print(f"| {name} | " + " | ".join(cells) + " |")


def _cells(found: Estimates, chosen: npt.NDArray[np.bool_]) -> list[str]:
    chosen = chosen & ~np.isnan(found.exact) & ~np.isnan(found.estimate)
    exact = found.exact[chosen]
    off = found.estimate[chosen] - exact
    theory = np.sqrt((exact * (1 - exact)).mean() / found.slots)
    return [f"{np.abs(off).mean():.4f}", f"{np.sqrt((off**2).mean()) / theory:.3f}", f"{off.mean():+.4f}"]


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("path", type=Path, nargs="?", help="a .jsonl.zst with text, for speed")
    parser.add_argument("--share", type=int, default=20, help="every side gets every SHAREth document (default 20)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", nargs="*", default=[], help="names of sets with known pairs, for the error")
    arguments = parser.parse_args()
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.machine()}, {os.cpu_count()} cores, load {load}")
    if arguments.path:
        speed([record["text"] for record in read(arguments.path)], arguments.share, arguments.rounds)
    if arguments.pairs:
        error(arguments.pairs)


if __name__ == "__main__":
    main()
