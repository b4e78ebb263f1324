"""Stops a run in which deduplication would wipe out a source, before anything is removed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, Field, model_validator

from operators.dedup.columns import open_columns
from operators.dedup.exact import Copies
from operators.dedup.order import levels_of, rows_of, shards_of
from operators.dedup.signatures import SKETCH, Signatures
from operators.dedup.verdicts import Near
from operators.kernels.shingles import KeyArray
from pipeline.errors import RunFailedError
from pipeline.value import Value
from pipeline.work import Extent, Kind, Result, ShardWork, Task, TaskPlan

_SOURCES_NOTED = 50

Counts = npt.NDArray[np.int64]


def _as_pairs(value: object) -> object:
    if isinstance(value, Mapping):
        return tuple(value.items())
    return tuple(tuple(one) if isinstance(one, list) else one for one in value) if isinstance(value, list) else value


class Alarm(Value):
    """The share of documents that a source, and all of them together, may lose; the run stops where it is more.

    removed: of the documents of an epoch. min_docs: smaller sources are not looked at. sources: shares of their own,
    as in ``{forum: 0.99}``.
    Defaults: OLMo 3's web crawl lost 75 % of its pages to three rounds of deduplication and FineWeb's oldest crawls
    about 90 % to a global one, both as meant, so an alarm below that would be switched off; the wipe-outs that made
    trouble elsewhere took 99 and 100 % (marin issue 6854: 859,092 documents became 2). Of fewer than 1000 documents,
    a mirror or a forum's skeleton pages alone can make up 95 %.
    """

    removed: float = Field(default=0.95, ge=0, le=1)
    min_docs: int = Field(default=1000, ge=1)
    sources: Annotated[tuple[tuple[str, float], ...], BeforeValidator(_as_pairs)] = ()

    @model_validator(mode="after")
    def _shares(self) -> Self:
        wrong = [f"{name}: {share}" for name, share in self.sources if not 0 <= share <= 1]
        if wrong:
            msg = f"alarm: sources gives {', '.join(wrong)}; a share lies between 0 and 1, as in {{forum: 0.99}}"
            raise ValueError(msg)
        return self

    def limit(self, source: str) -> float:
        """The share that a source may lose."""
        return dict(self.sources).get(source, self.removed)


class LossAlarm(ShardWork):
    """One task behind the clusters and before the verdicts: how much of each source would go.

    The limits are no part of the fingerprint: whoever raises one goes on with everything as it is. Facts: ``docs`` and
    ``removed`` of all, and of the sources that lose most. Reads the groups in the sketches, 4 bytes a document, and the
    rows that go; texts and URLs only of the one document that the message names.
    """

    kind: ClassVar[Kind] = "work"
    barrier: ClassVar[bool] = True
    runtime: ClassVar[tuple[str, ...]] = ("limits",)

    signatures: Signatures
    limits: Alarm | None = Alarm()
    epoch: str | None = None

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """One, which needs the epoch's shards of documents and signatures."""
        own = {role: shards[role].shards(self.epoch) for role in ("documents", "signatures")}
        return [TaskPlan(0, {**dict.fromkeys(shards), **own})]

    def run(self, task: Task) -> Result:
        """Count.

        Raises:
            RunFailedError: a source, or all of them together, would lose more than it may.
        """
        near, copies = Near(task.inputs.get("clusters", ()), verify=False), Copies(task.inputs.get("exact", ()))
        into: dict[str, int] = {}
        gone: dict[str, int] = {}
        for shard in task.inputs["signatures"]:
            rows = rows_of(np.concatenate([copies.rows_of_shard(shard.index), near.of_shard(shard.index)["row"]]))
            names, code = self._sources(task, shard.index)
            for count, codes in ((into, code), (gone, code[rows])):
                for name, number in zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True):
                    count[name] = count.get(name, 0) + number
        if self.limits is not None:
            self._ring(task, self.limits, into, gone)
        most = sorted(into, key=lambda name: (-gone[name], name))[:_SOURCES_NOTED]
        facts: dict[str, Any] = {"docs": sum(into.values()), "removed": sum(gone.values())}
        return Result(facts={**facts, "sources": {name: [into[name], gone[name]] for name in most}})

    def _sources(self, task: Task, shard: int) -> tuple[list[str], Counts]:
        """The sources of a shard and the number of each document's; groups are ``source|language``."""
        (own,) = (one for one in task.inputs["signatures"] if one.index == shard)
        sketch = open_columns(own.file(SKETCH), "sketch", self.signatures.parameters)
        of_group = [name.rpartition("|")[0] for name in sketch.parameters["groups"]]
        place = {name: number for number, name in enumerate(dict.fromkeys(of_group))}
        return list(place), np.array([place[name] for name in of_group], np.int64)[sketch["group"]]

    def _ring(self, task: Task, limits: Alarm, into: Mapping[str, int], gone: Mapping[str, int]) -> None:
        for name in sorted(into, key=lambda name: (-gone[name], name)):
            if into[name] >= limits.min_docs and gone[name] > limits.limit(name) * into[name]:
                share = math.ceil(100 * gone[name] / into[name]) / 100
                remedy = f"sources: {{{name}: {share}}}"
                self._stop(task, f"of source {name!r}", (into[name], gone[name], limits.limit(name)), name, remedy)
        docs, removed = sum(into.values()), sum(gone.values())
        if docs >= limits.min_docs and removed > limits.removed * docs:
            remedy = f"removed: {math.ceil(100 * removed / docs) / 100}"
            self._stop(task, "of all sources", (docs, removed, limits.removed), None, remedy)

    def _stop(self, task: Task, which: str, found: tuple[int, int, float], source: str | None, remedy: str) -> None:
        docs, removed, limit = found
        epoch = f" in epoch {self.epoch!r}" if self.epoch else ""
        msg = (
            f"step {task.node.partition('.')[0]!r} would remove {removed:,} of the {docs:,} documents {which}{epoch}: "
            f"{100 * removed / docs:.1f} %, and the alarm is set to {100 * limit:g} %. {self._largest(task, source)}. "
            f"If that is as it should be, add {remedy} to the step's alarm and run again: nothing is computed twice"
        )
        raise RunFailedError(msg)

    def _largest(self, task: Task, source: str | None) -> str:
        """For which document most of a source would go, in words."""
        near, copies = Near(task.inputs.get("clusters", ()), verify=False), Copies(task.inputs.get("exact", ()))
        reps, ids = [], []
        for shard in task.inputs["signatures"]:
            names, code = self._sources(task, shard.index)
            copy, own = copies.of_shard(shard.index), near.of_shard(shard.index)
            near.redirect(copy["rep"], copy["rep_id"])
            for part in (copy, own):
                rows = rows_of(part["row"])
                mine = np.array([source in (None, name) for name in names], np.bool_)[code[rows]]
                reps.append(part["rep"][mine])
                ids.append(part["rep_id"][mine])
        rep, first, number = np.unique(np.concatenate(reps), return_index=True, return_counts=True)
        largest = int(number.argmax())
        identity = np.concatenate(ids)[first[largest]].astype(">u8").tobytes().hex()
        return f"Most of them, {number[largest]:,}, would go for {identity}{_url(task, rep[largest : largest + 1])}"


def _url(task: Task, at: KeyArray) -> str:
    """The URL of a document, in parentheses; nothing where it has none or lies in another epoch or run."""
    for shard in task.inputs["documents"]:
        if shard.index == shards_of(at)[0] and levels_of(at)[0] == 0:
            found = shard.take(rows_of(at).tolist(), ["url"])
            url = found["url"][0].as_py() if "url" in found.column_names else None
            return f" ({url})" if url else ""
    return ""
