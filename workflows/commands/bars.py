"""A histogram in the terminal: a line a bin, thresholds between them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.operator import Bound
from pipeline.report.units import number
from pipeline.whatif.bins import Edge
from pipeline.whatif.histogram import PARTS, Counts, Distribution, Measured, limits
from pipeline.whatif.reach import by_general_limits
from pipeline.whatif.rejudge import StepJudge
from workflows.commands.cat import one_line
from workflows.commands.terminal import Terminal

_LEAST_BAR = 8
_MOST_WIDTH = 100
"""Columns beyond which a bar is no easier to read."""
_MOST_LABEL = 24
_MOST_VALUES = 20
_ORDER = tuple(PARTS.index(name) for name in ("kept", "return", "go", "dropped", "undecided"))
"""Parts of a bar from left to right; the characters of a terminal are in this order."""

_LEGEND = ("stays", "returns", "goes", "stays dropped", "undecided")


@dataclass(frozen=True)
class Mark:
    """A threshold: what passes is written beside the edge at which it begins or ends."""

    edge: Edge
    text: str


def draw(
    measured: Measured, judge: StepJudge, language: str | None, terminal: Terminal, skipped: Collection[Bound] = ()
) -> list[str]:
    """The histogram of all rows (language None), or of those of a language.

    skipped: bounds that are not drawn for all rows, since every row has limits of its language's own.
    """
    rows = measured.by_language[language]
    if not rows.num_rows:
        return ["no document has this measure", *_rest(rows)]
    if measured.bins is None:
        bars = _values(rows, _allowed(judge, measured.column))
        marks: list[Mark] = []
    else:
        bars = list(zip(_labels(measured.bins.edges), rows.bins.T, strict=True))
        marks = _marks(judge, measured.column, language, skipped if language is None else ())
    width = min(terminal.width, _MOST_WIDTH)
    first, *lines = _lines(bars, Terminal(width, terminal.glyphs), changed=bool(judge.changed))
    if measured.bins is not None:
        lines = list(_with_marks(lines, measured.bins.edges, marks, width))
    return [first, *lines, *_rest(rows)]


def legend(terminal: Terminal, *, changed: bool) -> str:
    """What the characters stand for."""
    pairs = list(zip(terminal.glyphs, _LEGEND, strict=True))
    shown = pairs if changed else [(pairs[0][0], "kept"), (pairs[3][0], "dropped")]
    return "  ".join(f"{glyph} {name}" for glyph, name in shown)


def _lines(bars: Sequence[tuple[str, Counts]], terminal: Terminal, *, changed: bool) -> Iterator[str]:
    """A head, then a line a bar: label, bar, numbers."""
    kept = [int(c[PARTS.index("kept")] + c[PARTS.index("go")]) for _, c in bars]
    then = [int(c[PARTS.index("kept")] + c[PARTS.index("return")]) for _, c in bars]
    dropped = [int(c.sum()) - k for (_, c), k in zip(bars, kept, strict=True)]
    columns = [("kept", kept), ("dropped", dropped), *([("kept then", then)] if changed else [])]
    widths = [max(len(name), *(len(f"{n:,}") for n in numbers), 1) for name, numbers in columns]
    label = min(max((len(text) for text, _ in bars), default=1), _MOST_LABEL)
    room = terminal.width - label - sum(width + 1 for width in widths) - 2
    if room < _LEAST_BAR:  # too narrow for numbers
        columns, widths, room = [], [], max(terminal.width - label - 2, _LEAST_BAR)
    highest = max((int(counts.sum()) for _, counts in bars), default=0) or 1
    yield " ".join(
        [" " * (label + 1 + room + 1), *(f"{name:>{w}}" for (name, _), w in zip(columns, widths, strict=True))]
    ).rstrip()
    for k, (text, counts) in enumerate(bars):
        bar = _bar(counts, highest, room, terminal.glyphs)
        cells = (f"{numbers[k]:>{width},}" for (_, numbers), width in zip(columns, widths, strict=True))
        yield " ".join([f"{_cut(text, label):>{label}} {bar:<{room}} ", *cells]).rstrip()


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 2]}.."


def _bar(counts: Counts, highest: int, room: int, glyphs: str) -> str:
    """A character for each ``highest / room`` rows; what is there at all gets one, if there is room."""
    parts = np.array([counts[part] for part in _ORDER])
    ends = np.ceil(np.cumsum(parts) * room / highest).astype(int)
    bar = "".join(glyph * int(length) for glyph, length in zip(glyphs, np.diff(ends, prepend=0), strict=True))
    for glyph, rows in zip(glyphs, parts.tolist(), strict=True):
        if rows and glyph not in bar and len(bar) < room:
            bar += glyph
    return bar


def _labels(edges: Sequence[Edge]) -> list[str]:
    """Where each bin begins; the first is told by its end, since it has no beginning."""
    starts = [f"> {number(edge.at)}" if edge.after else number(edge.at) for edge in edges]
    if len(edges) == 1:
        return ["all"]
    end = f"<= {number(edges[1].at)}" if edges[1].after else f"< {number(edges[1].at)}"
    return [end, *starts[1:]]


def _marks(judge: StepJudge, column: str, language: str | None, skipped: Collection[Bound]) -> list[Mark]:
    """Thresholds as they were and as they would be."""
    was, then = (
        dict.fromkeys(
            (edge, f"{sign} {number(limit)}  {rule.bound.reason}{_whose(rule.bound, language)}")
            for rule in rules
            if rule.column == column and rule.bound not in skipped
            for edge, sign, limit in _sides(rule.bound, language)
        )
        for rules in (judge.rules_was, judge.rules)
    )
    found = [Mark(edge, f"was {text}" if (edge, text) not in then else text) for edge, text in was]
    found += [Mark(edge, f"then {text}") for edge, text in then if (edge, text) not in was]
    return sorted(found, key=lambda mark: mark.edge)


def _whose(bound: Bound, language: str | None) -> str:
    """Tells a language's own limit from the general one, which may be the same number."""
    return "" if language is None or by_general_limits(bound, {language: 1}) else f", {one_line(language)}'s own"


def _sides(bound: Bound, language: str | None) -> Iterator[tuple[Edge, str, float]]:
    low, high = limits(bound, language)
    if low is not None:
        yield Edge(float(low), after=bound.exclusive), ">" if bound.exclusive else ">=", float(low)
    if high is not None:
        yield Edge(float(high), after=not bound.exclusive), "<" if bound.exclusive else "<=", float(high)


def _with_marks(lines: Sequence[str], edges: Sequence[Edge], marks: Sequence[Mark], width: int) -> Iterator[str]:
    waiting = list(marks)
    for position, line in enumerate(lines):
        while waiting and waiting[0].edge <= edges[position]:
            yield _rule(waiting.pop(0), width)
        yield line
    for mark in waiting:
        yield _rule(mark, width)


def _rule(mark: Mark, width: int) -> str:
    text = f"-- {mark.text} "
    return (text + "-" * max(width - len(text), 2))[: max(width, len(text))]


def _allowed(judge: StepJudge, column: str) -> set[str]:
    return {value for rule in judge.rules if rule.column == column for value in rule.bound.among or ()}


def _values(rows: Distribution, allowed: set[str]) -> list[tuple[str, Counts]]:
    """The most frequent texts, those that pass with an asterisk, and the rest together."""
    order = sorted(rows.values, key=lambda value: (-int(rows.values[value].sum()), value))
    found = [
        (f"{'* ' if value in allowed else ''}{one_line(value)}", rows.values[value]) for value in order[:_MOST_VALUES]
    ]
    if len(order) > _MOST_VALUES:
        rest = sum((rows.values[value] for value in order[_MOST_VALUES:]), np.zeros(len(PARTS), np.int64))
        found.append((f"{len(order) - _MOST_VALUES} others", rest))
    return found


def _rest(rows: Distribution) -> Iterator[str]:
    undefined = int(rows.undefined.sum())
    if undefined:
        kept = int(rows.undefined[PARTS.index("kept")] + rows.undefined[PARTS.index("go")])
        yield f"undefined: {undefined:,} ({kept:,} kept, {undefined - kept:,} dropped)"
    if rows.unmeasured:
        yield f"not measured: {rows.unmeasured:,} (dropped before, or none of the operator's)"
