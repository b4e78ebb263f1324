"""Documents without the units that too many others hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from operators.dedup.lines.counts import UnitCounts
from operators.dedup.lines.frequent import FREQUENT, Frequencies
from operators.dedup.lines.units import Found
from operators.dedup.order import addresses
from operators.kernels.unit_hashes import FIRST, LATER
from operators.kernels.unit_removal import BoolArray, covered, without_units
from pipeline.documents import text_bytes, with_text
from pipeline.file_state import FileState, file_state
from pipeline.operator import Bound, Filter, Map
from pipeline.value import Strings
from pipeline.work import Result, Sink, Task
from pipeline.works import Apply

Keep = Literal["none", "first"]

_ADDRESS = "address"


class WithoutUnits(Map):
    """Takes the frequent units out of a text. A text of nothing else becomes null (``nothing_left``).

    keep: ``none``, every copy goes; ``first``, the document with the smallest id of those that hold a unit keeps it.
    once: later copies of a unit inside one document go, also where it is not frequent.
    Where spans of several units overlap, a unit goes if a span that goes covers it, unless a span that stays as the one
    copy (``first``, ``once``) covers it too: so every text that was there is still there once, whole. Others cut such a
    copy: datatrove leaves one sentence of four equal ones, this leaves three, the first whole span.
    files: of the frequent units, by partition; filled in where the step runs.

    Measures: ``units``: lines, paragraphs or sentences; ``units_removed``; ``bytes_removed``: UTF-8 bytes the text lost,
    line feeds between units included; ``changed``: whether it lost any. 0 and false for an empty text, null for a null one.
    """

    counts: UnitCounts
    keep: Keep = "none"
    once: bool = False
    files: Strings = ()

    def prepare(self) -> None:
        """Compile the kernels, and map the files."""
        self.counts.units.prepare()
        _frequencies(self.files, _states(self.files), self.counts)

    def map(self, docs: pa.Table) -> pa.Table:
        """The texts as they are left, and four columns."""
        found = self.counts.units.find(docs)
        gone, safe = self._fate(found, docs)
        removed = covered(found.units, gone, safe, self.counts.units.spans)
        before = text_bytes(docs).to_numpy()
        if removed.any():
            text = without_units(found.texts, found.units, removed)
            docs = with_text(docs, text)
        lost = before - text_bytes(docs).to_numpy()
        bounds = found.units.bounds
        measures = {
            "units": np.diff(bounds),
            "units_removed": np.diff(np.concatenate([[0], np.cumsum(removed)])[bounds]),
            "bytes_removed": lost,
            "changed": lost > 0,
        }
        for name, values in measures.items():
            docs = docs.append_column(self.column(name), pa.array(values, mask=~found.texts.valid))
        address = self.column(_ADDRESS)
        return docs.drop_columns(address) if address in docs.column_names else docs

    def _fate(self, found: Found, docs: pa.Table) -> tuple[BoolArray, BoolArray]:
        """The spans that go, and those that stay as the one copy."""
        frequent, owner = _frequencies(self.files, _states(self.files), self.counts).look_up(found.keys)
        own = np.zeros(len(frequent), np.bool_)
        if self.keep == "first":
            address = docs[self.column(_ADDRESS)].combine_chunks().to_numpy()
            own = frequent & (owner == address[found.documents()])
        gone = frequent & ~own
        if not self.once:
            return gone, own
        later = found.copies == LATER
        return gone | later, (own & ~later) | ((found.copies == FIRST) & ~gone)


class Leftover(Filter):
    """Drops documents of which too little is left; it looks only at those that lost something.

    Measures: ``chars``, code points of what is left; ``fraction``, of the bytes, in (0, 1].
    """

    before: str
    """The operator whose ``bytes_removed`` it reads."""
    min_chars: int | None = Field(default=None, ge=0)
    min_fraction: float | None = Field(default=None, ge=0, le=1)

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """The two minima that are on."""
        limits = (("chars", self.min_chars, "few_chars_left"), ("fraction", self.min_fraction, "small_part_left"))
        return tuple(Bound(name, min=limit, reason=reason) for name, limit, reason in limits if limit is not None)

    def measure(self, docs: pa.Table) -> Mapping[str, pa.Array]:
        """What is left of each document."""
        left = text_bytes(docs).to_numpy()
        whole = left + pc.fill_null(docs[f"{self.before}.bytes_removed"].combine_chunks(), 0).to_numpy()
        fraction = pa.array(left / np.maximum(whole, 1), mask=whole == 0)
        return {"chars": pc.utf8_length(docs["text"].combine_chunks()), "fraction": fraction}


class Removal(Apply):
    """The step's last node: ``WithoutUnits`` and ``Leftover`` over the documents, with the account of an ``apply``."""

    def open(self, task: Task) -> Sink:
        """A sink that writes kept, dropped and quarantined rows of one shard."""
        (without, *others) = self.operators
        files = tuple(str(shard.file(FREQUENT)) for shard in task.inputs["frequent"])
        assert isinstance(without, WithoutUnits)
        _frequencies(files, _states(files), without.counts)  # a damaged file fails the task before a document is read
        bound = without.model_copy(update={"files": files})
        sink = Apply.model_copy(self, update={"operators": (bound, *others)})
        return _AddressSink(Apply.open(sink, task), without.column(_ADDRESS), task.index)


class _AddressSink(Sink):
    """Gives every row its address, by which the one document that keeps a unit is told from those of equal id."""

    def __init__(self, sink: Sink, column: str, shard: int) -> None:
        self._sink = sink
        self._column = column
        self._shard = shard
        self._rows = 0

    def add(self, docs: pa.Table) -> pa.Table:
        rows = np.arange(self._rows, self._rows + docs.num_rows)
        self._rows += docs.num_rows
        return self._sink.add(docs.append_column(self._column, pa.array(addresses(self._shard, rows))))

    def close(self) -> Result:
        return self._sink.close()

    def abandon(self) -> None:
        self._sink.abandon()


@lru_cache(maxsize=4)
def _frequencies(files: tuple[str, ...], states: tuple[FileState, ...], counts: UnitCounts) -> Frequencies:
    """The files of a step, checked and mapped once per process."""
    del states
    return Frequencies([Path(file) for file in files], counts.parameters)


def _states(files: Sequence[str]) -> tuple[FileState, ...]:
    return tuple(file_state(Path(file)) for file in files)
