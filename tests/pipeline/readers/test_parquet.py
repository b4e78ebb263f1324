"""Parquet: types of columns, row groups, and what is wrong with a file."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.documents import SCHEMA, document_id
from pipeline.errors import UserError
from pipeline.inputs import Piece
from pipeline.readers.batch import ReadBatch
from pipeline.readers.read import Read
from tests.pipeline.readers.archives import errors, read_all, reasons, texts


def read(path: Path, *pieces: Piece, batch_bytes: int = 64 << 20, **options: object) -> ReadBatch:
    fields = {"format": "parquet", "paths": ["x"], "source": "demo", **options}
    return read_all(Read.model_validate(fields), *(pieces or (Piece(path=str(path)),)), batch_bytes=batch_bytes)


def write(folder: Path, table: pa.Table, **options: object) -> Path:
    path = folder / "x.parquet"
    pq.write_table(table, path, **options)
    return path


def test_known_columns_are_taken(tmp_path: Path) -> None:
    table = pa.table(
        {"text": ["a", "ü"], "id": [1, 2], "url": ["u", None], "date": ["d", None], "lang": ["de", None], "z": [0, 0]}
    )
    batch = read(write(tmp_path, table))
    assert batch.documents.schema.names == [*SCHEMA.names, "label", "language", "record_id"]
    assert batch.documents.select(SCHEMA.names).schema == SCHEMA
    assert batch.documents.to_pylist()[1] == {
        "id": document_id("demo", "2", "ü".encode()), "text": "ü", "url": None, "source": "demo", "date": None,
        "license": None, "origin": f"{tmp_path}/x.parquet#1", "label": None, "language": None, "record_id": "2",
    }  # fmt: skip
    assert batch.documents["language"].to_pylist() == ["de", None]


def test_nested_and_further_columns_keep_their_type(tmp_path: Path) -> None:
    meta = pa.array([{"url": "u1", "score": 0.5}, None], pa.struct([("url", pa.string()), ("score", pa.float32())]))
    table = pa.table({"content": ["a", "b"], "meta": meta, "a.b": [1, 2], "when": pa.array([0, 1], pa.timestamp("s"))})
    columns = {"text": "content", "url": "meta.url", "score": "meta.score", "ab": "a.b", "date": "when"}
    docs = read(write(tmp_path, table), columns=columns).documents
    assert docs.select(["text", "url", "date", "score", "ab"]).to_pylist() == [
        {"text": "a", "url": "u1", "date": "1970-01-01 00:00:00.000", "score": 0.5, "ab": 1},
        {"text": "b", "url": None, "date": "1970-01-01 00:00:01.000", "score": None, "ab": 2},
    ]
    assert docs.schema.field("score").type == pa.float32()
    assert docs.schema.field("ab").type == pa.int64()


def test_what_columns_does_not_name_is_taken_where_it_is_there(tmp_path: Path) -> None:
    table = pa.table({"body": ["a"], "url": ["u"], "id": [7], "label": [3], "date": ["d"], "score": [0.5]})
    docs = read(write(tmp_path, table), columns={"text": "body", "date": None, "score": "score"}).documents
    assert docs.schema.names == [*SCHEMA.names, "score", "label", "language", "record_id"]
    assert docs.drop_columns(["origin"]).to_pylist() == [
        {"id": document_id("demo", "7", b"a"), "text": "a", "url": "u", "source": "demo", "date": None, "license": None,
         "score": 0.5, "label": "3", "language": None, "record_id": "7"},
    ]  # fmt: skip


def test_a_field_of_a_type_it_cannot_have_is_refused_and_can_be_turned_off(tmp_path: Path) -> None:
    path = write(tmp_path, pa.table({"text": ["a"], "license": pa.array([["mit"]], pa.list_(pa.string()))}))
    with pytest.raises(UserError, match=r"columns: \{license: null\}"):
        read(path)
    assert read(path, columns={"license": None}).documents["license"].to_pylist() == [None]


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
)
def test_any_kind_of_string_is_text(tmp_path: Path, kind: pa.DataType) -> None:
    values = ["a", "", None, "数据"]
    column = (
        pa.array(values).cast(kind)
        if kind != pa.dictionary(pa.int32(), pa.string())
        else pa.array(values).dictionary_encode()
    )
    batch = read(write(tmp_path, pa.table({"text": column})))
    assert texts(batch) == ["a", "数据"]
    assert reasons(batch) == [("empty", None), ("empty", "null")]
    assert batch.dropped["origin"].to_pylist() == [f"{tmp_path}/x.parquet#1", f"{tmp_path}/x.parquet#2"]


def test_bad_texts_are_quarantined_row_by_row(tmp_path: Path) -> None:
    raw = pa.array([b"good", b"caf\xe9", b"x" * 101, b"also good"])
    for column in (raw, pa.Array.from_buffers(pa.string(), 4, raw.buffers())):
        batch = read(write(tmp_path, pa.table({"text": column, "url": list("abcd")})), max_document_bytes=100)
        assert texts(batch) == ["good", "also good"]
        assert [error.partition(":")[0] for error in errors(batch)] == [
            "text is not UTF-8", "text of 101 bytes, over max_document_bytes = 100"]  # fmt: skip
        assert batch.quarantined["url"].to_pylist() == ["b", "c"]


def test_a_missing_or_unfit_column_is_the_users_mistake(tmp_path: Path) -> None:
    path = write(tmp_path, pa.table({"content": ["a"], "n": [1]}))
    with pytest.raises(UserError, match=r"x\.parquet has no column 'text'.*it has: content, n") as caught:
        read(path)
    assert "columns: {text: name}" in str(caught.value)
    with pytest.raises(UserError, match=r"no column 'meta\.url'"):
        read(path, columns={"text": "content", "url": "meta.url"})
    with pytest.raises(UserError, match="'n' is to be the text but holds int64"):
        read(path, columns={"text": "n"})


def test_row_groups_and_batches_do_not_matter(tmp_path: Path) -> None:
    values = [f"document {k}" if k % 7 else None for k in range(100)]
    path = write(tmp_path, pa.table({"text": pa.array(values, pa.string())}), row_group_size=9)
    whole = read(path)
    cuts = [0, 1, 4, 4, 11, None]
    pieces = [Piece(path=str(path), start=a, end=b) for a, b in pairwise(cuts)]
    for other in (read(path, *pieces), read(path, batch_bytes=1), read(path, batch_bytes=40)):
        for name in ("documents", "dropped"):
            assert getattr(other, name).combine_chunks().equals(getattr(whole, name).combine_chunks())
    assert len(texts(whole)) + whole.dropped.num_rows == 100


def test_a_damaged_row_group_costs_itself(tmp_path: Path) -> None:
    values = [f"document {k} " + "x" * 50 for k in range(40)]
    path = write(tmp_path, pa.table({"text": values}), row_group_size=10, compression="zstd", use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(data)
    batch = read(path)
    assert texts(batch) == [*values[:10], *values[20:]]
    assert errors(batch)[0].startswith("row group 1 cannot be decoded, 10 of its 10 rows are lost")
    assert batch.quarantined.num_rows == 1


@pytest.mark.parametrize("data", [b"", b"PAR1", b"no parquet at all, just text"])
def test_what_is_no_parquet_is_one_row(tmp_path: Path, data: bytes) -> None:
    good = write(tmp_path, pa.table({"text": ["a"], "label": ["l"]}))
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(data)
    alone = read(bad)
    assert (alone.documents.num_rows, errors(alone)[0].partition(":")[0]) == (0, "not a Parquet file")
    both = read(good, Piece(path=str(bad)), Piece(path=str(good)))
    assert texts(both) == ["a"]
    assert both.quarantined["origin"].to_pylist() == [f"{bad}#0"]
