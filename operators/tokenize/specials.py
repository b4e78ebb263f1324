"""A tokenizer that takes every text as nothing but text."""

from __future__ import annotations

import json


def without_specials(tokenizer_json: str) -> str:
    """A tokenizer.json that treats its special tokens, found in a text, as ordinary text, and neither cuts nor pads.

    Added tokens that are not special stay: they are vocabulary.
    """
    data = json.loads(tokenizer_json)
    data["added_tokens"] = [token for token in data.get("added_tokens", []) if not token["special"]]
    data["truncation"] = data["padding"] = data["post_processor"] = None
    return json.dumps(data, ensure_ascii=False)
