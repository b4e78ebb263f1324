"""How text is cut into pieces before pairs are merged: in the tokenizer, and, by the same rule, when pieces are counted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field
from tokenizers import Regex, normalizers, pre_tokenizers
from tokenizers.pre_tokenizers import ByteLevel, PreTokenizer, Sequence, Split

from operators.kernels.buffers import TextBuffers, text_buffers
from operators.kernels.pieces import find_pieces, kinds
from pipeline.value import Value

PIECES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""A contraction, a run of letters with at most one mark before it, up to three digits, marks, line ends, blanks.

The split of the cl100k_base encoding, to the letter: fast engines know published expressions by their text and refuse
any other, however alike (gigatoken 0.10 takes this one at 130 MB/s on one core, tokenizers at 1 to 4). With one digit a
piece it is that of Qwen2.
"""

_HAN_CUT, _CUT = 4, 16
_TRAINING_CUT = rf"\p{{Han}}{{1,{_HAN_CUT}}}|\P{{Han}}{{1,{_CUT}}}"
"""In training only: a run of Han letters is a clause, and nearly every clause is unique, so the table of pieces grows
with the text (80 MB per MB of Chinese). Cut at four letters it grows with the language; words have one to four. Other
pieces are cut at 16 characters, which bounds a page of one letter."""

_DIGITS = {1: r"\p{N}", 2: r"\p{N}{1,2}", 3: r"\p{N}{1,3}"}

Form = Literal["bytes", "text", "words"]
Cuts = npt.NDArray[np.int64]


class Splitting(Value):
    """Pieces of a text.

    form: ``bytes`` and ``text``: everything is in some piece, as bytes or as characters; ``words``: BERT's words and
    punctuation marks, blanks and control characters left out.
    digits: how many a piece holds at most; has no effect on words.
    han: ``clause``: Han characters are letters like others, so a token may be a word, a name or a set phrase;
    ``character``: each is a piece, so none is ever merged with another (nor with the mark before it).
    """

    form: Form = "bytes"
    digits: Annotated[int, Field(ge=1, le=3)] = 3
    han: Literal["clause", "character"] = "clause"

    def encoding(self) -> PreTokenizer:
        """The split a trained tokenizer carries."""
        return Sequence([*self._splits(), *self._last()])

    def training(self) -> PreTokenizer:
        """The same, with long pieces cut, so that memory is bounded."""
        return Sequence([*self._splits(), Split(Regex(_TRAINING_CUT), "isolated"), *self._last()])

    def normalizer(self) -> normalizers.Normalizer | None:
        """What is done to a text before; nothing where every byte must survive."""
        if self.form != "words":
            return None
        return normalizers.BertNormalizer(
            clean_text=True, handle_chinese_chars=self.han == "character", strip_accents=False, lowercase=False
        )

    def pieces(self, column: pa.Array) -> tuple[TextBuffers, Cuts]:
        """The pieces of N texts without nulls, cut as in training: piece k is ``data[cuts[k]:cuts[k + 1]]``.

        By a kernel of ours with the letters and numbers of Unicode 14, or, for words, by the library.
        """
        if self.form == "words":
            return self._words(column)
        texts = text_buffers(column)
        cuts = np.empty(int(texts.offsets[-1] - texts.offsets[0]) + 2, np.int64)
        number = find_pieces(texts, kinds(), self.digits, self.han == "character", _HAN_CUT, _CUT, cuts)
        return texts, cuts[: number + 1]

    def _splits(self) -> list[Any]:
        if self.form == "words":
            return [pre_tokenizers.BertPreTokenizer()]
        alone = [Split(Regex(r"\p{Han}"), "isolated")] if self.han == "character" else []
        return [*alone, Split(Regex(PIECES.replace(_DIGITS[3], _DIGITS[self.digits])), "isolated")]

    def _last(self) -> list[Any]:
        return [ByteLevel(add_prefix_space=False, use_regex=False)] if self.form == "bytes" else []

    def _words(self, column: pa.Array) -> tuple[TextBuffers, Cuts]:
        normalizer, split = self.normalizer(), self.training()
        texts = [text or "" for text in column.to_pylist()]
        normal = texts if normalizer is None else [normalizer.normalize_str(text) for text in texts]
        words = [word for text in normal for word, _ in split.pre_tokenize_str(text)]
        buffers = text_buffers(pa.array(words, pa.large_string()))
        return buffers, buffers.offsets.copy()


def encoding_split() -> PreTokenizer:
    """The split of a byte-level tokenizer with the default settings."""
    return Splitting().encoding()


def training_split() -> PreTokenizer:
    """The same as it is in training."""
    return Splitting().training()
