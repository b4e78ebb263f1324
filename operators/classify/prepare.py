"""The one form in which a classifier is trained on a text and asked about it."""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc

# Scripts written without spaces, each character a word of its own: Thai and Lao, Myanmar, Khmer, CJK with its
# punctuation, kana, full-width forms, the Han planes. As code points, so that no library's Unicode version matters.
_UNSPACED = (
    r"[\x{0E00}-\x{0EFF}\x{1000}-\x{109F}\x{1780}-\x{17FF}\x{2E80}-\x{30FF}\x{3400}-\x{4DBF}\x{4E00}-\x{9FFF}"
    r"\x{F900}-\x{FAFF}\x{FF00}-\x{FFEF}\x{20000}-\x{3FFFF}]"
)
_BLANKS = r"[\x00-\x20\x7F-\xA0\x{2000}-\x{200B}\x{2028}\x{2029}\x{202F}\x{3000}\x{FEFF}]+"


def one_line(texts: Any, max_chars: int) -> Any:
    """Texts as fastText takes them: one line, tokens set apart by single spaces; null stays null.

    texts: a large_string array; returns another.

    The first ``max_chars`` code points (0: all) are used; runs of blanks, line breaks and control characters become one
    space, characters of scripts without spaces become tokens of their own, case stays. What fastText would read as an
    end of text (``</s>``) or as a label (``__label__``) is taken apart.
    """
    if max_chars:
        texts = pc.utf8_slice_codeunits(texts, 0, max_chars)
    texts = pc.replace_substring_regex(texts, _UNSPACED, r" \0 ")
    texts = pc.replace_substring(texts, "</s>", "< /s>")
    texts = pc.replace_substring(texts, "__label__", "__label __")
    return pc.utf8_trim(pc.replace_substring_regex(texts, _BLANKS, " "), " ")
