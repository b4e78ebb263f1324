"""Encoder: the reference's ids, whatever the engine, and no special token out of a text."""

from __future__ import annotations

import importlib.util
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from token_fakes import TEXTS, numbered
from tokenizers import Tokenizer

from operators.tokenize import encoder as encoder_module
from operators.tokenize.encoder import Encoder, EngineName
from operators.tokenize.engines import Ids, Offsets, Reference
from pipeline.errors import RunFailedError, UserError

SPECIALS = ("<|endoftext|>", "<|pad|>", "<|fim_1|>")
PIECES = st.one_of(
    st.text(max_size=12), st.sampled_from([*SPECIALS, *TEXTS, " ", "\n", "\0", "中", "'s", "\U0001f600"])
)
BATCHES = st.lists(st.lists(PIECES, max_size=6).map("".join), max_size=6)


def column(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def rows(ids: Ids, offsets: Offsets) -> list[list[int]]:
    return [ids[start:end].tolist() for start, end in pairwise(offsets)]


def reference(path: Path, texts: list[str]) -> list[list[int]]:
    """Each document alone, with the library's own way to take special tokens as text."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


@pytest.fixture(params=["tokenizers", "auto", "gigatoken", "fastokens"], scope="session")
def engine(request: pytest.FixtureRequest) -> EngineName:
    if request.param in ("gigatoken", "fastokens") and importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


@settings(deadline=None)
@given(texts=BATCHES)
def test_equals_each_document_encoded_alone(tokenizer_path: Path, engine: EngineName, texts: list[str]) -> None:
    encoder = Encoder.load(tokenizer_path, engine)
    ids, offsets = encoder.encode(column(texts))
    assert ids.dtype == np.uint16
    assert offsets.dtype == np.int64
    assert rows(ids, offsets) == reference(tokenizer_path, texts)


@settings(deadline=None)
@given(texts=BATCHES)
def test_decoding_gives_the_text_back(tokenizer_path: Path, engine: EngineName, texts: list[str]) -> None:
    encoded = rows(*Encoder.load(tokenizer_path, engine).encode(column(texts)))
    assert Tokenizer.from_file(str(tokenizer_path)).decode_batch(encoded, skip_special_tokens=False) == texts


@settings(deadline=None)
@given(before=st.text(max_size=9), special=st.sampled_from(SPECIALS), after=st.text(max_size=9))
def test_no_text_gives_a_special_token(
    tokenizer_path: Path, engine: EngineName, before: str, special: str, after: str
) -> None:
    encoder = Encoder.load(tokenizer_path, engine)
    assert encoder.special_tokens == {"<|endoftext|>": 0, "<|pad|>": 1, "<|fim_1|>": 2}
    ids, _ = encoder.encode(column([special, before + special + after, special * 3]))
    assert not set(ids.tolist()) & {0, 1, 2}


def test_slices_are_encoded_as_they_stand(tokenizer_path: Path, engine: EngineName) -> None:
    encoder = Encoder.load(tokenizer_path, engine)
    ids, offsets = encoder.encode(column(list(TEXTS)).slice(2, 3))
    assert rows(ids, offsets) == reference(tokenizer_path, list(TEXTS[2:5]))
    assert rows(*encoder.encode(column([]))) == []


def test_many_slices_of_a_large_column(tokenizer_path: Path, engine: EngineName) -> None:
    texts = [TEXTS[k % 6] * (1 + 97 * k % 211) for k in range(120)]  # 1.3 MB: two slices, and rows of all sizes
    encoded = rows(*Encoder.load(tokenizer_path, engine).encode(column(texts)))
    assert [len(ids) for ids in encoded[:40]] == [len(ids) for ids in reference(tokenizer_path, texts[:40])]
    assert encoded[-3:] == reference(tokenizer_path, texts[-3:])


def test_nulls_are_refused(tokenizer_path: Path) -> None:
    with pytest.raises(ValueError, match="1 nulls of 2"):
        Encoder.load(tokenizer_path).encode(pa.array(["a", None], pa.large_string()))


@pytest.mark.parametrize(("size", "dtype"), [(65_499, np.uint16), (65_500, np.uint32)])
def test_width_follows_the_vocabulary(tmp_path: Path, size: int, dtype: type) -> None:
    encoder = Encoder.load(numbered(tmp_path / "tokenizer.json", size), "tokenizers")
    top = size - 2
    ids, _ = encoder.encode(column([f"w1 w{top} w3"]))
    assert encoder.vocab_size == size
    assert ids.dtype == dtype
    assert ids.tolist() == [1, top, 3]


def test_an_unknown_token_is_named_with_those_there_are(tokenizer_path: Path) -> None:
    encoder = Encoder.load(tokenizer_path)
    assert encoder.token_id("<|pad|>") == 1
    with pytest.raises(UserError, match=r"</s>.*<\|endoftext\|>"):
        encoder.token_id("</s>")


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff\xfe"])
def test_what_is_no_tokenizer_is_the_users_mistake(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        Encoder.load(path)


def test_cutting_and_padding_of_a_file_are_ignored(tmp_path: Path, tokenizer_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(tmp_path / "t.json"))
    texts = list(TEXTS)
    assert rows(*Encoder.load(tmp_path / "t.json").encode(column(texts))) == reference(tokenizer_path, texts)


def test_added_tokens_that_are_not_special_stay_vocabulary(
    tmp_path: Path, tokenizer_path: Path, engine: EngineName
) -> None:
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    tokenizer.add_tokens(["river", "\t\t"])
    tokenizer.save(str(tmp_path / "t.json"))
    encoder = Encoder.load(tmp_path / "t.json", "auto" if engine == "gigatoken" else engine)
    encoded = rows(*encoder.encode(column(list(TEXTS))))
    assert encoded == reference(tmp_path / "t.json", list(TEXTS))
    assert tokenizer.token_to_id("river") in encoded[0]


class Off(Reference):
    """Wrong by one token wherever a text holds its mark."""

    name = "off"
    mark = ""

    def encode(self, column: pa.Array) -> tuple[Ids, Offsets]:
        ids, offsets = super().encode(column)
        if any(self.mark in text for text in column.to_pylist()):
            ids = ids.copy()
            ids[-1] += 1
        return ids, offsets


class OffOnHan(Off):
    name = "off on Han"
    mark = "今天"


class OffOnRealText(Off):
    name = "off on real text"
    mark = "The river rose"


class Refuses(Reference):
    name = "refuses"

    def __init__(self, tokenizer_json: str) -> None:
        msg = f"unknown model {json.loads(tokenizer_json)['model']['type']}"
        raise RuntimeError(msg)


class Exact(Reference):
    name = "exact"


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        ((Exact, OffOnHan), "exact"),
        ((OffOnHan, Exact), "exact"),
        ((Refuses, OffOnHan), "tokenizers"),
    ],
)
def test_only_an_engine_that_agrees_is_used(
    monkeypatch: pytest.MonkeyPatch, tokenizer_path: Path, candidates: tuple[type, ...], chosen: str
) -> None:
    monkeypatch.setattr(encoder_module, "FASTEST_FIRST", candidates)
    encoder = Encoder(tokenizer_path.read_text(encoding="utf-8"))
    assert encoder.engine == chosen
    assert rows(*encoder.encode(column(list(TEXTS)))) == reference(tokenizer_path, list(TEXTS))
    assert encoder.engine == chosen


def test_an_engine_that_differs_on_the_first_texts_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, tokenizer_path: Path
) -> None:
    """A fall-back would hold for one process only, and the ids would vary with the number of workers."""
    monkeypatch.setattr(encoder_module, "FASTEST_FIRST", (OffOnRealText,))
    encoder = Encoder(tokenizer_path.read_text(encoding="utf-8"))
    assert encoder.engine == "off on real text"
    texts = column(["before", TEXTS[0]])
    for _ in range(2):  # a second attempt in the same process must not get by
        with pytest.raises(RunFailedError, match=r"off on real text.*'The river rose.*uninstall"):
            encoder.encode(texts)
    assert encoder.engine == "off on real text"


@pytest.mark.parametrize("number", [0, 61, 2_991, 5_998])
def test_documents_from_all_over_the_first_batch_are_checked(
    monkeypatch: pytest.MonkeyPatch, tokenizer_path: Path, number: int
) -> None:
    """A few of the first ones whole, of the others the beginnings of every third."""
    monkeypatch.setattr(encoder_module, "FASTEST_FIRST", (OffOnRealText,))
    texts = ["b " * 75] * 5_999
    texts[number] = TEXTS[0]
    encoder = Encoder(tokenizer_path.read_text(encoding="utf-8"))
    if number == 5_998:  # neither among the first nor a third one
        assert len(encoder.encode(column(texts))[1]) == 6_000
        return
    with pytest.raises(RunFailedError, match="off on real text gives other ids"):
        encoder.encode(column(texts))


class Counting(Reference):
    """Counts the bytes it is asked for."""

    name = "counting"
    asked = 0

    def encode(self, column: pa.Array) -> tuple[Ids, Offsets]:
        Counting.asked += sum(len(text.encode()) for text in column.to_pylist())
        return super().encode(column)


def test_what_is_checked_is_bounded(monkeypatch: pytest.MonkeyPatch, tokenizer_path: Path) -> None:
    """Whatever the texts, half a megabyte, less a thirty-second part, to one is encoded twice; after that nothing is."""
    monkeypatch.setattr(encoder_module, "FASTEST_FIRST", (Counting,))
    encoder = Encoder(tokenizer_path.read_text(encoding="utf-8"))
    long = column(["ab cd" * 60_000, "x"])
    Counting.asked = 0
    for _ in range(3):
        encoder.encode(long)
    assert 900_003 + (496 << 10) <= Counting.asked < 900_003 + (1024 << 10)
    Counting.asked = 0
    encoder.encode(long)
    assert Counting.asked == 300_001


def test_small_batches_do_not_use_up_the_check(monkeypatch: pytest.MonkeyPatch, tokenizer_path: Path) -> None:
    monkeypatch.setattr(encoder_module, "FASTEST_FIRST", (OffOnRealText,))
    encoder = Encoder(tokenizer_path.read_text(encoding="utf-8"))
    for _ in range(3):
        encoder.encode(column(["one short text"]))
    with pytest.raises(RunFailedError, match="The river rose"):
        encoder.encode(column([TEXTS[0]]))


class Fails(Reference):
    name = "fails"

    def encode(self, column: pa.Array) -> tuple[Ids, Offsets]:
        if "breaks" in column.to_pylist():
            msg = "fails panicked: index out of bounds"
            raise RuntimeError(msg)
        return super().encode(column)


def test_texts_an_engine_fails_on_are_taken_by_the_reference(
    monkeypatch: pytest.MonkeyPatch, tokenizer_path: Path
) -> None:
    monkeypatch.setattr(encoder_module, "FASTEST_FIRST", (Fails,))
    encoder = Encoder(tokenizer_path.read_text(encoding="utf-8"))
    encoder.encode(column(["word " * 200_000]))  # more than is checked
    texts = ["a", "breaks", TEXTS[1]]
    assert rows(*encoder.encode(column(texts))) == reference(tokenizer_path, texts)
    assert encoder.engine == "fails"


class PanicException(BaseException):
    """As pyo3 raises it."""


class Panics:
    def encode_batch_fast(self, *_: object, **__: object) -> None:
        raise PanicException("index out of bounds")


def test_a_panic_is_an_error_of_the_engine(tokenizer_path: Path) -> None:
    engine = Reference(tokenizer_path.read_text(encoding="utf-8"))
    engine._tokenizer = Panics()
    with pytest.raises(RuntimeError, match="tokenizers panicked: index out of bounds"):
        engine.encode(column(["a"]))
