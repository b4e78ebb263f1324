"""The nodes of a tokenizer run one after another in this process, over tables in memory: for tests and benchmarks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from operators.tokenize.training.train import TrainTokenizer
from pipeline.work import Extent, Needs, Result, Shard, ShardWork, StreamWork, Task


@dataclass(frozen=True)
class _Held:
    """A shard held in memory, or what a task has made."""

    index: int
    tables: Iterable[pa.Table] = ()
    result: Result = field(default_factory=Result)

    def documents(self) -> Iterator[pa.Table]:
        return iter(self.tables)

    def rows(self) -> Iterator[tuple[int, pa.Table]]:
        raise NotImplementedError

    def take(self, rows: Sequence[int], columns: Sequence[str]) -> pa.Table:
        raise NotImplementedError

    @property
    def read_again(self) -> bool:
        return False

    def file(self, suffix: str) -> Path:
        return next(output.path for output in self.result.outputs if output.suffix == suffix)

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.result.facts


def train(
    verb: TrainTokenizer,
    shards: Sequence[Iterable[pa.Table]],
    scratch: Path,
    seconds: dict[str, float] | None = None,
) -> Result:
    """The tokenizer and its card. shards: of each, its documents. scratch: an empty folder.

    seconds: takes the CPU seconds of each node.
    """
    made: dict[str, list[Shard]] = {"": [_Held(k, tables) for k, tables in enumerate(shards)]}
    result = Result()
    for node in verb.nodes("tokenizer", "", 0):
        inputs = {role: made[name] for role, name in node.inputs.items()}
        made[node.name] = []
        started = time.process_time()
        for plan in node.work.tasks({role: Extent(len(held)) for role, held in inputs.items()}):
            folder = scratch / f"{node.name}.{plan.index}"
            folder.mkdir(parents=True)
            own = {role: _needed(held, plan.needs[role]) for role, held in inputs.items()}
            result = _run(node.work, Task(node.name, plan.index, own, folder))
            made[node.name].append(_Held(plan.index, result=result))
        if seconds is not None:
            seconds[node.name] = time.process_time() - started
    return result


def _needed(held: Sequence[Shard], needs: Needs) -> Sequence[Shard]:
    return [held[k] for k in Extent(len(held)).named(needs)]


def _run(work: object, task: Task) -> Result:
    match work:
        case StreamWork():
            sink = work.open(task)
            for table in task.inputs["documents"][0].documents():
                sink.add(table)
            return sink.close()
        case ShardWork():
            return work.run(task)
        case _:
            msg = f"{work!r} cannot be run here"
            raise TypeError(msg)
