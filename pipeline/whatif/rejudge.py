"""Stored measures against other bounds: the fate each row of a step had, and the one it would have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.chain import stretches
from pipeline.errors import RunFailedError, UserError
from pipeline.operator import Bound, Filter, Map, Operator
from pipeline.whatif.rules import BoolArray, IntArray, Rule, RuleRows, rules_of

KEPT = 0
"""Code of the fate of a row that the step keeps."""

_LANGUAGE = "language"


@dataclass(frozen=True)
class Fate:
    """What becomes of a row in a step.

    dropped: by ``operator`` with ``reason``. undecided: nothing is known from ``operator`` on, which did not measure
    the row, or makes another text of it. An operator of which a row dropped before it has no measure at all may have
    raised on it, and would then quarantine it: nobody knows either.
    """

    outcome: Literal["kept", "dropped", "undecided"]
    operator: str = ""
    reason: str = ""

    def __str__(self) -> str:
        if self.outcome == "dropped":
            return f"{self.operator}:{self.reason}"
        return self.outcome if self.outcome == "kept" else f"undecided from {self.operator}"


@dataclass(frozen=True)
class Judged:
    """Fates of the rows of a table, as codes of ``StepJudge.fates``; ``rule``: of its ``rules`` the first broken, or -1."""

    was: IntArray
    then: IntArray
    rule: IntArray


class StepJudge:
    """The operators of one step with their bounds as they were and as they would be.

    Raises:
        UserError: the languages that chose the limits of a changed operator were overwritten later in the step.
    """

    def __init__(self, was: Sequence[Operator], then: Sequence[Operator]) -> None:
        self._operators = tuple(then)
        self._stretch = list(_stretch_numbers(then))
        self.rules_was, self.rules = rules_of(was), rules_of(then)
        self._moved = {p for p, pair in enumerate(zip(was, then, strict=True)) if _bounds(pair[0]) != _bounds(pair[1])}
        self.changed = sorted({self._stretch[p] for p in self._moved})
        """Numbers of the stretches in which a bound differs."""
        self.fates = _fates(was, then)
        self._codes = {fate: code for code, fate in enumerate(self.fates)}
        self._check_languages()

    def _check_languages(self) -> None:
        for position in self._moved:
            operator = self._operators[position]
            later = [other.name for other in self._operators[position + 1 :]]
            if _LANGUAGE in later and any(bound.by_language for bound in _bounds(operator)):
                msg = (
                    f"{operator.name} has limits by language, and {_LANGUAGE} stands after it, so that the languages "
                    "it went by are not stored; run again with the changed bounds"
                )
                raise UserError(msg)

    @cached_property
    def kept_columns(self) -> frozenset[str]:
        """Columns that judging kept rows reads, as far as a file has them."""
        rules = [rule for rule in (*self.rules_was, *self.rules) if rule.position in self._moved]
        return frozenset(name for rule in rules for name in rule.columns)

    @cached_property
    def dropped_columns(self) -> frozenset[str]:
        """Columns that judging dropped rows reads, as far as a file has them."""
        rules = [rule for rule in (*self.rules_was, *self.rules) if self._stretch[rule.position] in self.changed]
        return frozenset({"operator", "reason", *(name for rule in rules for name in rule.columns)})

    def names_from(self, operator: str) -> list[str]:
        """Operators that drop only rows which this one has measured; none where the step does not have it."""
        at = next((p for p, other in enumerate(self._operators) if other.name == operator), None)
        if at is None:
            return []
        costly = getattr(self._operators[at], "costly", False)
        return [
            other.name
            for position, other in enumerate(self._operators)
            if self._stretch[position] >= self._stretch[at] and (position >= at or not costly)
        ]

    def kept(self, table: pa.Table) -> Judged:
        """Rows that the step kept: they passed all bounds, and only those that moved can drop them now.

        Raises:
            UserError: a measure that a bound needs is not stored.
            RunFailedError: the stored verdicts do not follow from the stored measures.
        """
        rows, was = RuleRows(table, None), np.full(table.num_rows, KEPT, np.int32)
        self._verify(rows, [rule for rule in self.rules_was if rule.position in self._moved], was)
        chosen = np.array([k for k, rule in enumerate(self.rules) if rule.position in self._moved], np.int32)
        rule, codes = self._first(rows, chosen)
        return Judged(was, np.where(rule >= 0, codes, was), rule)

    def dropped(self, table: pa.Table) -> Judged:
        """Rows that the step dropped.

        Raises:
            UserError, RunFailedError: as ``kept``.
        """
        was = self._stored(table)
        then, rule = was.copy(), np.full(table.num_rows, -1, np.int32)
        by_name = {operator.name: position for position, operator in enumerate(self._operators)}
        positions = np.array([by_name.get(fate.operator, -1) for fate in self.fates], np.int32)[was]
        stretch = np.array(self._stretch, np.int32)[positions]
        rows, undone = RuleRows(table, positions), np.ones(table.num_rows, np.bool_)
        for number in self.changed:
            here, beyond = undone & (stretch == number), undone & (stretch > number)
            if not here.any() and not beyond.any():
                continue
            old = [r for r in self.rules_was if self._stretch[r.position] == number]
            self._verify(rows, old, np.where(here, was, KEPT), here | beyond)
            chosen = [k for k, r in enumerate(self.rules) if self._stretch[r.position] == number]
            first, codes = self._first(rows, np.array(chosen, np.int32))
            broken, passes = (here | beyond) & (first >= 0), here & (first < 0)
            then[broken], rule[broken] = codes[broken], first[broken]
            then[passes] = self._passed(number)
            for position in self._costly(number):
                then[passes & rows.unmeasured(self._operators[position], position)] = self._undecided(position)
            broken_at = np.array([*(r.position for r in self.rules), len(self._operators)], np.int32)[first]
            for position, own in reversed(self._measuring_all(number)):
                reached = here & (broken_at >= position) & rows.blank(own)
                then[reached], rule[reached] = self._undecided(position), -1
            undone &= beyond & ~broken
        return Judged(was, then, rule)

    def _stored(self, table: pa.Table) -> IntArray:
        """The stored verdicts as codes."""
        names = pa.array([str(fate) if fate.outcome == "dropped" else "" for fate in self.fates])
        joined = pc.binary_join_element_wise(table["operator"], table["reason"], ":")
        codes = pc.fill_null(pc.index_in(joined, names), -1).to_numpy().astype(np.int32)
        if (codes < 0).any():
            unknown = joined[int(np.flatnonzero(codes < 0)[0])].as_py()
            msg = f"rows were dropped by {unknown}, which the operators of this recipe do not give; run again"
            raise RunFailedError(msg)
        return codes

    def _first(self, rows: RuleRows, chosen: IntArray) -> tuple[IntArray, IntArray]:
        """Of the chosen rules the first that each row breaks (-1: none), and the code of the fate it gives."""
        rules = [self.rules[k] for k in chosen]
        first = rows.first(rules)
        return np.append(chosen, np.int32(-1))[first], self._dropped(rows, rules, first)

    def _dropped(self, rows: RuleRows, rules: Sequence[Rule], first: IntArray) -> IntArray:
        """The fates of rows by the first rule they break; KEPT for those that break none."""
        codes = np.full(len(first), KEPT, np.int32)
        for number in np.unique(first[first >= 0]):
            rule = rules[number]
            hit = first == number
            codes[hit] = self._codes[Fate("dropped", rule.operator.name, rule.bound.reason)]
            codes[hit & rows.undefined(rule)] = self._codes[Fate("dropped", rule.operator.name, "undefined")]
        return codes

    def _verify(self, rows: RuleRows, rules: Sequence[Rule], was: IntArray, among: BoolArray | None = None) -> None:
        """The bounds as they were must give the stored verdicts, or nothing that follows can be trusted."""
        again = self._dropped(rows, rules, rows.first(rules))
        wrong = np.flatnonzero(again != was if among is None else among & (again != was))
        if len(wrong):
            given, stored = self.fates[again[wrong[0]]], self.fates[was[wrong[0]]]
            msg = (
                f"the verdict stored for {len(wrong):,} of {len(was):,} rows does not follow from their measures: first "
                f"{stored} is stored, and the bounds give {given}; an operator's code changed since the run, or one of "
                "its thresholds changes what is measured; run again"
            )
            raise RunFailedError(msg)

    def _passed(self, number: int) -> int:
        """The fate of a row that passes a stretch: kept, or undecided from the map behind it."""
        behind = [position for position, other in enumerate(self._stretch) if other > number]
        return self._undecided(behind[0]) if behind else KEPT

    def _costly(self, number: int) -> list[int]:
        """Positions of the costly filters of a stretch; the last first, so that the first has the last word."""
        found = [position for position, other in enumerate(self._stretch) if other == number]
        return [position for position in reversed(found) if getattr(self._operators[position], "costly", False)]

    def _measuring_all(self, number: int) -> list[tuple[int, list[Rule]]]:
        """Filters of a stretch that measure every row of it: position and rules, those too that would be off now."""
        found: dict[int, list[Rule]] = {}
        for rule in (*self.rules_was, *self.rules):
            if self._stretch[rule.position] == number and not rule.operator.costly:
                found.setdefault(rule.position, []).append(rule)
        return sorted(found.items())

    def _undecided(self, position: int) -> int:
        return self._codes[Fate("undecided", self._operators[position].name)]


def _stretch_numbers(operators: Sequence[Operator]) -> Iterator[int]:
    for number, stretch in enumerate(stretches(operators)):
        yield from [number] * (1 if isinstance(stretch, Map) else len(stretch))


def _bounds(operator: Operator) -> tuple[Bound, ...]:
    return operator.bounds if isinstance(operator, Filter) else ()


def _fates(was: Sequence[Operator], then: Sequence[Operator]) -> tuple[Fate, ...]:
    """Every fate that a row can have; the kept one first."""
    found = [Fate("kept")]
    for operator in (*was, *then):
        last = "undefined" if isinstance(operator, Filter) else "nothing_left"
        reasons = [bound.reason for bound in _bounds(operator)]
        found += [Fate("dropped", operator.name, reason) for reason in (*reasons, last)]
    found += [Fate("undecided", operator.name) for operator in then]
    return tuple(dict.fromkeys(found))
