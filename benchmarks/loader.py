"""Tokens a second that one thread reads for training: windows of the stream, by a mixture, and packed rows.

python benchmarks/loader.py [--tokens 100000000] [--lengths 256 512 2048 8192] [--step-tokens 524288] [--seconds 2]

Token shards are made of random ids, in documents of log-normal length (750 tokens on average), in a temporary folder; they are
in the page cache. A step is read as a rank does it that has all of it: order, tokens, targets, document numbers, micro-batches
of 32,768 tokens. CPU seconds of the reading thread, the quickest step; `wall` is what is left of it on a shared machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from operators.tokenize.packing.layout import Documents, write_packed
from operators.tokenize.packing.policies import best_fit
from pipeline.pretrain.config import PRESETS, Job, PackedFiles, TokenData, TokenFiles, TrainConfig
from pipeline.pretrain.data.batches import checked_batches
from pipeline.pretrain.data.loader import StepReader
from pipeline.pretrain.data.mixture import Mixture, Stage, Stratum
from pipeline.pretrain.data.strata import Stratification
from pipeline.pretrain.ranks import Place

SHARDS = 4
VOCABULARY = 32_768
SOURCES = ("books", "code", "web")


def made(folder: Path, num_tokens: int, number: int) -> tuple[TokenFiles, np.ndarray]:
    """One token shard, and the lengths of its documents."""
    chance = np.random.default_rng(number)
    lengths = np.maximum(2, chance.lognormal(6.0, 1.1, num_tokens // 700)).astype(np.int64)
    lengths = lengths[: int(np.searchsorted(np.cumsum(lengths), num_tokens))]
    ids = chance.integers(1, VOCABULARY, int(lengths.sum())).astype("<u2")
    ids[np.cumsum(lengths) - 1] = 0
    ids.tofile(folder / f"{number}.bin")
    keys = chance.bytes(16 * len(lengths))
    table = {
        "id": pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(lengths), [None, pa.py_buffer(keys)]),
        "source": pa.array(np.array(SOURCES)[np.arange(len(lengths)) % len(SOURCES)]),
        "num_tokens": lengths,
        "num_bytes": 4 * lengths,
        "start": np.cumsum(lengths) - lengths,
    }
    pq.write_table(pa.table(table), folder / f"{number}.parquet")
    return TokenFiles(tokens=str(folder / f"{number}.bin"), documents=str(folder / f"{number}.parquet")), lengths


def packed(folder: Path, number: int, lengths: np.ndarray, sequence_length: int) -> PackedFiles:
    """A token shard packed as `pack` does."""
    count = len(lengths)
    documents = Documents(
        shard=np.full(count, number, np.int32),
        document=np.arange(count, dtype=np.int32),
        start=np.cumsum(lengths) - lengths,
        length=lengths,
        num_bytes=lengths,
        rewritten=np.zeros(count, np.bool_),
        order=np.random.default_rng(number).integers(0, 1 << 63, count).astype(np.uint64),
    )
    place = folder / f"packed{number}-{sequence_length}"
    place.mkdir()
    pieces, rows = (str(output.path) for output in write_packed(place, best_fit(documents, sequence_length), None))
    return PackedFiles(pieces=pieces, rows=rows)


def mixture(tokens: int) -> Mixture:
    """Thirds of three sources."""
    strata = tuple(Stratum(label=name, documents=1, tokens=1, drawn=0, epochs=0.0, max_epochs=1e9) for name in SOURCES)
    stage = Stage(end=tokens, weights=(0.5, 0.2, 0.3))
    return Mixture(rule=Stratification(), tokens=tokens, held_out_fraction=0.01, strata=strata, stages=(stage,))


def jobs(folder: Path, asked: argparse.Namespace, length: int) -> Iterator[tuple[str, Job]]:
    """What is read, and the job that does."""
    shards = [made(folder, asked.tokens // SHARDS, number) for number in range(SHARDS)]
    data = TokenData(shards=tuple(files for files, _ in shards), dtype="uint16", vocab_size=VOCABULARY, eos_id=0)
    rows = tuple(packed(folder, number, lengths, length) for number, (_, lengths) in enumerate(shards))
    sequences = data.model_copy(update={"packed": rows, "packed_length": length})
    for what, files, changes in (
        ("windows", data, {}),
        ("windows, masked", data, {"document_mask": True}),
        ("mixture", data, {"mixture": mixture(1 << 40)}),
        ("packed", sequences, {}),
        ("packed, masked", sequences, {"document_mask": True}),
    ):
        config = TrainConfig(
            shape=PRESETS["tiny"],
            sequence_length=length,
            steps=100,
            batch_size=asked.step_tokens // length,
            learning_rate=1e-3,
            held_out_fraction=0.01,
        ).model_copy(update=changes)
        yield what, Job(config=config, data=files, home=str(folder), micro_batch_tokens=32_768)


def quickest(reader: StepReader, seconds: float) -> tuple[float, float]:
    """CPU and wall seconds of a step, each the least of as many as fit in some time."""
    reader.read(1)
    cpu, wall = [], []
    end, step = time.monotonic() + seconds, 2
    while time.monotonic() < end and step <= 100:
        before = time.thread_time(), time.perf_counter()
        reader.read(step)
        cpu.append(time.thread_time() - before[0])
        wall.append(time.perf_counter() - before[1])
        step += 1
    return min(cpu), min(wall)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=100_000_000)
    parser.add_argument("--lengths", type=int, nargs="+", default=[256, 512, 2048, 8192])
    parser.add_argument("--step-tokens", type=int, default=524_288)
    parser.add_argument("--seconds", type=float, default=2.0)
    asked = parser.parse_args()
    print(f"{'':16} length   opened s   tokens/CPU s   tokens/s wall")
    for length in asked.lengths:
        with tempfile.TemporaryDirectory() as folder:
            for what, job in jobs(Path(folder), asked, length):
                start = time.process_time()
                source = checked_batches(job, 1)[1]
                opened = time.process_time() - start
                cpu, wall = quickest(StepReader(job, source, Place()), asked.seconds)
                tokens = job.config.batch_size * length
                print(f"{what:16} {length:6} {opened:10.2f} {tokens / cpu:14,.0f} {tokens / wall:15,.0f}", flush=True)


if __name__ == "__main__":
    main()
