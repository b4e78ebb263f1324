"""JSON lines: fields, bad lines, splits, and compressed files that end too soon."""

from __future__ import annotations

import gzip
import json
import tempfile
import zlib
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.documents import document_id
from pipeline.inputs import Piece
from pipeline.readers.read import Read
from tests.pipeline.readers.archives import errors, read_all, read_bytes, reasons, texts


def lines(*records: object) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


class TestFields:
    def test_names_that_are_known_are_taken(self, tmp_path: Path) -> None:
        data = lines(
            {
                "id": 7,
                "text": "one\u2028two\x85three",
                "url": "http://e/1",
                "date": "2026",
                "license": "CC0",
                "lang": "de",
                "n": 1,
            },
            {"text": "zwei", "language": "en", "lang": "de", "label": "hq"},
        )
        rows = read_bytes(tmp_path, data, "x.jsonl", format="jsonl").documents.to_pylist()
        assert rows[0] == {
            "id": document_id("demo", "7", "one\u2028two\x85three".encode()),
            "text": "one\u2028two\x85three",
            "url": "http://e/1",
            "source": "demo",
            "date": "2026",
            "license": "CC0",
            "origin": f"{tmp_path}/x.jsonl#0",
            "label": None,
            "language": "de",
            "record_id": "7",
        }
        assert (rows[1]["language"], rows[1]["label"], rows[1]["record_id"]) == ("en", "hq", None)
        first_line = data.index(b"\n") + 1
        assert rows[1]["origin"] == f"{tmp_path}/x.jsonl#{first_line}"

    def test_columns_pick_nested_and_further_fields(self, tmp_path: Path) -> None:
        data = lines(
            {"content": "a", "meta": {"url": "http://e/1", "score": 3, "tags": ["x"]}, "a.b": "dotted"},
            {"content": "b"},
        )
        columns = {"text": "content", "url": "meta.url", "score": "meta.score", "tags": "meta.tags", "ab": "a.b"}
        batch = read_bytes(tmp_path, data, "x.jsonl", format="jsonl", columns=columns, column_types={"score": "float"})
        picked = batch.documents.select(["text", "url", "score", "tags", "ab"]).to_pylist()
        assert picked == [
            {"text": "a", "url": "http://e/1", "score": 3.0, "tags": '["x"]', "ab": "dotted"},
            {"text": "b", "url": None, "score": None, "tags": None, "ab": None},
        ]
        assert batch.documents.column_names[7:] == ["score", "tags", "ab", "label", "language", "record_id"]

    def test_what_columns_does_not_name_is_taken_as_without_it(self, tmp_path: Path) -> None:
        fields = {"id": "k", "url": "u", "date": "d", "license": "l", "lang": "de", "label": "hq"}
        data = lines({"body": "t", "site": "books", **fields})
        columns = {"text": "body", "source": "site", "date": None}
        row = read_bytes(tmp_path, data, "x.jsonl", format="jsonl", columns=columns).documents.to_pylist()[0]
        assert row == {
            "id": document_id("books", "k", b"t"), "text": "t", "url": "u", "source": "books", "date": None,
            "license": "l", "origin": f"{tmp_path}/x.jsonl#0", "label": "hq", "language": "de", "record_id": "k",
        }  # fmt: skip

    def test_null_turns_a_field_off(self, tmp_path: Path) -> None:
        data = lines({"text": "t", "id": "k", "url": "u", "language": "de", "score": 1})
        columns = {"id": None, "language": None, "url": None}
        docs = read_bytes(tmp_path, data, "x.jsonl", format="jsonl", columns=columns).documents
        assert docs["id"].to_pylist() == [document_id("demo", "", b"t")]
        assert docs["url"].to_pylist() == [None]
        assert docs.column_names[7:] == ["label"]

    def test_the_key_is_the_id_else_url_and_date_else_nothing(self, tmp_path: Path) -> None:
        data = lines(
            {"text": "t", "id": "k", "url": "u"},
            {"text": "t", "url": "u", "date": "d"},
            {"text": "t", "url": "u"},
            {"text": "t"},
        )
        ids = read_bytes(tmp_path, data, "x.jsonl", format="jsonl").documents["id"].to_pylist()
        assert ids == [document_id("demo", key, b"t") for key in ("k", "u d", "u", "")]

    def test_a_source_column_overrides_row_by_row(self, tmp_path: Path) -> None:
        data = lines({"text": "t", "src": "books"}, {"text": "t"})
        batch = read_bytes(tmp_path, data, "x.jsonl", format="jsonl", columns={"source": "src"})
        assert batch.documents["source"].to_pylist() == ["books", "demo"]
        assert batch.documents["id"].to_pylist() == [document_id(name, "", b"t") for name in ("books", "demo")]

    @pytest.mark.parametrize(
        "wrong",
        [
            {},
            {"paths": ["x"], "column_types": {"score": "float"}},
            {"paths": ["x"], "columns": {"origin": "o"}},
            {"paths": ["x"], "columns": {"text": None}},
            {"paths": ["x"], "columns": {"score": None}, "column_types": {"score": "float"}},
            {"paths": ["x"], "format": "warc", "columns": {"text": "t"}},
            {"paths": ["x"], "encoding": "big5"},
            {"paths": ["x"], "format": "text", "encoding": "utf-99"},
            {"paths": ["x"], "format": "text", "encoding": "utf-16", "documents": "line"},
            {"paths": ["x"], "colums": {"text": "t"}},
        ],
    )
    def test_options_that_make_no_sense_are_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            Read.model_validate({"format": "jsonl", **wrong})

    def test_options_are_a_value(self) -> None:
        options = Read.model_validate({"format": "jsonl", "paths": ["x"], "columns": {"text": "content"}})
        assert options == Read.model_validate_json(options.model_dump_json())
        assert hash(options) == hash(options.model_copy())


class TestBadLines:
    @pytest.mark.parametrize(
        ("line", "error"),
        [
            (b"{not json", "line is not JSON"),
            (b'{"text": "a"} trailing', "line is not JSON"),
            (b'["text"]', "line is not a JSON object but an array"),
            (b"null", "line is not a JSON object but null"),
            (b'{"txt": "a"}', "no field 'text'"),
            (b'{"text": 5}', "field 'text' is a number, not a string"),
            (b'{"text": {"a": "b"}}', "field 'text' is an object, not a string"),
            (b'{"text": "caf\xe9"}', "line is not JSON"),
            (b'{"text": "\\ud800"}', "line holds half of a surrogate pair"),
            (b'{"text": "' + b"x" * 2000 + b'"}', "text of 2000 bytes, over max_document_bytes = 1000"),
            (b'{"text": "a", "x": "' + b"x" * 3_000_000 + b'"}', "line of 3000022 bytes is longer"),
        ],
    )
    def test_one_bad_line_costs_one_line(self, tmp_path: Path, line: bytes, error: str) -> None:
        first = lines({"text": "before"})
        batch = read_bytes(
            tmp_path,
            first + line + b"\n" + lines({"text": "after"}),
            "x.jsonl",
            format="jsonl",
            max_document_bytes=1000,
        )
        assert texts(batch) == ["before", "after"]
        assert batch.dropped.num_rows == 0
        (row,) = batch.quarantined.to_pylist()
        assert row["error"].startswith(error)
        assert (row["origin"], row["bytes"], row["source"]) == (f"{tmp_path}/x.jsonl#{len(first)}", len(line), "demo")
        assert row["excerpt"] == line[:300].decode("utf-8", "replace")

    def test_a_further_column_of_the_wrong_type(self, tmp_path: Path) -> None:
        data = lines(
            {"text": "a", "n": 1}, {"text": "b", "n": "many"}, {"text": "c", "n": 1.5}, {"text": "d", "n": True}
        )
        options = {"format": "jsonl", "columns": {"n": "n"}, "column_types": {"n": "int"}}
        batch = read_bytes(tmp_path, data, "x.jsonl", **options)
        assert texts(batch) == ["a"]
        assert errors(batch)[0] == "column 'n' must be int64, got a string \"many\""
        assert len(errors(batch)) == 3

    def test_empty_texts_are_dropped_and_blank_lines_are_nothing(self, tmp_path: Path) -> None:
        data = b'\xef\xbb\xbf{"text": ""}\n\n  \r\n{"text": null}\r\n{"text": " "}'
        batch = read_bytes(tmp_path, data, "x.jsonl", format="jsonl")
        assert texts(batch) == [" "]
        assert reasons(batch) == [("empty", None), ("empty", "null")]

    def test_an_empty_file(self, tmp_path: Path) -> None:
        batch = read_bytes(tmp_path, b"", "x.jsonl", format="jsonl")
        assert (batch.documents.num_rows, batch.dropped.num_rows, batch.quarantined.num_rows) == (0, 0, 0)


RECORDS = [
    {"text": f"{number} " + " ".join(f"{zlib.crc32(b'%d' % (number * k)):x}" for k in range(30))}
    for number in range(40)
]
DATA = lines(*RECORDS)


class TestCompressed:
    @pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, lambda data: data])
    def test_gzip_and_zstd_give_what_plain_gives(self, tmp_path: Path, pack: object) -> None:
        batch = read_bytes(tmp_path, pack(DATA), "named-anything", format="jsonl")
        assert texts(batch) == [record["text"] for record in RECORDS]
        assert batch.documents["origin"][1].as_py() == f"{tmp_path}/named-anything#{DATA.index(10) + 1}"

    def test_many_members_and_frames(self, tmp_path: Path) -> None:
        blocks = [DATA[k : k + 700] for k in range(0, len(DATA), 700)]
        for pack in (gzip.compress, zstandard.compress):
            batch = read_bytes(tmp_path, b"".join(map(pack, blocks)), "x", format="jsonl")
            assert texts(batch) == [record["text"] for record in RECORDS]

    @pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
    def test_a_cut_loses_only_what_is_cut_off(self, tmp_path: Path, pack: object) -> None:
        halves = DATA[: DATA.index(b"\n", len(DATA) // 2) + 1], DATA[DATA.index(b"\n", len(DATA) // 2) + 1 :]
        packed = pack(halves[0]) + pack(halves[1])
        every = [record["text"] for record in RECORDS]
        sound = halves[0].count(b"\n")
        for cut in range(1, len(packed), 97):
            batch = read_bytes(tmp_path, packed[:cut], "x", format="jsonl")
            left = texts(batch)
            assert left == every[: len(left)]
            assert batch.quarantined.num_rows == (0 if cut == len(pack(halves[0])) else 1)
            assert len(left) >= (sound if cut >= len(pack(halves[0])) else 0)

    def test_gzip_delivers_lines_up_to_the_cut(self, tmp_path: Path) -> None:
        packed = gzip.compress(DATA, mtime=0)
        for cut in range(len(packed) // 10, len(packed), 997):
            there = zlib.decompressobj(31).decompress(packed[:cut]).count(b"\n")
            batch = read_bytes(tmp_path, packed[:cut], "x", format="jsonl")
            assert len(texts(batch)) == there
            assert "cut off" in errors(batch)[0]

    def test_a_large_stream_flipped_in_the_middle_keeps_its_beginning(self, tmp_path: Path) -> None:
        big = lines(*({"text": f"{k} {zlib.crc32(b'%d' % k):x}" * 20} for k in range(15_000)))
        packed = bytearray(gzip.compress(big, mtime=0))
        packed[len(packed) // 2] ^= 0xFF
        batch = read_bytes(tmp_path, bytes(packed), "x", format="jsonl")
        every = [json.loads(line)["text"] for line in big.splitlines()]
        # Behind the place inflate makes garbage, which only the checksum at the end gives away.
        sound = 6_500
        assert texts(batch)[:sound] == every[:sound]
        assert sum("gzip member damaged" in error for error in errors(batch)) == 1


class TestSplits:
    @settings(max_examples=80, deadline=None)
    @given(
        parts=st.lists(st.text(alphabet="ab\r\u2028\x85é", max_size=6), max_size=12),
        last=st.booleans(),
        cuts=st.lists(st.integers(1, 400), max_size=6),
    )
    def test_every_line_is_read_once_whatever_the_cuts(self, parts: list[str], last: bool, cuts: list[int]) -> None:
        data = "\n".join(json.dumps({"text": f"x{part}"}, ensure_ascii=False) for part in parts).encode()
        data += b"\n" if last and data else b""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.jsonl"
            path.write_bytes(data)
            bounds = [0, *sorted({cut for cut in cuts if cut < len(data)}), None]
            pieces = [Piece(path=str(path), start=a, end=b) for a, b in pairwise(bounds)]
            options = Read(format="jsonl", paths=("x",), source="demo")
            whole = read_all(options, Piece(path=str(path))).documents
            split = read_all(options, *pieces, batch_bytes=1).documents
        assert whole["text"].to_pylist() == [f"x{part}" for part in parts]
        assert split.combine_chunks().equals(whole.combine_chunks())

    def test_cuts_right_at_and_around_a_line_feed(self, tmp_path: Path) -> None:
        path = tmp_path / "x.jsonl"
        path.write_bytes(lines({"text": "a"}, {"text": "b"}, {"text": "c"}))
        options = Read(format="jsonl", paths=("x",), source="demo")
        for cut in range(1, path.stat().st_size):
            first = read_all(options, Piece(path=str(path), end=cut))
            second = read_all(options, Piece(path=str(path), start=cut))
            assert [*texts(first), *texts(second)] == ["a", "b", "c"]
            assert len(texts(first)) == -(-cut // 14)
