"""Anchors of documents, taken in the pass that makes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from operators.dedup.columns import Columns, open_columns, write_columns
from operators.dedup.sketch import Arrays, naming_step, sketch
from operators.kernels.fold import SHA256
from operators.kernels.winnowing import MOST_TOKENS, anchors
from pipeline.documents import ID_TYPE
from pipeline.value import Strings
from pipeline.work import Kind, Output, Result, Shard, Sink, StreamWork, Task

ANCHORS, ROWS = ".anchors", ".rows"

_CARDS = ("id", "bytes", "date", "source")


class TakeAnchors(StreamWork):
    """Per shard of documents: the anchors of every text, and what decides which document comes first.

    ``.anchors``: the columns of ``winnowing.Anchors``, sorted by ``key``, then ``row`` and ``start``: 26 bytes for some
    14 words, 0.3 bytes a byte of text. ``.rows``, in row order: ``id``, ``bytes``, ``date`` and ``source`` as in a
    sketch, the columns in ``values``, and ``tokens``, the words of each text.
    Memory: the records of one shard, twice while they are sorted.
    """

    kind: ClassVar[Kind] = "work"

    min_tokens: int = Field(default=50, ge=2, le=MOST_TOKENS)
    values: Strings = ()

    def open(self, task: Task) -> Sink:
        """A sink for one shard."""
        return _AnchorSink(self, task)

    @property
    def parameters(self) -> dict[str, Any]:
        """What files must have been made with to be read together."""
        return {"fold": SHA256, "min_tokens": self.min_tokens}

    def cards(self, shards: Sequence[Shard]) -> Iterator[tuple[int, Columns]]:
        """The rows of shards with their numbers, opened as they are asked for."""
        for shard in shards:
            yield shard.index, open_columns(shard.file(ROWS), "rows", self.parameters)


class _AnchorSink(Sink):
    """Collects some 0.3 bytes a byte of text until the shard ends."""

    def __init__(self, work: TakeAnchors, task: Task) -> None:
        self._work = work
        self._task = task
        self._cards: list[Arrays] = []
        self._anchors: list[Arrays] = []
        self._num_rows = 0

    def add(self, docs: pa.Table) -> pa.Table:
        found, tokens = anchors(docs["text"], self._work.min_tokens)
        columns = found._asdict()
        columns["row"] = columns["row"] + np.uint32(self._num_rows)
        self._anchors.append(columns)
        with naming_step(self._task.node):
            whole = sketch(docs, None, 0, self._work.values)
        kept = {name: column for name, column in whole.items() if name in _CARDS or name.startswith("value.")}
        self._cards.append({**kept, "tokens": tokens})
        self._num_rows += docs.num_rows
        return docs

    def close(self) -> Result:
        if not self._cards:
            self.add(pa.table({"id": pa.array([], ID_TYPE), "text": pa.array([], pa.large_string())}))
        records = _joined(self._anchors)
        order = np.argsort(records["key"], kind="stable")  # they come by row and start
        outputs = [
            self._write(ANCHORS, {name: column[order] for name, column in records.items()}),
            self._write(ROWS, _joined(self._cards)),
        ]
        facts = {"rows": self._num_rows, "records": len(order)}
        return Result(outputs, facts=facts)

    def _write(self, suffix: str, arrays: Mapping[str, Any]) -> Output:
        path = self._task.scratch / f"take{suffix}"
        write_columns(path, suffix[1:], self._work.parameters, arrays)
        return Output(path, suffix)


def _joined(parts: list[Arrays]) -> Arrays:
    """The columns of all parts; the parts are let go one column after the other."""
    return {name: np.concatenate([part.pop(name) for part in parts]) for name in list(parts[0])}
