"""Stops a run in which deduplication would wipe out a source, before anything is removed."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import Field, model_validator

from operators.dedup.columns import open_columns
from operators.dedup.exact import Copies
from operators.dedup.external_sort import ExternalSort, summed
from operators.dedup.lookup import found_in
from operators.dedup.near.duplicates import Near
from operators.dedup.order import levels_of, rows_of, shards_of
from operators.dedup.signatures import SKETCH, Signatures
from operators.kernels.shingles import KeyArray
from pipeline.errors import RunFailedError
from pipeline.value import Pairs, Value
from pipeline.work import Epochs, Extent, Kind, Result, Shard, ShardWork, Task, TaskPlan

_MOST_SHOWN = 10
_MEMORY_BYTES = 256 << 20

Counts = npt.NDArray[np.int64]


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
    sources: Pairs[float] = ()

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

    def beyond(self, sources: Mapping[str, Sequence[int]]) -> list[Loss]:
        """What would lose more than it may: sources, those that lose most first, and then all of them together.

        sources: of each, how many documents it has and how many of them would go.
        """
        each = [Loss(name, docs, gone, self.limit(name)) for name, (docs, gone) in sources.items()]
        each.sort(key=lambda loss: (-loss.gone, loss.source))
        whole = Loss(None, sum(one.docs for one in each), sum(one.gone for one in each), self.removed)
        return [loss for loss in (*each, whole) if loss.docs >= self.min_docs and loss.gone > loss.limit * loss.docs]


class Loss(NamedTuple):
    """Documents of a source, or of all (None), how many of them would go, and the share that may."""

    source: str | None
    docs: int
    gone: int
    limit: float

    def __str__(self) -> str:
        which = "of all sources" if self.source is None else f"of source {self.source!r}"
        return (
            f"{self.gone:,} of the {self.docs:,} documents {which}: {100 * self.gone / self.docs:.1f} %, "
            f"and the alarm is set to {100 * self.limit:g} %"
        )

    @property
    def share(self) -> float:
        """What would go, rounded up to a hundredth: as a limit it lets this pass."""
        return math.ceil(100 * self.gone / self.docs) / 100


class LossAlarm(ShardWork):
    """One task behind the clusters and before the verdicts: how much of each source would go.

    The limits are no part of the fingerprint: whoever raises one goes on with everything as it is. Facts: ``docs`` and
    ``removed`` of all, and ``sources``: of every source its documents and those that go, the source that loses most
    first, so that other limits can be held against them later (``Alarm.beyond``).
    Reads the groups in the sketches, 4 bytes a document, and the rows that go; URLs only of the one document that the
    message names. Memory: one shard's rows, and 256 MiB to count for which document most go.
    """

    kind: ClassVar[Kind] = "work"
    barrier: ClassVar[bool] = True
    runtime: ClassVar[tuple[str, ...]] = ("limits",)

    signatures: Signatures
    limits: Alarm | None = Alarm()
    epoch: str | None = None

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """One, which needs the epoch's shards of documents and signatures."""
        own = None if self.epoch is None else Epochs((self.epoch,))
        return [TaskPlan(0, {role: own if role in ("documents", "signatures") else None for role in shards})]

    def run(self, task: Task) -> Result:
        """Count.

        Raises:
            RunFailedError: sources, or all of them together, would lose more than they may; names each.
        """
        near, copies = _decided(task)
        found: dict[str, list[int]] = {}
        for shard in task.inputs["signatures"]:
            rows = rows_of(np.concatenate([copies.rows_of_shard(shard.index), near.rows_of_shard(shard.index)]))
            names, code = self._sources(shard)
            for place, codes in enumerate((code, code[rows])):
                for name, number in zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True):
                    found.setdefault(name, [0, 0])[place] += number
        beyond = self.limits.beyond(found) if self.limits else []
        if beyond:
            largest = self._largest(task, {loss.source for loss in beyond})
            raise RunFailedError(self._message(f"step {task.node.partition('.')[0]!r}", beyond, f"{largest}. "))
        by_loss = sorted(found, key=lambda name: (-found[name][1], name))
        docs, removed = (sum(counts[place] for counts in found.values()) for place in (0, 1))
        return Result(facts={"docs": docs, "removed": removed, "sources": {name: found[name] for name in by_loss}})

    def _sources(self, shard: Shard) -> tuple[list[str], Counts]:
        """The sources of a shard and the number of each document's; groups are ``source|language``."""
        sketch = open_columns(shard.file(SKETCH), "sketch", self.signatures.parameters)
        of_group = [name.rpartition("|")[0] for name in sketch.parameters["groups"]]
        place = {name: number for number, name in enumerate(dict.fromkeys(of_group))}
        return list(place), np.array([place[name] for name in of_group], np.int64)[sketch["group"]]

    def recheck(self, facts: Mapping[str, Any]) -> None:
        """Hold what a task noted against the limits of now.

        Raises:
            RunFailedError: as ``run``, but for naming no document.
        """
        beyond = self.limits.beyond(facts["sources"]) if self.limits else []
        if beyond:
            raise RunFailedError(self._message("this dedup step", beyond, ""))

    def _message(self, step: str, beyond: Sequence[Loss], largest: str) -> str:
        shown = [str(loss) for loss in beyond[:_MOST_SHOWN]]
        more = f"; and {len(beyond) - _MOST_SHOWN} more" if len(beyond) > _MOST_SHOWN else ""
        epoch = f" in epoch {self.epoch!r}" if self.epoch else ""
        shares = {loss.source: loss.share for loss in beyond if loss.source is not None}
        remedies = [f"sources: {_yaml(shares)}"] if shares else []
        remedies += [f"removed: {loss.share}" for loss in beyond if loss.source is None]
        return (
            f"{step} would remove{epoch} {'; '.join(shown)}{more}. {largest}If that is as it should be, add "
            f"{' and '.join(remedies)} to the step's alarm and run again: nothing is computed twice"
        )

    def _largest(self, task: Task, sources: Collection[str | None]) -> str:
        """For which document most of some sources (None: of all) would go, in words."""
        near, copies = _decided(task)
        by_rep = ExternalSort(task.scratch, "by_rep", _MEMORY_BYTES)
        for shard in task.inputs["signatures"]:
            names, code = self._sources(shard)
            named = np.array([None in sources or name in sources for name in names], np.bool_)
            copy, own = copies.of_shard(shard.index), near.of_shard(shard.index)
            near.redirect(copy["rep"], copy["rep_id"])
            for part in (copy, own):
                mine = named[code[rows_of(part["row"])]]
                by_rep.add([part["rep"][mine], *part["rep_id"][mine].T])
        rep, most = 0, 0
        for at, count in summed((at, np.ones(len(at), np.uint64)) for at, _, _ in by_rep.chunks()):
            if len(count) and count.max() > most:
                rep, most = int(at[count.argmax()]), int(count.max())
        identity = next(pair for pair in map(partial(_id_of, rep), by_rep.chunks()) if pair)
        by_rep.remove()
        return f"Most of them, {most:,}, would go for {identity}{_url(task, np.array([rep], np.uint64))}"


def _decided(task: Task) -> tuple[Near, Copies]:
    return Near(task.inputs.get("clusters", ())), Copies(task.inputs.get("exact", ()))


def _id_of(rep: int, chunk: Sequence[KeyArray]) -> str:
    """The id of a document as it stands in sorted records of address and id; nothing where it is in none."""
    at, high, low = chunk
    hit, where = found_in(at, np.array([rep], np.uint64))
    return f"{high[where[0]]:016x}{low[where[0]]:016x}" if hit[0] else ""


def _yaml(shares: Mapping[str, float]) -> str:
    """A mapping on one line as a recipe takes it; names that YAML would read otherwise are quoted."""
    return str(
        yaml.safe_dump(dict(shares), default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf)
    ).strip()


def _url(task: Task, at: KeyArray) -> str:
    """The URL of a document, in parentheses; nothing where it has none or lies in another epoch or run."""
    for shard in task.inputs["documents"]:
        if shard.index == shards_of(at)[0] and levels_of(at)[0] == 0:
            found = shard.take(rows_of(at).tolist(), ["url"])
            url = found["url"][0].as_py() if "url" in found.column_names else None
            return f" ({url})" if url else ""
    return ""
