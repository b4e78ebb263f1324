"""Two texts beside each other, differences marked: for a terminal and as data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.difference import MOST_CHARS, Segment, difference
from workflows.commands.cat import one_line

_AROUND = 60  # characters shown before and after a difference
_LONGEST = 600  # of one side of a difference
_MOST = 8  # differences shown
_MOST_SEGMENTS = 1000
_SEGMENT_CHARS = 2000


def print_side_by_side(console: Console, removed: str, kept: str) -> None:
    """Print the differences of two texts, a row each, with a few words around them.

    Left the removed text, right the one that stays; equal texts are not shown. Where the output has no colours, what only the left one has stands
    in [-...-], what only the right one has in {+...+}.
    """
    segments = difference(removed, kept)
    changes = [k for k, one in enumerate(segments) if not one.same]
    if not changes:
        console.print(f"equal texts of {len(removed):,} characters", style="dim", markup=False)
        return
    table = Table(box=None, padding=(0, 2, 1, 0), header_style="dim", expand=True)
    table.add_column(f"removed ({len(removed):,} characters)", ratio=1, overflow="fold")
    table.add_column(f"kept ({len(kept):,} characters)", ratio=1, overflow="fold")
    for k in changes[:_MOST]:
        table.add_row(*(_cell(segments, k, side, plain=console.color_system is None) for side in ("left", "right")))
    console.print(table)
    console.print(_summary(segments, len(changes), max(len(removed), len(kept))), style="dim", markup=False)


def _summary(segments: Sequence[Segment], changes: int, longest: int) -> str:
    same = sum(len(one.left) for one in segments if one.same)
    more = f", {changes - _MOST:,} more than are shown" if changes > _MOST else ""
    cut = f"; beyond {MOST_CHARS:,} characters nothing was compared" if longest > MOST_CHARS else ""
    named = "difference" if changes == 1 else "differences"
    return f"{changes:,} {named}{more}; {same:,} characters are the same{cut}"


def _cell(segments: Sequence[Segment], at: int, side: str, *, plain: bool) -> Text:
    """One side of a difference with its surroundings."""
    before = getattr(segments[at - 1], side) if at else ""
    after = getattr(segments[at + 1], side) if at + 1 < len(segments) else ""
    changed = _shortened(getattr(segments[at], side))
    opening, closing = ("[-", "-]") if side == "left" else ("{+", "+}")
    cell = Text(_tail(before))
    if changed:
        cell.append(
            f"{opening}{changed}{closing}" if plain else changed, style="bold red" if side == "left" else "bold green"
        )
    return cell.append(_head(after))


def _tail(text: str) -> str:
    shown = _clean(text[-4 * _AROUND :])
    return shown if len(text) <= _AROUND else f"…{shown[-_AROUND:]}"


def _head(text: str) -> str:
    shown = _clean(text[: 4 * _AROUND])
    return shown if len(text) <= _AROUND else f"{shown[:_AROUND]}…"


def _shortened(text: str) -> str:
    """The beginning and the end of a long stretch."""
    if len(text) <= _LONGEST:
        return _clean(text)
    half = _LONGEST // 2
    return f"{_clean(text[:half])} … {len(text) - 2 * half:,} characters … {_clean(text[-half:])}"


def _clean(text: str) -> str:
    """As ``one_line``, with a blank at an end where the text has one."""
    shown = one_line(text)
    if not shown:
        return " " if text else ""
    return f"{' ' * text[0].isspace()}{shown}{' ' * text[-1].isspace()}"


def as_data(removed: str, kept: str) -> dict[str, Any]:
    """The difference as plain data: ``segments`` with ``same``, ``removed`` and ``kept``, joined the texts themselves.

    ``chars`` of both sides; where those are more than 2000, the middle of the text is left out. Beyond 1000 segments
    the rest is one.
    """
    segments = difference(removed, kept)
    shown = list(_limited(segments))
    return {"chars": [len(removed), len(kept)], "num_segments": len(segments), "segments": shown}


def _limited(segments: Sequence[Segment]) -> Iterator[dict[str, Any]]:
    first, rest = segments[:_MOST_SEGMENTS], segments[_MOST_SEGMENTS:]
    joined = [Segment(False, "".join(one.left for one in rest), "".join(one.right for one in rest))] if rest else []
    for one in [*first, *joined]:
        sides = {"removed": _middle_out(one.left), "kept": _middle_out(one.right)}
        yield {"same": one.same, "chars": [len(one.left), len(one.right)], **sides}


def _middle_out(text: str) -> str:
    half = _SEGMENT_CHARS // 2
    return text if len(text) <= _SEGMENT_CHARS else f"{text[:half]} … {text[-half:]}"
