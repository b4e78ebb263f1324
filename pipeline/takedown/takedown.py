"""A takedown from its beginning to its end: plan, write, switch, clear, prove."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from pipeline.commit import Commit, committed
from pipeline.dataset import Dataset, Run
from pipeline.eventlog import LOG_FILE
from pipeline.sealing import clear_scratch
from pipeline.takedown.absence import Needles, pending
from pipeline.takedown.concerned import Concerned, concerned
from pipeline.takedown.finding import Found, find
from pipeline.takedown.generation import PENDING, roll_back, settle, switch, unused, write
from pipeline.takedown.rewriting import Rewriter, TokenRewriter
from pipeline.takedown.suppression import Register, Suppression, register


@dataclass(frozen=True)
class WholeRun(Run):
    """A run with every committed shard, also those that a later ``--limit`` left out; read once."""

    held: dict[str, Dataset] = field(default_factory=dict, compare=False)

    def __getitem__(self, name: str) -> Dataset:
        """The dataset of a step."""
        if name not in self.held:
            self.held[name] = super().__getitem__(name)
        return self.held[name]

    def _commits(self, name: str, folder: str) -> dict[int, Commit]:
        del name
        return committed(self.storage, folder)


@dataclass(frozen=True)
class Plan:
    """What a takedown would do."""

    run: WholeRun
    asked: Suppression
    found: Found
    concerned: Concerned
    unused: tuple[str, ...]
    """Files of datasets that no step has any more."""
    before: Register
    number: int
    """Of this request."""

    @property
    def is_new(self) -> bool:
        """False where the same was asked for before."""
        return self.number > len(self.before.requests)


def plan(uri: str, asked: Suppression, *, with_duplicates: bool = False) -> Plan:
    """Find everything; nothing is written.

    Raises:
        UserError: there is no such run, or a source that bitmaps count the rows of cannot be read.
    """
    opened = Run.open(uri)
    run = WholeRun(opened.storage, opened.facts)
    before = register(run.storage)
    number = _known(before, asked) or len(before.requests) + 1
    stamped = Suppression(
        dict.fromkeys(asked.ids, number), dict.fromkeys(asked.urls, number), dict.fromkeys(asked.domains, number)
    )
    found = find(run, stamped, with_duplicates=with_duplicates)
    return Plan(run, stamped, found, concerned(run, found), tuple(unused(run)), before, number)


def _known(before: Register, asked: Suppression) -> int | None:
    """The request that forbade all of this already."""
    have = before.suppression
    numbers = [have.ids.get(key) for key in asked.ids]
    numbers += [have.urls.get(key) for key in asked.urls]
    numbers += [have.domains.get(name) for name in asked.domains]
    return None if None in numbers or not numbers else max(number for number in numbers if number is not None)


def carry_out(plan: Plan, tokens: TokenRewriter, needles: Needles) -> Needles:
    """Write the new generation, put it in force, delete the old one; returns what to prove the absence of.

    Whoever is killed in here is gone on with by the same command: see ADR 9. The holder of the lease may.
    """
    storage = plan.run.storage
    needles = needles.joined(pending(storage))
    begun = {"begun": now(), "request": plan.number, "needles": needles.to_json()}
    storage.write_bytes(PENDING, orjson.dumps(begun))
    clear_scratch(storage)
    roll_back(storage)
    generation = plan.before.generation + bool(plan.concerned.keys)
    rewriter = Rewriter(plan.run, plan.found, generation, plan.number, tokens)
    changed = _write(plan, rewriter)
    if changed or plan.is_new:
        switch(storage, _register(plan, generation if changed else plan.before.generation))
    settle(plan.run)
    for name in plan.unused:
        storage.delete(name)
    clear_scratch(storage)
    return needles


def end(plan: Plan) -> None:
    """The takedown is done: the run may go on."""
    plan.run.storage.delete(PENDING)


def now() -> str:
    """The time in UTC, to the second."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _write(plan: Plan, rewriter: Rewriter) -> int:
    """The files and records of the new generation; returns how many shards changed."""
    storage, changed = plan.run.storage, 0
    for step, index in plan.concerned.rewrite:
        scratch = storage.scratch() / f"{step}-{index}"
        scratch.mkdir(parents=True)
        made = rewriter.rewrite(plan.run[step], index, scratch)
        shutil.rmtree(scratch)
        if made is not None:
            write(storage, plan.run[step].folder, made)
            changed += 1
    for state, keys in (("retired", plan.concerned.retire), ("forgotten", plan.concerned.forget)):
        for step, index in keys:
            write(storage, plan.run[step].folder, rewriter.record(plan.run[step].commits[index], state))
            changed += 1
    return changed


def _register(plan: Plan, generation: int) -> Register:
    before = plan.before
    suppression = before.suppression.joined(plan.found.forbidden)
    entry: Mapping[str, Any] = {
        "number": plan.number,
        "date": now(),
        "generation": generation,
        "ids": len(plan.asked.ids),
        "urls": len(plan.asked.urls),
        "domains": len(plan.asked.domains),
        "documents": len(plan.found.pages),
    }
    requests = (*before.requests, entry) if plan.is_new else before.requests
    return replace(before, generation=generation, suppression=suppression, requests=requests)


def clear_log(plan: Plan, needles: Needles) -> int:
    """Take lines that name a document out of the driver's log; returns how many."""
    storage = plan.run.storage
    if not storage.exists(LOG_FILE):
        return 0
    words = [*needles.urls, *needles.texts, *(one.hex().encode() for one in needles.ids)]
    lines = storage.read_bytes(LOG_FILE).splitlines(keepends=True)
    gone = [any(word in line for word in words) for line in lines]
    if any(gone):
        mark = orjson.dumps({"event": "line taken down", "request": plan.number}) + b"\n"
        clean = [mark if bad else line for line, bad in zip(lines, gone, strict=True)]
        storage.write_bytes(LOG_FILE, b"".join(clean))
    return sum(gone)
