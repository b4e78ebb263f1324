"""Reads labelled rows for the benchmarks."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import zstandard


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of a .jsonl or .jsonl.zst file."""
    with path.open("rb") as raw:
        stream = zstandard.ZstdDecompressor().stream_reader(raw) if path.suffix == ".zst" else raw
        for line in io.TextIOWrapper(stream, encoding="utf-8", newline="\n"):
            if line.strip():
                yield json.loads(line)


def as_table(texts: list[str]) -> pa.Table:
    """Documents of these texts, numbered."""
    ids = pa.array([number.to_bytes(16, "big") for number in range(len(texts))], pa.binary(16))
    return pa.table({"id": ids, "text": pa.array(texts, pa.large_string())})
