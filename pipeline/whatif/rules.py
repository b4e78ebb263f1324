"""The bounds of a step's operators as rules, and stored measures held against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bounds import broken
from pipeline.chain import applies
from pipeline.errors import UserError
from pipeline.operator import Bound, Filter, Operator
from pipeline.rejects import LANGUAGE_COLUMNS, language_column, languages

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Rule:
    """One bound of the operator at a position of its step."""

    position: int
    operator: Filter
    bound: Bound

    @property
    def column(self) -> str:
        """Where the measure is stored."""
        return self.operator.column(self.bound.measure)

    @property
    def columns(self) -> set[str]:
        """Columns that judging by it reads, as far as a table has them."""
        found = {self.column}
        if self.bound.by_language:
            found.update(LANGUAGE_COLUMNS)
        if self.operator.only:
            found.add(self.operator.column("applied"))
            if self.operator.costly:
                found.update(name for key, _ in self.operator.only for name in (key, f"{key}.label"))
        return found


def rules_of(operators: Sequence[Operator]) -> tuple[Rule, ...]:
    """Every bound, in the order in which they give the reason."""
    return tuple(
        Rule(position, operator, bound)
        for position, operator in enumerate(operators)
        if isinstance(operator, Filter)
        for bound in operator.bounds
    )


class RuleRows:
    """Rows of a table before rules; what several rules ask for is looked at once.

    positions: int32 (rows,), of the operator that dropped each; None where all were kept.
    """

    def __init__(self, table: pa.Table, positions: IntArray | None) -> None:
        self._table = table
        self._positions = positions
        self._broken: dict[tuple[int, Bound], BoolArray] = {}
        self._undefined: dict[str, BoolArray] = {}

    def first(self, rules: Sequence[Rule]) -> IntArray:
        """Number of the first of the rules that each row breaks, -1 for none.

        Raises:
            UserError: a measure is not stored.
        """
        found = np.full(self._table.num_rows, -1, np.int32)
        for number in reversed(range(len(rules))):
            found[self._outside(rules[number])] = number
        return found

    def undefined(self, rule: Rule) -> BoolArray:
        """Rows whose measure is null or no number."""
        if rule.column not in self._undefined:
            mask = pc.is_null(self._column(rule.column), nan_is_null=True)
            self._undefined[rule.column] = mask.to_numpy(zero_copy_only=False)
        return self._undefined[rule.column]

    def unmeasured(self, operator: Operator, position: int) -> BoolArray:
        """Rows that a costly filter would have to look at and did not, since they were dropped before."""
        assert self._positions is not None, "kept rows were measured by every filter"
        mask = self._positions < position
        there = set(self._table.column_names)
        if operator.only and mask.any() and all({key, f"{key}.label"} & there for key, _ in operator.only):
            applied = applies(operator, self._table)
            mask = mask if applied is None else mask & applied
        return mask

    def blank(self, rules: Sequence[Rule]) -> BoolArray:
        """Rows dropped before an operator, given by all its rules, that has no measure of them: it may have raised."""
        assert self._positions is not None, "an operator that raises on a row in the stream quarantines it"
        mask = self._positions < rules[0].position
        for rule in rules:
            mask = mask & self.undefined(rule)
        if rules[0].operator.only:
            applied = pc.fill_null(self._column(rules[0].operator.column("applied")), False)
            mask = mask & applied.to_numpy(zero_copy_only=False)
        return mask

    def _outside(self, rule: Rule) -> BoolArray:
        key = (rule.position, rule.bound)
        if key not in self._broken:
            operator = rule.operator
            mask = broken(rule.bound, self._column(rule.column), self._languages(rule))
            if operator.only:
                applied = pc.fill_null(self._column(operator.column("applied")), False)
                mask = mask & applied.to_numpy(zero_copy_only=False)
            if operator.costly and self._positions is not None:
                mask = mask & (self._positions >= rule.position)
            self._broken[key] = mask
        return self._broken[key]

    def _languages(self, rule: Rule) -> pa.Array | None:
        if not rule.bound.by_language:
            return None
        if language_column(self._table) is None:
            msg = (
                f"{rule.operator.name} would have limits by language, but the documents have no column that names it; put "
                "`language` before it in the recipe and run again"
            )
            raise UserError(msg)
        return languages(self._table)

    def _column(self, name: str) -> pa.Array:
        if name not in self._table.column_names:
            msg = f"{name} is not stored in this run, so it cannot be judged; run again with the changed bounds"
            raise UserError(msg)
        return self._table[name].combine_chunks()
