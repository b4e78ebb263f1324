"""Two engines of one encoder: Han to one, all else to the other, rows in order, each held against the reference."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from token_fakes import TEXTS
from tokenizers import Tokenizer

from operators.tokenize import encoder as encoder_module
from operators.tokenize.encoder import Encoder
from operators.tokenize.engines import Ids, Offsets, Reference
from operators.tokenize.han import han_rows, in_order
from pipeline.errors import RunFailedError

CHINESE = TEXTS[1]
ENGLISH = TEXTS[0]
LONGER = st.sampled_from([ENGLISH, CHINESE, ENGLISH * 3 + CHINESE, "字", "", "a" * 900, "한국어 " * 9])


def column(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def slowly(texts: list[str]) -> list[bool]:
    """Every sixteenth byte of the batch; at least one in 24 of a row leads U+3000 to U+9FFF; a part of 1/32 at least."""
    found, place = [], 0
    for text in texts:
        content = text.encode()
        looked_at = [byte for at, byte in enumerate(content, place) if at % 16 == 0]
        leads = sum(0xE3 <= byte <= 0xE9 for byte in looked_at)
        found.append(leads > 0 and 24 * 16 * leads >= len(content))
        place += len(content)
    part = sum(len(text.encode()) for text, han in zip(texts, found, strict=True) if han)
    if 32 * part < place:
        return [False] * len(texts)
    return [True] * len(texts) if 32 * (place - part) < place else found


@given(texts=st.lists(st.one_of(st.text(max_size=30), LONGER), max_size=12), before=st.text(max_size=20))
@example(texts=[ENGLISH, CHINESE] * 3, before="一")
@example(texts=[ENGLISH * 40, CHINESE], before="")
@example(texts=[CHINESE * 40, ENGLISH], before="")
def test_rows_are_those_counted_byte_by_byte(texts: list[str], before: str) -> None:
    assert han_rows(column([before, *texts]).slice(1)).tolist() == slowly(texts)


@pytest.mark.parametrize(
    ("text", "han"),
    [
        pytest.param(CHINESE, True, id="chinese"),
        pytest.param("數據在雲端處理，結果如下。", True, id="traditional"),
        pytest.param("吾輩は猫である。名前はまだ無い。", True, id="japanese"),
        pytest.param(CHINESE + ENGLISH * 2, True, id="a third of it chinese"),
        pytest.param("公园 " + ENGLISH * 9, False, id="one word of chinese"),
        pytest.param(ENGLISH, False, id="english"),
        pytest.param("강물이 밤새 불어났고 방앗간은 물속에 서 있었다.", False, id="korean"),
        pytest.param("แม่น้ำเพิ่มขึ้นในตอนกลางคืน", False, id="thai"),
        pytest.param("नदी रात में चढ़ गई और चक्की पानी में खड़ी रही।", False, id="hindi"),
        pytest.param("Река поднялась ночью, и мельница стояла в воде.", False, id="russian"),
        pytest.param("— “…” — “…” —", False, id="dashes"),
    ],
)
def test_scripts(text: str, han: bool) -> None:
    assert han_rows(column([text * 20, ENGLISH * 20, CHINESE * 20])).tolist() == [han, False, True]


@given(lists=st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 9), max_size=4)), max_size=9))
def test_parts_are_put_back_in_order(lists: list[tuple[bool, list[int]]]) -> None:
    def part(chosen: bool) -> tuple[Ids, Offsets]:
        mine = [ids for flag, ids in lists if flag is chosen]
        flat = [one for ids in mine for one in ids]
        return np.array(flat, np.uint32), np.array([0, *np.cumsum([len(ids) for ids in mine])], np.int64)

    ids, offsets = in_order(np.array([flag for flag, _ in lists], np.bool_), part(True), part(False))
    assert offsets.dtype == np.int64
    assert [ids[start:end].tolist() for start, end in pairwise(offsets)] == [given for _, given in lists]


class Noting(Reference):
    """Keeps the texts it was given since ``seen`` was emptied."""

    seen: list[str]

    def encode(self, column: pa.Array) -> tuple[Ids, Offsets]:
        (First if isinstance(self, First) else Second).seen.extend(column.to_pylist())
        return super().encode(column)


class First(Noting):
    name = "first"
    seen: list[str] = []  # noqa: RUF012  # the class's own, so that a test can read it


class Second(Noting):
    name = "second"
    seen: list[str] = []  # noqa: RUF012


class OffOnPark(Second):
    """Wrong on a text that stands among none of the fixed ones."""

    name = "off on park"

    def encode(self, column: pa.Array) -> tuple[Ids, Offsets]:
        ids, offsets = super().encode(column)
        changed = ids.copy()
        for row, text in enumerate(column.to_pylist()):
            if "公园" in text:
                changed[offsets[row]] += 1
        return changed, offsets


class FailsOnPark(Second):
    name = "fails on park"

    def encode(self, column: pa.Array) -> tuple[Ids, Offsets]:
        if any("公园" in text for text in column.to_pylist()):
            msg = "panicked"
            raise RuntimeError(msg)
        return super().encode(column)


class OffOnHan(Second):
    name = "off on han"

    def encode(self, column: pa.Array) -> tuple[Ids, Offsets]:
        ids, offsets = super().encode(column)
        return ids + any("今" in text for text in column.to_pylist()), offsets


def made(monkeypatch: pytest.MonkeyPatch, tokenizer_json: str, *engines: type[Reference]) -> Encoder:
    monkeypatch.setattr(encoder_module, "FASTEST_FIRST", engines)
    monkeypatch.setattr(encoder_module, "_SAMPLE_BYTES", 4096)
    return Encoder(tokenizer_json)


def expected(tokenizer_json: str, texts: list[str]) -> list[list[int]]:
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.encode_special_tokens = True
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


def encoded(encoder: Encoder, texts: list[str]) -> list[list[int]]:
    ids, offsets = encoder.encode(column(texts))
    assert ids.flags.writeable
    return [ids[start:end].tolist() for start, end in pairwise(offsets)]


def used_up(encoder: Encoder) -> None:
    """More than is checked of each engine."""
    for _ in range(3):
        encoder.encode(column(["word " * 200, "字 " * 300] * 10))
    First.seen, Second.seen = [], []


@pytest.fixture
def tokenizer_json(tokenizer_path: Path) -> str:
    return tokenizer_path.read_text(encoding="utf-8")


def test_each_document_goes_to_its_engine(monkeypatch: pytest.MonkeyPatch, tokenizer_json: str) -> None:
    encoder = made(monkeypatch, tokenizer_json, First, Second)
    used_up(encoder)
    texts = [ENGLISH, CHINESE, "", CHINESE * 2, TEXTS[2]]
    assert encoded(encoder, texts) == expected(tokenizer_json, texts)
    assert First.seen == [ENGLISH, "", TEXTS[2]]
    assert Second.seen == [CHINESE, CHINESE * 2]


@pytest.mark.parametrize(("text", "engine"), [(ENGLISH, First), (CHINESE, Second)], ids=["english", "chinese"])
def test_a_batch_of_one_kind_is_not_taken_apart(
    monkeypatch: pytest.MonkeyPatch, tokenizer_json: str, text: str, engine: type[Noting]
) -> None:
    encoder = made(monkeypatch, tokenizer_json, First, Second)
    used_up(encoder)
    assert encoder.engine == "first+second"
    assert encoded(encoder, [text] * 3) == expected(tokenizer_json, [text] * 3)
    assert engine.seen == [text] * 3
    assert len(First.seen + Second.seen) == 3
    assert encoder.engine == "first+second"  # not what this batch happened to use


def test_the_second_engine_is_checked_when_its_first_texts_come(
    monkeypatch: pytest.MonkeyPatch, tokenizer_json: str
) -> None:
    """However much the other one has encoded before."""
    encoder = made(monkeypatch, tokenizer_json, First, OffOnPark)
    encoder.encode(column([ENGLISH * 10] * 40))
    for _ in range(2):
        with pytest.raises(
            RunFailedError, match=r"engine off on park gives.*今天天气.*uninstall the package off on park"
        ):
            encoder.encode(column([ENGLISH, CHINESE]))


def test_only_the_part_an_engine_fails_on_goes_to_the_reference(
    monkeypatch: pytest.MonkeyPatch, tokenizer_json: str
) -> None:
    encoder = made(monkeypatch, tokenizer_json, First, FailsOnPark)
    used_up(encoder)
    assert encoded(encoder, [CHINESE, ENGLISH]) == expected(tokenizer_json, [CHINESE, ENGLISH])
    assert First.seen == [ENGLISH]


def test_one_engine_that_passes_takes_all(monkeypatch: pytest.MonkeyPatch, tokenizer_json: str) -> None:
    encoder = made(monkeypatch, tokenizer_json, First, OffOnHan)
    used_up(encoder)
    assert encoder.engine == "first"
    assert encoded(encoder, [ENGLISH, CHINESE]) == expected(tokenizer_json, [ENGLISH, CHINESE])
    assert First.seen == [ENGLISH, CHINESE]


def test_a_tokenizer_of_characters_keeps_to_the_first(monkeypatch: pytest.MonkeyPatch, tokenizer_json: str) -> None:
    """Where merges are of characters, the first engine is faster on Han too."""
    data = json.loads(tokenizer_json)
    data["pre_tokenizer"] = {"type": "Whitespace"}
    assert made(monkeypatch, json.dumps(data), First, Second).engine == "first"
    data["pre_tokenizer"] = None
    assert made(monkeypatch, json.dumps(data), First, Second).engine == "first"
