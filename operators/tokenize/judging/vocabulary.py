"""What each id of a tokenizer stands for: its bytes, and what kind of token it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from operators.kernels.token_pieces import Pieces

SINGLE_BYTE = 1 << 0
"""The id stands for one byte: a letter of ASCII, or part of another character."""
PARTIAL = 1 << 1
"""It stands for bytes that are not whole characters."""
UNKNOWN = 1 << 2
"""It stands for what the vocabulary cannot write."""
SPECIAL = 1 << 3
"""It is a mark that no text may give."""
NUM_KINDS = 4

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE_MARK = "\u2581"


@dataclass(frozen=True)
class Vocabulary:
    """The V ids of a tokenizer; ids without a token have no bytes and no kind."""

    model: str
    """``BPE``, ``WordPiece``, ``Unigram`` or ``WordLevel``."""
    tokens: Mapping[int, str]
    """Every id with its token as the file writes it."""
    pieces: Pieces
    kinds: npt.NDArray[np.uint8]
    byte_exact: bool
    """The text of ids is their bytes joined; otherwise decoding does more, and only the library can tell."""

    @classmethod
    def of(cls, tokenizer_json: str) -> Vocabulary:
        """Read a tokenizer.json."""
        data = json.loads(tokenizer_json)
        whole = Tokenizer.from_str(tokenizer_json)
        tokens = {number: token for token, number in whole.get_vocab(with_added_tokens=True).items()}
        size = 1 + max(tokens, default=-1)
        added = whole.get_added_tokens_decoder()
        spelt = _speller(data)
        byte_level = "ByteLevel" in _types(data["decoder"])
        contents = [b""] * size
        kinds = np.zeros(size, np.uint8)
        unknown = _unknown(data["model"])
        for number, token in tokens.items():
            own = token.encode() if number in added and not byte_level else spelt(token)
            contents[number] = own
            kinds[number] = _kind(own)
            if token == unknown:
                kinds[number] = UNKNOWN
            elif number in added and added[number].special:
                kinds[number] = SPECIAL
        offsets = np.zeros(size + 1, np.int64)
        np.cumsum([len(content) for content in contents], out=offsets[1:])
        pieces = Pieces(np.frombuffer(b"".join(contents) or b"\0", np.uint8), offsets)
        return cls(data["model"]["type"], tokens, pieces, kinds, byte_exact=_types(data["decoder"]) == ["ByteLevel"])

    @property
    def size(self) -> int:
        """Largest id, plus one."""
        return len(self.kinds)


def byte_letters() -> dict[str, int]:
    """The letter by which byte-level tokenizers write each byte: printable Latin-1 as itself, the others from U+0100 on.

    Source: Radford et al. 2019 (GPT-2), section 2.2; the order of the letters is that of their published code.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {**{chr(byte): byte for byte in printable}, **{chr(256 + k): byte for k, byte in enumerate(others)}}


def _kind(content: bytes) -> int:
    kind = SINGLE_BYTE if len(content) == 1 else 0
    try:
        content.decode()
    except UnicodeDecodeError:
        kind |= PARTIAL
    return kind


def _types(part: Mapping[str, Any] | None) -> list[str]:
    """The kinds of a component and, of a sequence, of its parts."""
    return list(_names(part)) if part else []


def _names(part: Mapping[str, Any]) -> Iterator[str]:
    inner = part.get("decoders")
    if inner is None:
        yield part["type"]
    for one in inner or ():
        yield from _names(one)


def _unknown(model: Mapping[str, Any]) -> str | None:
    if model["type"] == "Unigram":
        number = model.get("unk_id")
        return None if number is None else model["vocab"][number][0]
    return model.get("unk_token")


def _speller(data: Mapping[str, Any]) -> Callable[[str], bytes]:
    """How the tokens of a tokenizer are spelt: token to bytes."""
    model, types = data["model"], _types(data["decoder"])
    if "ByteLevel" in types:
        letters = byte_letters()

        def of_letters(token: str) -> bytes:
            if all(letter in letters for letter in token):
                return bytes(letters[letter] for letter in token)
            return token.encode()

        return of_letters
    prefix = model.get("continuing_subword_prefix") or ""
    suffix = model.get("end_of_word_suffix") or ""
    has_bytes = bool(model.get("byte_fallback"))

    def of_text(token: str) -> bytes:
        found = _BYTE_PIECE.fullmatch(token) if has_bytes else None
        if found:
            return bytes([int(found[1], 16)])
        return token.removeprefix(prefix).removesuffix(suffix).replace(_SPACE_MARK, " ").encode()

    return of_text
