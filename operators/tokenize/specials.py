"""A tokenizer that takes every text as nothing but text."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

# Where the vocabulary itself is looked up in the text, a special token's name in a text would be found there. In a BPE
# no merge makes it, unless pieces are looked up before they are merged.
_LOOKED_UP = ("Unigram", "WordLevel", "WordPiece")


def as_text(tokenizer_json: str) -> str:
    """A tokenizer.json that encodes texts only: it neither cuts, nor pads, nor adds, nor drops merges by chance.

    Ids stay as they are. Where a special token could be found in a text as a piece of the vocabulary, its name is one
    that no text holds. Special tokens are still listed as such: to have them taken as text, the library's
    ``encode_special_tokens`` must be set, or ``without_specials`` used.

    Raises:
        ValueError: not a tokenizer.json.
    """
    data = _parsed(tokenizer_json)
    data["truncation"] = data["padding"] = data["post_processor"] = None
    model = data["model"]
    if "dropout" in model:
        model["dropout"] = None
    names = {token["content"] for token in data.get("added_tokens") or [] if token["special"]}
    _rename(data, {name: _unheard(name, tokenizer_json) for name in names & _within_reach(model)})
    return orjson.dumps(data).decode()


def without_specials(tokenizer_json: str) -> str:
    """The same without its special tokens, for engines that would find them in a text.

    Added tokens that are not special stay: they are vocabulary. They keep the ids they are written with, which engines
    must obey (the tokenizers library does not: it numbers added tokens anew).
    """
    data = _parsed(tokenizer_json)
    data["added_tokens"] = [token for token in data.get("added_tokens") or [] if not token["special"]]
    return orjson.dumps(data).decode()


def _parsed(tokenizer_json: str) -> dict[str, Any]:
    data = orjson.loads(tokenizer_json)
    if not isinstance(data, dict) or not isinstance(data.get("model"), dict):
        msg = "it has no model"
        raise ValueError(msg)  # noqa: TRY004  # the content is wrong, not a type of ours
    return data


def _within_reach(model: dict[str, Any]) -> set[str]:
    """Pieces that a text may be looked up as."""
    kind = model.get("type")
    vocabulary = model.get("vocab", {})
    if kind == "Unigram":
        return {piece for piece, _ in vocabulary}
    if kind in _LOOKED_UP or (kind == "BPE" and model.get("ignore_merges")):
        return set(vocabulary)
    return set()


def _unheard(name: str, tokenizer_json: str) -> str:
    """A name that only a text written against this very file could hold; longer than WordPiece looks at."""
    key = hashlib.sha256(f"{name}\0{tokenizer_json}".encode()).hexdigest()
    return f"\U0010ffff{name}{key}{key}"


def _rename(data: dict[str, Any], names: dict[str, str]) -> None:
    if not names:
        return
    model = data["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in model["vocab"]]
    else:
        model["vocab"] = {names.get(piece, piece): number for piece, number in model["vocab"].items()}
    if "unk_token" in model:
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    for token in data["added_tokens"]:
        token["content"] = names.get(token["content"], token["content"])
