"""A takedown in words, and as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.report.units import size
from pipeline.takedown.absence import NOT_SEARCHED, Proof
from pipeline.takedown.finding import Page
from pipeline.takedown.suppression import LIST_FILE
from pipeline.takedown.takedown import Plan
from workflows.commands.cat import one_line
from workflows.takedown.seen import Model

_SHOWN = 20


@dataclass
class Telling:
    """Everything that is told of one takedown."""

    plan: Plan
    models: Sequence[Model] = ()
    exports: Sequence[Mapping[str, Any]] = ()
    proof: Proof | None = None
    log_lines: int = 0
    notes: list[str] = field(default_factory=list)


def as_data(told: Telling) -> dict[str, Any]:
    """For --json."""
    plan, found = told.plan, told.plan.found
    return {
        "run": plan.run.storage.uri,
        "request": plan.number,
        "done": told.proof is not None,
        "asked": {"ids": len(plan.asked.ids), "urls": len(plan.asked.urls), "domains": len(plan.asked.domains)},
        "documents": [{"id": key.hex(), **_page(page)} for key, page in sorted(found.pages.items())],
        "unreadable_records": [_page(page) for page in found.nameless],
        "related": [{"id": key.hex(), "url": url, "is": role} for key, (url, role) in found.related.items()],
        "shards": {
            "rewritten": _by_step(plan.concerned.rewrite),
            "retired": _by_step(plan.concerned.retire),
            "made_by_the_next_run": _by_step(plan.concerned.forget),
        },
        "unused_files_deleted": len(plan.unused),
        "learned_from_them": plan.concerned.learned,
        "models": [vars(one) for one in told.models],
        "exports": list(told.exports),
        "log_lines": told.log_lines,
        "proof": _proof_data(told.proof),
        "notes": [*found.notes, *told.notes],
    }


def _page(page: Page) -> dict[str, Any]:
    places = [{"step": step, "as": what, "shard": shard} for step, what, shard in page.places]
    return {**page.facts, "places": places}


def _proof_data(proof: Proof | None) -> dict[str, Any] | None:
    if proof is None:
        return None
    return {
        "absent": not proof.present,
        "files": proof.files,
        "bytes": proof.num_bytes,
        "searched_for": proof.needles,
        "not_searched": list(NOT_SEARCHED),
        "present": [{"file": name, "what": what} for name, what in proof.present],
        "same_words_elsewhere": {where: sorted(kinds) for where, kinds in sorted(proof.elsewhere.items())},
    }


def _by_step(keys: Sequence[tuple[str, int]]) -> dict[str, int]:
    return dict(Counter(step for step, _ in keys))


def lines(told: Telling) -> Iterator[str]:
    """For people, in the order in which they ask."""
    plan, found = told.plan, told.plan.found
    done = told.proof is not None
    yield f"{plan.run.storage.uri}: {'takedown' if done else 'dry run of takedown'} {plan.number}"
    yield from _documents(told)
    if found.related:
        yield "Not asked for, but put together with them by deduplication (--with-duplicates takes them too):"
        yield from _some(
            [f"  {key.hex()}  {one_line(url or '')}  {role}" for key, (url, role) in found.related.items()]
        )
    yield from _shards(told, done=done)
    yield from _seen(told)
    yield from _inputs(plan)
    yield from (f"Note: {one_line(note)}" for note in (*found.notes, *told.notes))
    if told.proof is not None:
        yield from _proof(told.proof)
        yield f"{LIST_FILE} keeps them out of later runs of this folder; in other recipes: read: {{suppress: PATH}}"
    else:
        yield "Nothing was written. The same command without --dry-run takes them down."


def _documents(told: Telling) -> Iterator[str]:
    found = told.plan.found
    verb = "taken down" if told.proof is not None else "would be taken down"
    yield f"{len(found.pages):,} documents and {len(found.nameless):,} unreadable records {verb}:"
    entries = [(key.hex(), page) for key, page in sorted(found.pages.items())]
    entries += [("(no id)", page) for page in found.nameless]
    shown: list[str] = []
    for identity, page in entries:
        shown.append(f"  {identity}  {one_line(str(page.facts.get('url') or page.facts.get('record_id') or ''))}")
        by_step: dict[tuple[str, str], list[int]] = {}
        for step, what, shard in page.places:
            by_step.setdefault((step, what), []).append(shard)
        shown.append("    " + ", ".join(f"{s}: {w} ({_shard(k)})" for (s, w), k in by_step.items()))
    yield from _some(shown, 2 * _SHOWN)


def _shard(numbers: Sequence[int]) -> str:
    return f"shard {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} shards"


def _shards(told: Telling, *, done: bool) -> Iterator[str]:
    concerned = told.plan.concerned
    parts = (
        ("Shards rewritten" if done else "Shards to rewrite", concerned.rewrite),
        ("Internal files deleted, made anew only if a later step needs them", concerned.retire),
        ("Deleted, the next run of the recipe makes them from the new shards", concerned.forget),
    )
    for what, keys in parts:
        if keys:
            yield f"{what}: " + ", ".join(f"{step} {count:,}" for step, count in _by_step(keys).items())
    if told.plan.unused:
        yield f"{len(told.plan.unused):,} files of datasets that the recipe no longer uses {'were' if done else 'will be'} deleted"


def _seen(told: Telling) -> Iterator[str]:
    for name in told.plan.concerned.learned:
        if name not in [model.step for model in told.models]:
            yield f"{name} was trained on datasets that held them; it stays as it is"
    for model in told.models:
        yield f"Model {model.step} ({model.folder}) trained to step {model.trained_to:,}; it stays as it is"
        if model.unknown:
            yield f"  at which steps it saw them is not known: {one_line(model.unknown)}"
        for identity, steps in model.steps.items():
            at = ", ".join(f"{step:,}" for step in steps[:10]) + (", …" if len(steps) > 10 else "")
            yield f"  {identity} " + (
                f"in {len(steps):,} steps: {at}" if steps else "in no training step (held out, or not drawn so far)"
            )
        if model.checkpoints:
            yield f"  checkpoints after that: {', '.join(model.checkpoints)}"
    for record in told.exports:
        yield f"Export of {record['step']} to {record['to']} in {one_line(str(record['out']))} holds them: delete or export it again"


def _inputs(plan: Plan) -> Iterator[str]:
    pages = [*plan.found.pages.values(), *plan.found.nameless]
    origins = sorted({str(page.facts["origin"]) for page in pages if page.facts.get("origin")})
    if origins:
        yield "The input files, which are not part of the run, hold them still, and are not read there again:"
        yield from _some([f"  {one_line(one)}" for one in origins])


def _proof(proof: Proof) -> Iterator[str]:
    what = f"{proof.files:,} files, {size(proof.num_bytes)} (decompressed), for {proof.needles:,} byte strings"
    if proof.present:
        yield f"STILL PRESENT: searched {what} and found:"
        yield from _some([f"  {name}: {kind}" for name, kind in proof.present])
    else:
        yield f"Absent: searched {what} (ids, URLs, stretches of the texts and of their tokens); none is left."
    if proof.elsewhere:
        yield "Other documents with the same words, or that name the URL (they were not asked for):"
        yield from _some([f"  {where}: {', '.join(sorted(kinds))}" for where, kinds in sorted(proof.elsewhere.items())])


def _some(entries: Sequence[str], most: int = _SHOWN) -> Iterator[str]:
    yield from entries[:most]
    if len(entries) > most:
        yield f"  … and {len(entries) - most:,} lines more; --json has all"
