"""Histograms of ``sluice whatif``: a measure found by name, drawn or as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.dataset import Dataset, Run
from pipeline.errors import UserError
from pipeline.operator import Bound, Operator
from pipeline.report.reading import fields, files
from pipeline.report.units import count
from pipeline.whatif.histogram import PARTS, Distribution, Measured
from pipeline.whatif.reach import by_general_limits, languages_before
from pipeline.whatif.rejudge import StepJudge
from workflows.commands.bars import draw, legend
from workflows.commands.cat import one_line
from workflows.commands.terminal import Terminal
from workflows.problems import near

_MOST_LANGUAGES = 6


@dataclass(frozen=True)
class Drawn:
    """A measure to be drawn."""

    name: str
    dataset: Dataset
    judge: StepJudge
    column: str
    by_language: bool

    @property
    def where(self) -> tuple[Dataset, StepJudge, str]:
        """What ``distribution`` takes."""
        return self.dataset, self.judge, self.column

    @classmethod
    def of(
        cls, run: Run, was: Mapping[str, Sequence[Operator]], then: Mapping[str, Sequence[Operator]], name: str,
        by_language: bool,  # passed on
    ) -> Drawn:  # fmt: skip
        """Find a measure by name.

        Raises:
            UserError: there is none; names the nearest.
        """
        step, _, column = name.partition(".")
        if step not in was:
            msg = f"--histogram {name}: no step {step!r} that applies operators{near(step, was)}"
            raise UserError(msg)
        dataset = run[step]
        known, lists = _columns(dataset, was[step])
        if column in lists:
            tried = [one for one in (f"{column}_mean", *known) if one in known and one.startswith(f"{column}_")]
            other = tried[0].rpartition(".")[2] if tried else ""
            msg = f"--histogram {name}: {column} is a list of values per document"
            raise UserError(f"{msg}; try {other}" if other else f"{msg}, which has no histogram{near(column, known)}")
        if column not in known:
            msg = f"--histogram {name}: step {step!r} measures no {column!r}{near(column, known)}"
            raise UserError(msg)
        return cls(name, dataset, StepJudge(was[step], then.get(step, was[step])), column, by_language)


def _columns(dataset: Dataset, operators: Sequence[Operator]) -> tuple[list[str], list[str]]:
    """Measures of a step's operators, as its first shards have them: those with one value a document, and lists."""
    names = {operator.name for operator in operators}
    for folder in ("shards", "dropped"):
        for _, file in files(dataset, folder, ".parquet"):
            found = [one for one in fields(dataset, file) if one.name.rpartition(".")[0] in names]
            single = [one.name for one in found if not pa.types.is_nested(one.type)]
            lists = [one.name for one in found if pa.types.is_nested(one.type)]
            return [name for name in single if not name.endswith(".applied")], lists
    return [], []


def print_histogram(drawn: Drawn, measured: Measured, screen: Terminal) -> None:
    """Draw a measure of all rows, and of the most frequent languages where that was asked."""
    print()
    skipped, differ = _language_limits(drawn)
    sizes = {name: one.num_rows for name, one in measured.by_language.items() if name is not None and one.num_rows}
    order = sorted(sizes, key=lambda name: (-sizes[name], name))
    for language in [None, *order[:_MOST_LANGUAGES]]:
        rows = measured.by_language[language]
        head = drawn.name if language is None else f"{drawn.name}  language {one_line(language)}"
        print(f"{head}: {count(rows.num_rows)} documents")
        for line in draw(measured, drawn.judge, language, screen, skipped):
            print(line)
        print()
    if len(order) > _MOST_LANGUAGES:
        print(f"{len(order) - _MOST_LANGUAGES} more languages are in --json")
    if differ and not drawn.by_language:
        print("languages have limits of their own: --by-language")
    print(legend(screen, changed=bool(drawn.judge.changed)))


def _language_limits(drawn: Drawn) -> tuple[frozenset[Bound], bool]:
    """Bounds whose general limits judge no row, and whether any language has limits of its own."""
    skipped, differ = set(), False
    for rule in (*drawn.judge.rules_was, *drawn.judge.rules):
        if rule.column == drawn.column and rule.bound.by_language:
            languages = languages_before(drawn.dataset, rule.operator)
            general = by_general_limits(rule.bound, languages)
            differ = differ or general < sum(languages.values())
            if languages and not general:
                skipped.add(rule.bound)
    return frozenset(skipped), differ


def histogram_json(drawn: Drawn, measured: Measured) -> dict[str, Any]:
    """A measure as plain data."""

    def rows(one: Distribution) -> dict[str, Any]:
        bins = dict(zip(PARTS, one.bins.tolist(), strict=True)) if measured.bins else None
        return {
            "docs": one.num_rows,
            "bins": bins,
            "values": {value: dict(zip(PARTS, n.tolist(), strict=True)) for value, n in one.values.items()} or None,
            "undefined": dict(zip(PARTS, one.undefined.tolist(), strict=True)),
            "not_measured": one.unmeasured,
        }

    edges = [{"at": edge.at, "after": edge.after} for edge in measured.bins.edges] if measured.bins else None
    languages = {name: rows(one) for name, one in measured.by_language.items() if name is not None}
    return {"measure": drawn.name, "bins_begin": edges, **rows(measured.by_language[None]), "by_language": languages}
