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
_NUM_RANDOM = 400


def probes(tokenizer: Mapping[str, Any], specials: Sequence[str]) -> list[str]:
    """Single marks, pairs, and mixtures of all; with each special and added token alone and inside a text.

    tokenizer: the tokenizer.json as data.
    """
    added = [str(token["content"]) for token in tokenizer.get("added_tokens", [])][:200]
    named = [*specials, *added]
    texts = ["", *_ATOMS, *named, *(f"a{token} b" for token in named), *(f"{token}{token}\n{token}" for token in named)]
    texts += [f"{left}{right}" for left in (" ", "'", "9", "中", "\n") for right in _ATOMS]
    atoms = (*_ATOMS, *named)
    for number in range(_NUM_RANDOM):
        length = 1 + _draw(number, 0) % 24
        texts.append("".join(atoms[_draw(number, position) % len(atoms)] for position in range(1, length + 1)))
    return [*texts, "ab" * 5000, "中文" * 5000, " " * 5000, "".join(_ATOMS) * 20]


def _draw(number: int, position: int) -> int:
    return xxhash.xxh3_64_intdigest(f"{number}.{position}".encode())
