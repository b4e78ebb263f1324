"""A takedown in words, and as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from pipeline.report.units import size
from pipeline.takedown.absence import NOT_SEARCHED, Proof
from pipeline.takedown.finding import Page
from pipeline.takedown.suppression import LIST_FILE
from pipeline.takedown.takedown import Plan
from workflows.commands.cat import one_line
from workflows.takedown.lineage import elsewhere
from workflows.takedown.seen import Model

_SHOWN = 20

Told = dict[str, Any]
"""Everything that is told of one takedown, as --json prints it."""


def as_data(plan: Plan, models: Sequence[Model], exports: Sequence[Mapping[str, Any]]) -> Told:
    """What a takedown found, before anything is written."""
    found = plan.found
    told = {
        "run": plan.run.storage.uri,
        "request": plan.number,
        "done": False,
        "asked": {"ids": len(plan.asked.ids), "urls": len(plan.asked.urls), "domains": len(plan.asked.domains)},
        "not_found": [],
        "documents": [{"id": key.hex(), **_page(page)} for key, page in sorted(found.pages.items())],
        "unreadable_records": [_page(page) for page in found.nameless],
        "related": [{"id": key.hex(), "url": url, "is": role} for key, (url, role) in found.related.items()],
        "shards": {
            "rewritten": _by_step(plan.concerned.rewrite),
            "retired": _by_step(plan.concerned.retire),
            "made_by_the_next_run": _by_step(plan.concerned.forget),
        },
        "unused_files_deleted": len(plan.unused),
        "learned_from_them": _joined(plan.concerned.learned, [one.step for one in models if one.learned_before]),
        "models": [vars(one) for one in models],
        "exports": list(exports),
        "log_lines": 0,
        "proof": None,
        "notes": [*found.notes, *_outside(plan, models)],
    }
    plain: Told = orjson.loads(orjson.dumps(told, default=str))
    return plain


def _outside(plan: Plan, models: Sequence[Model]) -> Iterator[str]:
    """Of models for which nothing was found here: whose weights, made in another place, may have learned from it."""
    told = {one.step for one in models}
    for step, model in elsewhere(plan.run).items():
        if step not in told:
            yield f"step {step} began with the weights of {model}, which was not searched: ask its run too"


def merged(earlier: Sequence[Mapping[str, Any]], last: Told) -> Told:
    """What is told by the one who goes on with takedowns that came into force and did not end: theirs, and its own."""
    told = dict(last)
    for one in earlier:
        documents = {page["id"]: page for page in (*told["documents"], *one["documents"])}
        told["documents"] = [documents[key] for key in sorted(documents)]
        told["related"] = _joined(one["related"], told["related"])
        for name in ("unreadable_records", "learned_from_them", "exports", "notes"):
            told[name] = _joined(one[name], told[name])
        told["models"] = _models(one["models"], told["models"])
        told["shards"] = {
            kind: dict(Counter(one["shards"][kind]) + Counter(by_step)) for kind, by_step in told["shards"].items()
        }
        told["unused_files_deleted"] = max(one["unused_files_deleted"], told["unused_files_deleted"])
    gone = {page["id"] for page in told["documents"]}
    told["related"] = [one for one in told["related"] if one["id"] not in gone]
    return told


def _joined(first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    return [*first, *(one for one in second if one not in first)]


def _models(first: Sequence[Told], second: Sequence[Told]) -> list[Told]:
    by_folder = {one["folder"]: one for one in second}
    for one in first:
        other = by_folder.get(one["folder"], one)
        by_folder[one["folder"]] = {
            **one,
            "steps": {**other["steps"], **one["steps"]},
            "checkpoints": sorted({*one["checkpoints"], *other["checkpoints"]}),
            "unknown": one["unknown"] or other["unknown"],
        }
    return list(by_folder.values())


def _page(page: Page) -> dict[str, Any]:
    places = [{"step": step, "as": what, "shard": shard} for step, what, shard in page.places]
    return {**page.facts, "places": places}


def proof_data(proof: Proof) -> dict[str, Any]:
    """A proof, for --json."""
    return {
        "absent": not proof.present,
        "files": proof.files,
        "bytes": proof.num_bytes,
        "searched_for": dict(proof.needles),
        "not_searched": list(NOT_SEARCHED),
        "present": [{"file": name, "what": what} for name, what in proof.present],
        "same_words_elsewhere": {where: sorted(kinds) for where, kinds in sorted(proof.elsewhere.items())},
    }


def _by_step(keys: Sequence[tuple[str, int]]) -> dict[str, int]:
    return dict(Counter(step for step, _ in keys))


def lines(told: Told, dates: Mapping[int, str]) -> Iterator[str]:
    """For people, in the order in which they ask. dates: of requests."""
    done = told["done"]
    yield f"{told['run']}: {'takedown' if done else 'dry run of takedown'} {told['request']}"
    yield from _documents(told)
    yield from _not_found(told["not_found"], dates)
    if told["related"]:
        yield "Not asked for, but put together with them by deduplication (--with-duplicates takes them too):"
        yield from _some([f"  {one['id']}  {one_line(one['url'] or '')}  {one['is']}" for one in told["related"]])
    yield from _shards(told)
    yield from _seen(told)
    yield from _inputs(told)
    yield from (f"Note: {one_line(note)}" for note in told["notes"])
    if told["proof"] is not None:
        yield from _proof(told["proof"])
    if done:
        yield f"{LIST_FILE} keeps them out of later runs of this folder; in other recipes: read: {{suppress: PATH}}"
    else:
        yield "Nothing was written. The same command without --dry-run takes them down."


def _documents(told: Told) -> Iterator[str]:
    entries = [*told["documents"], *told["unreadable_records"]]
    verb = "taken down" if told["done"] else "would be taken down"
    end = ":" if entries else "."
    yield f"{len(told['documents']):,} documents and {len(told['unreadable_records']):,} unreadable records {verb}{end}"
    shown: list[str] = []
    for page in entries:
        shown.append(f"  {page.get('id', '(no id)')}  {one_line(str(page.get('url') or page.get('record_id') or ''))}")
        by_step: dict[tuple[str, str], list[int]] = {}
        for place in page["places"]:
            by_step.setdefault((place["step"], place["as"]), []).append(place["shard"])
        shown.append("    " + ", ".join(f"{s}: {w} ({_shard(k)})" for (s, w), k in by_step.items()))
    yield from _some(shown, 2 * _SHOWN)


def _not_found(entries: Sequence[Told], dates: Mapping[int, str]) -> Iterator[str]:
    shown = []
    for one in entries:
        what = {"url": "the URL", "domain": "a page of the domain", "id": "the id"}[one["kind"]]
        number = one["listed_by"]
        since = f"; request {number} of {dates.get(number, 'before')} has taken it down or listed it" if number else ""
        shown.append(f"  nothing in this run has {what} {one_line(one['entry'])}{since}")
    if shown:
        yield f"{len(shown):,} of the entries matched nothing:"
        yield from _some(shown)


def _shard(numbers: Sequence[int]) -> str:
    return f"shard {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} shards"


def _shards(told: Told) -> Iterator[str]:
    done, shards = told["done"], told["shards"]
    parts = (
        ("Shards rewritten" if done else "Shards to rewrite", shards["rewritten"]),
        ("Internal files deleted, made anew only if a later step needs them", shards["retired"]),
        ("Deleted, the next run of the recipe makes them from the new shards", shards["made_by_the_next_run"]),
    )
    for what, by_step in parts:
        if by_step:
            yield f"{what}: " + ", ".join(f"{step} {count:,}" for step, count in by_step.items())
    if told["unused_files_deleted"]:
        verb = "were" if done else "will be"
        yield f"{told['unused_files_deleted']:,} files of datasets that the recipe no longer uses {verb} deleted"


def _seen(told: Told) -> Iterator[str]:
    for name in told["learned_from_them"]:
        if name not in [model["step"] for model in told["models"]]:
            yield f"{name} was trained on datasets that held them; it stays as it is"
    for model in told["models"]:
        yield from _model(model)
        yield from _learned_before(model, {one["step"]: one for one in told["models"]})
    for record in told["exports"]:
        holding = "was trained on them" if record["to"] == "huggingface" else "holds them"
        holds = holding if record["certain"] else "is of a dataset that the run no longer has, and may hold them"
        what = f"{record['step']} to {record['to']} in {one_line(str(record['out']))}"
        yield f"Export of {what} {holds}: delete or export it again"


def _model(model: Told) -> Iterator[str]:
    yield f"Model {model['step']} ({model['folder']}) trained to step {model['trained_to']:,}; it stays as it is"
    if model["unknown"]:
        yield f"  at which steps it saw them is not known: {one_line(model['unknown'])}"
    shown = []
    for identity, steps in model["steps"].items():
        at = ", ".join(f"{step:,}" for step in steps[:10]) + (", …" if len(steps) > 10 else "")
        if steps:
            shown.append(f"  {identity} in {len(steps):,} steps: {at}")
    yield from _some(shown)
    if unseen := len(model["steps"]) - len(shown):
        yield f"  {unseen:,} of the documents in no training step (held out, or not drawn so far)"
    if model["checkpoints"]:
        which = (
            "checkpoints, all with what the base learned" if model.get("learned_before") else "checkpoints after that"
        )
        yield f"  {which}: {', '.join(model['checkpoints'])}"
    if (base := model.get("began_with")) and not model.get("learned_before"):
        yield f"  it began with the weights of {one_line(base)}: if that model saw them, so did this one"


def _learned_before(model: Told, models: Mapping[str, Told]) -> Iterator[str]:
    for base in model.get("learned_before", ()):
        steps = sorted({step for at in models[base]["steps"].values() for step in at}) if base in models else []
        at = ", ".join(f"{step:,}" for step in steps[:10]) + (", …" if len(steps) > 10 else "")
        when = f"learned from them at steps {at}" if steps else "may have learned from them, at steps not known"
        yield f"  it began with the weights of step {base}, which {when}"


def _inputs(told: Told) -> Iterator[str]:
    pages = [*told["documents"], *told["unreadable_records"]]
    origins = sorted({str(page["origin"]) for page in pages if page.get("origin")})
    if origins:
        yield "The input files, which are not part of the run, hold them still, and are not read there again:"
        yield from _some([f"  {one_line(one)}" for one in origins])


def _proof(proof: Told) -> Iterator[str]:
    names = {"ids": "ids", "urls": "URLs", "texts": "stretches of texts", "tokens": "stretches of tokens"}
    parts = [f"{count:,} {names[kind]}" for kind, count in proof["searched_for"].items() if count]
    what = f"{proof['files']:,} files, {size(proof['bytes'])} (decompressed), for {', '.join(parts) or 'rows of the entries alone'}"
    if not proof["absent"]:
        yield f"STILL PRESENT: searched {what} and found:"
        yield from _some([f"  {one['file']}: {one['what']}" for one in proof["present"]])
    else:
        yield f"Absent: searched {what}; none of these is left."
        if not proof["searched_for"]["texts"]:
            yield "Texts and tokens were not searched for: nothing in the run tells them."
    if proof["same_words_elsewhere"]:
        yield "Other documents with the same words, or that name the URL (they were not asked for):"
        yield from _some([f"  {where}: {', '.join(kinds)}" for where, kinds in proof["same_words_elsewhere"].items()])


def _some(entries: Sequence[str], most: int = _SHOWN) -> Iterator[str]:
    yield from entries[:most]
    if len(entries) > most:
        yield f"  … and {len(entries) - most:,} lines more; --json has all"
