"""Documents of one host stay together: the host of each, and edges between those that share one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operators.dedup.columns import write_columns
from operators.dedup.exact import Copies
from operators.dedup.growing import GrowingColumns
from operators.dedup.lookup import found_in
from operators.dedup.near.edges import EDGES
from operators.dedup.near.external_components import Connector
from operators.dedup.order import addresses, source_keys
from operators.dedup.ranges import KeyRange, Partitioned, SortedFiles, own_range
from operators.kernels.shingles import KeyArray
from pipeline.errors import UserError
from pipeline.work import Kind, Output, Result, Sink, StreamWork, Task

HOSTS = ".hosts"
_HOST = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?(?P<host>\[[^\]/?#]*\]|[^/:?#]+)"


class Hosts(StreamWork):
    """Per shard of documents: ``.hosts``, ``key`` (xxh3-64 of the URL's host in small letters) and ``row``, sorted by both.

    What has no URL, or none with ``scheme://host``, has no record. A port and a final dot are no part of the host.
    """

    kind: ClassVar[Kind] = "work"

    def open(self, task: Task) -> Sink:
        """A sink for one shard."""
        return _HostSink(task)


class _HostSink(Sink):
    def __init__(self, task: Task) -> None:
        self._task = task
        self._keys, self._rows = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)]
        self._first = 0

    def add(self, docs: pa.Table) -> pa.Table:
        names = hosts(docs["url"].combine_chunks()) if "url" in docs.column_names else pa.nulls(docs.num_rows)
        rows = np.flatnonzero(names.is_valid().to_numpy(zero_copy_only=False))
        found: list[Any] = names.take(pa.array(rows)).to_pylist()
        self._keys.append(source_keys(found))
        self._rows.append((rows + self._first).astype(np.uint32))
        self._first += docs.num_rows
        return docs

    def close(self) -> Result:
        key, row = np.concatenate(self._keys), np.concatenate(self._rows)
        order = np.argsort(key, kind="stable")
        path = self._task.scratch / f"documents{HOSTS}"
        write_columns(path, "hosts", {}, {"key": key[order], "row": row[order]})
        return Result([Output(path, HOSTS)], facts={"records": len(key)})


def hosts(urls: pa.Array) -> pa.Array:
    """The host of each URL in small letters; null where it has none."""
    found: Any = pc.struct_field(pc.extract_regex(urls.cast(pa.string()), pattern=_HOST), 0)
    return pc.utf8_rtrim(pc.utf8_lower(found), characters=".")


class HostEdges(Partitioned):
    """One task per range of host keys: documents of equal hosts become a star; ``.edges`` as those of buckets.

    Exact copies stand as their original, so a text that several hosts have connects these hosts. Memory: the records
    of one slice, at most ``memory_gib``, of which one host's alone are taken shard by shard.

    Raises:
        UserError: no document has a host, so that nothing would be kept together.
    """

    def run(self, task: Task) -> Result:
        """Connect the documents of each host."""
        shards = task.inputs["runs"]
        files = SortedFiles([(s.index, s.file(HOSTS)) for s in shards], "hosts", "key", {})
        if not any(len(file["key"]) for _, file in files.open()):
            msg = f"{task.node}: no document has a URL with a host, so by: [host] keeps nothing together; leave by out"
            raise UserError(msg)
        files.verify(task.index, self.partitions)
        copies = Copies(task.inputs["exact"])
        graph = Connector(task.scratch, self.memory_bytes // 2)
        for keys in files.slices(own_range(task.index, len(shards), self.partitions), self.memory_gib):
            for left, right in _stars(files, keys, copies):
                graph.add(left, right)
        trees = GrowingColumns(task.scratch, "edges")
        trees.add({"left": np.empty(0, np.uint64), "right": np.empty(0, np.uint64)})
        for label, at in graph.members():
            other = label != at
            trees.add({"left": label[other], "right": at[other]})
        path = task.scratch / f"hosts{EDGES}"
        write_columns(path, "edges", {}, trees.arrays())
        trees.remove()
        return Result([Output(path, EDGES)])


def _records(files: SortedFiles, keys: KeyRange, copies: Copies) -> Iterator[tuple[KeyArray, KeyArray]]:
    """Key and address of each record, shard by shard; a copy has the address of its original."""
    for shard, file in files.open():
        own = keys.within(file["key"])
        if own.stop > own.start:
            rows = file["row"][own]
            copied = copies.of_shard(shard)
            at = addresses(shard, rows)
            hit, found = found_in(copied["row"], at)
            at[hit] = copied["rep"][found]
            yield file["key"][own].copy(), at  # so that the file need not stay open


def _stars(files: SortedFiles, keys: KeyRange, copies: Copies) -> Iterator[tuple[KeyArray, KeyArray]]:
    """An edge from one document of each host to each other one."""
    parts = _records(files, keys, copies)
    if keys.width == 1:
        first = None
        for _, at in parts:
            first = at[0] if first is None else first
            yield np.full(len(at), first), at
        return
    joined = list(parts)
    if not joined:
        return
    key, at = (np.concatenate(column) for column in zip(*joined, strict=True))
    order = np.argsort(key, kind="stable")
    key, at = key[order], at[order]
    new = np.ones(len(key), np.bool_)
    new[1:] = key[1:] != key[:-1]
    yield at[np.flatnonzero(new)[np.cumsum(new) - 1]], at
