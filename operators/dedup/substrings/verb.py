"""The verb ``dedup_substrings`` of a recipe and the nodes it stands for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from operators.dedup.order import Order, Policy
from operators.dedup.substrings.anchors import TakeAnchors
from operators.dedup.substrings.cuts import CutSpans, MostlyRepeated, Removal
from operators.dedup.substrings.matches import Matches
from operators.dedup.substrings.windows import AskedWindows, Repeats
from operators.kernels.winnowing import MOST_TOKENS
from pipeline.dropped import KeepText
from pipeline.errors import UserError
from pipeline.operator import Filter, Map
from pipeline.value import Strings, Value
from pipeline.work import Node


class DedupSubstrings(Value):
    """Remove runs of words that stand earlier, in another document or in the same one.

    A token is a folded word, as ``dedup`` takes its n-grams from: case, accents and punctuation make no difference, and
    each character of a script without blanks is one. A window of ``min_tokens`` words is a repeat if an equal one stands
    earlier: in a document before this one, or (``within_document``) further up in it, also where the two overlap, so that
    of a text that repeats itself over and over one period stays. ``sources`` and ``keep`` say which document comes first,
    as in ``dedup``: the longest, then the smaller id. All words of a repeat go:
    action ``cut``: they are cut out, and a text of nothing else is dropped (``nothing_left``); ``drop``: a document of
    which more than ``max_duplicate_fraction`` would go is dropped and the others stay whole; what only a dropped document
    held before another goes from both; ``mark``: nothing goes, two columns are added.
    partitions and memory_gib say how the comparing is cut; they change no text. Documents of all epochs are compared.

    Source: exact substring deduplication of Lee et al. 2022, arXiv:2107.06499, section 4.1 (50 BPE tokens, by suffix
    array); the anchors: Schleimer, Wilkerson and Aiken 2003, SIGMOD, sections 3 and 4.
    """

    min_tokens: int = Field(default=50, ge=2, le=MOST_TOKENS)
    within_document: bool = True
    action: Literal["cut", "drop", "mark"] = "cut"
    max_duplicate_fraction: float = Field(default=0.5, ge=0, le=1)
    keep: Policy = ("longest",)
    sources: Strings = ()
    keep_dropped_text: KeepText = "sample"
    partitions: int | None = Field(default=None, ge=1, le=4096)
    memory_gib: float = Field(default=1.0, gt=0)

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:  # noqa: ARG002  # nothing is random
        """Anchors, matches, the windows asked for, repeats, and the step itself.

        Raises:
            UserError: there are no documents to read.
        """
        if source is None:
            msg = f"step {step!r} is a dedup_substrings without documents; name the step to read with 'from'"
            raise UserError(msg)
        order = Order(keep=self.keep, sources=self.sources)
        anchors = TakeAnchors(min_tokens=self.min_tokens, values=order.values)
        barrier = {
            "anchors": anchors,
            "order": order,
            "within_document": self.within_document,
            "partitions": self.partitions,
            "memory_gib": self.memory_gib,
        }
        names = {role: f"{step}.{role}" for role in ("anchors", "matches", "windows", "repeats")}
        found = {role: names[role] for role in ("anchors", "matches", "repeats")}
        documents = {"documents": source}
        return (
            Node(names["anchors"], anchors, documents),
            Node(names["matches"], Matches(**barrier), {"anchors": names["anchors"]}),
            Node(names["windows"], AskedWindows(anchors=anchors), {**documents, "matches": names["matches"]}),
            Node(names["repeats"], Repeats(**barrier), {"anchors": names["anchors"], "windows": names["windows"]}),
            Node(step, self._removal(step, anchors), {**documents, **found}),
        )

    def _removal(self, step: str, anchors: TakeAnchors) -> Removal:
        operators: tuple[Map | Filter, ...] = ()
        if self.action == "cut":
            operators = (CutSpans(as_=step),)
        elif self.action == "drop":
            operators = (MostlyRepeated(as_=step, max_duplicate_fraction=self.max_duplicate_fraction),)
        return Removal(
            operators=operators,
            keep_dropped_text=self.keep_dropped_text,
            anchors=anchors,
            step=step,
            cuts=self.action == "cut",
        )
