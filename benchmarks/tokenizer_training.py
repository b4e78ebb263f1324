"""Training time and memory on 1/16, 1/4 and all of a file of documents, ours and the tokenizers library on the same texts.

    python benchmarks/tokenizer_training.py base.jsonl.zst --vocab-size 32768

Each training runs in a process of its own on one core; its peak memory is that of the process less what it had before
(the library keeps the texts' pieces in memory, we do after each slice of one MiB). Seconds are CPU seconds.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import zstandard
from tokenizers import Tokenizer, models
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer, UnigramTrainer

from operators.tokenize.training import train as training
from operators.tokenize.training.local import train
from operators.tokenize.training.splitting import training_split
from operators.tokenize.training.train import TrainTokenizer
from pipeline.documents import SCHEMA, document_id

SHARES = (16, 4, 1)
MAX_CHARS = 100_000
BATCH = 2000


def texts(path: Path, share: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every document of that share, with its number."""
    with path.open("rb") as raw:
        stream = zstandard.ZstdDecompressor().stream_reader(raw) if path.suffix == ".zst" else raw
        for number, line in enumerate(io.TextIOWrapper(stream, encoding="utf-8", newline="\n")):
            if number % share == 0:
                yield number, json.loads(line)


def tables(path: Path, share: int) -> Iterator[pa.Table]:
    """The same as documents."""
    rows: list[dict[str, Any]] = []
    for number, row in texts(path, share):
        text, source = row["text"], str(row.get("source", ""))
        rows.append({
            "id": document_id(source, str(number), text.encode()), "text": text, "source": source, "url": "",
            "origin": str(number), "language.label": row.get("lang", "und"),
        })  # fmt: skip
        if len(rows) == BATCH:
            yield table(rows)
            rows = []
    yield table(rows)


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMA.append(pa.field("language.label", pa.string())))


SAID: dict[str, Any] = {}
"""What our last training says of itself."""


class _Read:
    """Documents read again whenever they are asked for, as a step does."""

    def __init__(self, path: Path, share: int) -> None:
        self._path, self._share = path, share

    def __iter__(self) -> Iterator[pa.Table]:
        return tables(self._path, self._share)


def ours(path: Path, share: int, vocab_size: int, algorithm: str) -> str:
    verb = TrainTokenizer.model_validate({"algorithm": algorithm, "vocab_size": vocab_size, "sample_bytes": 1 << 40})
    training._MEASURED_BYTES = 1  # noqa: SLF001  # the library makes no card either
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        made = train(verb, [_Read(path, share)], Path(folder), seconds)
        card = json.loads(made.outputs[1].path.read_text("utf-8"))
        SAID.update(seconds=seconds, pieces=card.get("pieces"))
        return made.outputs[0].path.read_text("utf-8")


def theirs(path: Path, share: int, vocab_size: int, algorithm: str) -> str:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tokenizer = Tokenizer(models.Unigram() if algorithm == "unigram" else models.BPE())
    tokenizer.pre_tokenizer = training_split()
    options: dict[str, Any] = {
        "vocab_size": vocab_size, "special_tokens": ["<|endoftext|>"], "initial_alphabet": ByteLevel.alphabet(),
        "show_progress": False,
    }  # fmt: skip
    trainer = UnigramTrainer(**options) if algorithm == "unigram" else BpeTrainer(min_frequency=2, **options)
    tokenizer.train_from_iterator((row["text"][:MAX_CHARS] for _, row in texts(path, share)), trainer)
    return tokenizer.to_str()


class Watch(threading.Thread):
    """The highest resident memory of this process while it runs, in MB, less that at the beginning."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.first = self.highest = self._now()
        self.done = False

    def run(self) -> None:
        """Look every 20 ms."""
        while not self.done:
            self.highest = max(self.highest, self._now())
            time.sleep(0.02)

    @staticmethod
    def _now() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def child(arguments: argparse.Namespace) -> None:
    """One training; prints its figures."""
    run = ours if arguments.child == "ours" else theirs
    few = Path(tempfile.mkdtemp()) / "few.jsonl"  # compiles kernels, loads libraries
    few.write_text(json.dumps({"text": "some words " * 50}) + "\n")
    run(few, 1, arguments.vocab_size, arguments.algorithm)
    watch, started, wall = Watch(), time.process_time(), time.perf_counter()
    watch.start()
    found = run(arguments.jsonl, arguments.share, arguments.vocab_size, arguments.algorithm)
    seconds, wall = time.process_time() - started, time.perf_counter() - wall
    watch.done = True
    arguments.out.write_text(found)
    print(json.dumps({"cpu_s": seconds, "wall_s": wall, "peak_mb": watch.highest - watch.first, **SAID}))


def main() -> None:
    """Run every side over every share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jsonl", type=Path, help="documents with a field text; .zst is understood")
    parser.add_argument("--vocab-size", type=int, default=32768)
    parser.add_argument("--algorithm", default="byte_bpe")
    parser.add_argument("--shares", type=int, nargs="*", default=SHARES)
    parser.add_argument("--sides", nargs="*", default=["ours", "theirs"])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--share", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        for share in arguments.shares:
            size = sum(len(row["text"].encode()) for _, row in texts(arguments.jsonl, share))
            models_found = [one(arguments, share, side, size, Path(folder)) for side in arguments.sides]
            if len(models_found) > 1 and arguments.algorithm != "unigram":
                same = all(models_found[0][key] == models_found[1][key] for key in ("vocab", "merges"))
                print(f"1/{share}: {'same vocabulary and merges' if same else 'DIFFERENT'}", flush=True)


def one(arguments: argparse.Namespace, share: int, side: str, size: int, folder: Path) -> dict[str, Any]:
    """Run one side in a process of its own; its model."""
    path = folder / f"{side}.{share}.json"
    options = ["--child", side, "--share", str(share), "--vocab-size", str(arguments.vocab_size), "--out", str(path)]
    command = [sys.executable, __file__, str(arguments.jsonl), "--algorithm", arguments.algorithm, *options]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found = json.loads(done.stdout.splitlines()[-1])
    more = f", {found['pieces']['distinct']:,} distinct pieces" if found.get("pieces") else ""
    parts = [f"{name.partition('.')[2] or 'merges'} {spent:.1f}" for name, spent in found.get("seconds", {}).items()]
    print(
        f"1/{share} ({size / 1e6:.1f} MB) {side}: {found['cpu_s']:.1f} CPU s, {found['wall_s']:.1f} s, "
        f"{found['peak_mb']:.0f} MB{more}" + (f" ({', '.join(parts)})" if parts else ""),
        flush=True,
    )
    return json.loads(path.read_text())["model"]


if __name__ == "__main__":
    main()
