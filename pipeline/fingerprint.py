"""Identity derived from fields and sources, never listed by hand."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import sys
import unicodedata
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.value import Artifact

FORMAT_VERSION = 1
_OURS = ("pipeline", "operators", "workflows")


def canonical(value: object) -> Any:  # noqa: PLR0911  # one return a case
    """Plain data with one form per value.

    Raises:
        TypeError: the value has no stable form (a function, an open file); give a name or a path instead.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return {"float": value.hex()}
        case bytes():
            return {"bytes": value.hex()}
        case Artifact():
            if value.sha256 is None:
                msg = f"artifact {value!r} is not resolved yet, so it has no stable form"
                raise TypeError(msg)
            return {"artifact": value.sha256}
        case BaseModel():
            # How a value is run (its ``runtime`` fields) is not what it is.
            names = [name for name in type(value).model_fields if name not in getattr(type(value), "runtime", ())]
            fields = {name: canonical(getattr(value, name)) for name in names}
            return {
                "type": _qualified(type(value)),
                "fields": fields,
                "code": source_hash(type(value)),
                "libraries": _versions(getattr(value, "libraries", ())),
            }
        case tuple() | list():
            return [canonical(item) for item in value]
        case Mapping():
            return {str(key): canonical(item) for key, item in sorted(value.items(), key=lambda item: str(item[0]))}
        case _:
            msg = f"no stable form for {type(value).__name__}: {value!r}"
            raise TypeError(msg)


def digest(value: object) -> str:
    """First 16 hex digits of the sha256 of a value's canonical form."""
    text = json.dumps(canonical(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: str | Path) -> str:
    """sha256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def source_hash(cls: type) -> str:
    """Hash of the source of a class's module and of every module of ours that it imports, and theirs in turn.

    An edited kernel so changes every operator above it; comments count, since telling them apart buys little.
    """
    seen: dict[str, bytes] = {}
    waiting = [cls.__module__]
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        path = _source_path(module)
        if path is None:
            continue
        seen[module] = path.read_bytes()
        waiting.extend(_imports(module, seen[module]))
    whole = hashlib.sha256()
    for module in sorted(seen):
        whole.update(module.encode() + b"\0" + seen[module] + b"\0")
    return whole.hexdigest()[:16]


@cache
def core_versions() -> dict[str, str]:
    """Versions that decide the bytes of every dataset: Parquet's writer, text functions, compiled kernels, Unicode."""
    found = _versions(("pyarrow", "numpy", "numba", "zstandard"))
    return {**found, "unicode": unicodedata.unidata_version}


def _qualified(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _versions(distributions: tuple[str, ...]) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in distributions}


def _source_path(module: str) -> Path | None:
    """The file of a module, found without importing it or what it lies in (training imports torch)."""
    origin = getattr(sys.modules.get(module), "__file__", None)
    if origin is not None:
        return Path(origin) if origin.endswith(".py") else None
    top, *inner = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        place = Path(folder, *inner)
        for path in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
            if path.is_file():
                return path
    return None


@cache  # a run asks some hundred classes for it, and most import the same modules
def _imports(module: str, source: bytes) -> list[str]:
    """Modules of ours (and of the module's own top package) that a source imports; packages' ``__init__`` only by name."""
    tops = {*_OURS, module.partition(".")[0]}
    found: list[str] = []
    for statement in ast.walk(ast.parse(source)):
        if isinstance(statement, ast.Import):
            found.extend(alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            # ``from .x import y`` in a.b.c is from a.b.x; one more dot goes one more package up.
            package = module.split(".")[: -statement.level] if statement.level else []
            base = ".".join([*package, *([statement.module] if statement.module else [])])
            for alias in statement.names:
                inner = f"{base}.{alias.name}"
                found.append(inner if _source_path(inner) else base)
    return [name for name in found if name.partition(".")[0] in tops]
