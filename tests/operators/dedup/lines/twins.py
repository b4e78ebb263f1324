"""The slow, obvious form of ``dedup_lines``: Python strings, a Counter, no hashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from operators.kernels.segmentation import segments
from tests.operators.dedup.twins import folded_words
from tests.operators.texts import table


@dataclass(frozen=True)
class Page:
    id: bytes
    text: str | None
    url: str | None = None
    source: str = "web"
    language: str = "en"


Unit = tuple[int, int]
"""Where a unit begins and ends, in characters."""


def lines(text: str) -> list[Unit]:
    """Lines that are not blank, without the blanks behind them."""
    found, start = [], 0
    for line in text.split("\n"):
        if line.strip():
            found.append((start, start + len(line.rstrip())))
        start += len(line) + 1
    return found


def paragraphs(text: str) -> list[Unit]:
    """Runs of lines with no blank line between."""
    found: list[Unit] = []
    start, is_open = 0, False
    for line in text.split("\n"):
        if line.strip():
            end = start + len(line.rstrip())
            found[-1:] = [(found[-1][0], end)] if is_open else [*found[-1:], (start, end)]
        is_open = bool(line.strip())
        start += len(line) + 1
    return found


def sentences(text: str) -> list[Unit]:
    """As the shared kernel finds them; its own tests say how."""
    spans = segments(table(text)).spans("sentences")
    raw = text.encode()
    found = []
    for start, size in zip(spans.start.tolist(), spans.size.tolist(), strict=True):
        first = len(raw[:start].decode())
        found.append((first, first + len(raw[start : start + size].decode().rstrip())))
    return found


UNITS = {"line": lines, "paragraph": paragraphs, "sentences": sentences}


@dataclass(frozen=True)
class Rule:
    unit: str = "line"
    spans: int = 1
    min_documents: int = 4
    keep: str = "none"
    once: bool = False
    scope: str = "all"
    fold: bool = True
    min_chars: int = 12

    def keys(self, page: Page) -> list[Hashable | None]:
        """The key of the span that begins at each unit."""
        text = page.text or ""
        stripped = [text[a:b].strip() for a, b in UNITS[self.unit](text)]
        words = [tuple(tuple(word) for word in folded_words(one)) for one in stripped]
        scope = {"all": "", "source": page.source, "language": page.language, "host": host(page.url)}[self.scope]
        keys: list[Hashable | None] = []
        for k in range(len(stripped)):
            run, run_words = stripped[k : k + self.spans], words[k : k + self.spans]
            count, chars = sum(map(len, run_words)), sum(map(len, run))
            long_enough = count > 0 and (chars >= self.min_chars or 3 * count >= self.min_chars)
            whole = len(run) == self.spans and long_enough
            keys.append((scope, tuple(run_words if self.fold else run)) if whole else None)
        return keys


def host(url: str | None) -> str:
    if url is None or "://" not in url:
        return ""
    return url.split("://")[1].split("/")[0].split("?")[0].split("#")[0].rpartition("@")[2].partition(":")[0].lower()


def dedup(pages: Sequence[Page], rule: Rule) -> dict[bytes, str | None]:
    """The text of every page afterwards: None where nothing is left."""
    found = {page.id: rule.keys(page) for page in pages}
    documents: Counter[Any] = Counter(key for keys in found.values() for key in set(keys) - {None})
    owners: dict[Any, bytes] = {}
    for page in sorted(pages, key=lambda page: page.id):
        for key in found[page.id]:
            owners.setdefault(key, page.id)
    return {page.id: _left(page, found[page.id], rule, documents, owners) for page in pages}


def _left(page: Page, keys: list[Any], rule: Rule, documents: Counter[Any], owners: dict[Any, bytes]) -> str | None:
    if page.text is None:
        return None
    goes: set[int] = set()
    stays: set[int] = set()
    for k, key in enumerate(keys):
        if key is None:
            continue
        covered = set(range(k, k + rule.spans))
        frequent = documents[key] >= rule.min_documents
        mine = rule.keep == "first" and owners[key] == page.id
        later = rule.once and key in keys[:k]
        if later or (frequent and not mine):
            goes |= covered
        elif frequent or (rule.once and keys.count(key) > 1):
            stays |= covered
    return without(page.text, UNITS[rule.unit](page.text), goes - stays)


def without(text: str, units: list[Unit], removed: set[int]) -> str | None:
    """A text without some of its units."""
    kept = [k for k in range(len(units)) if k not in removed]
    if not units:
        return text
    if not kept:
        return None
    out = text[: units[0][0]]
    for before, k in zip([None, *kept], kept, strict=False):
        if before is not None:
            gaps = [text[units[j][1] : units[j + 1][0]] for j in range(before, k)]
            out += max(gaps, key=lambda gap: gap.count("\n"))
        out += text[slice(*units[k])]
    return out + text[units[-1][1] :]
