"""Finished runs as points of a scaling law: what they weighed, what they read, how well they predict."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.dataset import Dataset, Run
from pipeline.errors import UserError
from pipeline.planning.fit import Point
from pipeline.pretrain.training.metrics import read_metrics

_HEADER = struct.Struct("<Q")
_NUMBERS = ("params", "tokens", "loss")


def read_points(named: Sequence[str]) -> list[Point]:
    """Points of runs (all models that they finished) and of JSON lines with ``params``, ``tokens`` and ``loss``.

    Raises:
        UserError: no such run or file, no finished model in it, or a line without those numbers.
    """
    points: list[Point] = []
    for one in named:
        path = Path(one)
        points += _from_lines(path) if path.is_file() else _from_run(one)
    return points


def num_weights(path: Path) -> int:
    """Numbers in a safetensors file, by its header: 8 bytes of its length, then JSON."""
    with path.open("rb") as file:
        (length,) = _HEADER.unpack(file.read(_HEADER.size))
        header: dict[str, Any] = json.loads(file.read(length))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def _from_run(uri: str) -> list[Point]:
    run = Run.open(uri)
    models = [run[name] for name, node in run.nodes.items() if node["kind"] == "model" and node["dataset"] is not None]
    points = [_from_model(uri, dataset) for dataset in models if dataset.complete]
    if not points:
        msg = f"{uri} has no finished model: run it to its end first"
        raise UserError(msg)
    return points


def _from_model(uri: str, dataset: Dataset) -> Point:
    shard = dataset.shards()[0]
    lines = read_metrics(shard.file(".metrics.jsonl"))
    steps = [line for line in lines if "evaluation" not in line]
    scored = [line for line in lines if line.get("evaluation") == "held_out"]
    return Point(
        name=f"{uri}:{dataset.name}",
        params=num_weights(shard.file(".safetensors")),
        tokens=steps[-1]["tokens"],
        loss=scored[-1]["loss"],
        bits_per_byte=scored[-1]["bits_per_byte"],
    )


def _from_lines(path: Path) -> list[Point]:
    points = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        row = _object(line)
        numbers = {name: row.get(name) for name in _NUMBERS}
        wrong = [name for name, value in numbers.items() if not isinstance(value, int | float) or value <= 0]
        if wrong:
            msg = f"{path}:{number}: {wrong[0]} must be a number above 0, got {numbers[wrong[0]]!r}"
            raise UserError(msg)
        points.append(
            Point(
                name=str(row.get("name", f"{path}:{number}")),
                params=row["params"],
                tokens=row["tokens"],
                loss=row["loss"],
                bits_per_byte=row.get("bits_per_byte"),
            )
        )
    return points


def _object(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        row = None
    return row if isinstance(row, dict) else {}
