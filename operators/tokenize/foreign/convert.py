"""A SentencePiece model as a tokenizer.json of the tokenizers library."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

from tokenizers.normalizers import Precompiled

from operators.tokenize.foreign.sentencepiece_model import Piece, SentencePieceModel

_SPACE = "\u2581"
_PRIVATE = 0xE000  # first code point of the private use area: no rule of a charsmap is about one
_ANY_NUMBER = 1 << 16

Part = dict[str, Any]


def convert(model: SentencePieceModel) -> str:
    """The tokenizer.json, which gives the ids of the SentencePiece library.

    Pieces keep their ids. Control and unknown pieces become special tokens, which no text gives; user-defined ones are
    found in a text before anything is merged. What differs is in docs/guide/tokenizers.md.

    Raises:
        ValueError: the model has unused pieces, or puts its mark of a blank behind words.
    """
    _check(model)
    data = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added(model),
        "normalizer": _sequence("normalizers", list(_normalizers(model))),
        "pre_tokenizer": _sequence("pretokenizers", list(_splits(model))),
        "post_processor": None,
        "decoder": _decoder(model),
        "model": _bpe(model) if model.algorithm == "bpe" else _unigram(model),
    }
    return json.dumps(data, ensure_ascii=False)


def _check(model: SentencePieceModel) -> None:
    unused = [piece.text for piece in model.pieces if piece.type == "unused"]
    if unused:
        msg = f"it has {len(unused)} unused pieces such as {unused[0]!r}, which a tokenizer.json cannot hold"
        raise ValueError(msg)
    if model.whitespace_as_suffix:
        msg = "it puts the mark of a blank behind words (treat_whitespace_as_suffix), which a tokenizer.json cannot do"
        raise ValueError(msg)
    texts = [piece.text for piece in model.pieces]
    if len(set(texts)) < len(texts):
        msg = "it has two pieces with the same text"
        raise ValueError(msg)


def _sequence(name: str, parts: list[Part]) -> Part | None:
    return {"type": "Sequence", name: parts} if parts else None


def _added(model: SentencePieceModel) -> list[Part]:
    return [
        {"id": number, "content": piece.text, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for number, piece in enumerate(model.pieces) if piece.type in ("control", "unknown")
    ]  # fmt: skip


def _user_defined(model: SentencePieceModel) -> list[str]:
    """Their texts, longer ones first: at each place the longest counts."""
    return sorted((piece.text for piece in model.pieces if piece.type == "user_defined"), key=lambda t: (-len(t), t))


def _normalizers(model: SentencePieceModel) -> Iterator[Part]:
    if model.charsmap:
        rules = Precompiled(model.charsmap)
        # User-defined pieces are found before the rules apply; those the rules would change wait in private use.
        changed = [text for text in _user_defined(model) if rules.normalize_str(text) != text]
        names = [chr(_PRIVATE + k) for k in range(len(changed))]
        yield from (_replace(text, name) for text, name in zip(changed, names, strict=True))
        # The library below takes a cluster of characters for one: where the rules compose (e, accent) it must be one
        # before, and it would take the line end CR LF for its first half.
        if rules.normalize_str("e\u0301") == "\u00e9":
            yield {"type": "NFC"}
        if rules.normalize_str("\r") != "\r":
            yield _replace("\r", rules.normalize_str("\r"))
        yield {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(model.charsmap).decode()}
        yield from (_replace(name, text) for text, name in zip(changed, names, strict=True))
    if model.remove_extra_whitespaces:
        yield _replace_all(f"\\A +|[ {_SPACE}]+\\z", "")
        yield _replace_all(" {2,}", " ")
    blank = _SPACE if model.escape_whitespaces else " "
    if model.add_dummy_prefix:
        yield {"type": "Prepend", "prepend": blank}
    if model.escape_whitespaces:
        yield _replace(" ", _SPACE)


def _replace(text: str, by: str) -> Part:
    return {"type": "Replace", "pattern": {"String": text}, "content": by}


def _replace_all(pattern: str, by: str) -> Part:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": by}


def _splits(model: SentencePieceModel) -> Iterator[Part]:
    """Cuts that no piece spans, and that keep a text from giving what only the model itself may give."""
    user = _user_defined(model)
    if user:
        yield _split("|".join(map(_quoted, user)))
    # SentencePiece never looks for control, unknown and byte pieces in a text; a vocabulary in JSON has one kind of token.
    known = {piece.text for piece in model.pieces if piece.type == "normal"}
    reserved = [p.text for p in model.pieces if p.type in ("control", "unknown") and len(p.text) > 1]
    cuts = [_cut(text, known) for text in reserved]
    if any(piece.type == "byte" for piece in model.pieces):
        cuts.append("(?<=<)(?=0x[0-9A-F]{2}>)")
    if cuts:
        yield _split("|".join(cuts))
    # Where no piece has a blank behind another character, words can be encoded one by one, and are remembered.
    inside = re.compile(f"[^{_SPACE}]{_SPACE}")
    if model.escape_whitespaces and not any(inside.search(piece.text) for piece in model.pieces):
        yield _split(f"(?<=[^{_SPACE}])(?={_SPACE})")


def _cut(text: str, known: set[str]) -> str:
    """A place inside a text: beside a character that is known, since unknown neighbours are one token together."""
    at = next((k for k in range(1, len(text)) if text[k - 1] in known or text[k] in known), 1)
    return f"(?<={_quoted(text[:at])})(?={_quoted(text[at:])})"


def _split(pattern: str) -> Part:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _quoted(text: str) -> str:
    """A text as a pattern that matches it, in the syntax of Oniguruma."""
    return "".join(f"\\x{{{ord(c):X}}}" if not c.isalnum() or not c.isascii() else c for c in text)


def _bpe(model: SentencePieceModel) -> Part:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": next((piece.text for piece in model.pieces if piece.type == "unknown"), None),
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": model.byte_fallback,
        # A user-defined piece stands alone in its part and is a token without merges.
        "ignore_merges": any(piece.type == "user_defined" for piece in model.pieces),
        "vocab": {piece.text: number for number, piece in enumerate(model.pieces)},
        "merges": _merges(model.pieces),
    }


def _merges(pieces: tuple[Piece, ...]) -> list[list[str]]:
    """Every way to join two pieces to a third, best first: SentencePiece joins the pair whose piece scores highest."""
    known = {piece.text for piece in pieces if piece.type == "normal"}
    ranked = sorted((p for p in pieces if p.type == "normal"), key=lambda p: -p.score)
    return [
        [piece.text[:at], piece.text[at:]]
        for piece in ranked
        for at in range(1, len(piece.text))
        if piece.text[:at] in known and piece.text[at:] in known
    ]


def _unigram(model: SentencePieceModel) -> Part:
    vocab = []
    for piece in model.pieces:
        # A user-defined piece stands alone in its part. The square of its length beats every way to cut it.
        score = float(len(piece.text) ** 2) if piece.type == "user_defined" else piece.score
        vocab.append([piece.text, score])
    unknown = next((k for k, piece in enumerate(model.pieces) if piece.type == "unknown"), None)
    return {"type": "Unigram", "unk_id": unknown, "vocab": vocab, "byte_fallback": model.byte_fallback}


def _decoder(model: SentencePieceModel) -> Part:
    parts: list[Part] = [_replace(_SPACE, " ")] if model.escape_whitespaces else []
    if model.byte_fallback:
        parts.append({"type": "ByteFallback"})
    parts.append({"type": "Fuse"})
    if model.add_dummy_prefix or model.remove_extra_whitespaces:
        start = _ANY_NUMBER if model.remove_extra_whitespaces else 1
        parts.append({"type": "Strip", "content": " ", "start": start, "stop": 0})
    return {"type": "Sequence", "decoders": parts}
