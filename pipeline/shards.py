"""Committed shards as tasks and readers see them: documents, bitmaps applied, files and facts."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.commit import Commit, Published, committed
from pipeline.errors import DamagedFileError, RunFailedError
from pipeline.file_state import REMEDY, check_sha256
from pipeline.inputs import Piece
from pipeline.readers.read import Read, read_shard
from pipeline.storage import Storage
from pipeline.takedown.suppression import register
from pipeline.work import Kind

Rows = npt.NDArray[np.int64]

ROWS_PER_READ = 4096
"""Rows a reader hands out at once; has no effect on results."""

_FILE = re.compile(r"(?P<dataset>[^/]+)/.*/(?P<index>\d{8})-[^/]*")
_HASHED = (".keep",)  # small, and without a checksum of their own as pages of Parquet and files of columns have


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
    retired: bool = False
    """A takedown deleted its files."""

    @classmethod
    def of(cls, commit: Commit, dataset: str, kind: Kind, **more: Any) -> ShardSpec:
        """The shard a commit record describes."""
        return cls(dataset, commit.index, kind, commit.outputs, commit.facts, retired=commit.retired, **more)


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
            DamagedFileError: it is missing, was cut off since the commit, is small and has other content, or a
                takedown retired it.
            RunFailedError: the shard has no such file.
        """
        for output in self.spec.outputs:
            if output.suffix == suffix and output.folder == "shards":
                return committed_file(self.storage, output)
        if self.spec.retired:
            msg = f"shard {self.index} of {self.spec.dataset} was retired by a takedown; {REMEDY}"
            raise DamagedFileError(Path(f"{self.spec.dataset}.retired"), msg)
        names = ", ".join(output.suffix for output in self.spec.outputs) or "none"
        msg = f"shard {self.index} of {self.spec.dataset} has no file {suffix!r}, only: {names}"
        raise RunFailedError(msg)

    def documents(self) -> Iterator[pa.Table]:
        """Documents in order, keep bitmaps applied."""
        match self.spec.kind:
            case "documents":
                if not any(output.suffix == ".parquet" and output.folder == "shards" for output in self.spec.outputs):
                    return  # nothing was read for this shard, so there was no schema to write
                with _opened(self.file(".parquet")) as file:
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
                for batch in read_shard(self.spec.read, self.spec.pieces, register(self.storage).suppression):
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

    def take(self, rows: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Single documents by their numbers in ``documents``, in the order given; of the columns those that there are.

        From a file only the row groups that hold them are read; from a source, everything up to the last of them.
        """
        wanted = np.unique(np.array(rows, np.int64))
        match self.spec.kind:
            case "selection" if self.spec.base is not None:
                kept = np.flatnonzero(self._keep().to_numpy(zero_copy_only=False))
                return CommittedShard(self.spec.base, self.storage).take(
                    kept[np.array(rows, np.int64)].tolist(), columns
                )
            case "documents":
                with _opened(self.file(".parquet")) as file:
                    tables = list(_rows_of_groups(file, wanted, columns))
            case _:
                tables = _rows_of_tables(self.documents(), wanted, columns)
        found = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
        return found.take(pa.array(np.searchsorted(wanted, rows)))

    @property
    def read_again(self) -> bool:
        """True where nothing copied the documents: they are read from the source each time."""
        spec: ShardSpec | None = self.spec
        while spec is not None and spec.kind == "selection":
            spec = spec.base
        return spec is None or spec.kind == "source"

    def _keep(self) -> pa.ChunkedArray:
        return read_keep(self.file(".keep"))


def committed_file(storage: Storage, output: Published) -> Path:
    """Local path of a committed file.

    Raises:
        DamagedFileError: it is missing, was cut off since the commit, or is small and has other content.
        RunFailedError: a takedown replaced it since the run was opened.
    """
    try:
        return _checked(storage, output)
    except DamagedFileError as error:
        _check_in_force(storage, output, error)
        raise


def _checked(storage: Storage, output: Published) -> Path:
    path = storage.local_path(output.name, output.sha256)
    size = path.stat().st_size if path.exists() else None
    if size != output.bytes:
        msg = f"{path} is {'missing' if size is None else f'{size} bytes'}, its commit says {output.bytes}; {REMEDY}"
        raise DamagedFileError(path, msg)
    if output.suffix in _HASHED:
        check_sha256(path, output.sha256)
    return path


def _check_in_force(storage: Storage, output: Published, error: DamagedFileError) -> None:
    """A file that is gone because a takedown, in another process, replaced it since its record was read."""
    generation, shard = register(storage).generation, _FILE.fullmatch(output.name)
    if generation == 1 or shard is None:
        return
    now = committed(storage, shard["dataset"]).get(int(shard["index"]))
    if now is None or all(one.name != output.name for one in now.outputs):
        msg = (
            f"{output.name} is of an older generation: a takedown changed the run to generation {generation} since it "
            f"was opened; open the run again"
        )
        raise RunFailedError(msg) from error


def read_keep(path: Path) -> pa.ChunkedArray:
    """The bitmap of a selection: a boolean per row of the shard it selects from."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()["keep"]


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """A Parquet file whose pages are checked as they are read.

    Raises:
        DamagedFileError: a page, or the footer, is not what was written.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the system, such as a disk that fails; Arrow's own have no number
        msg = f"{path} is damaged: {error}; {REMEDY}"
        raise DamagedFileError(path, msg) from error


def _rows_of_groups(file: pq.ParquetFile, wanted: Rows, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Rows by ascending numbers."""
    names = [name for name in columns if name in file.schema_arrow.names]
    first = 0
    for group in range(file.num_row_groups):
        end = first + file.metadata.row_group(group).num_rows
        own = wanted[np.searchsorted(wanted, first) : np.searchsorted(wanted, end)]
        if len(own):
            yield file.read_row_group(group, columns=names).take(pa.array(own - first))
        first = end


def _rows_of_tables(tables: Iterable[pa.Table], wanted: Rows, columns: Sequence[str]) -> Iterator[pa.Table]:
    first = 0
    for table in tables:
        end = first + table.num_rows
        own = wanted[np.searchsorted(wanted, first) : np.searchsorted(wanted, end)]
        if len(own):
            yield table.select([name for name in columns if name in table.column_names]).take(pa.array(own - first))
        if len(wanted) == 0 or wanted[-1] < end:
            return
        first = end


def opened(specs: Mapping[str, Sequence[ShardSpec]], storage: Storage) -> dict[str, list[CommittedShard]]:
    """Input shards by role, ready to read."""
    return {role: [CommittedShard(spec, storage) for spec in shards] for role, shards in specs.items()}
