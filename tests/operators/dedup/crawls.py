"""Small crawls in JSONL, deduplicated by real runs, and what the rule of all pairs says of them."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from operators.dedup.verb import Dedup
from pipeline.dataset import Run
from pipeline.readers.read import Read
from pipeline.session import Settings, run
from pipeline.workflow import Expect, Step, Workflow
from pipeline.works import ReadWork
from tests.operators.dedup.twins import Doc, Rule, decide

INLINE = Settings(backend="inline", progress="none")
WORDS = [f"w{k}" for k in range(400)]


def families(seed: int, sizes: Sequence[int]) -> list[list[str]]:
    """Texts of a few families, dealt to several crawls: copies, edits, chains of edits, short and empty texts."""
    draw = random.Random(seed)
    crawls: list[list[str]] = [[] for _ in sizes]
    words = draw.choices(WORDS, k=40)
    while any(len(crawl) < size for crawl, size in zip(crawls, sizes, strict=True)):
        if draw.random() < 0.25:
            words = draw.choices(WORDS, k=draw.choice([3, 5, 12, 40, 120]))
        elif draw.random() < 0.8:
            for _ in range(1 + len(words) // 40):
                words[draw.randrange(len(words))] = draw.choice(WORDS)
        number = draw.choice([k for k, size in enumerate(sizes) if len(crawls[k]) < size])
        crawls[number].append(" ".join(words))
    return crawls


@dataclass(frozen=True)
class Crawl:
    """The texts of one crawl, in files; documents are known by ``<crawl>/<number>``."""

    name: str
    texts: Sequence[str]

    def write(self, folder: Path, num_files: int = 2, order: random.Random | None = None) -> list[str]:
        """The files, with the documents dealt to them."""
        folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({"id": f"{self.name}/{k}", "text": text}) for k, text in enumerate(self.texts)]
        if order is not None:
            order.shuffle(lines)
        paths = [folder / f"{self.name}-{k}.jsonl" for k in range(num_files)]
        for k, path in enumerate(paths):
            path.write_text("".join(f"{line}\n" for line in lines[k::num_files]), encoding="utf-8")
        return [str(path) for path in paths]


def workflow(read: Mapping[str, Any], dedup: Dedup, folder: Path) -> Workflow:
    source = Read.model_validate({"format": "jsonl", "source": "web", "group_bytes": 1, **read})
    crawl = Step(name="crawl", verb=ReadWork(read=source), expect=Expect(quarantined=1.0))
    steps = (crawl, Step(name="unique", source="crawl", verb=dedup))
    return Workflow(name="crawls", base_dir=str(folder), steps=steps)


def deduplicated(read: Mapping[str, Any], dedup: Mapping[str, Any], out: Path | str) -> Run:
    """Run ``read`` and ``dedup``."""
    return run(workflow(read, Dedup.model_validate(dedup), Path()), str(out), INLINE)


@dataclass(frozen=True)
class Removed:
    """What became of a removed document."""

    kind: str
    rep: bytes
    level: int
    size: int


def removed(result: Run, step: str = "unique") -> dict[bytes, Removed]:
    """Every removed document, by id."""
    found = {}
    for shard in result[step].shards():
        for row in pq.read_table(shard.file(".removed.parquet")).to_pylist():
            found[row["id"]] = Removed(row["kind"], row["rep_id"], row["rep_level"], row["cluster_size"])
    return found


def verdicts(*results: Run) -> dict[bytes, tuple[str, bytes]]:
    """Kind and representative of every removed document of some runs."""
    return {key: (one.kind, one.rep) for result in results for key, one in removed(result).items()}


def kept(result: Run, step: str = "unique") -> set[bytes]:
    return {key for docs in result[step].documents() for key in docs["id"].to_pylist()}


def documents(result: Run, epoch: int = 0) -> list[Doc]:
    """The documents a run read, as the twin takes them."""
    return [
        Doc(key, text, epoch=epoch)
        for docs in result["crawl"].documents()
        for key, text in zip(docs["id"].to_pylist(), docs["text"].to_pylist(), strict=True)
    ]


def expected(epochs: Sequence[Sequence[Doc]], rule: Rule) -> dict[bytes, tuple[str, bytes]]:
    """What the rule of all pairs says, epoch after epoch."""
    docs = [replace(doc, epoch=number) for number, epoch in enumerate(epochs) for doc in epoch]
    return {key: (verdict.kind, verdict.rep) for key, verdict in decide(docs, rule).items()}


def digests(result: Run, node: str) -> list[str]:
    """The bytes of a node's files."""
    commits = result[node].commits
    return [output.sha256 for index in sorted(commits) for output in commits[index].outputs]
