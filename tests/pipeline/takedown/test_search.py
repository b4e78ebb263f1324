"""Searching bytes: the finder against bytes.find, stretches of texts, and what a search of a run says."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipeline.documents import ID_TYPE
from pipeline.storage import Storage
from pipeline.takedown import finder
from pipeline.takedown.absence import Needles, holders, prove
from pipeline.takedown.finder import Finder
from pipeline.takedown.fragments import fragments
from pipeline.takedown.suppression import Suppression

FEW = st.binary(min_size=0, max_size=120).map(lambda data: bytes(byte % 3 for byte in data))
LONG = st.binary(min_size=8, max_size=20).map(lambda data: bytes(byte % 3 for byte in data))


def twin(patterns: list[bytes], data: bytes) -> set[tuple[int, int]]:
    return {(k, at) for k, one in enumerate(patterns) for at in range(len(data)) if data[at : at + len(one)] == one}


@given(st.lists(LONG, max_size=6), FEW)
def test_every_place_is_found(patterns: list[bytes], data: bytes) -> None:
    found = list(Finder(patterns).hits(data))
    assert set(found) == twin(patterns, data)
    assert len(found) == len(set(found))


def test_places_across_blocks_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "_BLOCK", 16)
    data = b"x" * 30 + b"needle in hay" + b"x" * 30 + b"needle in hay"
    assert list(Finder([b"needle in hay"]).hits(data)) == [(0, 30), (0, 73)]


def test_what_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        Finder([b"1234567"])


@given(st.text(max_size=400))
def test_stretches_are_of_the_text_and_look_the_same_in_json_and_html(text: str) -> None:
    found = fragments(text)
    assert len(found) <= 3
    for one in found:
        assert 24 <= len(one) <= 64
        assert one in text.encode("utf-8", "surrogatepass")
        assert one.decode() in json.dumps(one.decode(), ensure_ascii=False)
        assert not set(one) & set(b"\"\\<>&'/\n\r\t\0")


def test_a_short_text_has_none() -> None:
    assert fragments("too short") == []
    assert fragments("x" * 24) == [b"x" * 24]


WORDS = b"a stretch of words that nobody else wrote"
KEY = bytes(range(16))
OTHER = bytes(range(1, 17))
URL = b"http://bad.example/page"
NEEDLES = Needles(frozenset([KEY]), frozenset([URL]), frozenset([WORDS]))
FORBIDDEN = Suppression(ids={KEY: 1})


LEFT = {
    "a/raw": b"..." + WORDS + b"...",
    "a/raw.json": b'{"url": "' + URL + b'"}',
    "a/hex": KEY.hex().encode(),
    "a/sketch": b"12345" + KEY[:8][::-1] + KEY[8:][::-1],
    "a/x.gz": gzip.compress(b"." * 100 + WORDS, mtime=0),
    "a/x.csv.gz": gzip.compress(KEY.hex().encode()),
    "a/x.zst": zstandard.compress(b"." * 100 + WORDS),
    "report.html": WORDS,
}


@pytest.mark.parametrize("name", list(LEFT))
def test_what_is_left_in_any_file_is_found(tmp_path: Path, name: str) -> None:
    content = LEFT[name]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    proof = prove(Storage(tmp_path), NEEDLES, FORBIDDEN)
    assert [file for file, _ in proof.present] == [name]


def test_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.takedown.absence.CHUNK", 10)
    (tmp_path / "raw").write_bytes(b"-" * 33 + WORDS + b"-")
    assert prove(Storage(tmp_path), NEEDLES, FORBIDDEN).present == [("raw", "text")]


def test_a_longer_url_is_another_page(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(URL + b"/below and " + URL + b"s")
    assert not prove(Storage(tmp_path), NEEDLES, FORBIDDEN).present


def table(key: bytes, text: bytes, url: str) -> pa.Table:
    return pa.table(
        {"id": pa.array([OTHER, key], ID_TYPE), "text": ["other", text.decode()], "url": ["http://o.example/", url]}
    )


def test_rows_of_others_are_told_apart(tmp_path: Path) -> None:
    pq.write_table(
        table(OTHER, WORDS + b" and " + URL, URL.decode() + "/below"), tmp_path / "x.parquet", compression="zstd"
    )
    (tmp_path / "report.html").write_bytes(WORDS)
    proof = prove(Storage(tmp_path), NEEDLES, FORBIDDEN)
    assert proof.present == []
    assert proof.elsewhere == {OTHER.hex(): {"text", "url"}, "report.html": {"text"}}


def test_rows_without_an_owner_are_the_documents_own_unless_another_has_the_words(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [WORDS.decode()]}), tmp_path / "bare.parquet")
    assert prove(Storage(tmp_path), NEEDLES, FORBIDDEN).present == [("bare.parquet", "text")]
    pq.write_table(table(OTHER, WORDS, "http://y.example/"), tmp_path / "x.parquet")
    proof = prove(Storage(tmp_path), NEEDLES, FORBIDDEN)
    assert (proof.present, proof.elsewhere) == ([], {OTHER.hex(): {"text"}, "bare.parquet": {"text"}})


def test_rows_of_the_document_itself_are_present(tmp_path: Path) -> None:
    pq.write_table(table(KEY, b"...", "http://x.example/"), tmp_path / "x.parquet")
    pq.write_table(pa.table({"rep_id": pa.array([KEY], ID_TYPE)}), tmp_path / "y.parquet")
    proof = prove(Storage(tmp_path), NEEDLES, FORBIDDEN)
    assert {file for file, _ in proof.present} == {"x.parquet", "y.parquet"}


STRETCH = np.arange(100, 124, dtype="<u2")
TOKENS = Needles(frozenset([KEY]), tokens=frozenset([STRETCH.tobytes()]))
THIRD = bytes(range(2, 18))


def payload(folder: Path, *documents: tuple[bytes, list[int]]) -> Storage:
    tokens = [np.array(ids, "<u2") for _, ids in documents]
    (folder / "x.bin").write_bytes(b"".join(one.tobytes() for one in tokens))
    np.save(folder / "x.offsets.npy", np.cumsum([0, *(len(one) for one in tokens)]))
    ids = pa.array([key for key, _ in documents], ID_TYPE)
    pq.write_table(
        pa.table({"id": ids, "url": [f"http://{k}.example/" for k in range(len(ids))]}), folder / "x.docs.parquet"
    )
    return Storage(folder)


def test_a_stretch_of_tokens_that_another_document_had_is_told_and_one_that_it_did_not_have_is_present(
    tmp_path: Path,
) -> None:
    own, other = [1, *STRETCH, 0], [2, 3, *STRETCH, 4, 0]
    before = holders(payload(tmp_path, (KEY, own), (OTHER, other), (THIRD, [9, 0])), ["x.bin"], TOKENS, FORBIDDEN)
    proof = prove(payload(tmp_path, (OTHER, other), (THIRD, [9, 0])), before, FORBIDDEN)
    assert (proof.present, proof.elsewhere) == ([], {OTHER.hex(): {"tokens"}})
    proof = prove(payload(tmp_path, (OTHER, other), (THIRD, [9, *own])), before, FORBIDDEN)
    assert proof.present == [("x.bin", "tokens")]


@pytest.mark.parametrize("cut", [1, 5, 24])
def test_a_stretch_of_tokens_across_documents_is_present(tmp_path: Path, cut: int) -> None:
    parts = [7, *STRETCH[:cut]], [*STRETCH[cut:], 0]
    storage = payload(tmp_path, (OTHER, parts[0]), (THIRD, parts[1]))
    found = prove(storage, holders(storage, ["x.bin"], TOKENS, FORBIDDEN), FORBIDDEN)
    assert (found.present == []) == (cut == 24)


def test_a_stretch_of_tokens_past_the_last_document_is_present(tmp_path: Path) -> None:
    storage = payload(tmp_path, (OTHER, [1, 2, 0]))
    with (tmp_path / "x.bin").open("ab") as file:
        file.write(STRETCH.tobytes())
    found = prove(storage, holders(storage, ["x.bin"], TOKENS, FORBIDDEN), FORBIDDEN)
    assert found.present == [("x.bin", "tokens")]
