"""Every text of some files, and made-up ones, through each fast engine and the reference: documents whose ids differ.

python -m benchmarks.tokenization_exact FILE.jsonl[.zst]... --tokenizer tokenizer.json [--fields text,html]

The made-up ones: each code point between letters, marks and digits, and random mixtures of marks of many scripts.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.tokenization import rows_of
from operators.tokenize.engines import FASTEST_FIRST, Engine, Fastokens, Gigatoken, Reference
from operators.tokenize.specials import as_text, without_specials

_BATCH_CHARS = 4_000_000
_SURROGATES = range(0xD800, 0xE000)
_LAST_DENSE = 0x20000  # above it hardly any code point is a letter: every 37th is taken
_NUM_RANDOM = 60_000
_ATOMS = (
    "a", "The", " the", "\n", "\r\n", " ", "  ", "\t", "'s", "'S", "\u017f", "'\u017f", "\u2019s", "123", "٣٤", "½", "²", "今天", "\uff0c", "。",
    "한국어", "ไทย", "\u0300", "e\u0301", "İ", "ǆ", "😀", "👩‍👩‍👧", "\U0010ffff", "\u200b", "\u00a0", "\u3000", "\u2028", "\u0085", "\x00",
    "\x1c", "\x1f", "\ufeff", "\ufffd", "<|endoftext|>", "!!", "...", "_", "-", "//", "{", "})", "Ⅷ", "\u1680", "\u180e", "\u00ad",
    "\ue000", "\uffff", "𐀀", "\U0001d7d8", "\U00020000",
)  # fmt: skip


def texts(files: Iterable[Path], fields: set[str]) -> Iterator[str]:
    """Every string of the fields named."""
    for file in files:
        for row in rows_of(file):
            yield from (row[name] for name in fields & row.keys() if isinstance(row[name], str))


def made_up() -> Iterator[str]:
    """Texts that no page holds."""
    draw = random.Random(7)
    everywhere = [c for c in range(0x110000) if c not in _SURROGATES]
    for code in everywhere:
        if code < _LAST_DENSE or code % 37 == 0:
            yield f"a{chr(code)}b {chr(code)}1'{chr(code)}"
    for _ in range(_NUM_RANDOM):
        yield "".join(draw.choice(_ATOMS) for _ in range(draw.randrange(1, 20)))
        yield "".join(chr(draw.choice(everywhere)) for _ in range(draw.randrange(1, 30)))
        yield "".join(draw.choice("ab \n's1,中") for _ in range(draw.randrange(1, 60)))


def batches(source: Iterable[str]) -> Iterator[pa.Array]:
    """Columns of some four million characters."""
    waiting: list[str] = []
    size = 0
    for text in source:
        waiting.append(text)
        size += len(text)
        if size > _BATCH_CHARS:
            yield pa.array(waiting, pa.large_string())
            waiting, size = [], 0
    yield pa.array(waiting, pa.large_string())


class Account:
    """Documents, bytes, and for each engine the CPU seconds and the documents that differ."""

    def __init__(self, engines: list[Engine]) -> None:
        self.engines = engines
        self.seconds = [0.0] * len(engines)
        self.differ = [0] * len(engines)
        self.num_documents = 0
        self.num_bytes = 0

    def add(self, column: pa.Array) -> None:
        """Encode by all; the first is the reference."""
        made = []
        for number, engine in enumerate(self.engines):
            started = time.process_time()
            made.append(engine.encode(column))
            self.seconds[number] += time.process_time() - started
        self.num_documents += len(column)
        self.num_bytes += sum(len(text.encode()) for text in column.to_pylist())
        wanted, bounds = made[0]
        for number, (ids, offsets) in enumerate(made):
            if np.array_equal(ids, wanted) and np.array_equal(offsets, bounds):
                continue
            for row, text in enumerate(column.to_pylist()):
                if not np.array_equal(ids[offsets[row] : offsets[row + 1]], wanted[bounds[row] : bounds[row + 1]]):
                    self.differ[number] += 1
                    print(f"  {self.engines[number].name} differs on {text[:60]!r}")

    def show(self, what: str) -> None:
        """A line an engine."""
        print(f"{what}: {self.num_documents:,} documents, {self.num_bytes / 1e6:.1f} MB")
        for engine, spent, differ in zip(self.engines, self.seconds, self.differ, strict=True):
            print(
                f"  {engine.name:<12}{self.num_bytes / 1e6 / spent:8.1f} MB/CPU s   {differ} documents differ",
                flush=True,
            )


def engines_for(tokenizer_json: str) -> list[Engine]:
    """The reference, and the fast ones that are here and take the tokenizer."""
    whole = as_text(tokenizer_json)
    found: list[Engine] = [Reference(whole)]
    candidates: tuple[type[Gigatoken | Fastokens], ...] = FASTEST_FIRST
    for candidate in candidates:
        try:
            found.append(candidate(without_specials(whole)))
        except (ImportError, RuntimeError, ValueError, TypeError) as error:
            print(f"not run: {candidate.name}: {error}")
    return found


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jsonl", type=Path, nargs="+")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--fields", default="text,gold_text,text_a,text_b,word,domain", help="fields that hold texts")
    arguments = parser.parse_args()
    found = engines_for(json.dumps(json.loads(arguments.tokenizer.read_text(encoding="utf-8"))))
    for what, source in (("files", texts(arguments.jsonl, set(arguments.fields.split(",")))), ("made up", made_up())):
        account = Account(found)
        for column in batches(source):
            account.add(column)
        account.show(what)


if __name__ == "__main__":
    main()
