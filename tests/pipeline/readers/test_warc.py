"""WARC and WET: which records are documents, how bodies are decoded, and how little damage costs."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from fastwarc.stream_io import BrotliWriter
from fastwarc.warc import WarcRecord, WarcRecordType

from pipeline.documents import DROPPED_SCHEMA, QUARANTINE_SCHEMA, SCHEMA, document_id
from tests.pipeline.readers.archives import errors, gzipped, http, page, read_bytes, reasons, record, texts

HTML = "<html><head><title>Ü</title></head><body>données 数据</body></html>"


def chunked(body: bytes, size: int = 7) -> bytes:
    parts = [body[k : k + size] for k in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def brotli(body: bytes) -> bytes:
    made = io.BytesIO()
    writer = BrotliWriter(made)
    writer.write(body)
    writer.close()
    return made.getvalue()


def raw_deflate(body: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(body) + deflate.flush()


class TestWhatIsADocument:
    def test_only_responses_count(self, tmp_path: Path) -> None:
        data = gzipped([
            record(b"software: x\r\n", None, "warcinfo", "application/warc-fields"),
            record(b"GET / HTTP/1.1\r\n\r\n", kind="request", content_type="application/http; msgtype=request"),
            record(http(HTML.encode())),
            record(b"fetchTimeMs: 1\r\n", kind="metadata", content_type="application/warc-fields"),
            record(b"20260102\nexample.org. 1 IN A 192.0.2.1\n", "dns:example.org", content_type="text/dns"),
            record(b"HTTP/1.1 200 OK\r\n\r\n", kind="revisit"),
        ])  # fmt: skip
        batch = read_bytes(tmp_path, data)
        assert texts(batch) == [HTML]
        assert (batch.dropped.num_rows, batch.quarantined.num_rows) == (0, 0)

    def test_columns_of_a_page(self, tmp_path: Path) -> None:
        batch = read_bytes(tmp_path, gzipped([record(http(HTML.encode()), WARC_Truncated="length")]))
        assert batch.documents.schema.names[: len(SCHEMA)] == SCHEMA.names
        assert batch.documents.select(SCHEMA.names).schema == SCHEMA
        assert batch.dropped.schema == DROPPED_SCHEMA
        assert batch.quarantined.schema == QUARANTINE_SCHEMA
        assert batch.documents.to_pylist() == [
            {
                "id": document_id("demo", "http://example.org/ 2026-01-02T03:04:05Z", HTML.encode()),
                "text": HTML,
                "url": "http://example.org/",
                "source": "demo",
                "date": "2026-01-02T03:04:05Z",
                "license": None,
                "origin": f"{tmp_path}/x.warc.gz#0",
                "charset": "utf-8",
                "charset_from": "http",
                "replacement_chars": 0,
                "content_type": "text/html",
                "truncated": "length",
                "record_id": f"<urn:uuid:{zlib.crc32(b'http://example.org/'):08x}>",
            }
        ]

    def test_what_is_no_page_is_dropped_with_its_reason(self, tmp_path: Path) -> None:
        data = gzipped([
            record(http(b"gone", status="404 Not Found")),
            record(http(b"", status="301 Moved", Location="/x")),
            record(http(b"\x89PNG\r\n", "image/png")),
            record(http(b"%PDF-1.7", None)),
            record(http(b"")),
            record(http(b"\xef\xbb\xbf")),
            record(http(b"<!DOCTYPE html><p>no type given", None)),
            record(http(b"<p>x", "application/xhtml+xml;charset=utf-8")),
        ])  # fmt: skip
        batch = read_bytes(tmp_path, data)
        assert texts(batch) == ["<!DOCTYPE html><p>no type given", "<p>x"]
        assert reasons(batch) == [
            ("http_status", "404"), ("http_status", "301"), ("content_type", "image/png"), ("content_type", ""),
            ("empty", None), ("empty", None),
        ]  # fmt: skip
        assert set(batch.dropped["operator"].to_pylist()) == {"read"}
        assert batch.dropped["bytes"].to_pylist() == [4, 0, 6, 8, 0, 0]

    def test_types_can_be_chosen(self, tmp_path: Path) -> None:
        data = record(http(b"plain", "text/plain"))
        assert texts(read_bytes(tmp_path, data, html_types=["text/plain"])) == ["plain"]

    def test_a_response_without_a_status_line_is_quarantined(self, tmp_path: Path) -> None:
        batch = read_bytes(tmp_path, record(b"<html>no head</html>") + record(b"") + page(1))
        assert len(texts(batch)) == 1
        assert errors(batch) == ["HTTP response without a status line"] * 2
        assert batch.quarantined["url"].to_pylist() == ["http://example.org/"] * 2
        assert batch.quarantined["excerpt"][0].as_py() == "<html>no head</html>"

    @pytest.mark.parametrize("data", [b"", gzip.compress(b"", mtime=0), gzip.compress(b"\r\n\r\n", mtime=0), b"\r\n"])
    def test_an_empty_file_has_no_documents_and_no_errors(self, tmp_path: Path, data: bytes) -> None:
        batch = read_bytes(tmp_path, data)
        assert (batch.documents.num_rows, batch.dropped.num_rows, batch.quarantined.num_rows) == (0, 0, 0)
        assert "charset" in batch.documents.column_names

    def test_wet_conversions(self, tmp_path: Path) -> None:
        data = gzipped([
            record(b"x", None, "warcinfo", "application/warc-fields"),
            record("Überschrift\nText".encode(), kind="conversion", content_type="text/plain"),
            record(b"", "http://e/2", kind="conversion", content_type="text/plain"),
            record(b"caf\xe9 " + "für alle Gäste, überall, größer, schöner, öfter".encode(), "http://e/3", "conversion", "text/plain"),
        ])  # fmt: skip
        batch = read_bytes(tmp_path, data, format="wet")
        assert texts(batch) == ["Überschrift\nText", "caf\ufffd für alle Gäste, überall, größer, schöner, öfter"]
        assert batch.documents["replacement_chars"].to_pylist() == [0, 1]
        assert reasons(batch) == [("empty", None)]

    def test_records_written_by_fastwarc_are_read(self, tmp_path: Path) -> None:
        made = io.BytesIO()
        for number in range(3):
            one = WarcRecord()
            one.init_headers(record_type=WarcRecordType.response)
            one.headers["WARC-Target-URI"] = f"http://example.org/{number}"
            one.headers["Content-Type"] = "application/http; msgtype=response"
            one.set_bytes_content(http(b"<p>%d" % number))
            one.write(made)
        assert texts(read_bytes(tmp_path, made.getvalue(), "x.warc")) == ["<p>0", "<p>1", "<p>2"]


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "headers"),
        [
            (chunked(HTML.encode()), {"Transfer_Encoding": "chunked"}),
            (chunked(HTML.encode()).replace(b"7\r\n", b"7;name=x\r\n", 1), {"Transfer_Encoding": "Chunked"}),
            (gzip.compress(HTML.encode(), mtime=0), {"Content_Encoding": "gzip"}),
            (
                chunked(gzip.compress(HTML.encode(), mtime=0)),
                {"Content_Encoding": "x-gzip", "Transfer_Encoding": "chunked"},
            ),
            (zlib.compress(HTML.encode()), {"Content_Encoding": "deflate"}),
            (raw_deflate(HTML.encode()), {"Content_Encoding": "deflate"}),
            (brotli(HTML.encode()), {"Content_Encoding": "br"}),
            (zstandard.compress(HTML.encode()), {"Content_Encoding": "zstd"}),
            (gzip.compress(brotli(HTML.encode()), mtime=0), {"Content_Encoding": "br, gzip"}),
            (HTML.encode(), {"Content_Encoding": "gzip", "Transfer_Encoding": "chunked"}),
            (HTML.encode(), {"Content_Encoding": "br"}),
            (HTML.encode(), {"Content_Encoding": "deflate"}),
            (HTML.encode(), {"Content_Encoding": "identity"}),
            (HTML.encode(), {"Content_Encoding": "UTF-8"}),
        ],
    )
    def test_encoded_as_sent_or_already_decoded(self, tmp_path: Path, body: bytes, headers: dict[str, str]) -> None:
        batch = read_bytes(tmp_path, record(http(body, **headers)))
        assert texts(batch) == [HTML]
        assert batch.documents["truncated"].to_pylist() == [None]

    def test_a_page_that_begins_with_a_number_is_no_chunk(self, tmp_path: Path) -> None:
        body = b"12\n<p>months of data, stored without the chunks"
        assert texts(read_bytes(tmp_path, record(http(body, Transfer_Encoding="chunked")))) == [body.decode()]

    @pytest.mark.parametrize(
        ("body", "headers"),
        [
            (chunked(HTML.encode() * 50)[:-900], {"Transfer_Encoding": "chunked"}),
            (gzip.compress(HTML.encode() * 50, mtime=0)[:-12], {"Content_Encoding": "gzip"}),
            (zlib.compress(HTML.encode() * 50)[:-6], {"Content_Encoding": "deflate"}),
            (brotli(bytes(str(list(range(30_000))), "ascii"))[:-6000], {"Content_Encoding": "br"}),
        ],
    )
    def test_a_body_cut_off_keeps_what_is_there(self, tmp_path: Path, body: bytes, headers: dict[str, str]) -> None:
        batch = read_bytes(tmp_path, record(http(body, **headers)))
        (text,) = texts(batch)
        assert len(text) > 500
        assert "cut off" in batch.documents["truncated"][0].as_py()

    def test_a_body_that_cannot_be_decoded_is_quarantined(self, tmp_path: Path) -> None:
        batch = read_bytes(tmp_path, record(http(bytes(range(256)) * 4, Content_Encoding="br")))
        assert errors(batch)[0].startswith("Content-Encoding br cannot be undone")

    def test_a_bomb_is_quarantined_and_not_unpacked(self, tmp_path: Path) -> None:
        bomb = gzip.compress(b"\0" * 50_000_000, mtime=0)
        batch = read_bytes(tmp_path, record(http(bomb, Content_Encoding="gzip")), max_document_bytes=1_000_000)
        assert errors(batch) == ["page of more than 1000000 bytes (max_document_bytes)"]

    def test_a_20_mb_page_is_a_document(self, tmp_path: Path) -> None:
        body = b"<html>" + b"all work and no play " * 1_000_000
        batch = read_bytes(tmp_path, gzipped([page(1), record(http(body)), page(2)]))
        assert [len(text) for text in texts(batch)][1] == len(body) == 21_000_006

    def test_what_is_over_the_limit_is_quarantined_and_the_next_record_read(self, tmp_path: Path) -> None:
        body = b"<html>" + b"x" * 3_000_000
        data = gzipped([record(http(body)), record(http(body[:1_000_001])), page(1), record(http(body, "video/mp4"))])
        batch = read_bytes(tmp_path, data, max_document_bytes=1_000_000)
        assert len(texts(batch)) == 1
        assert [error.partition(",")[0] for error in errors(batch)] == [
            f"page of {len(http(body))} bytes", "page of more than 1000000 bytes (max_document_bytes)"]  # fmt: skip
        assert reasons(batch) == [("content_type", "video/mp4")]

    def test_wrong_charset_header_and_invalid_utf_8(self, tmp_path: Path) -> None:
        chinese = "<html><p>" + "网页的编码常常写错，读的人要多一分小心。" * 2
        data = gzipped([
            record(http(chinese.encode("gb18030"), "text/html; charset=UTF-8"), "http://e/1"),
            record(http(chinese.encode("gb18030"), "text/html; charset=gb2312"), "http://e/2"),
            record(http(chinese.encode() + b"\xff\xfe", "text/html;charset='utf-8'"), "http://e/3"),
        ])  # fmt: skip
        batch = read_bytes(tmp_path, data)
        assert texts(batch) == [chinese, chinese, chinese + "\ufffd\ufffd"]
        rows = batch.documents.select(["charset", "charset_from", "replacement_chars"]).to_pylist()
        assert [tuple(row.values()) for row in rows] == [
            ("gb18030", "detected", 0), ("gb18030", "http", 0), ("utf-8", "http", 2)]  # fmt: skip


class TestIdentity:
    def test_ids_do_not_depend_on_name_place_compression_or_order(self, tmp_path: Path) -> None:
        pages = [page(number) for number in range(6)]
        one = read_bytes(tmp_path, gzipped(pages), "a.warc.gz").documents
        other = read_bytes(tmp_path, b"".join(reversed(pages)), "b.warc").documents
        assert one["id"].to_pylist() == other["id"].to_pylist()[::-1]
        assert one["text"].to_pylist() == other["text"].to_pylist()[::-1]
        assert len(set(one["id"].to_pylist())) == 6
        assert one["origin"][1].as_py() == f"{tmp_path}/a.warc.gz#{len(gzip.compress(pages[0], mtime=0))}"
        assert other["origin"][1].as_py() == f"{tmp_path}/b.warc#{len(pages[5])}"

    def test_url_and_date_are_the_key_else_the_record_id(self, tmp_path: Path) -> None:
        no_url = record(http(b"<p>x"), None, WARC_Record_ID="<urn:uuid:7>")
        ids = read_bytes(tmp_path, record(http(b"<p>x")) + no_url).documents["id"].to_pylist()
        assert ids[0] == document_id("demo", "http://example.org/ 2026-01-02T03:04:05Z", b"<p>x")
        assert ids[1] == document_id("demo", "<urn:uuid:7>", b"<p>x")

    def test_batches_do_not_matter(self, tmp_path: Path) -> None:
        data = gzipped([page(1), record(http(b"", status="404 x")), page(2), page(3)])[:-30]
        whole = read_bytes(tmp_path, data)
        by_one = read_bytes(tmp_path, data, batch_bytes=1)
        for name in ("documents", "dropped", "quarantined"):
            assert getattr(whole, name).equals(getattr(by_one, name).combine_chunks())
        assert (whole.documents.num_rows, whole.dropped.num_rows, whole.quarantined.num_rows) == (2, 1, 1)


def _layouts() -> dict[str, bytes]:
    pages = [page(number, 10 + 15 * number) for number in range(6)]
    whole = b"".join(pages)
    blocks = [whole[k : k + 500] for k in range(0, len(whole), 500)]
    return {
        "a member a record": gzipped(pages),
        "one member": gzip.compress(whole, mtime=0),
        "members across records": gzipped(blocks),
        "zstd frames": b"".join(zstandard.compress(one) for one in pages),
        "plain": whole,
    }


class TestDamage:
    @pytest.mark.parametrize("layout", list(_layouts()))
    def test_cutting_anywhere_loses_only_what_is_cut_off(self, tmp_path: Path, layout: str) -> None:
        data = _layouts()[layout]
        whole = texts(read_bytes(tmp_path, data))
        assert len(whole) == 6
        seen = set()
        for cut in range(0, len(data), 97):
            batch = read_bytes(tmp_path, data[:cut])
            left = texts(batch)
            assert left == whole[: len(left)]
            assert batch.quarantined.num_rows <= 1
            seen.add(len(left))
            if batch.quarantined.num_rows == 0 and layout != "members across records":
                # Cut between two records, or behind the last byte that matters.
                assert len(left) == 6 or texts(read_bytes(tmp_path, data[: cut + 97]))[: len(left)] == left
        assert seen >= set(range(6)) if layout != "one member" else len(seen) > 1

    def test_every_record_before_a_cut_is_delivered(self, tmp_path: Path) -> None:
        members = [gzip.compress(page(number), mtime=0) for number in range(4)]
        bounds = [sum(map(len, members[:k])) for k in range(5)]
        for whole, start in enumerate(bounds[:-1]):
            # 4 bytes before its end a member lacks half of its trailer, but nothing of its record.
            for cut, complete in (
                (start + 2, 0),
                (start + 40, 0),
                (bounds[whole + 1] - 40, 0),
                (bounds[whole + 1] - 4, 1),
            ):
                batch = read_bytes(tmp_path, b"".join(members)[:cut])
                assert len(texts(batch)) == whole + complete
                assert batch.quarantined["origin"].to_pylist() == [f"{tmp_path}/x.warc.gz#{start}"]

    def test_a_flipped_bit_costs_one_record(self, tmp_path: Path) -> None:
        members = [gzip.compress(page(number), mtime=0) for number in range(5)]
        whole = texts(read_bytes(tmp_path, b"".join(members)))
        start = len(members[0] + members[1])
        for offset in (3, *range(0, len(members[2]), 11)):
            broken = bytearray(b"".join(members))
            broken[start + offset] ^= 0x04
            batch = read_bytes(tmp_path, bytes(broken))
            if batch.quarantined.num_rows == 0:
                # The time stamp and the operating system in gzip's header: nothing reads them.
                assert offset < 10
                assert texts(batch) == whole
            else:
                # A member whose end mark is hit looks cut off behind its content, which is then whole.
                assert texts(batch) in (whole, [*whole[:2], *whole[3:]])
                assert batch.quarantined.num_rows == 1
                assert batch.quarantined["origin"][0].as_py().startswith(f"{tmp_path}/x.warc.gz#{start}")

    @pytest.mark.parametrize("junk", [b"garbage", b"\x1f\x8b\x08 not really", bytes(range(1, 256)) * 40, b"\0\0\0\0"])
    def test_junk_between_members_is_one_row_and_the_rest_is_read(self, tmp_path: Path, junk: bytes) -> None:
        first, second = gzipped([page(0), page(1)]), gzipped([page(2), page(3)])
        batch = read_bytes(tmp_path, first + junk + second)
        assert len(texts(batch)) == 4
        # Zeros are padding to gzip's own tools.
        expected = [] if not junk.strip(b"\0") else [f"{tmp_path}/x.warc.gz#{len(first)}"]
        assert batch.quarantined["origin"].to_pylist() == expected
        assert batch.quarantined["bytes"].to_pylist() == [len(junk)] * len(expected)

    def test_junk_between_plain_records(self, tmp_path: Path) -> None:
        first = page(0)
        batch = read_bytes(tmp_path, first + b"junk " * 1000 + b"\r\n" + page(1), "x.warc")
        assert len(texts(batch)) == 2
        assert batch.quarantined.select(["origin", "error", "bytes"]).to_pylist() == [
            {"origin": f"{tmp_path}/x.warc#{len(first)}", "error": "no WARC record begins here", "bytes": 5002}
        ]

    def test_bytes_missing_from_the_middle_of_a_plain_file(self, tmp_path: Path) -> None:
        pages = [page(number) for number in range(4)]
        whole = texts(read_bytes(tmp_path, b"".join(pages), "x.warc"))
        damaged = pages[0] + pages[1][:-200] + pages[2] + pages[3]
        batch = read_bytes(tmp_path, damaged, "x.warc")
        # The length of record 1 reaches into record 2: neither can be trusted beyond doubt, but 3 can.
        assert texts(batch) == [whole[0], *whole[2:]] or texts(batch) == [whole[0], whole[3]]
        assert batch.quarantined.num_rows >= 1

    def test_a_file_cut_off_before_another_was_appended(self, tmp_path: Path) -> None:
        cut, good = gzip.compress(b"".join(page(k) for k in range(3)), mtime=0)[:-300], gzipped([page(7), page(8)])
        alone = texts(read_bytes(tmp_path, cut))
        batch = read_bytes(tmp_path, cut + good)
        assert texts(batch) == [*alone, *texts(read_bytes(tmp_path, good))]
        assert len(alone) >= 1
        assert batch.quarantined.num_rows == 1

    def test_a_header_without_a_length(self, tmp_path: Path) -> None:
        bad = b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://example.org/bad\r\n\r\nwhat is this\r\n\r\n"
        batch = read_bytes(tmp_path, page(0) + bad + page(1), "x.warc")
        assert len(texts(batch)) == 2
        assert batch.quarantined.select(["error", "url", "bytes"]).to_pylist() == [
            {"error": "WARC header without Content-Length", "url": "http://example.org/bad", "bytes": len(bad)}
        ]

    @pytest.mark.parametrize("data", [b"no archive at all", b"\x1f\x8b", b"\x1f\x8b\x08\x00", bytes(range(256)) * 3])
    def test_what_is_no_archive_is_one_row(self, tmp_path: Path, data: bytes) -> None:
        batch = read_bytes(tmp_path, data)
        assert (batch.documents.num_rows, batch.quarantined.num_rows) == (0, 1)
        assert batch.quarantined["bytes"].to_pylist() == [len(data)]

    def test_a_record_that_ends_early_in_its_member_does_not_eat_the_next(self, tmp_path: Path) -> None:
        short = page(1)[:-50]
        batch = read_bytes(tmp_path, gzipped([page(0), short, page(2)]))
        assert len(texts(batch)) == 2
        assert errors(batch) == ["WARC record cut short"]
        assert batch.quarantined["url"].to_pylist() == ["http://example.org/1"]


def test_a_shard_of_several_files_is_read_in_order(tmp_path: Path) -> None:
    from pipeline.inputs import Piece  # only here
    from pipeline.readers.read import Read, read_shard  # only here

    pieces = []
    for number in range(3):
        path = tmp_path / f"{number}.warc.gz"
        path.write_bytes(gzipped([page(number)]) if number != 1 else b"")
        pieces.append(Piece(path=str(path)))
    parts = list(read_shard(Read(format="warc", paths=("*",), source="s"), pieces))
    docs = pa.concat_tables([part.documents for part in parts])
    assert docs["url"].to_pylist() == ["http://example.org/0", "http://example.org/2"]
    with pytest.raises(ValueError, match="source"):
        list(read_shard(Read(format="warc", paths=("*",)), pieces))
