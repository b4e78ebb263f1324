"""The engine against a bare loop of the same operators: CPU seconds of both, interleaved, one command.

python benchmarks/engine_overhead.py [base.jsonl.zst] [--mb 24] [--rounds 3]

Without a path it measures the texts of the shipped pages, repeated under other ids.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from operators import C4Lines, FixText, GopherQuality, GopherRepetition, Language, ScrubPii
from pipeline.inputs import freeze
from pipeline.operator import Bound, Map, Operator
from pipeline.readers.read import Read, read_shard
from pipeline.session import Settings, run
from pipeline.workflow import Step, Workflow
from pipeline.works import Apply, ReadWork

SHARDS = 4
OPERATORS: tuple[Operator, ...] = (
    FixText(),
    Language(keep=("en",), min_score=0.5),
    GopherRepetition(),
    GopherQuality(),
    C4Lines(),
    ScrubPii(),
)


# The engine's filters measure every row of their stretch, so that thresholds can be moved later; so does the loop.
STRETCHES = (OPERATORS[:1], OPERATORS[1:4], OPERATORS[4:5], OPERATORS[5:])


def texts(path: Path | None) -> Iterator[str]:
    """Texts of a JSONL file, or of the shipped labelled sample."""
    if path is None:
        lines = (Path(__file__).parents[1] / "samples" / "quality.jsonl").read_text(encoding="utf-8").splitlines() * 20
        yield from (json.loads(line)["text"] for line in lines)
        return
    with path.open("rb") as raw, zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(raw) as stream:
        rest = b""
        while chunk := stream.read(1 << 20):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (json.loads(line)["text"] for line in whole)


def write_shards(folder: Path, path: Path | None, megabytes: float) -> int:
    """Deal texts to JSONL shards; returns their bytes."""
    files = [(folder / f"in-{k}.jsonl").open("w", encoding="utf-8") for k in range(SHARDS)]
    size = 0
    for number, text in enumerate(texts(path)):
        files[number % SHARDS].write(json.dumps({"id": str(number), "text": text}, ensure_ascii=False) + "\n")
        size += len(text.encode())
        if size > megabytes * 1e6:
            break
    for file in files:
        file.close()
    return size


def bare_loop(folder: Path, out: Path) -> None:
    """Read, operators, mask, Parquet: what anyone would write by hand, without an account."""
    read = Read(format="jsonl", paths=("in-*.jsonl",), source="bench")
    frozen = freeze(read, folder, None)
    out.mkdir()
    for number, pieces in enumerate(frozen.shards):
        tables = []
        for batch in read_shard(read, pieces):
            docs = batch.documents.combine_chunks()
            for operators in STRETCHES:
                docs = stretch(operators, docs)
            tables.append(docs)
        pq.write_table(pa.concat_tables(tables), out / f"{number}.parquet", compression="zstd", compression_level=3)


def stretch(operators: Sequence[Operator], docs: pa.Table) -> pa.Table:
    """A map, or filters that all measure the same rows; rows outside a bound go."""
    if isinstance(operators[0], Map):
        docs = operators[0].map(docs)
        return docs.filter(pc.is_valid(docs["text"])).combine_chunks()
    keep = pa.array([True] * docs.num_rows)
    for operator in operators:
        measures = operator.measure(docs)
        for name, array in measures.items():
            docs = docs.append_column(operator.column(name), array)
        for bound in operator.bounds:
            keep = pc.and_(keep, pc.fill_null(inside(bound, measures[bound.measure]), False))
    return docs.filter(keep).combine_chunks()


def inside(bound: Bound, values: pa.Array) -> pa.Array:
    """Rows within a bound."""
    if bound.among is not None:
        return pc.is_in(values, pa.array(bound.among))
    result = pc.is_valid(values)
    if bound.min is not None:
        result = pc.and_(result, pc.greater_equal(values, bound.min))
    if bound.max is not None:
        result = pc.and_(result, pc.less_equal(values, bound.max))
    return result


def engine(folder: Path, out: Path, backend: str) -> None:
    """The same through a run."""
    read = ReadWork(read=Read(format="jsonl", paths=("in-*.jsonl",), source="bench"))
    steps = (Step(name="crawl", verb=read), Step(name="clean", source="crawl", verb=Apply(operators=OPERATORS)))
    flow = Workflow(name="bench", base_dir=str(folder), steps=steps)
    run(flow, str(out), Settings(backend=backend, workers=1, progress="none"))  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path, nargs="?")
    parser.add_argument("--mb", type=float, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    size = write_shards(work, arguments.path, arguments.mb)
    for operator in OPERATORS:
        operator.prepare()
    print(f"{size / 1e6:.1f} MB of text in {SHARDS} shards, {len(OPERATORS)} operators, one core, CPU seconds")
    ratios = []
    for number in range(arguments.rounds + 1):
        seconds = {}
        for name in ("loop", "engine"):
            out = work / f"{name}-{number}"
            started = time.process_time()
            bare_loop(work, out) if name == "loop" else engine(work, out, "inline")
            seconds[name] = time.process_time() - started
            shutil.rmtree(out)
        if number:  # the first round warms caches
            ratios.append(seconds["engine"] / seconds["loop"])
            print(
                f"round {number}: loop {seconds['loop']:.2f} s, engine {seconds['engine']:.2f} s, ratio {ratios[-1]:.3f}"
            )
    print(f"median ratio {sorted(ratios)[len(ratios) // 2]:.3f} (goal: at most 1.05)")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
