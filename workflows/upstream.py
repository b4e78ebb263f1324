"""What a step takes and names, against what the steps above it hold: kinds of datasets, sources and columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from operators.dedup.order import Highest, Lowest, Policy
from operators.dedup.split.verb import Split
from operators.dedup.substrings.verb import DedupSubstrings
from operators.dedup.verb import Dedup
from operators.tokenize.mixing.mix import Mix
from operators.tokenize.packing.verb import Pack
from pipeline.dataset import Run
from pipeline.documents import SCHEMA
from pipeline.pretrain.work import Pretrain
from pipeline.readers.options import Read
from pipeline.work import Kind, owner
from pipeline.workflow import Step, Workflow
from pipeline.works import ReadWork
from workflows.continued import unfounded
from workflows.problems import near
from workflows.streaming import not_streamed
from workflows.tokenizer_links import unfit
from workflows.verbs import VERBS

Place = tuple[str, ...]
"""Keys below ``steps`` in a recipe."""

Deduplicating = Dedup | DedupSubstrings
_SELECTING = (Dedup, Split)
"""Verbs whose documents have the columns that came in."""
_HOLDS: Mapping[str, str] = {
    **dict.fromkeys(("source", "documents", "selection"), "documents"),
    "tokens": "tokens",
    "sequences": "packed sequences, which only pretrain and exports take",
    "mixture": "a plan of what to draw from tokens, which only pretrain takes",
    "artifact": "a file that other steps name in their parameters",
    "model": "a trained model",
}


def mistakes(steps: Sequence[Step]) -> Iterator[tuple[Place, str]]:
    """What the steps of a recipe cannot take from each other, as far as the recipe alone says it: place and sentence."""
    yield from misplaced(steps)
    yield from mislong(steps)
    yield from overdrawn(steps)
    yield from not_streamed(steps)
    yield from misnamed(steps)
    yield from unfit(steps)
    yield from unfounded(steps)


def misplaced(steps: Sequence[Step]) -> Iterator[tuple[Place, str]]:
    """Steps that take from one that holds another kind of thing: place and sentence."""
    by_name = {step.name: step for step in steps}
    kinds: dict[str, Kind] = {node.name: node.work.kind for step in steps for node in step.nodes(0)}
    for step in steps:
        held = _HOLDS.get(kinds.get(step.source or "", "work"))  # no such node, or an internal one: said elsewhere
        verb = next((name for name, cls in VERBS.items() if isinstance(step.verb, cls)), "apply")
        wanted, fit = _takes(step)
        if held is None or kinds[step.source or ""] in fit:
            continue
        above = next((name for name in _upwards(step, by_name) if kinds.get(name) in fit), None)
        remedy = f"write `from: {above}`" if above else "put a step with `tokenize` between"
        yield (
            (step.name, "from"),
            f"step {step.name!r}: {verb} takes {wanted}, and {step.source!r} holds {held}; {remedy}",
        )


def mislong(steps: Sequence[Step]) -> Iterator[tuple[Place, str]]:
    """Trainings on packed sequences of another length than theirs: place and sentence."""
    packs = {step.name: step.verb.sequence_length for step in steps if isinstance(step.verb, Pack)}
    for step in steps:
        packed = packs.get(step.source or "")
        if isinstance(step.verb, Pretrain) and packed is not None and step.verb.sequence_length != packed:
            text = (
                f"step {step.name!r}: sequence_length is {step.verb.sequence_length}, and {step.source!r} packs sequences "
                f"of {packed}; write `sequence_length: {packed}`"
            )
            yield (step.name, "pretrain", "sequence_length"), text


def overdrawn(steps: Sequence[Step]) -> Iterator[tuple[Place, str]]:
    """Trainings that take more tokens than the mixture they draw by plans: place and sentence."""
    mixes = {step.name: step.verb for step in steps if isinstance(step.verb, Mix)}
    for step in steps:
        mix = mixes.get(step.source or "")
        if not isinstance(step.verb, Pretrain) or mix is None:
            continue
        planned = mix.tokens if mix.steps is None else mix.steps * (mix.tokens_per_step or 0)
        wanted = step.verb.steps * step.verb.sequences * step.verb.sequence_length
        if planned and wanted > planned:
            text = (
                f"step {step.name!r}: {step.verb.steps} steps of {step.verb.sequences} sequences of "
                f"{step.verb.sequence_length} take {wanted} tokens, and {step.source!r} plans {planned}; raise `tokens` or "
                f"`steps` there, or train for fewer steps"
            )
            yield (step.name, "pretrain", "steps"), text


def _takes(step: Step) -> tuple[str, tuple[Kind, ...]]:
    if isinstance(step.verb, Pretrain):
        return "tokens, a mixture of them or sequences packed from them", ("tokens", "mixture", "sequences")
    if isinstance(step.verb, Pack | Mix):
        return "tokens", ("tokens",)
    return "documents", ("source", "documents", "selection")


def _upwards(step: Step, by_name: Mapping[str, Step]) -> Iterator[str]:
    """What a step takes from, what that takes from, and so on; a circle, which is said elsewhere, once."""
    seen: set[str] = set()
    at: Step | None = step
    while at is not None and at.source is not None and at.source not in seen:
        seen.add(at.source)
        yield at.source
        at = by_name.get(owner(at.source))


def misnamed(steps: Sequence[Step]) -> Iterator[tuple[Place, str]]:
    """Sources and columns that no document can have, as far as the recipe alone says it: place and sentence."""
    by_name = {step.name: step for step in steps}
    for step in steps:
        verb = step.verb
        if not isinstance(verb, Deduplicating):
            continue
        above = _above(step, by_name)
        if above is None:
            continue
        read, between = above
        place = (step.name, "dedup" if isinstance(verb, Dedup) else "dedup_substrings")
        if not _sources_from_column(read):
            for below, name in _named_sources(verb):
                if name != read.source:
                    text = f"{'.'.join(below)} names {name!r}, which is no source of the documents"
                    yield (*place, *below), f"{step.name}: {text}{near(name, [read.source or ''])}"
        if read.format == "jsonl" and all(isinstance(one.verb, _SELECTING) for one in between):
            for text in _wrong_columns(verb.keep, read):
                yield (*place, "keep"), f"{step.name}: {text}"


def absent_sources(run: Run, workflow: Workflow) -> Iterator[str]:
    """Sources that a step of a finished run names and no document had, where a column gave the sources."""
    by_name = {step.name: step for step in workflow.steps}
    for step in workflow.steps:
        above = _above(step, by_name)
        if not isinstance(step.verb, Deduplicating) or above is None or not _sources_from_column(above[0]):
            continue
        found = {key.rpartition("|")[0] for key in run[step.name].ledger.group_into}
        for below, name in _named_sources(step.verb) if found else ():
            if name not in found:
                yield f"{step.name}: {'.'.join(below)} names {name!r}, which no document had{near(name, found)}"


def _above(step: Step, by_name: dict[str, Step]) -> tuple[Read, list[Step]] | None:
    """What a step's documents are read by, and the steps between; None where the links of the recipe are wrong."""
    between: list[Step] = []
    at = by_name.get(owner(step.source or ""))
    while at is not None and at not in between:
        if isinstance(at.verb, ReadWork):
            return at.verb.read, between
        between.append(at)
        at = by_name.get(owner(at.source or ""))
    return None


def _sources_from_column(read: Read) -> bool:
    return any(target == "source" for target, _ in read.fields)


def _named_sources(verb: Deduplicating) -> Iterator[tuple[Place, str]]:
    for name in verb.sources:
        yield ("sources",), name
    for name, _ in verb.alarm.sources if isinstance(verb, Dedup) and verb.alarm else ():
        yield ("alarm", "sources"), name


def _wrong_columns(policy: Policy, read: Read) -> Iterator[str]:
    """Columns to choose by that JSONL documents lack, or that hold no numbers."""
    types = {field.name: field.type for field in (*SCHEMA, *read.further)}
    for one in policy:
        if not isinstance(one, Highest | Lowest):
            continue
        name = one.highest if isinstance(one, Highest) else one.lowest
        if name not in types:
            yield f"the documents have no column {name!r} to choose by{near(name, types)}"
        elif not (pa.types.is_integer(types[name]) or pa.types.is_floating(types[name]) or types[name] == pa.bool_()):
            remedy = "" if name in SCHEMA.names else f"; write column_types: {{{name}: float}} on the read step"
            yield f"column {name!r} holds {types[name]}, not numbers{remedy}"
