"""Words, lines, paragraphs and sentences of a batch, found once and shared by every filter of the batch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.kernels.blocks import BLOCK
from operators.kernels.buffers import TextBuffers, text_buffers
from operators.kernels.normalised import normalised
from operators.kernels.scratch import release, scratch
from operators.kernels.spacy_words import find_spacy_words, spacy_rules
from operators.kernels.spans import (
    LINES,
    NONEMPTY_LINES,
    PARAGRAPHS,
    SENTENCES,
    SPLITLINES,
    Spans,
    find_spans,
)
from operators.kernels.unicode_table import unicode_flags
from operators.kernels.word_borders import SPLIT, UNICODE
from operators.kernels.word_break import JOINS, find_break_words
from operators.kernels.word_runs import ASCII_KINDS, CHARACTERS, FASTTEXT, WORD_PUNCT, find_runs
from operators.kernels.word_table import word_break_classes
from operators.kernels.words import Words, count_words, find_words

WordRule = Literal["split", "unicode", "fasttext", "word_punct", "characters", "uax29", "spacy"]
"""``split`` is ``str.split()``. ``unicode`` stands in for NLTK's English tokenizer: punctuation marks are words (runs of
dots and double dashes one word), "don't" is two, dots and hyphens inside words stay, 1,000 and 3.50 are one word, each
letter of Han, kana, Thai, Lao, Khmer and Myanmar is a word with its marks. ``fasttext``: what stands between blanks,
ASCII line ends, tabs and NULs (no-break and ideographic spaces do not divide), where its first character is a letter or
number, as DCLM counts words. ``word_punct``: NLTK's WordPunctTokenizer, ``\\w+|[^\\w\\s]+``. ``characters``: each
character that is neither white space nor punctuation, with its marks. ``uax29``: what stands between Unicode's default
word boundaries (UAX #29) and starts with a letter or number, as DCLM does with the package uniseg: "don't" and 3.50 are
one word, a run of Katakana too; each ideograph and each letter of Hiragana, Thai, Lao, Khmer and Myanmar stands alone. ``spacy``: English as spaCy's blank
tokenizer cuts it, which datatrove has used since 0.4 (see ``spacy_words``)."""

SpanRule = Literal["lines", "nonempty_lines", "splitlines", "paragraphs", "sentences"]
"""``lines``: split at ``\\n``, blank ones kept; ``nonempty_lines``: those of a byte at least; ``splitlines``:
``str.splitlines()``; ``paragraphs``: the stripped text split at ``\\n{2,}``; ``sentences``: up to an end mark (see ``spans.sentence_stop``)."""

_WORD_RULES = {"split": SPLIT, "unicode": UNICODE}
_RUN_RULES = {"fasttext": FASTTEXT, "word_punct": WORD_PUNCT, "characters": CHARACTERS}
_SPAN_RULES = {
    "lines": LINES, "nonempty_lines": NONEMPTY_LINES, "splitlines": SPLITLINES, "paragraphs": PARAGRAPHS,
    "sentences": SENTENCES,
}  # fmt: skip

_T = TypeVar("_T", Words, Spans)


class Segments:
    """The segments of one batch of N texts; each kind is found at its first use. A null text has none of any kind."""

    def __init__(self, texts: TextBuffers) -> None:
        if texts.data.size < BLOCK:  # kernels look at that many bytes at a time
            data = np.zeros(BLOCK, np.uint8)
            data[: texts.data.size] = texts.data
            data.setflags(write=False)
            texts = texts._replace(data=data)
        self.texts = texts
        self._found: dict[str, Any] = {}

    def words(self, rule: WordRule) -> Words:
        """The words of each text."""
        if rule not in self._found:
            self._found[rule] = _fill(Words, self.texts, _bytes(self.texts) // 3, _word_finder(self.texts, rule))
        return self._found[rule]

    def word_bounds(self, rule: WordRule) -> npt.NDArray[np.int64]:
        """``words(rule).bounds``, int64 (N + 1,); where nothing else has asked for the words, they are only counted."""
        if rule not in self._found and rule in _WORD_RULES:
            key = f"bounds {rule}"
            if key not in self._found:
                self._found[key] = _counted(self.texts, _WORD_RULES[rule])
            return self._found[key]
        return self.words(rule).bounds

    def spans(self, rule: SpanRule) -> Spans:
        """The lines, paragraphs or sentences of each text."""
        if rule not in self._found:
            texts, flags = self.texts, unicode_flags()
            self._found[rule] = _fill(
                Spans, texts, _bytes(texts) // 40,
                lambda first, spans: find_spans(texts, flags, _SPAN_RULES[rule], first, spans),
            )  # fmt: skip
        return self._found[rule]

    def normalised(self) -> Segments:
        """The segments of the same texts as RedPajama-V2 normalises them."""
        if "normalised" not in self._found:
            self._found["normalised"] = Segments(normalised(self.texts))
        return self._found["normalised"]


def _counted(texts: TextBuffers, rule: int) -> npt.NDArray[np.int64]:
    bounds = np.empty(texts.offsets.size, np.int64)
    count_words(texts, unicode_flags(), rule, np.empty(0, np.int64), np.empty(0, np.int32), bounds)
    return bounds


def _word_finder(texts: TextBuffers, rule: WordRule) -> Callable[[int, Words], int]:
    """The kernel call that fills ``Words`` from a text on by a rule."""
    flags = unicode_flags()
    if rule in _RUN_RULES:
        return lambda first, words: find_runs(texts, flags, ASCII_KINDS, _RUN_RULES[rule], first, words)
    if rule == "uax29":
        return lambda first, words: find_break_words(texts, flags, word_break_classes(), JOINS, first, words)
    if rule == "spacy":
        return lambda first, words: find_spacy_words(texts, flags, spacy_rules(), first, words)
    return lambda first, words: find_words(texts, flags, _WORD_RULES[rule], first, words)


def _bytes(texts: TextBuffers) -> int:
    return int(texts.offsets[-1] - texts.offsets[0])


_TYPES = {
    "size": np.int32, "chars": np.int32, "flags": np.uint16, "trim_size": np.int32, "trim_chars": np.int32,
}  # fmt: skip


def _fill(kind: type[_T], texts: TextBuffers, guess: int, run: Callable[[int, _T], int]) -> _T:
    """Run a kernel until every text has found room: that of the guess, else as much as there can be at all."""
    num_texts, most = texts.offsets.size - 1, _bytes(texts) + texts.offsets.size + BLOCK
    found = _room(kind, np.zeros(num_texts + 1, np.int64), min(max(guess, 1024), most))
    first = run(0, found)
    if first < num_texts:
        bounds, used, columns = found.bounds, int(found.bounds[first]), found[1:]
        if used == 0:  # nothing to copy, so that a huge text does not hold both at once
            found, columns = None, ()
        found = _room(kind, bounds, most)
        for column, old in zip(found[1:], columns, strict=False):
            column[:used] = old[:used]
        columns = ()
        run(first, found)
    used = int(found.bounds[-1])
    return kind(found.bounds, *(column[:used] for column in found[1:]))


def _room(kind: type[_T], bounds: np.ndarray[Any, Any], rows: int) -> _T:
    return kind(bounds, *scratch(rows, *(_TYPES.get(name, np.int64) for name in kind._fields[1:])))


_memo = threading.local()


def segments(docs: pa.Table) -> Segments:
    """The segments of the ``text`` column of a batch; the second filter of a batch gets those of the first.

    The only state of the kernel layer: each thread remembers its last batch. The batch is known by the addresses of
    its Arrow buffers, and its column is kept alive meanwhile, so that no other text can come to lie at an address.
    Arrow buffers are immutable: whoever writes into one breaks every reader of it.
    """
    column = docs["text"].combine_chunks() if docs["text"].num_chunks != 1 else docs["text"].chunk(0)
    if isinstance(column, pa.ChunkedArray):
        column = pa.array([], pa.large_string())
    # An empty buffer is falsy, and comparing it with None raises: only numbers stand in the key.
    key = (len(column), column.offset, *((b.address, b.size) if b is not None else None for b in column.buffers()))
    if getattr(_memo, "key", None) != key:
        _memo.key, _memo.column, _memo.segments = None, column, Segments(text_buffers(column))
        _memo.key = key
    return _memo.segments


def forget() -> None:
    """Let go of the calling thread's last batch, and of the memory kept for the next."""
    _memo.__dict__.clear()
    release()


def warm() -> None:
    """Compile the kernels of this module."""
    docs = pa.table({"text": pa.array(["One line. Two!", None, "「三」"], pa.large_string())})
    found = Segments(text_buffers(docs["text"]))
    for words in get_args(WordRule):
        found.word_bounds(words)
        found.words(words)
    for spans in get_args(SpanRule):
        found.spans(spans)
