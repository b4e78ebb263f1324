"""The funnel: documents, bytes and tokens into and out of every operator of every step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.ledger import Count, Flow, Ledger, merge_counts
from pipeline.report.account import Account, StepAccount
from pipeline.report.units import share

TAKEN_DOWN = "taken down"
_OF_DOCUMENTS = ("source", "documents", "selection", "tokens")

Reasons = tuple[tuple[str, Count], ...]
"""Why documents left, most frequent first."""

_TOP_REASONS = 3


@dataclass(frozen=True)
class Tokens:
    """A number of tokens; an estimate unless it was counted."""

    number: int
    exact: bool

    def __str__(self) -> str:
        return f"{'' if self.exact else '~'}{self.number:,}"


@dataclass(frozen=True)
class Amount:
    """Documents, bytes and tokens at one point of the way; tokens None where they mean nothing (HTML) or nobody counts."""

    docs: int
    bytes: int
    tokens: Tokens | None


@dataclass(frozen=True)
class FunnelRow:
    """One operator of one step, or a whole step that is no chain of operators."""

    step: str
    operator: str
    into: Amount
    out: Amount
    reasons: Reasons
    """Why documents left here."""
    seconds: float
    of_split: bool = False
    """True of a set of a split: what did not go into it went into another."""

    @property
    def gone(self) -> str:
        """The share of the documents that left here."""
        left = share(self.into.docs - self.out.docs, self.into.docs)
        return f"{left} in other sets" if self.of_split and self.into.docs else left

    @property
    def why(self) -> str:
        """The first reasons with their documents, and how many left for any other."""
        others = sum(counted.docs for _, counted in self.reasons[_TOP_REASONS:])
        named = [f"{name} {counted.docs:,}" for name, counted in self.reasons[:_TOP_REASONS]]
        return ", ".join([*named, f"others {others:,}"] if others else named)


@dataclass(frozen=True)
class TokenRates:
    """Tokens per byte of text, by language, as the tokenizing step counted them."""

    overall: float
    by_language: Mapping[str, float]

    def estimate(self, counts: Mapping[str, Count]) -> int:
        """Tokens in texts of these bytes by language."""
        return round(sum(c.bytes * self.by_language.get(name, self.overall) for name, c in counts.items()))


def token_rates(account: Account) -> TokenRates | None:
    """Rates of the first step that tokenized something; None where none has."""
    for step in account.steps:
        ledger = step.ledger
        if step.dataset.kind == "tokens" and ledger.kept.tokens and ledger.kept.bytes:
            languages: dict[str, Count] = {}
            for key, counted in ledger.group_kept.items():
                merge_counts(languages, {key.rpartition("|")[2]: counted})
            rates = {name: c.tokens / c.bytes for name, c in languages.items() if c.tokens and c.bytes}
            return TokenRates(ledger.kept.tokens / ledger.kept.bytes, rates)
    return None


def funnel(account: Account) -> list[FunnelRow]:
    """Rows in the order of the recipe. Only steps through which documents go."""
    rates = token_rates(account)
    return [row for step in account.steps if _has_documents(step) for row in _rows(account, step, rates)]


def _has_documents(step: StepAccount) -> bool:
    """True where documents go through; also where there were none to go, so that nothing looks like success."""
    return bool(step.ledger.into.docs) or (bool(step.dataset.commits) and step.dataset.kind in _OF_DOCUMENTS)


def _rows(account: Account, step: StepAccount, rates: TokenRates | None) -> Iterator[FunnelRow]:
    ledger = step.ledger
    if not ledger.flows or not any(flow.into for flow in ledger.flows):
        yield FunnelRow(
            step.name,
            step.verb,
            _amount(_languages(ledger, "into"), rates, raw=account.is_raw(step, 0)),
            _amount(_languages(ledger, "kept"), rates, raw=account.is_raw(step, None)),
            _reasons(ledger, None),
            step.cpu_s,
            step.verb == "split",
        )
        return
    last = len(ledger.flows) - 1
    for position, flow in enumerate(ledger.flows):
        raw_out = account.is_raw(step, position + 1 if position < last else None)
        yield FunnelRow(
            step.name,
            # An operator that a verb of its own, not an apply, named after the step.
            step.verb if flow.operator == step.name and step.verb != "apply" else flow.operator,
            _amount(flow.into, rates, raw=account.is_raw(step, position)),
            _amount(flow.out, rates, raw=raw_out),
            _whole(_reasons(ledger, flow.operator, rest=position == last), flow, ledger),
            flow.seconds,
        )
    yield from _taken_out(account, step, rates)


def _taken_out(account: Account, step: StepAccount, rates: TokenRates | None) -> Iterator[FunnelRow]:
    """A row for what takedowns took out of the documents that a step's operators had kept."""
    ledger, last = step.ledger, step.ledger.flows[-1]
    gone = Count()
    for counted in last.out.values():
        gone.merge(counted)
    gone.add(-ledger.kept.docs, -ledger.kept.bytes, -ledger.kept.tokens)
    if ledger.taken_down.docs and gone.docs > 0:
        raw = account.is_raw(step, None)
        into, out = (_amount(counts, rates, raw=raw) for counts in (last.out, _languages(ledger, "kept")))
        yield FunnelRow(step.name, "takedown", into, out, ((TAKEN_DOWN, gone),), 0.0)


def _languages(ledger: Ledger, side: str) -> dict[str, Count]:
    """What came in or was kept, by language; in one piece where the step does not tell languages apart."""
    whole, groups = (ledger.into, ledger.group_into) if side == "into" else (ledger.kept, ledger.group_kept)
    found: dict[str, Count] = {}
    for key, counted in groups.items():
        merge_counts(found, {key.rpartition("|")[2]: counted})
    same = sum(c.docs for c in found.values()) == whole.docs and sum(c.bytes for c in found.values()) == whole.bytes
    if not same:
        return {"und": whole}
    if whole.tokens and not sum(c.tokens for c in found.values()):
        return {"und": whole}
    return found


def _amount(counts: Mapping[str, Count], rates: TokenRates | None, *, raw: bool) -> Amount:
    whole = Count()
    for counted in counts.values():
        whole.merge(counted)
    tokens = None
    if whole.tokens:
        tokens = Tokens(whole.tokens, exact=True)
    elif rates is not None and not raw:
        tokens = Tokens(rates.estimate(counts), exact=False)
    return Amount(whole.docs, whole.bytes, tokens)


def _reasons(ledger: Ledger, operator: str | None, *, rest: bool = False) -> Reasons:
    """Why documents left at an operator (None: in the whole step).

    rest: also those of no operator in the flows, such as duplicates, so that nothing goes unsaid.
    """
    found: dict[str, Count] = {}
    known = {flow.operator for flow in ledger.flows}
    for key, counted in ledger.dropped.items():
        owner, _, reason = key.partition(":")
        if operator is None or owner == operator:
            found[reason or key] = counted
        elif rest and owner not in known:
            found[key] = counted
    if operator is None or rest:
        found |= {f"{kind} duplicate": counted for kind, counted in ledger.duplicates.items()}
    for owner, counted in ledger.quarantined.items():
        if operator is None or owner == operator or (rest and owner not in known):
            found["quarantined" if owner == operator else f"quarantined by {owner}"] = counted
    if operator is None:
        found[TAKEN_DOWN] = ledger.taken_down
    return _by_number(found)


def _whole(reasons: Reasons, flow: Flow, ledger: Ledger) -> Reasons:
    """With the documents that left at an operator and were taken down since: they no longer stand under their reason."""
    gone = sum(c.docs for c in flow.into.values()) - sum(c.docs for c in flow.out.values())
    missing = min(gone - sum(c.docs for _, c in reasons), ledger.taken_down.docs)
    return _by_number({**dict(reasons), TAKEN_DOWN: Count(missing)}) if missing > 0 else reasons


def _by_number(found: Mapping[str, Count]) -> Reasons:
    return tuple(sorted(((name, c) for name, c in found.items() if c.docs), key=lambda item: (-item[1].docs, item[0])))
