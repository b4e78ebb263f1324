"""The answer to a what-if question: each step in documents, bytes and tokens, by language and source, with examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline.bounds import threshold
from pipeline.ledger import Count, Ledger, merge_counts
from pipeline.rejects import LANGUAGE_COLUMNS
from pipeline.report.account import Account
from pipeline.report.funnel import TokenRates, Tokens, token_rates
from pipeline.report.reading import files
from pipeline.whatif.ask import BEFORE, StepFound
from pipeline.whatif.rejudge import StepJudge
from pipeline.whatif.sampling import excerpt, stored
from pipeline.whatif.tally import KINDS, Group, Sampled
from pipeline.whatif.text_bytes import bytes_that_go

_COLUMNS = ("url", "source", *LANGUAGE_COLUMNS)


@dataclass(frozen=True)
class Volume:
    """Documents, their bytes and tokens; None where nobody knows. ``exact``: the bytes were counted, not estimated."""

    docs: int
    bytes: int | None = None
    exact: bool = True
    tokens: Tokens | None = None


@dataclass(frozen=True)
class Line:
    """A step as a whole, or one language or source of it. then: what it would keep, what stays open aside."""

    name: str
    kept: int
    go: Volume
    back: Volume
    undecided: int

    @property
    def then(self) -> int:
        """Documents it would keep; those undecided may join them."""
        return self.kept - self.go.docs + self.back.docs


@dataclass(frozen=True)
class Example:
    """A document that changes: what was or would be measured beside its threshold, and how it begins."""

    id: str
    url: str | None
    source: str
    language: str
    was: str
    then: str
    value: str | None
    threshold: str | None
    excerpt: str | None


@dataclass(frozen=True)
class StepAnswer:
    """What would change in one step.

    own: its bounds are among those changed. shards, num_shards: looked at, and planned. model, behind: as in StepFound.
    moves: (fate as it was, as it would be, documents), most frequent first.
    """

    step: str
    kind: str
    own: bool
    shards: int
    num_shards: int
    model: str | None
    behind: str | None
    whole: Line
    by_language: tuple[Line, ...]
    by_source: tuple[Line, ...]
    moves: tuple[tuple[str, str, int], ...]
    examples: Mapping[str, tuple[Example, ...]]


def answer(account: Account, found: Mapping[str, StepFound], *, threads: int = 2) -> list[StepAnswer]:
    """Every step reached, inputs before what is made of them."""
    rates = token_rates(account)
    arrivals: dict[str, dict[Group, Count]] = {}
    answers = []
    for step in found.values():
        open_ = _sum(step.tally.groups["undecided"], arrivals.get(step.parent or "", {}))
        arrivals[step.name] = _sum(open_, step.tally.groups["return"])
        answers.append(_step(account, step, open_, rates, threads))
    return answers


def _step(
    account: Account, step: StepFound, open_: Mapping[Group, Count], rates: TokenRates | None, threads: int
) -> StepAnswer:  # fmt: skip
    ledger, tally = step.dataset.ledger, step.tally
    own = step.judge is not None
    raw = any(one.name == step.name and account.is_raw(one, None) for one in account.steps)
    measure = _Measure(None if raw else rates, counted=step.dataset.kind == "tokens", known=own)
    go, exact = dict(tally.groups["go"]), True
    if own and tally.going:
        lengths, exact = bytes_that_go(step.dataset, tally, threads)
        go = {group: Count(count.docs, lengths.get(group, 0)) for group, count in go.items()}
    groups = (_kept(ledger), go, tally.groups["return"], open_)
    return StepAnswer(
        step.name, step.dataset.kind, own, len(step.dataset.commits), step.dataset.run.nodes[step.name]["num_shards"],
        step.model, step.behind,
        replace(_line("", groups, set().union(*groups), measure, exact=exact), kept=ledger.kept.docs),
        _lines(groups, 1, measure, exact=exact), _lines(groups, 0, measure, exact=exact),
        _moves(step), {kind: tuple(_examples(step, tally.samples[kind])) for kind in KINDS},
    )  # fmt: skip


@dataclass(frozen=True)
class _Measure:
    """How documents are told in bytes and tokens. counted: both were; known: the bytes are."""

    rates: TokenRates | None
    counted: bool
    known: bool

    def volume(self, groups: Iterable[tuple[Group, Count]], *, exact: bool) -> Volume:
        whole, languages = Count(), {}
        for (_, language), count in groups:
            whole.merge(count)
            merge_counts(languages, {language: count})
        if self.counted:
            return Volume(whole.docs, whole.bytes, exact=True, tokens=Tokens(whole.tokens, exact=True))
        if not self.known:
            return Volume(whole.docs)
        tokens = Tokens(self.rates.estimate(languages), exact=False) if self.rates else None
        return Volume(whole.docs, whole.bytes, exact, tokens)


Groups = tuple[Mapping[Group, Count], Mapping[Group, Count], Mapping[Group, Count], Mapping[Group, Count]]
"""Kept, go, return, undecided."""


def _line(name: str, groups: Groups, chosen: set[Group], measure: _Measure, *, exact: bool) -> Line:
    kept, go, back, open_ = ([(group, count) for group, count in one.items() if group in chosen] for one in groups)
    return Line(
        name,
        sum(count.docs for _, count in kept),
        measure.volume(go, exact=exact),
        measure.volume(back, exact=True),
        sum(count.docs for _, count in open_),
    )


def _lines(groups: Groups, key: int, measure: _Measure, *, exact: bool) -> tuple[Line, ...]:
    """By source (0) or language (1), what changes most first."""
    every: set[Group] = set().union(*groups)
    lines = [
        _line(name, groups, {group for group in every if group[key] == name}, measure, exact=exact)
        for name in sorted({group[key] for group in every})
    ]
    return tuple(sorted(lines, key=lambda one: -(one.go.docs + one.back.docs + one.undecided)))


def _kept(ledger: Ledger) -> dict[Group, Count]:
    found: dict[Group, Count] = {}
    for key, count in ledger.group_kept.items():
        source, _, language = key.rpartition("|")
        found[source, language] = count
    return found


def _sum(left: Mapping[Group, Count], right: Mapping[Group, Count]) -> dict[Group, Count]:
    found: dict[Group, Count] = {}
    for groups in (left, right):
        for group, count in groups.items():
            found.setdefault(group, Count()).merge(count)
    return found


def _moves(step: StepFound) -> tuple[tuple[str, str, int], ...]:
    found: dict[tuple[str, str], int] = {}
    for (was, then), number in step.tally.moves.items():
        key = (_fate(step.judge, was), _fate(step.judge, then))
        found[key] = found.get(key, 0) + number
    return tuple((was, then, n) for (was, then), n in sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _fate(judge: StepJudge | None, code: int) -> str:
    if code == BEFORE:
        return "gone before"
    return str(judge.fates[code]) if judge else "kept"


def _examples(step: StepFound, samples: list[Sampled]) -> Iterable[Example]:
    judge = step.judge
    names = [next(files(step.dataset, one.folder, ".parquet", [one.shard]))[1].name for one in samples]
    measured = {rule.column for rule in judge.rules} if judge else set()
    texts = ("text",) if all(one.folder == "shards" for one in samples) else ("value", "threshold", "excerpt")
    columns = [*_COLUMNS, *texts, *sorted(measured)]
    rows = stored(step.dataset, [(name, one.row) for name, one in zip(names, samples, strict=True)], columns)
    for one, row in zip(samples, rows, strict=True):
        value, wanted = row.get("value"), row.get("threshold")
        language = next((row[name] for name in LANGUAGE_COLUMNS if row.get(name) is not None), "und")
        if one.rule >= 0 and judge is not None:
            rule = judge.rules[one.rule]
            number = row[rule.column]
            value, wanted = None if number is None else str(number), threshold(rule.bound, language)
        was, then = _fate(judge, one.was), _fate(judge, one.then)
        yield Example(
            one.id.hex(), row.get("url"), row.get("source") or "", str(language), was, then, value, wanted, excerpt(row)
        )


def as_json(answers: Iterable[StepAnswer]) -> list[dict[str, Any]]:
    """Plain data, one object a step."""
    return [
        {
            "step": one.step,
            "holds": one.kind,
            "changed": one.own,
            "shards": one.shards,
            "shards_planned": one.num_shards,
            "model_trained_anew": one.model,
            "behind_barrier": one.behind,
            **_plain(one.whole),
            "by_language": {line.name: _plain(line) for line in one.by_language},
            "by_source": {line.name: _plain(line) for line in one.by_source},
            "moves": [{"from": was, "to": then, "docs": docs} for was, then, docs in one.moves],
            "samples": {kind: [vars(example) for example in some] for kind, some in one.examples.items()},
        }
        for one in answers
    ]


def _plain(line: Line) -> dict[str, Any]:
    def volume(one: Volume) -> dict[str, Any]:
        return {
            "docs": one.docs,
            "bytes": one.bytes,
            "bytes_exact": one.exact if one.bytes is not None else None,
            "tokens": one.tokens.number if one.tokens else None,
            "tokens_exact": one.tokens.exact if one.tokens else None,
        }

    return {
        "kept": line.kept,
        "go": volume(line.go),
        "return": volume(line.back),
        "undecided": line.undecided,
        "then": line.then,
    }
