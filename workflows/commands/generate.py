"""``sluice generate``: continuations of prompts by a trained model."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import torch
import typer
from pydantic import ValidationError

from pipeline.errors import UserError
from pipeline.generation.contrastive import Contrastive
from pipeline.generation.generate import generate
from pipeline.generation.options import Options
from pipeline.generation.scorer import ModelScorer, Scorer
from pipeline.generation.texts import Continuation, Ended
from workflows.commands.terminal import terminal
from workflows.models import Found, find_model

_FIELD = "prompt"
_MARGIN_BYTES = 8
"""Tokens beyond a stop text's bytes that are looked at: a token may begin before it, and may be no text at all."""


@dataclass(frozen=True)
class Contrast:
    """A smaller model, and how it is heard."""

    model: str
    alpha: float
    temperature: float


@dataclass(frozen=True)
class Asked:
    """What is to be continued, and how."""

    model: str
    prompts: tuple[str, ...]
    file: Path | None
    options: Mapping[str, Any]
    stop: tuple[str, ...] = ()
    contrast: Contrast | None = None
    tokenizer: Path | None = None
    begin: bool = True
    prefix: bool | None = None
    """Prompts are seen both ways; None: where the run says that the model was trained so."""
    batch_rows: int = 16
    device: str = "cpu"
    all_beams: bool = False


def print_continuations(asked: Asked, *, as_json: bool) -> None:
    """Print them, as text, or as JSON with what stood beside the prompt in its line.

    Raises:
        UserError: no prompts, options that contradict each other, or what the model or the prompts are refused for.
    """
    options = _options(asked.options)
    rows = list(_rows(asked))
    if not rows:
        msg = "nothing to continue: give --prompt TEXT, or --prompts FILE with JSON lines"
        raise UserError(msg)
    found = find_model(asked.model, asked.tokenizer)
    prompts = encoded(found, [row[_FIELD] for row in rows])
    results = _continued(asked, found, prompts, options)
    terminal()
    for row, prompt, continuations in zip(rows, prompts, results, strict=True):
        shown = continuations if options.beams == 1 or asked.all_beams else continuations[:1]
        for number, one in enumerate(shown):
            text = before_stop(found.decoder.continuation(prompt, one.tokens), asked.stop)
            if as_json:
                typer.echo(orjson.dumps({**row, **_told(one, text, number)}))
            else:
                typer.echo(f"{row[_FIELD]}{text}\n")


def _told(one: Continuation, text: str, number: int) -> dict[str, Any]:
    return {
        "text": text, "number": number, "tokens": len(one.tokens), "log_prob": one.log_prob, "score": one.score,
        "ended": one.ended,
    }  # fmt: skip


def _options(given: Mapping[str, Any]) -> Options:
    try:
        return Options(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = "".join(f"--{part}: ".replace("_", "-") for part in first["loc"])
        msg = f"{name}{first['msg'].removeprefix('Value error, ')}"
        raise UserError(msg) from error


def _rows(asked: Asked) -> Iterator[dict[str, Any]]:
    """Objects with a prompt."""
    for prompt in asked.prompts:
        yield {_FIELD: prompt}
    if asked.file is None:
        return
    try:
        lines = sys.stdin.buffer.read() if str(asked.file) == "-" else asked.file.read_bytes()
    except OSError as error:
        msg = f"cannot read the prompts: {error}"
        raise UserError(msg) from error
    for number, line in enumerate(lines.splitlines(), 1):
        if line.strip():
            yield _row(line, f"{asked.file}:{number}")


def _row(line: bytes, place: str) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except ValueError as error:
        msg = f'{place}: not JSON: {error}; a line is an object such as {{"prompt": "Once"}}'
        raise UserError(msg) from error
    if not isinstance(row, dict) or not isinstance(row.get(_FIELD), str):
        msg = f"{place}: no field {_FIELD!r} that is a text"
        raise UserError(msg)
    return row


def encoded(found: Found, texts: Sequence[str]) -> list[list[int]]:
    """Ids of texts, by the model's tokenizer.

    Raises:
        UserError: one is no valid Unicode.
    """
    try:
        column = pa.array(texts, pa.large_string())
    except UnicodeEncodeError as error:
        msg = f"a prompt is no valid Unicode: {error}"
        raise UserError(msg) from error
    ids, offsets = found.encoder.encode(column)
    return [ids[first:last].tolist() for first, last in pairwise(offsets.tolist())]


def _continued(
    asked: Asked, found: Found, prompts: Sequence[Sequence[int]], options: Options
) -> list[list[Continuation]]:
    if asked.device == "cuda" and not torch.cuda.is_available():
        msg = "--device cuda: torch sees no GPU here; leave it out to run on the CPU"
        raise UserError(msg)
    model = found.load(asked.device)
    marks = found.marks(model, begin=asked.begin)
    scorer: Scorer = ModelScorer(model, prefix=_by_prefix(found, asked.prefix))
    if asked.contrast is not None:
        theirs = _smaller(asked, found)
        smaller = ModelScorer(theirs.load(asked.device), prefix=_by_prefix(theirs, asked.prefix))
        scorer = Contrastive(scorer, smaller, alpha=asked.contrast.alpha, temperature=asked.contrast.temperature)
    ended = stops(found, asked.stop) if asked.stop else None
    return generate(scorer, prompts, options, marks, batch_rows=asked.batch_rows, ended=ended)


def _by_prefix(found: Found, asked: bool | None) -> bool:
    if found.objective == "mlm":
        msg = f"{found.name} was trained to fill in masks (objective mlm) and sees both ways; it cannot continue a text"
        raise UserError(msg)
    return found.objective in ("prefix", "span") if asked is None else asked


def _smaller(asked: Asked, found: Found) -> Found:
    """The smaller model of a pair; a tokenizer that was named is taken to be that of both."""
    assert asked.contrast is not None
    smaller = find_model(asked.contrast.model, asked.tokenizer)
    if smaller.tokenizer is not None and smaller.encoder.sha256 != found.encoder.sha256:
        msg = (
            f"{smaller.name} and {found.name} have different tokenizers ({smaller.encoder.sha256[:16]} and "
            f"{found.encoder.sha256[:16]}), so their probabilities are of different tokens; take models of one tokenizer, "
            "or name the one that both know by --tokenizer"
        )
        raise UserError(msg)
    return smaller


def stops(found: Found, stop: Sequence[str]) -> Ended:
    """True where a stop text stands at the end of what was written, or the last token goes on after it."""
    # A token that stands for text has a byte at least.
    enough = max(len(text.encode()) for text in stop) + _MARGIN_BYTES

    def ended(tokens: Sequence[int]) -> bool:
        last = found.decoder.text(tokens[-enough:])
        return any(text in last for text in stop)

    return ended


def before_stop(text: str, stop: Sequence[str]) -> str:
    """Up to the first stop text, that itself left out."""
    return text[: min((place for place in map(text.find, stop) if place >= 0), default=len(text))]
