"""What a task sees, made by hand: shards in memory, and outputs brought under one stem."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from tokenizers import Tokenizer, models, pre_tokenizers

from operators.tokenize.training.local import train
from operators.tokenize.training.train import TrainTokenizer
from pipeline.documents import SCHEMA, document_id
from pipeline.work import Result, Shard, StreamWork, Task

TEXTS = (
    "The river rose in the night and the mill stood in the water until the morning.\n\nNobody had seen it so high.",
    "今天天气很好，我们去公园散步。公园里有很多人，孩子们在湖边放风筝。",
    "def area(width, height):\n    return width * height  # 1234567 square metres\n",
    "It's the miller's house; they're mending the roof, and we'll see whether it'll hold.",
    "Вода поднялась ночью. 😀👍🏽 naïve café — “quoted” … 3.14159\t\ttabs\r\n",
    "a text that writes <|endoftext|> in the middle, and again <|endoftext|><|pad|>",
)


def documents(texts: Sequence[str | None], *, source: str = "demo", language: str | None = None) -> pa.Table:
    """A table of documents with ids of their own."""
    rows = [
        {"id": document_id(source, f"{number}", (text or "").encode()), "text": text, "source": source,
         "url": f"https://example.org/{number}", "origin": f"file.jsonl:{number}"}
        for number, text in enumerate(texts)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    if language is not None:
        table = table.append_column("language.label", pa.array([language] * len(texts), pa.string()))
    return table


class MemoryShard:
    """A committed shard whose documents are held in memory."""

    def __init__(self, *tables: pa.Table, index: int = 0) -> None:
        self.index = index
        self._tables = tables

    def documents(self) -> Iterator[pa.Table]:
        return iter(self._tables)

    def take(self, rows: Sequence[int], columns: Sequence[str]) -> pa.Table:
        raise NotImplementedError

    @property
    def read_again(self) -> bool:
        raise NotImplementedError

    def rows(self) -> Iterator[tuple[int, pa.Table]]:
        first = 0
        for table in self._tables:
            yield first, table
            first += table.num_rows

    def file(self, suffix: str) -> Path:
        raise FileNotFoundError(suffix)

    @property
    def facts(self) -> Mapping[str, Any]:
        return {}


class CommittedFiles(MemoryShard):
    """A committed shard: its files and what its task noted."""

    def __init__(self, paths: Mapping[str, Path], facts: Mapping[str, Any], index: int = 0) -> None:
        super().__init__(index=index)
        self._paths = paths
        self._facts = facts

    def file(self, suffix: str) -> Path:
        return self._paths[suffix]

    @property
    def facts(self) -> Mapping[str, Any]:
        return self._facts


def task(scratch: Path, *shards: Shard) -> Task:
    """A task over shards of documents, with a folder of its own."""
    scratch.mkdir(parents=True)
    return Task("step", 0, {"documents": shards}, scratch)


def stream(work: StreamWork, scratch: Path, *tables: pa.Table) -> Result:
    """One shard through a work, table by table."""
    sink = work.open(task(scratch))
    for table in tables:
        sink.add(table)
    return sink.close()


def published(result: Result, folder: Path, stem: str = "00000000-0123456789abcdef") -> dict[str, Path]:
    """The outputs as a commit would name them: suffix (dropped rows under ``dropped``) to path."""
    paths = {}
    for output in result.outputs:
        place = folder / output.folder / f"{stem}{output.suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(output.path, place)
        paths[output.suffix if output.folder == "shards" else output.folder] = place
    return paths


def trained(scratch: Path, *tables: pa.Table, **options: Any) -> Path:
    """A tokenizer.json trained on tables."""
    work = TrainTokenizer(**{"vocab_size": 512, "min_frequency": 1, **options})
    return train(work, [tables], scratch).outputs[0].path


def numbered(path: Path, size: int) -> Path:
    """A tokenizer of ``size`` ids: the word ``w17`` has id 17, and the last id is the end mark."""
    vocabulary = {f"w{number}": number for number in range(size - 1)}
    tokenizer = Tokenizer(models.WordLevel({**vocabulary, "<|endoftext|>": size - 1}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    path.write_text(json.dumps(json.loads(tokenizer.to_str())), encoding="utf-8")
    return path
