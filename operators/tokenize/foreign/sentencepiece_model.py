"""A SentencePiece model file: its pieces, and how it treats blanks.

Source: sentencepiece_model.proto of the SentencePiece library, version 0.2; field numbers and defaults are from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from operators.tokenize.foreign.protobuf import Field, fields, float32, int32

PieceType = Literal["normal", "unknown", "control", "user_defined", "unused", "byte"]
Algorithm = Literal["unigram", "bpe"]

_PIECE_TYPES: dict[int, PieceType] = {
    1: "normal", 2: "unknown", 3: "control", 4: "user_defined", 5: "unused", 6: "byte",
}  # fmt: skip
_ALGORITHMS: dict[int, Algorithm] = {1: "unigram", 2: "bpe"}
_OTHER_ALGORITHMS = {3: "word", 4: "char"}

_Message = dict[int, list[Field]]


@dataclass(frozen=True)
class Piece:
    """A token, the logarithm of its probability (Unigram) or minus its rank (BPE), and what it is."""

    text: str
    score: float
    type: PieceType


@dataclass(frozen=True)
class SentencePieceModel:
    """What decides how texts are encoded; a piece's place is its id."""

    pieces: tuple[Piece, ...]
    algorithm: Algorithm
    byte_fallback: bool
    whitespace_as_suffix: bool
    charsmap: bytes
    """Rules by which characters are replaced, in the library's compiled form; empty for none."""
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool
    escape_whitespaces: bool

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Read a .model file.

        Raises:
            ValueError: it is none, or its algorithm is neither BPE nor Unigram.
        """
        model = fields(content)
        trainer, normalizer = _message(model, 2), _message(model, 3)
        pieces = tuple(_piece(value) for value in model.get(1, ()))
        if not pieces or not trainer:
            msg = "it holds no pieces or no settings of a trainer"
            raise ValueError(msg)
        number = _int(trainer, 3, 1)
        if number not in _ALGORITHMS:
            name = _OTHER_ALGORITHMS.get(number, str(number))
            msg = f"a SentencePiece model of type {name} has no counterpart in a tokenizer.json; take BPE or Unigram"
            raise ValueError(msg)
        return cls(
            pieces=pieces,
            algorithm=_ALGORITHMS[number],
            byte_fallback=bool(_int(trainer, 35, 0)),
            whitespace_as_suffix=bool(_int(trainer, 24, 0)),
            charsmap=_bytes(normalizer, 2),
            add_dummy_prefix=bool(_int(normalizer, 3, 1)),
            remove_extra_whitespaces=bool(_int(normalizer, 4, 1)),
            escape_whitespaces=bool(_int(normalizer, 5, 1)),
        )


def _piece(value: Field) -> Piece:
    message = fields(_as_bytes(value))
    number = _int(message, 3, 1)
    if number not in _PIECE_TYPES:
        msg = f"a piece is of type {number}, which is not known"
        raise ValueError(msg)
    score = float32(message[2][-1]) if 2 in message else 0.0
    return Piece(_bytes(message, 1).decode(), score, _PIECE_TYPES[number])


def _message(message: _Message, number: int) -> _Message:
    return fields(_as_bytes(message[number][-1])) if number in message else {}


def _int(message: _Message, number: int, default: int) -> int:
    return int32(message[number][-1]) if number in message else default


def _bytes(message: _Message, number: int) -> bytes:
    return _as_bytes(message[number][-1]) if number in message else b""


def _as_bytes(value: Field) -> bytes:
    if not isinstance(value, bytes):
        msg = "a text has another type than expected"
        raise ValueError(msg)  # noqa: TRY004  # of a file, not of an argument
    return value
