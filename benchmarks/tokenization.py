"""Tokenization to a committed shard beside the bare engines: MB of text a CPU second, on one core, ids compared.

python benchmarks/tokenization.py base.jsonl.zst [--mb 16] [--tokenizer tokenizer.json] [--vocab-size 32768]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import zstandard
from tokenizers import Tokenizer

from operators.kernels import append_eos
from operators.tokenize.encoder import Encoder, EngineName
from operators.tokenize.engines import FASTEST_FIRST, Engine
from operators.tokenize.specials import without_specials
from operators.tokenize.tokens import TokenizeSink
from operators.tokenize.training.train import TrainTokenizer
from pipeline.commit import commit
from pipeline.documents import SCHEMA, document_id
from pipeline.storage import Storage
from pipeline.work import Task

ROWS = 4096
EOS = 0


class Reference:
    """The tokenizers library as its users call it: a list of strings in, lists of ids out."""

    name = "tokenizers: encode_batch_fast, .ids"

    def __init__(self, tokenizer_json: str) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        self._last: list[list[int]] = []
        self._made: list[np.ndarray] = []

    def add(self, docs: pa.Table) -> None:
        """Encode a batch."""
        encodings = self._tokenizer.encode_batch_fast(docs["text"].to_pylist(), add_special_tokens=False)
        self._last = [encoding.ids for encoding in encodings]

    def settle(self) -> None:
        """Keep the batch for the comparison; not timed."""
        self._made.append(np.array([token for ids in self._last for token in (*ids, EOS)], np.uint32))
        self._last = []

    def close(self) -> None:
        """Nothing is written."""

    def tokens(self) -> np.ndarray:
        """Ids with end marks."""
        return np.concatenate(self._made)


class Bare:
    """A fast engine from Arrow buffers (the fastest way in that we found) to ids in memory."""

    def __init__(self, engine: Engine) -> None:
        self.name = f"{engine.name}: bare, ids in memory"
        self._engine = engine
        self._last = (np.zeros(0, np.uint32), np.zeros(1, np.int64))
        self._made: list[np.ndarray] = []

    def add(self, docs: pa.Table) -> None:
        """Encode a batch."""
        self._last = self._engine.encode(docs["text"].combine_chunks())

    def settle(self) -> None:
        """Keep the batch for the comparison; not timed."""
        ids, offsets = self._last
        self._made.append(np.insert(ids, offsets[1:], EOS))
        self._last = (np.zeros(0, np.uint32), np.zeros(1, np.int64))

    def close(self) -> None:
        """Nothing is written."""

    def tokens(self) -> np.ndarray:
        """Ids with end marks."""
        return np.concatenate(self._made)


class Ours:
    """The step as a worker runs it: encode, end marks, payload, indexes, account, hash, commit."""

    def __init__(self, encoder: Encoder, folder: Path) -> None:
        self.name = f"sluice: to a committed shard, by {encoder.engine}"
        (folder / "scratch").mkdir(parents=True)
        self._storage = Storage(folder)
        self._folder = folder
        self._dtype = encoder.dtype
        self._sink = TokenizeSink(encoder, EOS, Task("tokens", 0, {}, folder / "scratch"))
        self._payload = ""

    def add(self, docs: pa.Table) -> None:
        """Take a batch."""
        self._sink.add(docs)

    def settle(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Write the indexes and commit."""
        self._payload = commit(self._storage, "tokens", 0, self._sink.close(), {}, 0.0).outputs[0].name

    def tokens(self) -> np.ndarray:
        """The payload."""
        return np.fromfile(self._folder / self._payload, self._dtype)


def documents(path: Path, megabytes: float) -> Iterator[pa.Table]:
    """Tables of documents from JSONL, until there is that much text."""
    rows: list[dict[str, object]] = []
    size = 0
    for line in _lines(path):
        record = json.loads(line)
        text = record["text"]
        size += len(text.encode())
        rows.append(
            {"id": document_id("bench", str(size), text.encode()), "text": text, "source": record.get("source", "")}
        )
        if len(rows) == ROWS or size > megabytes * 1e6:
            yield pa.Table.from_pylist(rows, SCHEMA)
            rows = []
        if size > megabytes * 1e6:
            return
    if rows:
        yield pa.Table.from_pylist(rows, SCHEMA)


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as raw:
        if path.suffix != ".zst":
            yield from raw
            return
        rest = b""
        with zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(raw) as stream:
            while chunk := stream.read(1 << 20):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from whole


class _Documents:
    """What training reads."""

    index = 0

    def __init__(self, tables: list[pa.Table]) -> None:
        self._tables = tables

    def documents(self) -> Iterator[pa.Table]:
        return iter(self._tables)


def train(tables: list[pa.Table], vocab_size: int, folder: Path) -> Path:
    """A tokenizer of the texts themselves, the time said."""
    folder.mkdir()
    started = time.process_time()
    work = TrainTokenizer(vocab_size=vocab_size)
    path = work.run(Task("bpe", 0, {"documents": [_Documents(tables)]}, folder)).outputs[0].path  # type: ignore[list-item]
    print(f"trained {vocab_size} tokens in {time.process_time() - started:.1f} CPU s (the card included)")
    return path


def sides(path: Path, folder: Path, first: pa.Table) -> list[Reference | Bare | Ours]:
    """Every side there is, the reference first."""
    text = path.read_text(encoding="utf-8")
    found: list[Reference | Bare | Ours] = [Reference(without_specials(text))]
    for candidate in FASTEST_FIRST:
        try:
            found.append(Bare(candidate(without_specials(text))))
        except ImportError:
            print(f"not run: {candidate.name} is not installed")
    engines: tuple[EngineName, ...] = ("tokenizers", "auto")
    for name in engines:
        started = time.process_time()
        encoder = Encoder(text, name)
        encoder.encode(first["text"].combine_chunks())  # holds the fast engine against the reference
        spent = time.process_time() - started
        print(
            f"start with engine {name}, its checks and {first.num_rows} documents included: {spent:.2f} CPU s a process"
        )
        if name == "tokenizers" or encoder.engine != "tokenizers":
            found.append(Ours(encoder, folder / name))
    return found


def main() -> None:
    """Time each side over the same batches, in fresh buffers, interleaved."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jsonl", type=Path, help="documents with a field text; .zst is understood")
    parser.add_argument("--mb", type=float, default=16.0, help="how much text to take")
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json whose end mark has id 0; else one is trained")
    parser.add_argument("--vocab-size", type=int, default=32768)
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    append_eos.warm()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables = list(documents(arguments.jsonl, arguments.mb))
        path = arguments.tokenizer or train(tables, arguments.vocab_size, folder / "bpe")
        size = sum(pc.sum(pc.binary_length(table["text"])).as_py() for table in tables)
        print(f"{sum(table.num_rows for table in tables)} documents, {size / 1e6:.1f} MB of text")
        report(sides(path, folder, tables[-1].slice(0, 20)), tables, size)


def report(found: list[Reference | Bare | Ours], tables: list[pa.Table], size: int) -> None:
    """Run and print a line a side."""
    seconds = [0.0] * len(found)
    for table in tables:
        for number, side in enumerate(found):
            fresh = table.take(np.arange(table.num_rows))
            started = time.process_time()
            side.add(fresh)
            seconds[number] += time.process_time() - started
            side.settle()
    for number, side in enumerate(found):
        started = time.process_time()
        side.close()
        seconds[number] += time.process_time() - started
    expected = found[0].tokens()
    for side, spent in zip(found, seconds, strict=True):
        verdict = "equal ids" if np.array_equal(side.tokens(), expected) else "IDS DIFFER"
        print(f"{side.name:<48}{size / 1e6 / spent:8.1f} MB/s{seconds[0] / spent:8.1f} x   {verdict}")
    print(f"{len(expected)} tokens with end marks, {size / len(expected):.3f} bytes a token")


if __name__ == "__main__":
    main()
