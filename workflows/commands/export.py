"""``sluice export``: a step laid out for another program."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import orjson
import typer
from pydantic import ValidationError

from operators.tokenize.exporting.export import Export, Request, export
from operators.tokenize.exporting.models import MODELS
from pipeline.dataset import Run
from pipeline.errors import UserError
from pipeline.pretrain.model.described import OWN_TYPE
from pipeline.report.units import size


class Asked(NamedTuple):
    """The options of the command."""

    to: str
    splits: tuple[str, ...]
    seed: int
    links: str
    compress: bool
    tokenizer: Path | None = None


def export_step(uri: str, step: str, out: Path, asked: Asked) -> None:
    """Export a step and say what was linked, copied and written.

    Raises:
        UserError: no such run or step, a share that is none, or what the export itself refuses.
    """
    request = _request(step, asked)
    done = export(Run.open(uri), request, out, asked.tokenizer)
    for line in _told(done, request, out):
        typer.echo(line)


def _request(step: str, asked: Asked) -> Request:
    if asked.compress and asked.to != "jsonl":
        msg = f"--compress is for --to jsonl; what {asked.to} reads is as it is"
        raise UserError(msg)
    if asked.tokenizer is not None and asked.to not in MODELS:
        msg = f"--tokenizer is for --to {', '.join(MODELS)}; what {asked.to} reads has its tokens already, or none"
        raise UserError(msg)
    if asked.tokenizer is not None and not asked.tokenizer.is_file():
        msg = f"--tokenizer {asked.tokenizer}: there is no such file; give a tokenizer.json or a SentencePiece model"
        raise UserError(msg)
    shares = tuple(_share(text) for text in asked.splits)
    try:
        return Request.model_validate(
            {
                "step": step, "to": asked.to, "held_out": shares or None, "seed": asked.seed, "links": asked.links,
                "compress": asked.compress,
            }
        )  # fmt: skip
    except ValidationError as error:
        what = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        msg = f"--split: {what}"
        raise UserError(msg) from error


def _share(text: str) -> tuple[str, float]:
    name, equals, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError as error:
        msg = f"--split {text}: write NAME=SHARE, such as --split val=0.01"
        raise UserError(msg if equals else f"{msg}; there is no =") from error


def _told(done: Export, request: Request, out: Path) -> list[str]:
    """What a person wants to know of an export."""
    bytes_of: Counter[str] = Counter()
    files_of: Counter[str] = Counter()
    for file in done.files:
        files_of[file.how] += 1
        bytes_of[file.how] += file.bytes
    lines = [f"{out}: {'exported before, nothing done; ' if done.again else ''}{request.step} for {request.to}"]
    for name, counts in done.sets.items():
        lines.append(f"  {name}: " + ", ".join(f"{count:,} {unit}" for unit, count in counts.items()))
    lines += [f"  {how}: {files_of[how]:,} files, {size(bytes_of[how])}" for how in sorted(files_of)]
    if request.links == "hard" and files_of["copied"]:
        lines.append("  copied, since a hard link cannot reach there; --links soft takes no space")
    if request.to == "nanogpt" and "val" not in done.sets:
        lines.append("  no val.bin, which nanoGPT evaluates on: give --split val=0.01")
    if request.to in MODELS and _own_layout(out / "config.json"):
        lines.append(
            "  no class of transformers has this shape; `sluice generate` and `sluice evaluate` read the folder"
        )
    if files_of["linked"] or files_of["symlinked"]:
        lines.append("  links are the run's own files: do not write into them")
    return lines


def _own_layout(config: Path) -> bool:
    """The configuration is one that transformers has no class for."""
    return bool(orjson.loads(config.read_bytes())["model_type"] == OWN_TYPE)
