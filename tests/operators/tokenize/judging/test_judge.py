"""Judging: numbers worked out by hand for tokenizers in the style of GPT-2, Llama, Qwen and BERT, and an obvious twin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from token_fakes import TEXTS, documents, numbered
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from operators.tokenize.encoder import Encoder
from operators.tokenize.judging.judge import Candidate, judge, slices
from operators.tokenize.judging.specials import Isolation
from operators.tokenize.judging.vocabulary import Vocabulary, byte_letters
from pipeline.documents import SCHEMA

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_vocabulary(*merged: str) -> dict[str, int]:
    """The letters of the 256 bytes in the order of the bytes, then further tokens."""
    letters = sorted(byte_letters(), key=byte_letters().__getitem__)
    return {token: number for number, token in enumerate([*letters, *merged])}


def gpt2() -> Tokenizer:
    """Byte-level BPE that knows "the" and " the", and ends documents with id 258."""
    merges = [("t", "h"), ("th", "e"), ("\u0120", "the")]
    tokenizer = Tokenizer(models.BPE(byte_vocabulary("th", "the", "\u0120the"), merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def qwen() -> Tokenizer:
    """Byte-level BPE behind NFC, with the marks of a chat, one of them beyond a gap of ids."""
    vocabulary = byte_vocabulary("th", "\u0120a")
    tokenizer = Tokenizer(models.BPE(vocabulary, [("t", "h"), ("\u0120", "a")]))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    return tokenizer


def llama() -> Tokenizer:
    """BPE over characters with blanks as marks, byte pieces for what is missing, and <s> </s>."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", "t", "h", "e", "\u4eca"]
    tokens += ["\u2581t", "he", "\u2581the"]
    merges = [("\u2581", "t"), ("h", "e"), ("\u2581t", "he")]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


def bert() -> Tokenizer:
    """WordPiece in lower case: what it does not know is [UNK]."""
    vocabulary = {"[UNK]": 0, "the": 1, "un": 2, "##der": 3, "##t": 4, "never": 5}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[UNK]"])
    return tokenizer


def judged(tokenizer: Tokenizer, *tables: pa.Table) -> dict[str, Any]:
    return judge([Candidate("it", "it.json", tokenizer.to_str())], tables)["tokenizers"][0]


def ratios(counts: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(counts[k] for k in ("bytes_per_token", "tokens_per_word", "tokens_per_char", "single_byte_fraction"))


# -- worked out by hand -----------------------------------------------------------------------------------------------


def test_gpt2_by_hand() -> None:
    """the | Ġthe | Ġ Ã © -> 5 tokens of 10 bytes, 9 characters, 3 words; three are one byte, two half an é."""
    found = judged(gpt2(), documents(["the the é"], language="en"))
    assert found["all"] == {
        "docs": 1, "bytes": 10, "chars": 9, "words": 3, "tokens": 5, "single_byte": 3, "partial": 2, "unknown": 0,
        "special": 0, "lossy": 0, "bytes_per_token": 2.0, "tokens_per_word": 1.666667, "tokens_per_char": 0.555556,
        "single_byte_fraction": 0.6, "partial_char_fraction": 0.4, "unknown_fraction": 0.0,
    }  # fmt: skip
    vocabulary = found["vocabulary"]
    assert vocabulary["tokens"] == vocabulary["size"] == 260
    # All but "the", " the", the blank, and the two bytes of é; the end mark is not an ordinary token.
    assert (vocabulary["ordinary"], vocabulary["unused"]) == (259, 254)
    assert vocabulary["unused_examples"][0] == {"id": 0, "token": "\u0100"}


def test_llama_by_hand() -> None:
    """▁the ▁the ▁ 今 ▁ <0xE5> <0xA4> <0xA9>: 8 tokens of 15 bytes, 11 characters, 4 words; a blank is a byte, too."""
    found = judged(llama(), documents(["the the 今 天"], language="zh"))
    assert found["all"]["tokens"] == 8
    assert ratios(found["all"]) == (1.875, 2.0, 0.727273, 0.625)
    assert found["all"]["partial"] == 3
    assert found["round_trip"] == {"docs": 1, "lossy": 0, "first": None}


def test_qwen_by_hand() -> None:
    """th e | Ġa | Ġ x: e with its accent apart is put together first, so the text does not come back."""
    found = judged(qwen(), documents(["the a x", "e\u0301"], language="en"))
    assert found["all"]["tokens"] == 5 + 2
    assert (found["all"]["lossy"], found["all"]["docs"]) == (1, 2)
    first = found["round_trip"]["first"]
    assert (first["at_char"], first["text"], first["decoded"]) == (0, "e\u0301", "\u00e9")


def test_bert_by_hand() -> None:
    """the un ##der [UNK]: half of it in capitals, one word not known."""
    found = judged(bert(), documents(["The under zebra"]))
    assert (found["all"]["tokens"], found["all"]["unknown"], found["all"]["special"]) == (4, 1, 0)
    assert found["all"]["unknown_fraction"] == 0.25
    assert found["round_trip"]["first"]["decoded"] == "the under [UNK]"
    assert [one["token"] for one in found["vocabulary"]["unused_examples"]] == ["##t", "never"]
    assert found["vocabulary"]["unused_fraction"] == 0.4


def test_groups_add_up() -> None:
    tables = [
        documents(["the", "the the"], source="web", language="en"),
        documents(["今天"], source="web", language="zh"),
        documents(["the"], source="books", language="en"),
        documents([None, ""], source="books", language="en"),
    ]
    found = judged(gpt2(), *tables)
    assert {name: (c["docs"], c["tokens"]) for name, c in found["by_language"].items()} == {"en": (3, 4), "zh": (1, 6)}
    assert {name: (c["docs"], c["tokens"]) for name, c in found["by_source"].items()} == {
        "books": (1, 1),
        "web": (3, 9),
    }
    assert [(g["source"], g["language"], g["bytes"]) for g in found["by_group"]] == [
        ("books", "en", 3), ("web", "en", 10), ("web", "zh", 6),
    ]  # fmt: skip
    assert found["by_language"]["zh"]["tokens_per_word"] == 3.0  # each Han character is a word
    assert found["by_language"]["zh"]["partial_char_fraction"] == 1.0


def test_texts_without_words_have_no_tokens_per_word() -> None:
    found = judged(gpt2(), documents(["!?"]))
    assert found["all"]["tokens_per_word"] is None
    assert found["all"]["tokens_per_char"] == 1.0


def test_ids_of_32_bits(tmp_path: Path) -> None:
    content = numbered(tmp_path / "tokenizer.json", 65_500).read_text(encoding="utf-8")
    found = judge([Candidate("it", "it.json", content)], [documents(["w1 w65498 w65498 x"])])["tokenizers"][0]
    assert (found["all"]["tokens"], found["all"]["unknown"]) == (4, 1)  # w0 stands for what is not known
    # 65,500 ids less the end mark, w0, and the two that occur.
    assert (found["vocabulary"]["ordinary"], found["vocabulary"]["unused"]) == (65_498, 65_496)


# -- special tokens ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [gpt2, qwen, llama], ids=["gpt2", "qwen", "llama"])
def test_special_tokens_are_isolated_here_and_taken_elsewhere(make: Any) -> None:
    found = judged(make(), documents(["a</s>b<|endoftext|><|im_end|>"]))
    specials = found["special_tokens"]
    assert specials["isolated"]
    assert found["all"]["special"] == 0
    assert set(specials["taken"]) == set(specials["tokens"]) != set()


class Careless(Encoder):
    """Gives the id of each text that is a token, as an engine would that looks whole words up."""

    def encode(self, column: pa.Array) -> tuple[Any, Any]:
        found = [self.special_tokens.get(text, 0) for text in column.to_pylist()]
        return np.array(found, np.uint16), np.arange(len(found) + 1)


def test_a_special_token_that_text_can_give_is_named() -> None:
    content = qwen().to_str()
    found = Isolation.of(content, Careless(content), Vocabulary.of(content))
    assert found.leaks == ("<|im_end|>", "<|im_start|>")
    assert not found.to_json()["isolated"]


def test_the_unknown_token_is_not_a_leak() -> None:
    found = judged(bert(), documents(["zebra"]))
    assert found["special_tokens"] == {"tokens": (), "leaks": (), "taken": (), "isolated": True}


# -- the worst documents ----------------------------------------------------------------------------------------------


def test_the_worst_percent() -> None:
    """150 documents of 120 bytes: two (1 % rounded up) are the Thai ones, one token a byte; short ones do not count."""
    good, bad = ["the" + " the" * 29 + "!"] * 148, ["ก" * 40, "ข" * 40]
    tables = [documents([*good, "!", "?"], source="web", language="en"), documents(bad, source="web", language="th")]
    worst = judged(gpt2(), *tables)["worst"]
    assert (worst["documents_looked_at"], worst["docs"], worst["bytes"], worst["tokens"]) == (150, 2, 240, 240)
    assert (worst["bytes_per_token"], worst["up_to_bytes_per_token"]) == (1.0, 1.0)
    assert worst["by_group"] == {"web|th": 2}
    assert [one["bytes_per_token"] for one in worst["examples"]] == [1.0, 1.0] + [3.870968] * 6
    assert {one["excerpt"][0] for one in worst["examples"][:2]} == {"ก", "ข"}
    assert judged(gpt2(), documents(["!"]))["worst"] is None


# -- laws -------------------------------------------------------------------------------------------------------------


def twin(tokenizer: Tokenizer, text: str) -> tuple[int, int, int, bool]:
    """Tokens, those of one byte, parts of characters, and whether the text comes back: one token at a time."""
    tokenizer.encode_special_tokens = True
    encoding = tokenizer.encode(text, add_special_tokens=False)
    pieces = [tokenizer.decode([number], skip_special_tokens=False) for number in encoding.ids]
    partial = ["\ufffd" in piece for piece in pieces]
    single = [len(token) == 1 for token in encoding.tokens]  # a letter is a byte in a byte-level vocabulary
    back = tokenizer.decode(encoding.ids, skip_special_tokens=False)
    return len(pieces), sum(single), sum(partial), back == text


LETTERS = st.text(st.characters(exclude_characters="\ufffd", exclude_categories=["Cs"]), max_size=20)


# Few examples with many texts each: a judge tries its engine on a thousand fixed texts first.
@settings(deadline=None, max_examples=12)
@given(texts=st.lists(st.one_of(LETTERS, st.sampled_from(TEXTS)), max_size=40), style=st.sampled_from([gpt2, qwen]))
def test_equals_the_obvious_python(texts: list[str], style: Any) -> None:
    found = judged(style(), documents(texts))["all"]
    rows = [twin(style(), text) for text in texts if text]
    sums = [sum(row[k] for row in rows) for k in range(3)]
    assert [found["tokens"], found["single_byte"], found["partial"]] == sums
    assert found["lossy"] == sum(not row[3] for row in rows)
    assert (found["docs"], found["chars"]) == (len(rows), sum(map(len, texts)))
    assert found["bytes"] == sum(len(text.encode()) for text in texts)


@given(texts=st.lists(LETTERS, min_size=1, max_size=6), at=st.integers(0, 6))
@settings(deadline=None, max_examples=8)
def test_how_tables_are_cut_does_not_matter(texts: list[str], at: int) -> None:
    table = documents(texts, language="en")
    assert judged(llama(), table) == judged(llama(), table.slice(0, at), table.slice(at))


def test_slices_are_bounded_and_whole() -> None:
    table = documents(["x" * (3 << 20), "y" * (3 << 20), "z", "w" * (9 << 20), ""])
    parts = list(slices(table))
    assert [part.num_rows for part in parts] == [1, 2, 1, 1]
    assert pa.concat_tables(parts).equals(table)
    assert list(slices(SCHEMA.empty_table())) == []


def test_several_tokenizers_read_the_same_texts_once() -> None:
    tables = iter([documents(list(TEXTS))])
    names = {"a": gpt2, "b": llama, "c": qwen}
    result = judge([Candidate(name, "", make().to_str()) for name, make in names.items()], tables)
    assert [one["name"] for one in result["tokenizers"]] == ["a", "b", "c"]
    assert {one["all"]["bytes"] for one in result["tokenizers"]} == {sum(len(text.encode()) for text in TEXTS)}
    json.dumps(result)


# -- what ids stand for -----------------------------------------------------------------------------------------------


def spelt(tokenizer: Tokenizer, token: str) -> bytes:
    vocabulary = Vocabulary.of(tokenizer.to_str())
    number = tokenizer.token_to_id(token)
    first, last = vocabulary.pieces.offsets[number : number + 2]
    return vocabulary.pieces.data[first:last].tobytes()


def test_bytes_of_tokens() -> None:
    byte_level = gpt2()
    byte_level.add_tokens([AddedToken("\t\t", special=False)])
    assert spelt(byte_level, "\u0120the") == b" the"
    assert spelt(byte_level, "\u0120") == b" "
    assert spelt(byte_level, "\t\t") == b"\t\t"
    assert spelt(llama(), "<0xE5>") == b"\xe5"
    assert spelt(llama(), "\u2581the") == b" the"
    assert spelt(llama(), "</s>") == b"</s>"
    assert spelt(bert(), "##der") == b"der"


def test_the_letters_of_bytes_are_those_of_the_library(tmp_path: Path) -> None:
    letters = byte_letters()
    assert sorted(letters.values()) == list(range(256))
    assert set(letters) == set(pre_tokenizers.ByteLevel.alphabet())
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for text in ("\x00\x7f ", "é", "今", "\U0001f600", "\u00ad\u0100"):
        assert "".join(piece for piece, _ in splitter.pre_tokenize_str(text)) == "".join(
            next(letter for letter, byte in letters.items() if byte == one) for one in text.encode()
        )
