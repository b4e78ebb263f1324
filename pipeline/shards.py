"""Committed shards as tasks and readers see them: documents, bitmaps applied, files and facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.commit import Commit, Published
from pipeline.errors import RunFailedError
from pipeline.inputs import Piece
from pipeline.readers.read import Read, read_shard
from pipeline.storage import Storage
from pipeline.work import Kind

ROWS_PER_READ = 4096
"""Rows a reader hands out at once; has no effect on results."""


@dataclass(frozen=True)
class ShardSpec:
    """Where a committed shard lies; small and picklable, so that it can travel to a worker.

    base: the shard a selection selects from. read, pieces: where the documents of a source come from.
    """

    dataset: str
    index: int
    kind: Kind
    outputs: tuple[Published, ...] = ()
    facts: Mapping[str, Any] | None = None
    base: ShardSpec | None = None
    read: Read | None = None
    pieces: tuple[Piece, ...] = ()

    @classmethod
    def of(cls, commit: Commit, dataset: str, kind: Kind, **more: Any) -> ShardSpec:
        """The shard a commit record describes."""
        return cls(dataset, commit.index, kind, commit.outputs, commit.facts, **more)


@dataclass(frozen=True)
class CommittedShard:
    """A shard opened for reading (``pipeline.work.Shard``)."""

    spec: ShardSpec
    storage: Storage

    @property
    def index(self) -> int:
        """Its number."""
        return self.spec.index

    @property
    def facts(self) -> Mapping[str, Any]:
        """What its task noted."""
        return self.spec.facts or {}

    def file(self, suffix: str) -> Path:
        """Local path of the output with that suffix.

        Raises:
            RunFailedError: the shard has no such file, or it was cut off since the commit.
        """
        for output in self.spec.outputs:
            if output.suffix == suffix and output.folder == "shards":
                path = self.storage.local_path(output.name)
                size = path.stat().st_size if path.exists() else None
                if size != output.bytes:
                    msg = (
                        f"{path} is {'missing' if size is None else f'{size} bytes'}, its commit says {output.bytes}; "
                        f"remove {self.spec.dataset}/commits/{self.index:08d}.json and run again to make it anew"
                    )
                    raise RunFailedError(msg)
                return path
        names = ", ".join(output.suffix for output in self.spec.outputs) or "none"
        msg = f"shard {self.index} of {self.spec.dataset} has no file {suffix!r}, only: {names}"
        raise RunFailedError(msg)

    def documents(self) -> Iterator[pa.Table]:
        """Documents in order, keep bitmaps applied."""
        match self.spec.kind:
            case "documents":
                if not any(output.suffix == ".parquet" and output.folder == "shards" for output in self.spec.outputs):
                    return  # nothing was read for this shard, so there was no schema to write
                file = pq.ParquetFile(self.file(".parquet"))
                for batch in file.iter_batches(batch_size=ROWS_PER_READ):
                    yield pa.Table.from_batches([batch])
            case "selection":
                keep = self._keep()
                for first, table in self.rows():
                    yield table.filter(keep.slice(first, table.num_rows)).combine_chunks()
            case "source":
                if self.spec.read is None:
                    msg = f"shard {self.index} of {self.spec.dataset} does not say where it is read from"
                    raise RunFailedError(msg)
                for batch in read_shard(self.spec.read, self.spec.pieces):
                    yield batch.documents
            case _:
                msg = f"{self.spec.dataset} holds {self.spec.kind}, not documents"
                raise RunFailedError(msg)

    def rows(self) -> Iterator[tuple[int, pa.Table]]:
        """Documents before a selection, with the number of each table's first row."""
        spec = self.spec.base if self.spec.kind == "selection" and self.spec.base is not None else self.spec
        first = 0
        for table in CommittedShard(spec, self.storage).documents():
            yield first, table
            first += table.num_rows

    def _keep(self) -> pa.ChunkedArray:
        with pa.memory_map(str(self.file(".keep"))) as source:
            return pa.ipc.open_file(source).read_all()["keep"]


def opened(specs: Mapping[str, Sequence[ShardSpec]], storage: Storage) -> dict[str, list[CommittedShard]]:
    """Input shards by role, ready to read."""
    return {role: [CommittedShard(spec, storage) for spec in shards] for role, shards in specs.items()}
