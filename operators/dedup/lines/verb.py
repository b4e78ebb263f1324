"""The verb ``dedup_lines`` of a recipe and the nodes it stands for."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from operators.dedup.lines.counts import UnitCounts
from operators.dedup.lines.frequent import FrequentUnits
from operators.dedup.lines.removal import Keep, Leftover, Removal, WithoutUnits
from operators.dedup.lines.units import Scope, Unit, Units
from pipeline.dropped import KeepText
from pipeline.errors import UserError
from pipeline.value import Value
from pipeline.work import Node

_MIN_CHARS = 12  # below it, most lines that repeat are names, numbers and headings


class DedupLines(Value):
    """Remove lines, paragraphs or runs of sentences that many documents hold.

    unit, spans, fold, fold_digits, scope, min_chars: what is counted and when two are the same, see ``lines.units.Units``.
    spans is 3 for sentences, else 1; min_chars is 12 for single units, and 0 for spans of several.
    min_documents: a unit goes that so many documents hold (documents of the scope, not occurrences). keep: ``none``, every
    copy goes: verdicts do not hang on any order, and a unit's count is all there is to know; ``first``, the document with
    the smallest id keeps its copy. within_document: ``keep`` the later copies inside one document, or only the ``first``;
    by itself as ``keep`` says.
    min_left_chars, min_left_fraction (of the bytes): a document that lost something and has less left is dropped.
    partitions and memory_gib say how the counting is cut; they change no verdict. Documents are compared over all epochs.

    C4's rule is ``unit: sentences, keep: first, min_documents: 2`` (Raffel et al. 2020, arXiv:1910.10683, section 2.2: all
    but one of any three-sentence span occurring more than once in the data set are discarded).
    """

    unit: Unit = "line"
    spans: int | None = Field(default=None, ge=1, le=100)
    min_documents: int = Field(default=4, ge=2)
    keep: Keep = "none"
    within_document: Literal["keep", "first"] | None = None
    scope: Scope = "all"
    fold: bool = True
    fold_digits: bool = False
    min_chars: int | None = Field(default=None, ge=0)
    min_left_chars: int | None = Field(default=None, ge=0)
    min_left_fraction: float | None = Field(default=None, ge=0, le=1)
    keep_dropped_text: KeepText = "sample"
    partitions: int | None = Field(default=None, ge=1, le=4096)
    memory_gib: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _digits_are_folded_with_the_rest(self) -> Self:
        if self.fold_digits and not self.fold:
            msg = "fold_digits: true needs fold: true; without it the bytes are compared as they are"
            raise ValueError(msg)
        return self

    @property
    def units(self) -> Units:
        """What is counted and compared."""
        spans = self.spans or (3 if self.unit == "sentences" else 1)
        short = _MIN_CHARS if spans == 1 else 0
        return Units(
            unit=self.unit,
            spans=spans,
            fold=self.fold,
            fold_digits=self.fold_digits,
            min_chars=short if self.min_chars is None else self.min_chars,
            scope=self.scope,
        )

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:  # noqa: ARG002  # nothing is random
        """The counts of each shard, the frequent units, and the step itself.

        Raises:
            UserError: there are no documents to read.
        """
        if source is None:
            msg = f"step {step!r} is a dedup_lines without documents; name the step to read with 'from'"
            raise UserError(msg)
        counts = UnitCounts(units=self.units, owners=self.keep == "first")
        frequent = FrequentUnits(
            counts=counts, min_documents=self.min_documents, partitions=self.partitions, memory_gib=self.memory_gib
        )
        names = {"units": f"{step}.units", "frequent": f"{step}.frequent"}
        return (
            Node(names["units"], counts, {"documents": source}),
            Node(names["frequent"], frequent, {"units": names["units"]}),
            Node(step, self._removal(step, counts), {"documents": source, "frequent": names["frequent"]}),
        )

    def _removal(self, step: str, counts: UnitCounts) -> Removal:
        once = (self.within_document or ("first" if self.keep == "first" else "keep")) == "first"
        without = WithoutUnits(as_=step, counts=counts, keep=self.keep, once=once)
        left = Leftover(
            as_=f"{step}_left",
            only=((without.column("changed"), ("true",)),),
            before=step,
            min_chars=self.min_left_chars,
            min_fraction=self.min_left_fraction,
        )
        operators = (without, left) if left.bounds else (without,)
        return Removal(operators=operators, keep_dropped_text=self.keep_dropped_text)
