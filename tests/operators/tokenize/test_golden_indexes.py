"""Our index files against those that the readers' own writers wrote (tests/golden/tokens/README.md)."""

from __future__ import annotations

import csv
import gzip
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from token_fakes import documents, published

from operators.tokenize.shards.writer import ShardWriter
from pipeline.work import Result
from tests.golden.tokens import make

GOLDEN = Path(make.__file__).parent


@pytest.fixture(params=["uint16", "uint32"])
def ours(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Path]]:
    """The documents of the golden files as we write them, in two batches."""
    dtype = np.dtype(request.param)
    tokens = make.documents(request.param)
    docs = documents(["x"] * len(tokens))
    docs = docs.set_column(0, "id", pa.array(make.document_ids(), pa.binary(16)))
    writer = ShardWriter(tmp_path, dtype=dtype, eos=0, name="sluice-abc")
    for rows in (slice(0, 17), slice(17, None)):
        ids = np.concatenate([one[:-1] for one in tokens[rows]])
        ends = np.cumsum([len(one) - 1 for one in tokens[rows]])
        batch = docs.slice(rows.start, len(ends))
        writer.add(batch, ids, ends=ends, num_bytes=np.ones(len(ends), np.int64))
    return request.param, published(Result(writer.close()), tmp_path / "published")


def test_the_payload_is_theirs(ours: tuple[str, dict[str, Path]]) -> None:
    dtype, paths = ours
    found = hashlib.sha256(paths[".bin"].read_bytes()).hexdigest()
    assert f"{found}\n" == (GOLDEN / f"payload.{dtype}.sha256").read_text()


def test_megatron(ours: tuple[str, dict[str, Path]]) -> None:
    dtype, paths = ours
    assert paths[".idx"].read_bytes() == (GOLDEN / f"megatron.{dtype}.idx").read_bytes()


def test_datatrove(ours: tuple[str, dict[str, Path]]) -> None:
    dtype, paths = ours
    for suffix in (".ds.index", ".ds.metadata"):
        assert paths[suffix].read_bytes() == (GOLDEN / f"datatrove.{dtype}{suffix}").read_bytes()


def test_olmo(ours: tuple[str, dict[str, Path]]) -> None:
    """Start, end and id of each row; dolma adds where the document came from."""
    dtype, paths = ours
    theirs, mine = (
        list(csv.reader(gzip.decompress(path.read_bytes()).decode().splitlines()))
        for path in (GOLDEN / f"olmo.{dtype}.csv.gz", paths[".csv.gz"])
    )
    assert mine == [row[:3] for row in theirs]
    assert len(mine) == make.NUM_DOCUMENTS
