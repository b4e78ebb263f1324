"""Exports token shards and reads every document and window back with the trainers' readers: ``make test-peers``.

``python -m tests.peers.read_back [DOCUMENTS]``: JSON lines with ``text``, plain or .zst, default the shipped samples. Ends
with 1 where anything differs.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zstandard
from tokenizers import Tokenizer, models, pre_tokenizers

from benchmarks.peers.process import ENVIRONMENTS
from operators.tokenize.exporting.export import Request, export
from operators.tokenize.packing.reader import sequence_shards
from operators.tokenize.shards.reader import TokenShard
from pipeline.dataset import Run
from pipeline.session import Settings
from workflows import load, run

HERE = Path(__file__).parent
PYTHON = ENVIRONMENTS / "readers" / "bin" / "python"
SAMPLES = HERE.parents[1] / "samples" / "quality.jsonl"
READ_BY = {
    "megatron": "Megatron-core IndexedDataset, GPTDataset", "olmo": "OLMo-core iter_document_indices, NumpyFSLDataset",
    "datatrove": "datatrove merger, DatatroveFolderDataset", "litgpt": "litdata StreamingDataset, litgpt LitData",
    "nanogpt": "np.memmap as in nanoGPT", "llmc": "np.fromfile as in llm.c", "titan": "np.memmap as in torchtitan's guide",
    "parquet": "pyarrow",
}  # fmt: skip
FILES = 3
HELD_OUT = (("val", 0.05),)
DRAWN = 20480
"""Tokens of the mixture: 80 windows."""
M64 = (1 << 64) - 1

RECIPE = """\
name: peers
steps:
  crawl:
    read:
      format: jsonl
      paths: ["in-*.jsonl"]
      columns: {id: id, text: text, source: source}
      group_bytes: 0
  bpe:
    from: crawl
    train_tokenizer: {algorithm: byte_bpe, vocab_size: 8192}
  narrow:
    from: crawl
    tokenize: {tokenizer: {step: bpe}}
  wide:
    from: crawl
    tokenize: {tokenizer: {file: words.json}}
  packed:
    from: narrow
    pack: {sequence_length: 256}
  mixed:
    from: narrow
    mix: {by: [source], weights: {alpha: 0.7, "be/ta": 0.3}, tokens: 20480}
"""


def texts(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        plain = zstandard.ZstdDecompressor().stream_reader(file) if path.suffix == ".zst" else file
        for line in io.TextIOWrapper(plain, "utf-8"):
            yield json.loads(line)["text"]


def prepare(folder: Path, documents: Path) -> Run:
    """Token shards of 16 and 32 bits over the same texts: several shards, and one whose texts are all empty."""
    folder.mkdir()
    files = [(folder / f"in-{k}.jsonl").open("w", encoding="utf-8") for k in range(FILES)]
    words: dict[str, None] = {}
    for number, text in enumerate(texts(documents)):
        row = {"id": str(number), "text": text, "source": "be/ta" if number % 5 == 0 else "alpha"}
        files[number % FILES].write(json.dumps(row) + "\n")
        if len(words) < 60_000:
            words.update(dict.fromkeys(text.split()))
    for file in files:
        file.close()
    (folder / f"in-{FILES}.jsonl").write_text('{"id": "empty", "text": ""}\n')
    wide_tokenizer(folder / "words.json", list(words)[:60_000])
    (folder / "recipe.yaml").write_text(RECIPE)
    return run(load(folder / "recipe.yaml"), folder / "run", settings=Settings(backend="inline", progress="none"))


def wide_tokenizer(path: Path, words: list[str]) -> None:
    """A word a token, with ids on both sides of 65,535."""
    vocabulary = {"<unk>": 0} | {word: 10_000 + 2 * k for k, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel({**vocabulary, "<|endoftext|>": 131_000}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(path))


def set_of(key: bytes, seed: int = 0) -> str:
    """The set a document is in, by the definition: splitmix64 over the seed and both halves of the id."""

    def mixed(value: int) -> int:
        value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & M64
        value = ((value ^ value >> 27) * 0x94D049BB133111EB) & M64
        return value ^ value >> 31

    step = 0x9E3779B97F4A7C15
    low, high = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    number = mixed((mixed(mixed((seed + step) & M64) ^ low) + step & M64) ^ high)
    return "val" if number < int(HELD_OUT[0][1] * 2**64) else "train"


def write_expected(folder: Path, made: Run, step: str, set_of_row: Callable[[dict], str], names: Sequence[str]) -> None:
    """What the export must give back, cut out document by document."""
    for name in names:
        (folder / name).mkdir(parents=True)
    for committed in made[step].shards():
        shard = TokenShard.of(committed)
        chosen = [set_of_row(row) for row in shard.columns(["id", "source"]).to_pylist()]
        for name in names:
            mine = [shard.document(k) for k, one in enumerate(chosen) if one == name]
            if mine:
                write_shard(folder / name, committed.index, mine)
    write_facts(folder, made, step, names, packed=False)


def write_packed(folder: Path, made: Run) -> None:
    """Sequence by sequence, padded, with the pieces and the padding as documents."""
    (folder / "train").mkdir(parents=True)
    for index, shard in enumerate(sequence_shards(made, "packed")):
        mine = []
        for number in range(len(shard)):
            tokens, bounds = shard.sequence(number), shard.bounds(number)
            mine += np.split(tokens, bounds[1:-1])
            if len(tokens) < shard.sequence_length + 1:
                mine.append(np.full(shard.sequence_length + 1 - len(tokens), shard.eos, tokens.dtype))
        if mine:
            write_shard(folder / "train", index, mine)
    write_facts(folder, made, "narrow", ("train",), packed=True)


def write_shard(folder: Path, index: int, documents: Sequence[np.ndarray]) -> None:
    np.save(folder / f"{index:05d}.npy", np.concatenate(documents))
    np.save(folder / f"{index:05d}.offsets.npy", np.cumsum([0, *map(len, documents)]))


def write_facts(folder: Path, made: Run, step: str, names: Sequence[str], *, packed: bool) -> None:
    facts = made[step].shards()[0].facts
    told = {key: facts[key] for key in ("dtype", "eos_id", "vocab_size")}
    told |= {"sets": list(names), "split": tuple(names) != ("train",), "packed": packed}
    told |= {"weights": [0.7, 0.3] if names[0] == "000-alpha" else None, "drawn": DRAWN}
    (folder / "facts.json").write_text(json.dumps(told))


def all_in_train(row: dict) -> str:
    del row
    return "train"


def drawn(row: dict) -> str:
    return set_of(row["id"])


def stratum(row: dict) -> str:
    return {"alpha": "000-alpha", "be/ta": "001-be_ta"}[row["source"]]


class Case(NamedTuple):
    """One way to export. sets: their names in the export. targets: who can read it."""

    step: str
    payload: str
    sets: tuple[str, ...]
    set_of_row: Callable[[dict], str]
    targets: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.step}-{len(self.sets)}"


ALL = tuple(READ_BY)
WIDE = tuple(target for target in READ_BY if target != "nanogpt")
CASES = (
    Case("narrow", "narrow", ("train",), all_in_train, ALL),
    Case("narrow", "narrow", ("train", "val"), drawn, ALL),
    Case("wide", "wide", ("train",), all_in_train, WIDE),
    Case("wide", "wide", ("train", "val"), drawn, WIDE),
    Case("packed", "narrow", ("train",), all_in_train, ("litgpt", "datatrove")),
    Case("mixed", "narrow", ("000-alpha", "001-be_ta"), stratum, ("megatron", "olmo")),
)


def read_back(target: str, pairs: Sequence[tuple[Path, Path]]) -> list[dict]:
    """What the reader of a target found in each export, beside what should be there."""
    cache = pairs[0][0].parent / "cache"
    offline = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "DATA_OPTIMIZER_CACHE_FOLDER": str(cache)}
    done = subprocess.run(
        [PYTHON, HERE / "readers.py", target, *(place for pair in pairs for place in pair)], capture_output=True, text=True,
        check=False, env={**os.environ, **offline, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    found = [json.loads(line) for line in done.stdout.splitlines()]
    lost = {"different": 1, "first": [done.stderr[-3000:]], "documents": 0, "windows": 0, "tokens": 0}
    return [*found, *[lost] * (len(pairs) - len(found))]


def versions() -> str:
    listed = (HERE.parents[1] / "benchmarks/peers/requirements/readers.txt").read_text()
    names = ("megatron-core", "ai2-olmo-core", "datatrove", "litdata", "litgpt", "numpy")
    return ", ".join(line for name in names for line in re.findall(rf"^{name}==.*$", listed, re.MULTILINE))


def main() -> int:
    if not PYTHON.exists():
        sys.exit("no readers: python benchmarks/peers/install.py readers")
    documents = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES
    failed = 0
    with tempfile.TemporaryDirectory(prefix="sluice-peers-") as place:
        folder = Path(place)
        made = prepare(folder / "in", documents)
        print(f"{documents.name}; {versions()}\n")
        print(
            "| to | read by | step | sets | documents | windows | tokens | different |\n| --- | --- | --- | --- | ---: | ---: | ---: | ---: |"
        )
        for case in CASES:
            if case.step == "packed":
                write_packed(folder / case.name, made)
            else:
                write_expected(folder / case.name, made, case.payload, case.set_of_row, case.sets)
        for target, reader in READ_BY.items():
            mine = [case for case in CASES if target in case.targets]
            pairs = [(folder / f"{case.name}-{target}", folder / case.name) for case in mine]
            for case, (root, _) in zip(mine, pairs, strict=True):
                held_out = HELD_OUT if "val" in case.sets else None
                export(made, Request(step=case.step, to=target, held_out=held_out), root)
            for case, found in zip(mine, read_back(target, pairs), strict=True):
                failed += found["different"]
                numbers = " | ".join(f"{found[key]:,}" for key in ("documents", "windows", "tokens", "different"))
                print(f"| {target} | {reader} | {case.step} | {', '.join(case.sets)} | {numbers} |", flush=True)
                print("".join(f"    {line}\n" for line in found["first"]), end="")
    print(f"\n{'nothing differed' if not failed else f'{failed} differed'}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
