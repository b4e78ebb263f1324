"""Fixed texts on which an engine must agree with the reference before it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xxhash

_ATOMS = (
    "a", "A", "z", "é", "ß", "İ", "ǆ", "word", "Word", "don't", "I'LL", "we'Ve", "'s", "'", "\u2019s", "naïve", "e\u0301", "\u0300",
    "0", "12", "345", "6789", "٣", "½", "Ⅷ", "1,000.50", " ", "  ", "\t", "\n", "\r\n", "\n\n", " \n ", "\u00a0", "\u2028",
    "\u0085", "\u3000", "\u200b", "\ufeff", "\x00", "\x1f", "\x7f", ".", ",", "!?", "...", "…", "—", "_", "__init__", "#", "```", "()",
    "今天", "天气很好", "\uff0c", "。", "「", "數據", "ひらがな", "カタカナ", "한국어", "русский", "ไทย", "العربية", "עברית", "हिन्दी", "Ω",
    "😀", "👩‍👩‍👧", "🇨🇳", "\U0001f44d\U0001f3fd", "\U00020000", "\U0010ffff", "\ufffd", "https://a.b/c?d=e&f", "x@y.org", "<b>", "</p>",
    "if (x==1){", "\\n", "aaaaaaaaaaaaaaaaaaaaaaaa", "--------", "        ", "====", "\n\n\n\n", "foo_bar", "CamelCase", "K2",
)  # fmt: skip
# Marks that Unicode 11 to 16 added: an engine with a newer table than the reference's puts them into another order where
# the tokenizer normalizes (gigatoken 0.10 does, under NFC).
_LATE_MARKS = (
    0x07FD, 0x0897, 0x0898, 0x08CA, 0x09FE, 0x0C3C, 0x0EBA, 0x1715, 0x1ABF, 0x1ACC, 0x1DF6, 0x1DFA, 0xA82C, 0x10D24, 0x10D69,
    0x10EAB, 0x10EFD, 0x10F46, 0x10F82, 0x11070, 0x1133B, 0x113CE, 0x1145E, 0x11839, 0x1193E, 0x119E0, 0x11A34, 0x11A99,
    0x11D42, 0x11D97, 0x11F41, 0x1612F, 0x16FF0, 0x1E08F, 0x1E130, 0x1E2AE, 0x1E2EC, 0x1E4EC, 0x1E5EE, 0x1E6E3,
)  # fmt: skip
_NUM_RANDOM = 400
_NUM_NAMED = 200  # some tokenizers reserve thousands


def probes(specials: Sequence[str], added: Sequence[Mapping[str, Any]]) -> list[str]:
    """Single marks, pairs, and mixtures of all; with each special and added token alone and inside a text.

    added: the other tokens beside the vocabulary, as a tokenizer.json lists them.
    """
    named = [*specials[:_NUM_NAMED], *(str(token["content"]) for token in added[:_NUM_NAMED])]
    texts = ["", *_ATOMS, *named, *(f"a{token} b" for token in named), *(f"{token}{token}\n{token}" for token in named)]
    texts += [f"{left}{right}" for left in (" ", "'", "9", "中", "\n") for right in _ATOMS]
    texts += [f"a{chr(mark)}\u0334a\u0300{chr(mark)}" for mark in _LATE_MARKS]
    atoms = (*_ATOMS, *named)
    for number in range(_NUM_RANDOM):
        length = 1 + _draw(number, 0) % 24
        texts.append("".join(atoms[_draw(number, position) % len(atoms)] for position in range(1, length + 1)))
    return [*texts, "ab" * 5000, "中文" * 5000, " " * 5000, "".join(_ATOMS) * 20]


def _draw(number: int, position: int) -> int:
    return xxhash.xxh3_64_intdigest(f"{number}.{position}".encode())
