"""A tokenizer from a file, whoever wrote it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from operators.tokenize.foreign.convert import convert
from operators.tokenize.foreign.sentencepiece_model import SentencePieceModel


def tokenizer_json(path: str | Path) -> str:
    """The content of a tokenizer.json; of a SentencePiece model the tokenizer.json that encodes alike.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is neither; or a SentencePiece model with settings that a tokenizer.json cannot hold.
    """
    return json_of(Path(path).read_bytes())


def json_of(content: bytes) -> str:
    """The same of a file's content; which of the two it is, the first character tells.

    Raises:
        ValueError: as ``tokenizer_json``.
    """
    # A SentencePiece model starts with the key of its first piece, 0x0A, and that is a line feed; JSON needs a brace.
    if content.lstrip()[:1] == b"{" or not content:
        return content.decode()
    return _of_sentencepiece(content)


@lru_cache(maxsize=2)
def _of_sentencepiece(content: bytes) -> str:
    try:
        return convert(SentencePieceModel.read(content))
    except ValueError as error:
        msg = f"not JSON, and not a SentencePiece model: {error}"
        raise ValueError(msg) from error
