"""Finished runs as points of a scaling law: what they weighed, what they read, how well they predict."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.dataset import Dataset, Run
from pipeline.errors import UserError
from pipeline.planning.fit import Point
from pipeline.pretrain.config import recorded_objective
from pipeline.pretrain.trained import tokenizer_hash
from pipeline.pretrain.training.metrics import read_metrics
from pipeline.work import owner

_HEADER = struct.Struct("<Q")
_NUMBERS = ("params", "tokens", "loss")


class Known(NamedTuple):
    """Points, and the models that are none, with the reason."""

    points: tuple[Point, ...]
    left_out: tuple[str, ...] = ()


def read_points(named: Sequence[str]) -> Known:
    """Points of runs (all models that they finished) and of JSON lines with ``params``, ``tokens`` and ``loss``.

    Raises:
        UserError: no such run or file, no model in it that tells anything, or a line without those numbers.
    """
    points: list[Point] = []
    left_out: list[str] = []
    for one in named:
        path = Path(one)
        found = Known(tuple(_from_lines(path))) if path.is_file() else _from_run(one)
        points += found.points
        left_out += found.left_out
    return Known(tuple(points), tuple(left_out))


def num_weights(path: Path) -> int:
    """Numbers in a safetensors file, by its header: 8 bytes of its length, then JSON."""
    with path.open("rb") as file:
        (length,) = _HEADER.unpack(file.read(_HEADER.size))
        header: dict[str, Any] = json.loads(file.read(length))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def _from_run(uri: str) -> Known:
    run = Run.open(uri)
    names = [name for name, node in run.nodes.items() if node["kind"] == "model"]
    reasons = {name: _no_point(run, name) for name in names}
    points = tuple(_from_model(uri, run[name]) for name, reason in reasons.items() if reason is None)
    left_out = tuple(f"{uri}:{name}: {reason}" for name, reason in reasons.items() if reason is not None)
    if not points:
        msg = f"{uri} has no finished model that a law could be fitted to ({'; '.join(left_out) or 'it trains none'})"
        raise UserError(msg)
    return Known(points, left_out)


def _no_point(run: Run, name: str) -> str | None:
    """Why a model is no point of a law; None where it is one."""
    if run.nodes[name]["dataset"] is None:
        return "not begun"
    dataset = run[name]
    if not dataset.complete:
        return "not finished; run it to its end"
    (shard,) = dataset.shards()
    if recorded_objective(run.facts, name) is not None:
        return f"trained by the objective {recorded_objective(run.facts, name)}, not to predict the next token"
    if "start_from" in shard.facts:
        return "began with another model, so it has read more than its own tokens"
    scored = [line for line in read_metrics(shard.file(".metrics.jsonl")) if line.get("evaluation") == "held_out"]
    return None if scored and scored[-1]["documents"] else "no held-out document was scored; raise held_out_fraction"


def _from_model(uri: str, dataset: Dataset) -> Point:
    (shard,) = dataset.shards()
    lines = read_metrics(shard.file(".metrics.jsonl"))
    steps = [line for line in lines if "evaluation" not in line]
    scored = next(line for line in reversed(lines) if line.get("evaluation") == "held_out")
    return Point(
        name=f"{uri}:{dataset.name}",
        params=num_weights(shard.file(".safetensors")),
        tokens=steps[-1]["tokens"],
        loss=scored["loss"],
        bits_per_byte=scored["bits_per_byte"],
        unique=_unique(dataset),
        tokenizer=tokenizer_hash(dataset),
        held_out=(scored["documents"], scored["bytes"]),
    )


def _unique(model: Dataset) -> float | None:
    """Tokens that it could read, each once; None where a mixture says how often each is read."""
    run, inputs = model.run, model.run.nodes[model.name]["inputs"]
    if "mixture" in inputs:
        return None
    held_out = run.facts["recipe"][owner(model.name)]["Pretrain"]["held_out_fraction"]
    return (1 - held_out) * run[inputs["documents"]].ledger.kept.tokens


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
