"""A takedown from its beginning to its end: plan, write, switch, clear, prove."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from pipeline.commit import Commit, committed
from pipeline.dataset import Dataset, Run
from pipeline.eventlog import LOG_FILE
from pipeline.sealing import clear_scratch
from pipeline.takedown.absence import Needles, holders
from pipeline.takedown.concerned import Concerned, concerned
from pipeline.takedown.finding import Found, find
from pipeline.takedown.generation import PENDING, roll_back, settle, switch, unused, write
from pipeline.takedown.related import Cluster, as_entry
from pipeline.takedown.rewriting import Rewriter, TokenRewriter
from pipeline.takedown.suppression import Register, Suppression, register
from pipeline.takedown.unfinished import Unfinished, covers, note, now, unfinished


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
    number = len(before.requests) + 1
    stamped = Suppression(
        dict.fromkeys(asked.ids, number), dict.fromkeys(asked.urls, number), dict.fromkeys(asked.domains, number)
    )
    found = find(run, stamped, before, with_duplicates=with_duplicates)
    known = _known(before.suppression, found.forbidden)
    return Plan(run, stamped, found, concerned(run, found), tuple(unused(run)), before, known or number)


def _known(before: Suppression, wanted: Suppression) -> int | None:
    """The request that forbade the last of all this; None where something is new."""
    if not covers(before, wanted):
        return None
    numbers = [before.ids[key] for key in wanted.ids]
    numbers += [before.urls[key] for key in wanted.urls]
    numbers += [before.domains[name] for name in wanted.domains]
    return max(numbers, default=None)


def carry_out(plan: Plan, tokens: TokenRewriter, needles: Needles, told: Mapping[str, Any]) -> Needles:
    """Write the new generation, put it in force, delete the old one; returns what to prove the absence of.

    Whoever is killed in here is gone on with by the same command: see ADR 9. The holder of the lease may.
    needles: what the documents are known by; told: what was found, for the one who goes on after a kill.
    """
    storage = plan.run.storage
    earlier = unfinished(storage)
    needles = holders(storage, _payloads(plan.run), needles, plan.found.forbidden)
    note(storage, [*earlier, Unfinished(plan.found.forbidden, needles, told)])
    for one in earlier:
        needles = needles.joined(one.needles)
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


def _payloads(run: Run) -> list[str]:
    """The files of tokens that are in force."""
    steps = [step for step, node in run.nodes.items() if node["kind"] == "tokens" and node["dataset"] is not None]
    commits = [commit for step in steps for commit in run[step].commits.values()]
    return [output.name for commit in commits for output in commit.outputs if output.suffix == ".bin"]


def end(plan: Plan) -> None:
    """The takedown is done: the run may go on."""
    plan.run.storage.delete(PENDING)


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
    urls = {key: page.facts.get("url") for key, page in plan.found.pages.items()}
    entry: Mapping[str, Any] = {
        "number": plan.number,
        "date": now(),
        "generation": generation,
        "ids": len(plan.asked.ids),
        "urls": len(plan.asked.urls),
        "domains": len(plan.asked.domains),
        "documents": len(plan.found.pages),
        "related": as_entry(_left_apart(plan), urls, plan.asked),
    }
    requests = (*before.requests, entry) if plan.is_new else before.requests
    return replace(before, generation=generation, suppression=suppression, requests=requests)


def _left_apart(plan: Plan) -> list[Cluster]:
    """The clusters of which something stays."""
    gone = plan.before.suppression.ids.keys() | plan.found.forbidden.ids.keys()
    return [one for one in plan.found.clusters if not one.members <= gone]


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
