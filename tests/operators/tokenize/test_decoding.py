"""Ids back to text, in parts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from operators.tokenize.decoding import Decoder


def byte_level() -> Tokenizer:
    """A token a byte, and a special one."""
    alphabet = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(alphabet, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|end|>"])
    return tokenizer


BYTES = byte_level()
DECODER = Decoder(BYTES.to_str())


@given(before=st.text(max_size=8), after=st.text(max_size=8))
def test_a_continuation_is_what_was_added(before: str, after: str) -> None:
    ids = [BYTES.encode(text, add_special_tokens=False).ids for text in (before, after)]
    assert DECODER.continuation(*ids) == after


def test_half_a_character_is_a_replacement_character() -> None:
    ids = BYTES.encode("a数").ids
    assert DECODER.continuation(ids[:1], ids[1:3]) == "�"
    # The other half of a prompt's last character: the text that was there changes, so only the new part is told.
    assert DECODER.continuation(ids[:3], ids[3:]) == "�"


def test_special_tokens_are_shown_by_their_names() -> None:
    end = BYTES.token_to_id("<|end|>")
    assert DECODER.continuation(BYTES.encode("a").ids, [end]) == "<|end|>"


@pytest.mark.parametrize(("new", "text"), [([2], " dog"), ([3, 2], "s dog")])
def test_a_blank_before_the_first_word_is_not_lost(new: list[int], text: str) -> None:
    """Decoders of SentencePiece models cut the blank off that every text of theirs begins with."""
    pieces = {"▁the": 0, "▁fox": 1, "▁dog": 2, "s": 3}
    tokenizer = Tokenizer(models.WordLevel(pieces, unk_token="s"))
    tokenizer.decoder = decoders.Metaspace()
    decoder = Decoder(json.dumps(json.loads(tokenizer.to_str())))
    assert decoder.text([2]) == "dog"
    assert decoder.continuation([0, 1], new) == text
    assert decoder.continuation([], new) == text.lstrip()
