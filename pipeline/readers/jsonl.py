"""Documents from JSON lines, plain or compressed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa

from pipeline.inputs import Piece
from pipeline.readers.batch import Broken, Dropped, Found, Item
from pipeline.readers.lines import Line, read_lines
from pipeline.readers.options import Read

_BOM = b"\xef\xbb\xbf"
# An escape takes 6 bytes of JSON for 2 or 3 of UTF-8; the rest is room for further fields.
_LINE_PER_DOCUMENT = 4
_LINE_ROOM = 1 << 20
_WRONG = object()
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_KINDS = {str: "a string", int: "a number", float: "a number", bool: "a boolean", list: "an array", dict: "an object"}


class _BadRecordError(Exception):
    """A line that is no document; the message says why."""


def read_jsonl(options: Read, piece: Piece) -> Iterator[Item]:
    """One document a line; blank lines are none. A line that cannot be one is quarantined with its offset."""
    fields = [(target, [name.split(".") for name in names]) for target, names in options.fields]
    limit = _LINE_PER_DOCUMENT * options.max_document_bytes + _LINE_ROOM
    for line in read_lines(piece, limit):
        if isinstance(line, Broken):
            yield line
            continue
        data = line.data.removeprefix(_BOM) if line.offset == 0 else line.data
        if not data or data.isspace():
            continue
        origin = f"{piece.path}#{line.offset}"
        try:
            yield _item(options, _values(line, data, fields), origin)
        except _BadRecordError as error:
            yield Broken(str(error), origin, line.size, excerpt=data)


def _values(line: Line, data: bytes, fields: list[tuple[str, list[list[str]]]]) -> dict[str, Any]:
    """Target -> value; absent fields are left out."""
    if not line.whole:
        msg = f"line of {line.size} bytes is longer than a document may be (max_document_bytes)"
        raise _BadRecordError(msg)
    try:
        record = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        what = "holds half of a surrogate pair, which is no character" if _SURROGATE.search(data) else "is not JSON"
        msg = f"line {what}: {error}"
        raise _BadRecordError(msg) from error
    if not isinstance(record, dict):
        msg = f"line is not a JSON object but {_kind(record)}"
        raise _BadRecordError(msg)
    values = {}
    for target, paths in fields:
        for path in paths:
            value = _lookup(record, path)
            if value is not _WRONG:
                values[target] = value
                break
    return values


def _lookup(record: dict[str, Any], path: list[str]) -> Any:
    """The value under a dotted path; a field whose own name holds the dots counts too."""
    value: Any = record
    for step in path:
        if not isinstance(value, dict) or step not in value:
            return record.get(".".join(path), _WRONG)
        value = value[step]
    return value


def _item(options: Read, values: dict[str, Any], origin: str) -> Item:
    if "text" not in values:
        msg = f"no field {options.text_field!r}"
        raise _BadRecordError(msg)
    text = values["text"]
    url, date = _string(values.get("url")), _string(values.get("date"))
    record_id, source = _string(values.get("id")), _string(values.get("source"))
    locator = record_id if record_id is not None else f"{url} {date or ''}".rstrip() if url else ""
    if text is None or text == "":
        return Dropped("empty", b"", locator, origin, url, date, source, value="null" if text is None else None)
    if not isinstance(text, str):
        msg = f"field {options.text_field!r} is {_kind(text)}, not a string"
        raise _BadRecordError(msg)
    raw = text.encode()
    if len(raw) > options.max_document_bytes:
        msg = f"text of {len(raw)} bytes, over max_document_bytes = {options.max_document_bytes}"
        raise _BadRecordError(msg)
    values["record_id"] = record_id
    extra = tuple(_typed(values.get(column.name), column) for column in options.further)
    return Found(raw, locator, origin, url, date, _string(values.get("license")), source, extra)


def _string(value: Any) -> str | None:
    """A string as it is, anything else as JSON text."""
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def _typed(value: Any, column: pa.Field) -> Any:
    if value is None:
        return None
    kind = column.type
    if pa.types.is_string(kind):
        return _string(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if pa.types.is_floating(kind) and is_number:
        return float(value)
    if pa.types.is_integer(kind) and is_number and int(value) == value and -(2**63) <= value < 2**63:
        return int(value)
    if pa.types.is_boolean(kind) and isinstance(value, bool):
        return value
    shown = orjson.dumps(value)[:50].decode("utf-8", "replace")
    msg = f"column {column.name!r} must be {kind}, got {_kind(value)} {shown}"
    raise _BadRecordError(msg)


def _kind(value: Any) -> str:
    return "null" if value is None else _KINDS[type(value)]
