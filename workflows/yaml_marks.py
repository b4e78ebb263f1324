"""YAML as plain data with the line of every key: the few types a recipe needs, duplicate keys refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]

DEEPEST = 100
"""Levels of nesting that are read."""

_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(\d[\d_]*\.\d*|\.\d+)(e[-+]?\d+)?|[-+]?\d[\d_]*e[-+]?\d+|[-+]?\.inf|\.nan", re.IGNORECASE)


@dataclass
class Marked:
    """Plain data, the line on which each path begins, and what was wrong on the way."""

    data: Any
    lines: dict[Path, int] = field(default_factory=dict)
    errors: list[tuple[int, str]] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """Line of a path, or of the nearest one above it that is known."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)


def parse(text: str) -> Marked:
    """Parse YAML.

    Only ``true`` and ``false`` are booleans (``no`` is Norwegian), ``1e-3`` is a number, there are no octal or
    base-60 numbers, no tags and no anchors, and at most ``DEEPEST`` levels. Mistakes are collected, not raised, but for text that is no YAML at all.
    """
    marked = Marked(None)
    try:
        marked.errors.extend(_refused(text))
        root = None if marked.errors else yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        marked.errors.append(((mark.line + 1) if mark else 1, f"not YAML: {error.problem or error.context}"))
        return marked
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the latter two: an escape beyond Unicode
        marked.errors.append((1, f"not YAML: {error}"))
        return marked
    marked.data = None if root is None else _build(root, (), marked)
    return marked


def scalar(text: str) -> Any:
    """One plain value, as ``--set`` takes it: a number, true, false, null, a list in brackets, or text."""
    marked = parse(text)
    return text if marked.errors else marked.data


def _refused(text: str) -> Iterator[tuple[int, str]]:
    """Line and reason of the parts of YAML that a recipe does without; found before a tree is made of them."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            yield line, f"alias *{event.anchor}: a recipe has no anchors and aliases; write the value out, or quote it"
        elif isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            yield line, f"anchor &{event.anchor}: a recipe has no anchors and aliases; write the value out, or quote it"
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
            yield line, f"tag {event.tag!r}: a recipe has no tags; take it out, or quote the value"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            yield line, f"nested deeper than {DEEPEST} levels"
            return


def _build(node: yaml.Node, path: Path, marked: Marked) -> Any:
    marked.lines.setdefault(path, node.start_mark.line + 1)
    match node:
        case yaml.MappingNode():
            result: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key = key_node.value if isinstance(key_node, yaml.ScalarNode) else str(key_node)
                line = key_node.start_mark.line + 1
                if key in result:
                    first = marked.lines[(*path, key)]
                    marked.errors.append((line, f"{key!r} stands twice, first on line {first}; keep one"))
                    continue
                marked.lines[(*path, key)] = line
                result[key] = _build(value_node, (*path, key), marked)
            return result
        case yaml.SequenceNode():
            return [_build(item, (*path, number), marked) for number, item in enumerate(node.value)]
        case yaml.ScalarNode():
            return _scalar(node, marked)
        case _:
            marked.errors.append((node.start_mark.line + 1, f"unsupported YAML: {type(node).__name__}"))
            return None


def _scalar(node: yaml.ScalarNode, marked: Marked) -> Any:
    value = node.value
    if node.style is not None:
        return value
    if value in ("", "~", "null"):
        return None
    if value in ("true", "false"):
        return value == "true"
    if _INT.fullmatch(value):
        return _integer(node, marked)
    if _FLOAT.fullmatch(value):
        return float(value.lower().replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    return value


def _integer(node: yaml.ScalarNode, marked: Marked) -> int | None:
    digits = node.value.replace("_", "")
    try:
        return int(digits)
    except ValueError:  # longer than Python reads
        marked.errors.append(
            (node.start_mark.line + 1, f"a number of {len(digits)} digits, {digits[:20]}...: too long")
        )
        return None
