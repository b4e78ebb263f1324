"""Word 5-grams as users of datasketch and rensa make them in Python. Runs in every peer's Python."""

from __future__ import annotations

NGRAM = 5


def word_ngrams(text: str) -> list[str]:
    """Lower-cased words between blanks, five at a time, joined by a blank."""
    words = text.lower().split()
    return [" ".join(words[k : k + NGRAM]) for k in range(len(words) - NGRAM + 1)]
