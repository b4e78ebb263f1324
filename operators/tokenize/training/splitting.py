"""How text is cut into pieces before byte pairs are merged."""

from __future__ import annotations

from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, PreTokenizer, Sequence, Split

PIECES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""A contraction, a run of letters with at most one mark before it, up to three digits, marks, line ends, blanks.

The split of the cl100k_base encoding, to the letter: fast engines know published expressions by their text and refuse
any other, however alike (gigatoken 0.10 takes this one at 130 MB/s on one core, tokenizers at 1 to 4).
"""

_TRAINING_CUT = r"\p{Han}{1,4}|\P{Han}{1,16}"
"""In training only: a run of Han letters is a clause, and nearly every clause is unique, so the table of pieces grows
with the text (80 MB per MB of Chinese). Cut at four letters it grows with the language; words have one to four. Other
pieces are cut at 16 characters, which bounds a page of one letter."""


def encoding_split() -> PreTokenizer:
    """The split a trained tokenizer carries."""
    return Sequence([Split(Regex(PIECES), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)])


def training_split() -> PreTokenizer:
    """The same, with long pieces cut, so that memory is bounded."""
    cut = Split(Regex(_TRAINING_CUT), "isolated")
    return Sequence([Split(Regex(PIECES), "isolated"), cut, ByteLevel(add_prefix_space=False, use_regex=False)])
