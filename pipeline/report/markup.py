"""HTML and SVG elements with every text escaped: what a page quotes may be hostile."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TypeAlias

_VOID = frozenset({"meta", "br", "hr", "line", "rect", "path", "circle"})


class Markup(str):
    """Text that is markup already; every other string is escaped where it enters an element."""

    __slots__ = ()


Content: TypeAlias = "str | int | float | Iterable[Content] | None"


def element(tag: str, *content: Content, **attributes: str | float | None) -> Markup:
    """An element. Attribute names: ``class_`` is class, inner underscores become hyphens; None leaves one out."""
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(_clean(str(value)))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{tag}{given}/>")
    return Markup(f"<{tag}{given}>{markup(content)}</{tag}>")


def markup(content: Content) -> Markup:
    """Content as markup: strings escaped, sequences joined, None left out."""
    if content is None:
        return Markup("")
    if isinstance(content, Markup):
        return content
    if isinstance(content, str):
        return Markup(html.escape(_clean(content)))
    if isinstance(content, int | float):
        return Markup(content)
    return Markup("".join(markup(part) for part in content))


def table(head: Sequence[str], rows: Iterable[Sequence[Content]], *, text_columns: int = 1) -> Markup:
    """A table; the first ``text_columns`` columns are words, the others numbers (set to the right)."""

    def cells(tag: str, row: Sequence[Content]) -> Markup:
        return markup([element(tag, cell, class_="n" if k >= text_columns else None) for k, cell in enumerate(row)])

    body = [element("tr", cells("td", row)) for row in rows]
    return element(
        "div",
        element("table", element("thead", element("tr", cells("th", head))), element("tbody", body), class_="sortable"),
        class_="scroll",
    )


def section(title: str, *content: Content) -> Markup:
    """A part of the page under a heading that can be linked to."""
    return element("section", element("h2", title), *content, id=title.lower().replace(" ", "-"))


def folded(summary: str, *content: Content) -> Markup:
    """Content that opens on a click."""
    return element("details", element("summary", summary), *content)


def _clean(text: str) -> str:
    """Without what HTML cannot hold (control characters) or what turns the direction of the text around it."""
    return text.translate(_UNWANTED)


_UNWANTED = {
    **dict.fromkeys([*range(9), 11, 12, *range(14, 32), *range(127, 160)], "\N{REPLACEMENT CHARACTER}"),
    **dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\N{REPLACEMENT CHARACTER}"),
}
