"""Bars, histograms and curves as inline SVG: no library, a few kilobytes a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.markup import Markup, element
from pipeline.report.units import number

WIDTH, HEIGHT = 420, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 12, 22


@dataclass(frozen=True)
class Curve:
    """A line through points; ``marks`` draws the points as well."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    marks: bool = False


def bar(fraction: float, lost: float = 0.0) -> Markup:
    """A bar as wide as ``fraction`` of its cell, followed by a pale one of ``lost`` (both in [0, 1])."""
    kept = min(max(fraction, 0.0), 1.0)
    gone = min(max(lost, 0.0), 1.0 - kept)
    return element(
        "svg",
        element("rect", x=0, y=1, width=round(200 * kept, 2), height=8, class_="kept"),
        element("rect", x=round(200 * kept, 2), y=1, width=round(200 * gone, 2), height=8, class_="lost"),
        viewBox="0 0 200 10",
        class_="bar",
        role="img",
        aria_label=f"{100 * kept:.1f} percent",
    )


def histogram(
    edges: Sequence[float], stacks: Sequence[tuple[str, Sequence[int]]], lines: Sequence[tuple[float, str]], title: str
) -> Markup:
    """Stacked bars over bins.

    edges: one more than bins. stacks: (css class, count of each bin), from the bottom up. lines: (x, label) of
    thresholds.
    """
    highest = max((sum(parts) for parts in zip(*(counts for _, counts in stacks), strict=True)), default=0) or 1
    low, span = edges[0], (edges[-1] - edges[0]) or 1.0
    width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    shapes: list[Markup] = []
    for k in range(len(edges) - 1):
        x = _LEFT + width * (edges[k] - low) / span
        wide = max(width * (edges[k + 1] - edges[k]) / span - 0.5, 0.3)
        base = float(_TOP + height)
        for name, counts in stacks:
            tall = height * counts[k] / highest
            base -= tall
            if counts[k]:
                shapes.append(
                    _rect(
                        x, base, wide, tall, name, f"{number(edges[k])} to {number(edges[k + 1])}: {counts[k]:,} {name}"
                    )
                )
    for at, label in lines:
        x = _LEFT + width * min(max((at - low) / span, 0.0), 1.0)
        shapes.append(element("line", x1=round(x, 2), x2=round(x, 2), y1=_TOP, y2=_TOP + height, class_="limit"))
        anchor = "end" if x > WIDTH / 2 else "start"
        shapes.append(
            element("text", label, x=round(x + (-3 if anchor == "end" else 3), 2), y=_TOP + 8, text_anchor=anchor)
        )
    return _frame(title, shapes, (edges[0], edges[-1]), (0, highest))


def curves(lines: Sequence[Curve], title: str, *, from_zero: bool = False) -> Markup:
    """Curves in one frame, each with its name at its end."""
    xs = [x for line in lines for x in line.xs]
    ys = [y for line in lines for y in line.ys if math.isfinite(y)]
    if not xs or not ys:
        return element("p", f"{title}: nothing measured yet")
    low_x, high_x = min(xs), max(xs)
    low_y, high_y = (0.0 if from_zero else min(ys)), max(ys)
    width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    shapes: list[Markup] = []
    for order, line in enumerate(lines):
        points = [
            (
                _LEFT + width * (x - low_x) / ((high_x - low_x) or 1.0),
                _TOP + height * (1 - (y - low_y) / ((high_y - low_y) or 1.0)),
            )
            for x, y in zip(line.xs, line.ys, strict=True)
            if math.isfinite(y)
        ]
        if not points:
            continue
        way = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        shapes.append(element("path", d=way, class_=f"curve c{order % 4}"))
        if line.marks:
            shapes += [
                element("circle", cx=round(x, 1), cy=round(y, 1), r=2.5, class_=f"dot c{order % 4}") for x, y in points
            ]
        x, y = points[-1]
        shapes.append(
            element("text", line.name, x=round(x - 3, 1), y=round(max(y - 4, _TOP + 6), 1), text_anchor="end")
        )
    return _frame(title, shapes, (low_x, high_x), (low_y, high_y))


def _rect(x: float, y: float, width: float, height: float, name: str, tip: str) -> Markup:
    shape = f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" class="{name}">'
    return Markup(f"{shape}{element('title', tip)}</rect>")


def _frame(title: str, shapes: Sequence[Markup], xs: tuple[float, float], ys: tuple[float, float]) -> Markup:
    bottom = HEIGHT - _BOTTOM
    axes = [
        element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=bottom, y2=bottom, class_="axis"),
        element("text", number(xs[0]), x=_LEFT, y=HEIGHT - 8),
        element("text", number(xs[1]), x=WIDTH - _RIGHT, y=HEIGHT - 8, text_anchor="end"),
        element("text", number(ys[1]), x=_LEFT - 4, y=_TOP + 6, text_anchor="end"),
        element("text", number(ys[0]), x=_LEFT - 4, y=bottom, text_anchor="end"),
    ]
    picture = element(
        "svg", axes, shapes, viewBox=f"0 0 {WIDTH} {HEIGHT}", class_="chart", role="img", aria_label=title
    )
    return element("figure", element("figcaption", title), picture)
