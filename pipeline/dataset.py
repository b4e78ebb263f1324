"""A run on disk, as those who read it see it: steps, their documents, their accounts."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.commit import Commit, committed
from pipeline.errors import UserError
from pipeline.inputs import FrozenInputs
from pipeline.ledger import Ledger, total
from pipeline.readers.read import Read
from pipeline.shards import CommittedShard, ShardSpec
from pipeline.storage import Storage
from pipeline.work import Kind

RUN_FILE = "run.json"


@dataclass(frozen=True)
class Dataset:
    """What one step (or an inner node of one) made."""

    run: Run
    name: str
    folder: str
    manifest: Mapping[str, Any] | None
    commits: Mapping[int, Commit]

    @property
    def kind(self) -> Kind:
        """What its shards hold."""
        return self.run.nodes[self.name]["kind"]

    @property
    def complete(self) -> bool:
        """Every shard is committed and the manifest is written."""
        return self.manifest is not None

    @property
    def ledger(self) -> Ledger:
        """The account over all its committed shards."""
        return total(self.commits[k].ledger for k in sorted(self.commits))

    def shards(self) -> list[CommittedShard]:
        """Its committed shards, in order."""
        return [CommittedShard(self._spec(k), self.run.storage) for k in sorted(self.commits)]

    def documents(self) -> Iterator[pa.Table]:
        """Its documents, bitmaps applied, shard by shard."""
        for shard in self.shards():
            yield from shard.documents()

    def rejected(self, folder: str) -> Iterator[pa.Table]:
        """Its ``dropped`` or ``quarantine`` rows, a table a shard."""
        for k in sorted(self.commits):
            for output in self.commits[k].outputs:
                if output.folder == folder:
                    yield pq.read_table(self.run.storage.local_path(output.name))

    @cached_property
    def _base(self) -> Dataset:
        """The dataset a selection selects from."""
        return self.run[self.run.nodes[self.name]["inputs"]["documents"]]

    @cached_property
    def _read(self) -> Read:
        return Read.model_validate_json(orjson.dumps(self.run.nodes[self.name]["read"]))

    def _spec(self, index: int) -> ShardSpec:
        kind, commit = self.kind, self.commits[index]
        if kind == "source":
            pieces = self.run.inputs[self.name].shards[index]
            return ShardSpec.of(commit, self.folder, kind, read=self._read, pieces=pieces)
        base = self._base._spec(index) if kind == "selection" else None  # noqa: SLF001  # same class
        return ShardSpec.of(commit, self.folder, kind, base=base)


@dataclass(frozen=True)
class Run:
    """A run's folder."""

    storage: Storage
    facts: Mapping[str, Any]

    @classmethod
    def open(cls, uri: str) -> Run:
        """Open a run.

        Raises:
            UserError: there is no run there.
        """
        storage = Storage(uri)
        if not storage.exists(RUN_FILE):
            msg = f"no run at {uri}: {RUN_FILE} is missing; give the folder that `sluice run --out` wrote to"
            raise UserError(msg)
        return cls(storage, orjson.loads(storage.read_bytes(RUN_FILE)))

    @property
    def nodes(self) -> Mapping[str, Mapping[str, Any]]:
        """Every node: kind, inputs, dataset folder (null while it waits for a recorded step)."""
        return self.facts["nodes"]

    @property
    def steps(self) -> Sequence[str]:
        """The recipe's steps, in its order."""
        return list(self.facts["datasets"])

    @cached_property
    def inputs(self) -> Mapping[str, FrozenInputs]:
        """Frozen inputs of each reading step."""
        return {
            name: FrozenInputs.model_validate_json(orjson.dumps(data["frozen"]))
            for name, data in self.facts["inputs"].items()
        }

    def __getitem__(self, name: str) -> Dataset:
        """The dataset of a step.

        Raises:
            UserError: no such step, or it has not begun.
        """
        if name not in self.nodes:
            close = difflib.get_close_matches(name, self.nodes, n=1)
            hint = f", did you mean {close[0]!r}?" if close else f"; there are: {', '.join(self.nodes)}"
            msg = f"no step {name!r} in {self.storage.uri}{hint}"
            raise UserError(msg)
        folder = self.nodes[name]["dataset"]
        if folder is None:
            msg = f"step {name!r} has not begun: it waits for what an earlier step will make"
            raise UserError(msg)
        path = f"{folder}/manifest.json"
        found = orjson.loads(self.storage.read_bytes(path)) if self.storage.exists(path) else None
        return Dataset(self, name, folder, found, self._commits(name, folder))

    def _commits(self, name: str, folder: str) -> dict[int, Commit]:
        planned = self.nodes[name].get("num_shards")
        return {k: c for k, c in committed(self.storage, folder).items() if planned is None or k < planned}
