"""Unigram models trained by the tokenizers library, any text kept by falling back to bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer, models
from tokenizers.trainers import UnigramTrainer

from operators.kernels.bpe_tokens import characters
from operators.kernels.buffers import text_buffers
from operators.tokenize.training.merges import byte_tokens, covering
from operators.tokenize.training.splitting import Splitting
from pipeline.errors import UserError

UNKNOWN = "<unk>"
"""Stands in the vocabulary as the library needs it; no text is given it, as every byte has a token."""


def rare_characters(tables: Iterable[pa.Table], coverage: float) -> dict[int, str]:
    """The characters beyond those that make up that share of the texts, each with the line end that stands in for it.

    A line end divides pieces and is never part of one with letters, so what stands beside a rare character is learnt as
    if the text ended there; in use the character is spelt in bytes.
    """
    count_of = np.zeros(0x110000, np.int64)
    for table in tables:
        texts = text_buffers(pc.fill_null(table["text"].combine_chunks(), pa.scalar("", pa.large_string())))
        count_of += characters(texts.data, texts.offsets, np.ones(len(texts.offsets) - 1, np.int64))
    known = set(covering(count_of, coverage))
    return {int(code): "\n" for code in np.flatnonzero(count_of) if int(code) not in known}


def train(
    texts: Iterable[str], vocab_size: int, specials: tuple[str, ...], splitting: Splitting, max_piece_chars: int
) -> Any:
    """A model of at most ``vocab_size`` tokens: special tokens, unknown, bytes, then pieces by falling probability.

    Raises:
        UserError: the characters alone are more than ``vocab_size``.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # a worker has one core
    first = [*specials, UNKNOWN, *byte_tokens()]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = splitting.training()
    trainer = UnigramTrainer(
        vocab_size=max(1, vocab_size - len(first)) + 1,
        special_tokens=[UNKNOWN],
        unk_token=UNKNOWN,
        max_piece_length=max_piece_chars,
        show_progress=False,
    )
    try:
        tokenizer.train_from_iterator(texts, trainer)
    except Exception as error:  # the library has no class of its own
        if "not large enough" not in str(error):
            raise
        msg = (
            f"vocab_size {vocab_size} is less than special tokens, 256 bytes and single characters take; raise it, or lower "
            "character_coverage"
        )
        raise UserError(msg) from error
    pieces = [(token, score) for token, score in json.loads(tokenizer.to_str())["model"]["vocab"] if token not in first]
    return models.Unigram([*((token, 0.0) for token in first), *pieces], unk_id=len(specials), byte_fallback=True)
