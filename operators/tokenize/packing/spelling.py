"""The bytes that each id of a byte-level tokenizer stands for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.errors import UserError

_AS_THEY_ARE = (*range(33, 127), *range(161, 173), *range(174, 256))
"""Bytes that byte-level vocabularies write as the character of that number; the others follow from U+0100 on, in order.
Source: the vocabulary of GPT-2 (Radford et al. 2019), as all byte-level tokenizers since."""


class Spelling(NamedTuple):
    """Id i of V is spelled ``letters[words[i]:words[i + 1]]``; a special token with no byte."""

    letters: npt.NDArray[np.uint8]
    words: npt.NDArray[np.int64]


@lru_cache(maxsize=2)
def spelling(tokenizer_json: str) -> Spelling:
    """Bytes of all ids.

    Raises:
        UserError: the tokenizer is not byte-level, or adds a blank before a text.
    """
    data = json.loads(tokenizer_json)
    found = [part for name in ("decoder", "pre_tokenizer") for part in _parts(data.get(name)) if _byte_level(part)]
    if not any(_byte_level(part) for part in _parts(data.get("decoder"))):
        msg = "fim cuts texts at characters, so it needs a byte-level tokenizer, which gives texts back; leave fim out"
        raise UserError(msg)
    if any(part.get("add_prefix_space") for part in _parts(data.get("pre_tokenizer")) if part in found):
        msg = "fim: the tokenizer puts a blank before each text (add_prefix_space), so parts of one would gain some"
        raise UserError(msg)
    alphabet = _alphabet()
    vocabulary: Mapping[str, int] = data["model"]["vocab"]
    added = {token["id"]: token for token in data.get("added_tokens", [])}
    size = 1 + max(chain(vocabulary.values(), added), default=-1)
    spelled = [b""] * size
    for token, number in vocabulary.items():
        spelled[number] = bytes(alphabet[letter] for letter in token) if alphabet.keys() >= set(token) else b""
    for number, token in added.items():
        spelled[number] = b"" if token["special"] else token["content"].encode()
    words = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(word) for word in spelled], dtype=np.int64)])
    return Spelling(np.frombuffer(b"".join(spelled), np.uint8).copy(), words)


def _alphabet() -> dict[str, int]:
    others = [byte for byte in range(256) if byte not in _AS_THEY_ARE]
    return {chr(byte): byte for byte in _AS_THEY_ARE} | {chr(256 + k): byte for k, byte in enumerate(others)}


def _parts(component: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """A component of a tokenizer and those it is a sequence of."""
    if component is None:
        return
    yield component
    for name in ("decoders", "pretokenizers"):
        for part in component.get(name, ()):
            yield from _parts(part)


def _byte_level(part: Mapping[str, Any]) -> bool:
    return part.get("type") == "ByteLevel"
