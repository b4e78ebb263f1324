"""Histograms of the measures of a step's filters, kept and dropped rows apart, with the thresholds that dropped rows met."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.report import svg
from pipeline.report.account import Account, StepAccount
from pipeline.report.markup import Markup, element, folded, markup, section
from pipeline.report.reading import chosen, columns, fields, files
from pipeline.report.units import number

Floats = npt.NDArray[np.float64]

_BINS = 40
_MAX_CHARTS = 48
_LIMIT = re.compile(r"(?:^| and |\S )(>=?|<=?) (-?[\d.]+(?:e[+-]?\d+)?)")


@dataclass(frozen=True)
class Measured:
    """Values of one measure in a step, and the thresholds known of it."""

    column: str
    kept: Floats
    dropped: Floats
    limits: tuple[tuple[float, str], ...]


def measures(account: Account) -> Markup | None:
    """The section; None where no step measured anything."""
    parts = []
    for step in account.steps:
        found = list(step_measures(step))
        if not found:
            continue
        shown = sorted(found, key=lambda one: not one.limits)
        charts = [_chart(one) for one in shown[:_MAX_CHARTS]]
        num_limited = sum(bool(one.limits) for one in shown[:_MAX_CHARTS])
        more = folded(
            "Measures without a threshold that dropped anything", element("div", charts[num_limited:], class_="charts")
        )
        parts.append(
            markup(
                [
                    element("h3", step.name),
                    element("p", _coverage(step), class_="note"),
                    element("div", charts[:num_limited], class_="charts"),
                    more if charts[num_limited:] else None,
                ]
            )
        )
    return section("Measures", *parts) if parts else None


def step_measures(step: StepAccount) -> Iterator[Measured]:
    """Measures of a step's operators, as far as its kept and dropped rows hold numbers."""
    if step.dataset.kind != "documents":
        return
    operators = {flow.operator for flow in step.ledger.flows}
    kept, dropped = _numbers(step, "shards", operators), _numbers(step, "dropped", operators)
    limits = _limits(step)
    for name in dict.fromkeys([*dropped, *kept]):
        empty = np.empty(0, np.float64)
        one = Measured(
            name, kept.get(name, empty), dropped.get(name, empty), tuple(sorted(limits.get(name, {}).items()))
        )
        if len(one.kept) + len(one.dropped):
            yield one


def _coverage(step: StepAccount) -> str:
    looked, whole = len(chosen(step.dataset)), len(step.dataset.commits)
    where = "all shards" if looked == whole else f"{looked} of {whole} shards, spread evenly"
    return f"From {where}. Bars: kept rows, and dropped rows above them. Dashed: thresholds that dropped something."


def _numbers(step: StepAccount, folder: str, operators: set[str]) -> dict[str, Floats]:
    found: dict[str, list[Floats]] = {}
    for _, file in files(step.dataset, folder, ".parquet", chosen(step.dataset)):
        schema = fields(step.dataset, file)
        names = [f.name for f in schema if f.name.rpartition(".")[0] in operators and _is_number(f.type)]
        table = columns(step.dataset, file, names)
        for name in names:
            values = table[name].cast(pa.float64()).drop_null().to_numpy()
            found.setdefault(name, []).append(values[np.isfinite(values)])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _limits(step: StepAccount) -> Mapping[str, dict[float, str]]:
    """Thresholds as the dropped rows state them: column -> value -> text such as ``>= 50``."""
    found: dict[str, dict[float, str]] = {}
    for _, file in files(step.dataset, "dropped", ".parquet", chosen(step.dataset)):
        table = columns(step.dataset, file, ("operator", "threshold"))
        for row in table.group_by(["operator", "threshold"]).aggregate([]).to_pylist():
            measure, _, condition = (row["threshold"] or "").partition(" ")
            for sign, value in _LIMIT.findall(condition):
                found.setdefault(f"{row['operator']}.{measure}", {})[float(value)] = f"{sign} {number(float(value))}"
    return found


def bins(values: Floats, limits: tuple[tuple[float, str], ...]) -> Floats:
    """Edges of bins over what matters: the middle 99 % and every threshold; what lies outside counts at the ends."""
    low, high = np.quantile(values, [0.005, 0.995])
    inside = [low, high, *(at for at, _ in limits)]
    low, high = min(inside), max(inside)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, _BINS + 1)


def counts(values: Floats, edges: Floats) -> list[int]:
    """Values per bin, those beyond the ends in the first and last bin."""
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0].tolist()


def _chart(one: Measured) -> Markup:
    edges = bins(np.concatenate((one.kept, one.dropped)), one.limits)
    stacks = [("kept", counts(one.kept, edges)), ("dropped", counts(one.dropped, edges))]
    return svg.histogram(edges.tolist(), stacks, one.limits, one.column)
