"""Near duplicates: who goes, for whom, at which similarity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
from pydantic import Field

from operators.dedup.columns import Columns, open_columns
from operators.dedup.earlier.levels import ADDED, KEPT, EarlierRun, Levels
from operators.dedup.exact import Copies
from operators.dedup.near import transitive
from operators.dedup.near.components import MEMBERS
from operators.dedup.near.ngram_sets import NgramReader
from operators.dedup.near.removals import NEAR, SIZES, Decided, Removals
from operators.dedup.near.rows import SketchRows
from operators.dedup.near.runs import BandRuns, Bands
from operators.dedup.near.slabs import Slabs, bytes_per_document
from operators.dedup.order import Order
from operators.dedup.ranges import Partitioned, num_partitions
from operators.kernels.buffers import ByteArray
from operators.kernels.exact_similarity import Measure, verified_survivors
from operators.kernels.minhash import slots_needed
from operators.kernels.shingles import KeyArray
from operators.kernels.survivors import survivors
from pipeline.work import Epochs, Extent, Result, Task, TaskPlan

Rule = Literal["greedy", "transitive"]
Verify = Literal["estimate", "jaccard", "containment"]

NGRAMS_ROLE = "ngrams"
"""The signatures again, for their sets of n-grams, with those of earlier epochs."""


class Clusters(Partitioned):
    """A share of the components per task, each component wholly by one task, and in each the rule in content order.

    greedy: a document goes only if one that stays, is earlier by (the level, the policy's values, id), and shares a
    bucket with it, is estimated at ``threshold`` or more; see ``kernels.survivors``. Documents of earlier levels were
    decided and stay. Components only cut the work into parts that do not touch. transitive: all of a component go but
    its first, however unlike it they are; ``threshold`` plays no part.
    verify: jaccard and containment count n-grams instead of estimating, see ``kernels.exact_similarity``; those of the
    documents that share a bucket are read from the files ``.shingles``, and of no others.
    ``.near``, sorted by ``row``: addresses of a removed row and its representative ``rep``, ``rep_id``, the number of
    ``equal`` slots, the ``similarity`` where it was counted (else NaN), and the ``size`` of the cluster. ``.sizes``,
    sorted by ``row``: the survivors of such clusters. A cluster is a survivor, all that went for it, and the exact
    copies of each.
    Memory: ``memory_gib``: whole components as many as fit; one that does not goes slab by slab, see ``slabs``.
    """

    runs: BandRuns
    order: Order
    threshold: float = Field(gt=0, le=1)
    rule: Rule = "greedy"
    verify: Verify = "estimate"
    against: tuple[EarlierRun, ...] = ()

    def run(self, task: Task) -> Result:
        """Decide every document of some components."""
        shards = task.inputs["signatures"]
        levels = Levels.of(task, self.against)
        num_tasks = num_partitions(len(shards), self.partitions)
        for suffix in (KEPT, ADDED):
            levels.verify(suffix, task.index, num_tasks)
        (members,) = (open_columns(s.file(MEMBERS), "members", verify=True) for s in task.inputs["components"])
        rows = SketchRows(self.runs.signatures, shards, levels, self.order)
        removals = Removals(task.scratch, self.memory_bytes // 4)
        own = own_components(members["label"], task.index, num_tasks)
        largest = 0
        for part in whole_components(members["label"], own, self._documents_at_once):
            largest = max(largest, _largest(members["label"][part]))
            for at, decided in self._decide(task, rows, members, part):
                removals.add(at, decided)
        outputs, counts = removals.write(rows, Copies(task.inputs.get("exact", ())))
        facts = {
            "affected": own.stop - own.start,
            "near": counts[NEAR],
            "clusters": counts[SIZES],
            "largest_component": largest,
        }
        return Result(outputs, facts=facts)

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """As every barrier of ranges; n-grams are needed of the epochs up to its own."""
        plans = super().tasks(shards)
        if NGRAMS_ROLE not in shards or self.epoch is None:
            return plans
        labels = tuple(shards[NGRAMS_ROLE].epochs)
        known = Epochs(labels[: labels.index(self.epoch) + 1])
        return [TaskPlan(plan.index, {**plan.needs, NGRAMS_ROLE: known}) for plan in plans]

    @property
    def _documents_at_once(self) -> int:
        per_document = bytes_per_document(self.runs.bands.bands, self.runs.signatures.num_perm)
        return max(1, self.memory_bytes // 2 // per_document)

    def _decide(
        self, task: Task, rows: SketchRows, members: Columns, part: slice
    ) -> Iterator[tuple[KeyArray, Decided]]:
        """Decide some components that fit, or one that does not: addresses, and what became of each."""
        at = members["at"][part]
        greedy = self.rule == "greedy"
        if len(at) > self._documents_at_once:
            slabs = Slabs(rows, self.runs.bands, self._greedy(task, rows), task.scratch, self.memory_bytes)
            yield from slabs.run(at) if greedy else transitive.decide_large(rows, at, self._documents_at_once)
            return
        by_row = np.argsort(at)
        at = at[by_row]
        if not greedy:
            yield at, transitive.decide_batch(rows, at, members["label"][part][by_row])
            return
        order = np.lexsort(rows.keys(at)[::-1])
        slots = rows.gather(at, ("slots",))["slots"][order]
        yield at[order], self._greedy(task, rows)(at[order], slots, rows.num_earlier(at))

    def _greedy(self, task: Task, rows: SketchRows) -> partial[Decided]:
        if self.verify != "estimate":
            ngrams = NgramReader(task.inputs[NGRAMS_ROLE], rows.signatures.parameters, task.scratch)
            return partial(_counted, self.runs.bands, (self.verify, self.threshold), ngrams)
        needed = slots_needed(self.threshold, rows.signatures.num_perm)
        return partial(_estimated, self.runs.bands, needed)


def _estimated(bands: Bands, needed: int, at: KeyArray, slots: ByteArray, num_kept: int) -> Decided:
    """Decide by the number of equal slots."""
    rep, equal = survivors(slots, bands=bands.bands, rows=bands.rows, needed=needed, num_kept=num_kept)
    return Decided(rep, equal, np.full(len(at), np.nan))


def _counted(
    bands: Bands, rule: tuple[Measure, float], ngrams: NgramReader, at: KeyArray, slots: ByteArray, num_kept: int
) -> Decided:
    """Decide by the n-grams that two documents share."""
    found = verified_survivors(slots, ngrams.load(at), bands=bands.bands, rows=bands.rows, rule=rule, num_kept=num_kept)
    return Decided(found.rep, found.equal, found.similarity)


def own_components(sorted_labels: KeyArray, task: int, num_tasks: int) -> slice:
    """The members a task decides: about an equal share of them, every component wholly by one task."""
    first, end = (_next_component(sorted_labels, len(sorted_labels) * k // num_tasks) for k in (task, task + 1))
    return slice(first, end)


def _next_component(sorted_labels: KeyArray, position: int) -> int:
    """Where the first component begins that begins at that position or later."""
    if position in (0, len(sorted_labels)):
        return position
    return int(np.searchsorted(sorted_labels, sorted_labels[position - 1], side="right"))


def whole_components(sorted_labels: KeyArray, own: slice, limit: int) -> Iterator[slice]:
    """Cut a task's members into parts of at most ``limit``; a component larger than that is a part of its own."""
    start = own.start
    while start < own.stop:
        end = min(start + limit, own.stop)
        if end < own.stop:
            end = int(np.searchsorted(sorted_labels, sorted_labels[end], side="left"))
        if end <= start:
            end = int(np.searchsorted(sorted_labels, sorted_labels[start], side="right"))
        yield slice(start, end)
        start = end


def _largest(labels: KeyArray) -> int:
    """The size of the largest component among sorted labels."""
    first = np.flatnonzero(labels[1:] != labels[:-1]) + 1
    return int(np.diff(first, prepend=0, append=len(labels)).max(initial=0))
