"""SentencePiece models as tokenizer.json: ids and texts that the sentencepiece package itself wrote; broken files."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from operators.tokenize.encoder import Encoder
from operators.tokenize.foreign.convert import convert
from operators.tokenize.foreign.files import json_of, tokenizer_json
from operators.tokenize.foreign.protobuf import fields, float32, int32
from operators.tokenize.foreign.sentencepiece_model import SentencePieceModel

GOLDEN = Path(__file__).parents[3] / "golden" / "sentencepiece"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))
MODELS = ["bpe_bytes", "bpe_rules", "bpe_bare", "unigram", "unigram_bytes"]
TIED = "a" * 17
"""Cut in two ways of equal probability; SentencePiece adds in 32 bits, and which way wins is the last bit's doing."""


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: float | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def model(pieces: list[tuple[str, float, int]], trainer: bytes = field(3, 2), normalizer: bytes = b"") -> bytes:
    """A model file: pieces (text, score, type), BPE where nothing else is said."""
    own = [field(1, field(1, text.encode()) + field(2, score) + field(3, kind)) for text, score, kind in pieces]
    return b"".join([*own, field(2, trainer), field(3, normalizer)])


SMALL = [("<unk>", 0.0, 2), ("</s>", 0.0, 3), ("\u2581", -1.0, 1), ("a", -2.0, 1), ("b", -3.0, 1), ("ab", -0.5, 1)]


# -- against what sentencepiece wrote ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_ids_are_those_of_sentencepiece(name: str) -> None:
    content = tokenizer_json(GOLDEN / f"{name}.model")
    texts = [text for text in EXPECTED["texts"] if text != TIED or not name.startswith("unigram")]
    assert len(texts) >= 43
    ids, offsets = Encoder(content, "tokenizers").encode(pa.array(texts, pa.large_string()))
    wanted = dict(zip(EXPECTED["texts"], EXPECTED["models"][name]["ids"], strict=True))
    for row, text in enumerate(texts):
        assert ids[offsets[row] : offsets[row + 1]].tolist() == wanted[text], text


@pytest.mark.parametrize("name", MODELS)
def test_texts_are_those_of_sentencepiece(name: str) -> None:
    """But for the sign that SentencePiece writes for an unknown piece, whose name the library writes."""
    tokenizer = Tokenizer.from_str(tokenizer_json(GOLDEN / f"{name}.model"))
    wanted = EXPECTED["models"][name]
    for ids, text in zip(wanted["ids"], wanted["decoded"], strict=True):
        back = tokenizer.decode(ids, skip_special_tokens=False)
        assert (back.replace("<unk>", " \u2047 ") if 0 in ids else back) == text


@pytest.mark.parametrize("name", MODELS)
def test_pieces_keep_their_ids_and_control_pieces_are_special(name: str) -> None:
    content = (GOLDEN / f"{name}.model").read_bytes()
    read = SentencePieceModel.read(content)
    tokenizer = Tokenizer.from_str(json_of(content))
    assert [tokenizer.id_to_token(number) for number in range(len(read.pieces))] == [p.text for p in read.pieces]
    assert tokenizer.get_vocab_size() == len(read.pieces)
    assert Encoder(json_of(content), "tokenizers").special_tokens == {"<unk>": 0, "<s>": 1, "</s>": 2}


@pytest.mark.parametrize("name", MODELS)
def test_no_text_gives_a_control_or_byte_piece_by_its_name(name: str) -> None:
    """Also in programs that take the file without its list of special tokens."""
    data = json.loads(tokenizer_json(GOLDEN / f"{name}.model"))
    data["added_tokens"] = []
    tokenizer = Tokenizer.from_str(json.dumps(data))
    for text in ("<s>", "</s>", "a<s>b", " <s> </s>", "<s><s>", "<0x61>", "t<0x65>t"):  # a and e are pieces
        tokens = tokenizer.encode(text).tokens
        assert not {"<s>", "</s>", "<0x61>", "<0x65>"} & set(tokens), tokens


def test_a_model_is_loaded_like_any_tokenizer() -> None:
    encoder = Encoder.load(GOLDEN / "bpe_bytes.model", "tokenizers")
    assert encoder.token_id("</s>") == 2
    ids, _ = encoder.encode(pa.array(["The river"], pa.large_string()))
    assert len(ids)


# -- worked out by hand -----------------------------------------------------------------------------------------------


def test_merges_go_by_score() -> None:
    """▁ a b a: ab scores best; without it nothing joins."""
    tokenizer = Tokenizer.from_str(json_of(model(SMALL)))
    assert tokenizer.encode("aba").tokens == ["\u2581", "ab", "a"]
    assert tokenizer.encode("  b   a ").tokens == ["\u2581", "b", "\u2581", "a"]
    assert tokenizer.encode("aczzb").tokens == ["\u2581", "a", "<unk>", "b"]


def test_user_defined_pieces_come_first_the_longest_of_them() -> None:
    pieces = [*SMALL, ("ba", 0.0, 4), ("bab", 0.0, 4)]
    tokenizer = Tokenizer.from_str(json_of(model(pieces)))
    assert tokenizer.encode("abaabab").tokens == ["\u2581", "a", "ba", "a", "bab"]


def test_user_defined_pieces_come_first_in_a_unigram_model_too() -> None:
    """Whatever their parts score; the package gives these tokens as well."""
    pieces = [("<unk>", 0.0, 2), ("</s>", 0.0, 3), *((text, -1.0, 1) for text in ("\u2581", "a", "b")), ("c", -9.0, 1)]
    pieces += [("ba", 0.0, 4), ("bab", 0.0, 4), ("cb", 0.0, 4), ("baba", 0.0, 4)]
    tokenizer = Tokenizer.from_str(json_of(model(pieces, trainer=field(3, 1))))
    texts = {"ba": ["ba"], "bab": ["bab"], "acba": ["a", "cb", "a"], "baba": ["baba"]}
    for text, tokens in texts.items():
        assert tokenizer.encode(text).tokens == ["\u2581", *tokens]


def test_both_halves_of_a_line_end_become_blanks() -> None:
    """With rules that make blanks of CR and LF, and extra blanks kept; the package gives these tokens as well."""
    charsmap = SentencePieceModel.read((GOLDEN / "bpe_rules.model").read_bytes()).charsmap
    tokenizer = Tokenizer.from_str(json_of(model(SMALL, normalizer=field(2, charsmap) + field(4, 0))))
    assert tokenizer.encode("a\r\nb").tokens == ["\u2581", "a", "\u2581", "\u2581", "b"]


def test_settings_of_the_normalizer() -> None:
    bare = field(3, 0) + field(4, 0) + field(5, 0)
    read = SentencePieceModel.read(model(SMALL, normalizer=bare))
    assert (read.add_dummy_prefix, read.remove_extra_whitespaces, read.escape_whitespaces) == (False, False, False)
    assert Tokenizer.from_str(convert(read)).encode("a  b").tokens == ["a", "<unk>", "b"]
    default = SentencePieceModel.read(model(SMALL))
    assert (default.add_dummy_prefix, default.remove_extra_whitespaces, default.escape_whitespaces) == (
        True,
        True,
        True,
    )


# -- files that are none ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x0a", "ends inside a number"),
        (b"\x0a\x05ab", "ends inside field 1"),
        (b"\x0b\x0b", "no field of this kind"),
        (b"plain text, no model", "not a SentencePiece model"),
        (b"\xff" * 20, "too long"),
        (model([]), "holds no pieces"),
        (field(1, field(1, b"a")), "no settings of a trainer"),
        (model(SMALL, trainer=field(3, 4)), "type char"),
        (model([*SMALL, ("x", 0.0, 5)]), "1 unused pieces such as 'x'"),
        (model([*SMALL, ("x", 0.0, 9)]), "of type 9"),
        (model([*SMALL, ("a", 0.0, 1)]), "two pieces with the same text"),
        (model(SMALL, trainer=field(3, 2) + field(24, 1)), "treat_whitespace_as_suffix"),
        (field(1, 7) + field(2, field(3, 2)), "another type than expected"),
        (field(1, field(1, b"\xff")) + field(2, field(3, 2)), "not a SentencePiece model"),
    ],
    ids=range(14),
)
def test_what_is_no_model_is_refused_in_words(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        json_of(content)


def test_every_cut_of_a_model_is_refused() -> None:
    content = model(SMALL)
    for length in range(1, len(content) - 4):  # a model whose last field, empty, is gone is whole
        with pytest.raises(ValueError):
            json_of(content[:length])


@given(content=st.binary(max_size=60))
def test_any_bytes_raise_one_kind_of_error(content: bytes) -> None:
    try:
        SentencePieceModel.read(content)
    except ValueError:
        return
    raise AssertionError


@given(number=st.integers(1, 500), value=st.integers(0, 2**64 - 1), score=st.floats(width=32, allow_nan=False))
def test_fields_are_read_back(number: int, value: int, score: float) -> None:
    message = field(number, value) + field(501, score) + field(number, b"x" * 200) + varint(502 << 3 | 1) + b"8 bytes."
    found = fields(message)
    assert found[number] == [value, b"x" * 200]
    assert float32(found[501][0]) == score
    assert found[502] == [b"8 bytes."]


def test_negative_numbers_are_64_bits() -> None:
    assert int32(fields(field(40, (1 << 64) - 1))[40][0]) == -1
