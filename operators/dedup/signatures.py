"""Signatures of documents, taken in the pass that makes them; the barrier reads nothing else of a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from operators.dedup.columns import Columns, open_columns, write_columns
from operators.dedup.full_signatures import MINHASH, FullWriter
from operators.dedup.near.ngram_sets import NGRAMS, NgramWriter
from operators.dedup.sketch import Arrays, coded, group_names, naming_step, sketch, sorted_hashes
from operators.kernels.fold import SHA256
from operators.kernels.shingles import shingle_hashes
from pipeline.documents import ID_TYPE
from pipeline.value import Strings
from pipeline.work import Kind, Output, Result, Shard, Sink, StreamWork, Task

SKETCH, EXACT = ".sketch", ".exact"


class Signatures(StreamWork):
    """Per shard of documents: a sketch of every row, and the exact hashes sorted.

    ``.sketch``, in row order: the columns of ``sketch.sketch``, and ``group``, an index into the parameter ``groups``
    of ``source|language``. ``.exact``: ``high`` and ``low`` half of the hash, and ``row``, sorted; texts that are null
    are left out. With ``ngrams`` also ``.shingles``, see ``ngram_sets``, and with ``full`` ``.minhash.parquet``, see
    ``full_signatures``.
    ngram: words a shingle. num_perm: slots of a signature, 0 for none. values: columns of numbers that a policy needs
    to choose by; naming another one takes signatures anew. Files that differ in n-gram, slots or in the fold table
    do not mix. Neither the bands nor the threshold nor the choice of the survivor are in them, so moving those reads
    no text again.
    Memory: some 200 bytes a document of the shard, 112 of them for slots.
    """

    kind: ClassVar[Kind] = "work"

    exact: bool = True
    ngram: int = Field(default=5, ge=1, le=1000)
    num_perm: int = Field(default=112, ge=0, le=4096)
    values: Strings = ()
    ngrams: bool = False
    full: bool = False

    def open(self, task: Task) -> Sink:
        """A sink for one shard."""
        return _SignatureSink(self, task)

    @property
    def parameters(self) -> dict[str, Any]:
        """What files must have been made with to be read together."""
        if self.num_perm == 0:
            return {"num_perm": 0}
        return {"fold": SHA256, "ngram": self.ngram, "num_perm": self.num_perm}

    def sketches(self, shards: Sequence[Shard]) -> Iterator[tuple[int, Columns]]:
        """The sketches of shards with their numbers, opened as they are asked for."""
        for shard in shards:
            yield shard.index, open_columns(shard.file(SKETCH), "sketch", self.parameters)


class _SignatureSink(Sink):
    """Collects some 200 bytes a document until the shard ends."""

    def __init__(self, work: Signatures, task: Task) -> None:
        self._work = work
        self._task = task
        self._parts: list[Arrays] = []
        self._groups: list[pa.Array] = []
        self._ngrams = NgramWriter(task.scratch / "ngrams") if work.ngrams else None
        self._full = FullWriter(task.scratch / f"signatures{MINHASH}", work.parameters) if work.full else None

    def add(self, docs: pa.Table) -> pa.Table:
        work = self._work
        shingled = shingle_hashes(docs["text"], work.ngram) if work.num_perm else None
        if shingled is not None and self._ngrams is not None:
            self._ngrams.add(*shingled)
        if shingled is not None and self._full is not None:
            self._full.add(docs["id"], *shingled)
        with naming_step(self._task.node):
            self._parts.append(sketch(docs, shingled, work.num_perm, work.values))
        self._groups.append(group_names(docs))
        return docs

    def close(self) -> Result:
        work = self._work
        columns = self._joined()
        names, columns["group"] = coded(pa.chunked_array(self._groups, pa.string()))
        outputs = [self._write(SKETCH, "sketch", columns, {"groups": names})]
        if work.exact:
            outputs.append(self._write(EXACT, "exact", sorted_hashes(columns), {}))
        if self._ngrams is not None:
            path = self._task.scratch / f"signatures{NGRAMS}"
            self._ngrams.write(path, work.parameters)
            outputs.append(Output(path, NGRAMS))
        if self._full is not None:
            outputs.append(Output(self._full.close(), MINHASH))
        return Result(outputs, facts={"rows": len(columns["group"])})

    def abandon(self) -> None:
        if self._ngrams is not None:
            self._ngrams.abandon()
        if self._full is not None:
            self._full.abandon()

    def _joined(self) -> Arrays:
        if not self._parts:
            self.add(pa.table({"id": pa.array([], ID_TYPE), "text": pa.array([], pa.large_string())}))
        return {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}

    def _write(self, suffix: str, kind: str, arrays: Mapping[str, Any], more: dict[str, Any]) -> Output:
        path = self._task.scratch / f"signatures{suffix}"
        write_columns(path, kind, {**self._work.parameters, **more}, arrays)
        return Output(path, suffix)
