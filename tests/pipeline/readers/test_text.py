"""Plain text: whole files, lines and paragraphs, in any encoding."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pipeline.documents import document_id
from tests.pipeline.readers.archives import errors, read_bytes, reasons, texts

CHINESE = "一行文字\n又一行，写得长一些，好让编码可以辨认。" * 3


@pytest.mark.parametrize(
    ("data", "options", "charset"),
    [
        (CHINESE.encode(), {}, ("utf-8", "detected")),
        (b"\xef\xbb\xbf" + CHINESE.encode(), {}, ("utf-8", "bom")),
        (CHINESE.encode("utf-16"), {}, ("utf-16le", "bom")),
        (CHINESE.encode("gb18030"), {}, ("gb18030", "detected")),
        (CHINESE.encode("gb18030"), {"encoding": "gb2312"}, ("gb18030", "recipe")),
        (gzip.compress(CHINESE.encode(), mtime=0), {}, ("utf-8", "detected")),
    ],
)
def test_a_file_is_a_document(tmp_path: Path, data: bytes, options: dict[str, str], charset: tuple[str, str]) -> None:
    batch = read_bytes(tmp_path, data, "x.txt", format="text", **options)
    (row,) = batch.documents.to_pylist()
    assert row["text"] == CHINESE
    assert (row["charset"], row["charset_from"]) == charset
    assert row["id"] == document_id("demo", "", CHINESE.encode())


def test_lines(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbfone\r\n\n  \ntwo\xe2\x80\xa8still two\nthr\xffee\n" + b"x" * 50 + b"\nlast"
    batch = read_bytes(tmp_path, data, "x.txt", format="text", documents="line", max_document_bytes=40)
    assert texts(batch) == ["one", "two\u2028still two", "thr\ufffdee", "last"]
    assert batch.documents["replacement_chars"].to_pylist() == [0, 0, 1, 0]
    assert batch.documents["origin"].to_pylist()[1] == f"{tmp_path}/x.txt#12"
    assert errors(batch) == ["text of at least 50 bytes, over max_document_bytes = 40"]


def test_paragraphs(tmp_path: Path) -> None:
    data = "a\nb\r\n\r\n \nc\n\n\nд".encode("cp1251")
    batch = read_bytes(tmp_path, data, "x.txt", format="text", documents="paragraph", encoding="cp1251")
    assert texts(batch) == ["a\nb", "c", "д"]
    assert batch.documents["origin"].to_pylist() == [f"{tmp_path}/x.txt#{offset}" for offset in (0, 9, 13)]


def test_empty_large_and_damaged_files(tmp_path: Path) -> None:
    assert reasons(read_bytes(tmp_path, b"", "x.txt", format="text")) == [("empty", None)]
    large = read_bytes(tmp_path, b"x" * 101, "x.txt", format="text", max_document_bytes=100)
    assert errors(large) == ["text of at least 101 bytes, over max_document_bytes = 100"]
    cut = read_bytes(tmp_path, gzip.compress(CHINESE.encode(), mtime=0)[:-20], "x.txt", format="text")
    assert (cut.documents.num_rows, cut.quarantined.num_rows) == (0, 1)
