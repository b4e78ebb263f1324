"""``sluice tokenizer import``: a SentencePiece model as a tokenizer.json."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import typer

from operators.tokenize.foreign.convert import convert
from operators.tokenize.foreign.sentencepiece_model import SentencePieceModel
from pipeline.errors import UserError


def import_file(path: Path, out: Path) -> None:
    """Write the tokenizer.json and say what went into it.

    Raises:
        UserError: the file cannot be read, is no such model, or uses what a tokenizer.json cannot hold.
    """
    try:
        model = SentencePieceModel.read(path.read_bytes())
        content = convert(model)
    except (OSError, ValueError) as error:
        msg = f"cannot import {path}: {error}"
        raise UserError(msg) from error
    _write(out, content)
    kinds = Counter(piece.type for piece in model.pieces)
    told = ", ".join(f"{number:,} {kind.replace('_', '-')}" for kind, number in kinds.most_common())
    marks = " ".join(piece.text for piece in model.pieces if piece.type == "control")
    typer.echo(f"{out}: {model.algorithm}, {len(model.pieces):,} pieces ({told}); special tokens: {marks or 'none'}")


def _write(out: Path, content: str) -> None:
    aside = out.with_name(f".{out.name}.part")
    try:
        aside.write_text(content, encoding="utf-8")
        aside.replace(out)
    except OSError as error:
        msg = f"cannot write {out}: {error}"
        raise UserError(msg) from error
