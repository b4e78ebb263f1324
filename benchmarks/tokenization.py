"""Tokenization to a committed shard beside the libraries it uses and others: CPU seconds, ids compared.

python -m benchmarks.tokenization FILE.jsonl[.zst]... [--mb 8] [--passes 3] [--cores 2] [--tokenizer tokenizer.json]

English and Chinese are taken from the files by their letters, code from Python's own library, mixed as the first file is. Each side gets the same
batches in fresh buffers and starts with empty caches in every pass; passes are interleaved, the best one counts.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import zstandard
from tokenizers import Regex, Tokenizer, decoders, models
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as Splits
from tokenizers.trainers import BpeTrainer

from benchmarks.tokenization_sides import BARE, DEFAULT, EOS, FAST, REFERENCE, SIDES, SPLIT, Made
from operators.kernels import append_eos
from operators.tokenize.encoder import Encoder
from pipeline.documents import SCHEMA, document_id

_BATCH_BYTES = 4_000_000
_HAN = re.compile("[\u4e00-\u9fff]")
_LATIN = re.compile("[A-Za-z]")
_TRAINING_CHARS = 4_000_000  # of each kind of text

TOGETHER = (REFERENCE, *BARE, FAST)
"""Sides that run on several cores too."""

Tables = list[pa.Table]


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a file of JSON lines."""
    with path.open("rb") as raw:
        if path.suffix != ".zst":
            yield from map(json.loads, raw)
            return
        rest = b""
        with zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(raw) as stream:
            while chunk := stream.read(1 << 20):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from map(json.loads, whole)


def kind_of(text: str) -> str:
    """English (nearly: Latin letters), Chinese or neither, by the first thousand characters."""
    head = text[:1000]
    han, latin = len(_HAN.findall(head)), len(_LATIN.findall(head))
    if han > 0.3 * len(head):
        return "Chinese"
    return "English" if latin > 0.6 * len(head) else ""


def code() -> Iterator[str]:
    """Python's own library, tests included."""
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        if "site-packages" not in path.parts:
            yield path.read_text(encoding="utf-8", errors="replace")


def collect(files: Sequence[Path], megabytes: float) -> dict[str, list[str]]:
    """Texts by kind, at most so much of each."""
    found: dict[str, list[str]] = {"English": [], "Chinese": [], "code": [], "mixed": []}
    sizes = dict.fromkeys(found, 0)
    readers = [
        ((kind_of(row["text"]), row["text"]) for file in files for row in rows_of(file)),
        (("code", text) for text in code()),
        (("mixed", row["text"]) for row in rows_of(files[0])),
    ]
    for reader, kinds in zip(readers, (("English", "Chinese"), ("code",), ("mixed",)), strict=True):
        for kind, text in reader:
            if text and kind in found and sizes[kind] < megabytes * 1e6:
                found[kind].append(text)
                sizes[kind] += len(text.encode())
            elif min(sizes[one] for one in kinds) >= megabytes * 1e6:
                break
    return found


def tables(texts: Sequence[str]) -> Tables:
    """Documents in batches of some 4 MB."""
    made: Tables = []
    rows: list[dict[str, object]] = []
    size = 0
    for number, text in enumerate(texts):
        content = text.encode()
        rows.append({"id": document_id("bench", str(number), content), "text": text, "source": "bench"})
        size += len(content)
        if size > _BATCH_BYTES or number == len(texts) - 1:
            made.append(pa.Table.from_pylist(rows, SCHEMA))
            rows, size = [], 0
    return made


def train(texts: dict[str, list[str]], vocab_size: int) -> str:
    """A byte-level tokenizer.json of a part of every kind of text, by the library's own trainer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = Splits(
        [Split(Regex(SPLIT), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocab_size, special_tokens=[EOS], initial_alphabet=sorted(ByteLevel.alphabet()), show_progress=False
    )
    sample = ("".join(text[:20_000] for text in kind)[:_TRAINING_CHARS] for kind in texts.values())
    pieces = (whole[k : k + 20_000] for whole in sample for k in range(0, len(whole), 20_000))
    tokenizer.train_from_iterator(pieces, trainer)
    return tokenizer.to_str()


def fresh(table: pa.Table) -> pa.Table:
    """A copy, so that no side finds the text in a cache of the processor because another has just read it."""
    return table.take(np.arange(table.num_rows))


def available(tokenizer_json: str) -> list[str]:
    """The sides that can be run here."""
    names = []
    for name, make in SIDES.items():
        try:
            make(tokenizer_json)
            names.append(name)
        except ImportError as error:
            print(f"not run: {name} ({error})")
    return names


def one_core(names: Sequence[str], tokenizer_json: str, batches: Tables, passes: int) -> dict[str, tuple[float, Made]]:
    """CPU seconds of each side's best pass, and what it made."""
    best: dict[str, tuple[float, Made]] = {}
    for number in range(passes):
        order = names if number % 2 == 0 else names[::-1]
        sides = {name: SIDES[name](tokenizer_json) for name in order}
        seconds = dict.fromkeys(order, 0.0)
        for table in batches:
            for name, side in sides.items():
                given = fresh(table)
                started = time.process_time()
                side.add(given)
                seconds[name] += time.process_time() - started
                side.settle()
        for name, side in sides.items():
            started = time.process_time()
            side.close()
            seconds[name] += time.process_time() - started
            made = side.made()
            if name not in best or seconds[name] < best[name][0]:
                best[name] = (seconds[name], made)
    return best


def differing(made: Made, expected: Made) -> int:
    """Documents whose ids differ from the reference's."""
    if np.array_equal(made[1], expected[1]) and np.array_equal(made[0], expected[0]):
        return 0
    parts, wanted = (np.split(ids, np.cumsum(sizes)[:-1]) for ids, sizes in (made, expected))
    return sum(not np.array_equal(a, b) for a, b in zip(parts, wanted, strict=True))


def _child(name: str, tokenizer_json: str, paths: list[str], barrier: Barrier, queue: Any) -> None:
    batches = [pa.ipc.open_file(path).read_all() for path in paths]
    side = SIDES[name](tokenizer_json)
    batches = [fresh(table) for table in batches]
    barrier.wait()
    cpu, wall = time.process_time(), time.time()
    for table in batches:
        side.add(table)
        side.settle()
    side.close()
    queue.put((time.process_time() - cpu, wall, time.time()))


def many_cores(name: str, tokenizer_json: str, paths: Sequence[str], cores: int) -> tuple[float, float]:
    """CPU seconds of all processes and seconds by the clock, each process with its own share of the batches."""
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(cores), context.Queue()
    children = [
        context.Process(target=_child, args=(name, tokenizer_json, list(paths[k::cores]), barrier, queue))
        for k in range(cores)
    ]
    for child in children:
        child.start()
    spent = [queue.get(timeout=900) for _ in children]
    for child in children:
        child.join()
    return sum(cpu for cpu, *_ in spent), max(end for *_, end in spent) - min(start for _, start, _ in spent)


def start(tokenizer_json: str, first: pa.Table) -> None:
    """Print what a process spends before its first document."""
    for engine in ("tokenizers", "auto"):
        started = time.process_time()
        encoder = Encoder(tokenizer_json, engine)
        made = time.process_time()
        encoder.encode(first["text"].combine_chunks().slice(0, 500))
        checked = time.process_time() - made
        started = made - started
        print(f"start, {engine} ({encoder.engine}): {started:.2f} CPU s; first 500 documents {checked:.2f} CPU s")


def report(kind: str, best: dict[str, tuple[float, Made]], size: int) -> None:
    """A line a side."""
    slow, expected = next(iter(best.values()))  # the reference, where it runs
    bare = min(best[name][0] for name in (*BARE, REFERENCE) if name in best)
    print(f"\n{kind}: {size / 1e6:.1f} MB, {len(expected[1])} documents, {size / len(expected[0]):.2f} bytes a token")
    for name, (seconds, made) in best.items():
        bad = differing(made, expected)
        verdict = "equal ids" if bad == 0 else f"{bad} documents differ"
        share = f"{bare / seconds:6.2f} of bare" if name in (DEFAULT, FAST) else ""
        print(
            f"  {name:<48}{size / 1e6 / seconds:8.1f} MB/CPU s{slow / seconds:8.1f} x  {verdict}  {share}", flush=True
        )


def main() -> None:
    """Time each side over the same batches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jsonl", type=Path, nargs="+", help="documents with a field text; .zst is understood")
    parser.add_argument("--mb", type=float, default=8.0, help="how much of each kind of text to take")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--fast-only", action="store_true", help="leave out what takes minutes, for more text")
    parser.add_argument("--cores", type=int, default=2, help="processes of the second table; 1 leaves it out")
    parser.add_argument("--tokenizer", type=Path, help=f"a byte-level tokenizer.json with {EOS}; else one is trained")
    parser.add_argument("--vocab-size", type=int, default=32768)
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["RAYON_NUM_THREADS"] = "1"
    append_eos.warm()
    texts = collect(arguments.jsonl, arguments.mb)
    path = arguments.tokenizer
    tokenizer_json = path.read_text(encoding="utf-8") if path else train(texts, arguments.vocab_size)
    sets = {kind: tables(found) for kind, found in texts.items() if found}
    names = available(tokenizer_json)
    if arguments.fast_only:
        names = [name for name in names if name in (*BARE, FAST)]
    start(tokenizer_json, sets["English"][0])
    for kind, batches in sets.items():
        size = sum(pc.sum(pc.binary_length(table["text"])).as_py() for table in batches)
        report(kind, one_core(names, tokenizer_json, batches, arguments.passes), size)
        if arguments.cores > 1:
            together([name for name in names if name in TOGETHER], tokenizer_json, batches, (size, arguments.cores))


def together(names: Sequence[str], tokenizer_json: str, batches: Tables, shares: tuple[int, int]) -> None:
    """The same on several cores."""
    size, cores = shares
    with tempfile.TemporaryDirectory() as folder:
        whole = pa.concat_tables(batches).combine_chunks()
        rows = -(-whole.num_rows // (4 * cores))
        paths = []
        for number in range(4 * cores):
            paths.append(f"{folder}/{number}.arrow")
            with pa.ipc.new_file(paths[-1], whole.schema) as file:
                file.write_table(whole.slice(number * rows, rows))
        print(f"  {cores} processes, a pass each side:")
        for name in names:
            cpu, wall = many_cores(name, tokenizer_json, paths, cores)
            print(f"  {name:<48}{size / 1e6 / cpu:8.1f} MB/CPU s{size / 1e6 / wall:8.1f} MB/s by the clock", flush=True)


if __name__ == "__main__":
    main()
