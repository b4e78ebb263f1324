"""``--set STEP.OPERATOR.PARAM=VALUE``: a parameter changed on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import UserError
from pipeline.operator import snake_case
from workflows.yaml_marks import Marked, scalar


def apply_overrides(marked: Marked, overrides: Sequence[str]) -> None:
    """Write overrides into a recipe's plain data, before it is checked.

    Raises:
        UserError: the text has not the form, or names a step or operator that the recipe lacks.
    """
    for text in overrides:
        name, equals, value = text.partition("=")
        parts = name.strip().split(".")
        if not equals or len(parts) < 2:  # a step (or `seed`) and a parameter
            if equals and parts == ["seed"] and isinstance(marked.data, dict):
                marked.data["seed"] = scalar(value)
                continue
            msg = f"--set {text!r}: write STEP.OPERATOR.PARAM=VALUE or STEP.VERB.PARAM=VALUE"
            raise UserError(msg)
        _assign(_target(marked.data, parts, text), parts[2:], scalar(value), text)


def _target(data: Any, parts: Sequence[str], text: str) -> dict[str, Any]:
    """The mapping of parameters of the operator or verb that is named."""
    steps = data.get("steps") if isinstance(data, Mapping) else None
    body = steps.get(parts[0]) if isinstance(steps, Mapping) else None
    if not isinstance(body, dict):
        there = ", ".join(steps) if isinstance(steps, Mapping) else "none"
        msg = f"--set {text!r}: no step {parts[0]!r}; there are: {there}"
        raise UserError(msg)
    word = parts[1]
    if word in body and word != "apply":
        body[word] = dict(body[word] or {})
        return body[word]
    items = body.get("apply") if isinstance(body.get("apply"), list) else []
    names: list[str] = []
    for number, item in enumerate(items):
        entry = {item: {}} if isinstance(item, str) else item
        if not isinstance(entry, dict):
            continue
        if "use" in entry:
            names.append(str(entry.get("as") or snake_case(str(entry["use"]).rpartition(":")[2])))
            if names[-1] == word:
                return entry
            continue
        key = next(iter(entry))
        entry[key] = dict(entry[key] or {})
        items[number] = entry
        names.append(str(entry[key].get("as") or key))
        if names[-1] == word:
            return entry[key]
    msg = f"--set {text!r}: step {parts[0]!r} has no {word!r}; it has: {', '.join([*names, *(k for k in body if k != 'apply')])}"
    raise UserError(msg)


def _assign(target: dict[str, Any], path: Sequence[str], value: Any, text: str) -> None:
    if not path:
        msg = f"--set {text!r}: names no parameter; write STEP.OPERATOR.PARAM=VALUE"
        raise UserError(msg)
    for part in path[:-1]:
        inner = target.get(part)
        target[part] = dict(inner) if isinstance(inner, Mapping) else {}
        target = target[part]
    target[path[-1]] = value
