"""Signatures of documents, taken in the pass that makes them; the barrier reads nothing else of a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from operators.dedup.columns import Columns, open_columns, write_columns
from operators.dedup.sketch import Arrays, Bands, coded, group_names, sketch, sorted_hashes, sorted_run
from operators.kernels.fold import SHA256
from pipeline.documents import ID_TYPE
from pipeline.work import Kind, Output, Result, Shard, Sink, StreamWork, Task

SKETCH, RUN, EXACT = ".sketch", ".run", ".exact"


class Signatures(StreamWork):
    """Per shard of documents: a sketch of every row, the bucket keys sorted, and the exact hashes sorted.

    ``.sketch``, in row order: the columns of ``sketch.sketch``, and ``group``, an index into the parameter ``groups``
    of ``source|language``.
    ``.run``: ``key`` and ``row``, sorted, one per band of every document that has a shingle; shorter ones have none, so
    that they only ever equal their exact copies. ``.exact``: ``high`` and ``low`` half of the hash, and ``row``,
    sorted; texts that are null are left out.
    Files of signatures that differ in n-gram, bands, rows, or the fold table do not mix. The threshold and the choice
    of the survivor are not in them, so moving those reads no text again.
    """

    kind: ClassVar[Kind] = "work"

    exact: bool = True
    bands: Bands | None = Bands()

    def open(self, task: Task) -> Sink:
        """A sink for one shard."""
        return _SignatureSink(self, task)

    @property
    def parameters(self) -> dict[str, Any]:
        """What files must have been made with to be read together."""
        if self.bands is None:
            return {"bands": 0}
        return {"fold": SHA256, "ngram": self.bands.ngram, "bands": self.bands.bands, "rows": self.bands.rows}

    def sketches(self, shards: Sequence[Shard]) -> Iterator[tuple[int, Columns]]:
        """The sketches of shards with their numbers, opened as they are asked for."""
        for shard in shards:
            yield shard.index, open_columns(shard.file(SKETCH), "sketch", self.parameters)


class _SignatureSink(Sink):
    """Collects some 350 bytes a document until the shard ends."""

    def __init__(self, work: Signatures, task: Task) -> None:
        self._work = work
        self._task = task
        self._parts: list[Arrays] = []
        self._groups: list[pa.Array] = []

    def add(self, docs: pa.Table) -> pa.Table:
        self._parts.append(sketch(docs, self._work.bands))
        self._groups.append(group_names(docs))
        return docs

    def close(self) -> Result:
        work = self._work
        columns = self._joined()
        names, columns["group"] = coded(pa.chunked_array(self._groups, pa.string()))
        outputs = [self._write(SKETCH, "sketch", columns, {"groups": names})]
        records = 0
        if work.bands is not None:
            run = sorted_run(columns, work.bands)
            records = len(run["key"])
            outputs.append(self._write(RUN, "run", run, {}))
        if work.exact:
            outputs.append(self._write(EXACT, "exact", sorted_hashes(columns), {}))
        return Result(outputs, facts={"rows": len(columns["group"]), "records": records})

    def _joined(self) -> Arrays:
        if not self._parts:
            self.add(pa.table({"id": pa.array([], ID_TYPE), "text": pa.array([], pa.large_string())}))
        return {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}

    def _write(self, suffix: str, kind: str, arrays: Mapping[str, Any], more: dict[str, Any]) -> Output:
        path = self._task.scratch / f"signatures{suffix}"
        write_columns(path, kind, {**self._work.parameters, **more}, arrays)
        return Output(path, suffix)
