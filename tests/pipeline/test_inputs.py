"""Freezing inputs: what is found, how it is cut into shards, and what happens when it changes."""

from __future__ import annotations

import gzip
import json
import os
import uuid
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.inputs import FrozenInputs, Piece, freeze
from pipeline.readers.read import Read, read_shard


def options(*paths: str, **fields: object) -> Read:
    return Read.model_validate({"format": "jsonl", "paths": paths, "source": "demo", **fields})


def names(frozen: FrozenInputs, folder: Path) -> list[str]:
    return [os.path.relpath(file.path, folder) for file in frozen.files]


def line_file(path: Path, *texts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def read_all(frozen: FrozenInputs, read: Read) -> list[list[str]]:
    return [
        [t for batch in read_shard(read, shard) for t in batch.documents["text"].to_pylist()] for shard in frozen.shards
    ]


class TestFinding:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name in (
            "b.jsonl",
            "a.jsonl",
            "deep/c.jsonl",
            "deep/er/d.jsonl",
            "deep/_SUCCESS",
            "deep/.hidden/x.jsonl",
            "odd[1].jsonl",
        ):
            line_file(tmp_path / name, name)
        return tmp_path

    @pytest.mark.parametrize(
        ("paths", "expected"),
        [
            (["b.jsonl", "a.jsonl"], ["a.jsonl", "b.jsonl"]),
            (["?.jsonl", "a.jsonl", "./a.jsonl"], ["a.jsonl", "b.jsonl"]),
            (["deep"], ["deep/c.jsonl", "deep/er/d.jsonl"]),
            (["deep/**/*.jsonl"], ["deep/c.jsonl", "deep/er/d.jsonl"]),
            (["odd[1].jsonl"], ["odd[1].jsonl"]),
        ],
    )
    def test_paths_globs_and_folders(self, folder: Path, paths: list[str], expected: list[str]) -> None:
        frozen = freeze(options(*paths), folder)
        assert names(frozen, folder) == expected
        assert frozen.shards == tuple((Piece(path=str(folder / name)),) for name in expected)

    def test_a_list_file(self, folder: Path) -> None:
        listing = f"# files\n\na.jsonl\r\n{folder}/b.jsonl\ndeep/*.jsonl\n"
        (folder / "list.txt").write_text(listing)
        (folder / "list.gz").write_bytes(gzip.compress(listing.encode(), mtime=0))
        for name in ("list.txt", "list.gz"):
            frozen = freeze(Read(format="jsonl", paths_from=name, source="demo"), folder)
            assert names(frozen, folder) == ["a.jsonl", "b.jsonl", "deep/c.jsonl"]

    @pytest.mark.parametrize("path", ["none.jsonl", "*.parquet", "none/*", "deep/.hidden"])
    def test_what_is_not_there_is_named_with_its_folder(self, folder: Path, path: str) -> None:
        if path == "deep/.hidden":
            assert names(freeze(options(path), folder), folder) == ["deep/.hidden/x.jsonl"]
            return
        with pytest.raises(UserError) as caught:
            freeze(options("a.jsonl", path), folder)
        assert repr(path) in str(caught.value)
        assert str(folder) in str(caught.value)

    def test_a_missing_list_file_is_named(self, folder: Path) -> None:
        with pytest.raises(UserError, match=r"'lost\.txt' is not a file"):
            freeze(Read(format="jsonl", paths_from="lost.txt"), folder)

    def test_an_object_store(self, tmp_path: Path) -> None:
        root = f"memory://{uuid.uuid4().hex}"
        store = fsspec.filesystem("memory")
        for name in ("b", "a", "deep/c", "deep/_SUCCESS"):
            store.pipe_file(f"{root}/{name}.jsonl", b'{"text": "%s"}\n' % name.encode())
        read = options(f"{root}/?.jsonl", f"{root}/deep")
        frozen = freeze(read, tmp_path)
        assert [file.path for file in frozen.files] == [
            f"{root.replace('://', ':///')}/{n}.jsonl" for n in ("a", "b", "deep/c")
        ]
        assert read_all(frozen, read) == [["a"], ["b"], ["deep/c"]]
        assert freeze(read, tmp_path, frozen) == frozen
        store.pipe_file(f"{root}/a.jsonl", b'{"text": "another"}\n')
        with pytest.raises(UserError, match=r"a\.jsonl changed"):
            freeze(read, tmp_path, frozen)
        with pytest.raises(UserError, match="matches no file"):
            freeze(options(f"{root}/*.warc"), tmp_path)


class TestShards:
    def test_large_plain_jsonl_is_cut_and_every_line_read_once(self, tmp_path: Path) -> None:
        texts = [f"line {number}" for number in range(100)]
        size = line_file(tmp_path / "x.jsonl", *texts).stat().st_size
        read = options("x.jsonl", split_bytes=size // 7)
        frozen = freeze(read, tmp_path)
        assert len(frozen.shards) == 8
        assert frozen.shards[0][0].end == frozen.shards[1][0].start == size // 7
        assert frozen.shards[-1][0].end is None
        assert [text for shard in read_all(frozen, read) for text in shard] == texts

    def test_compressed_and_warc_files_are_one_task(self, tmp_path: Path) -> None:
        (tmp_path / "x.jsonl").write_bytes(gzip.compress(b'{"text": "a"}\n' * 1000, mtime=0))
        (tmp_path / "x.warc").write_bytes(b"WARC/1.0\r\n" * 100)
        assert len(freeze(options("x.jsonl", split_bytes=10), tmp_path).shards) == 1
        assert len(freeze(options("x.warc", format="warc", split_bytes=10), tmp_path).shards) == 1

    def test_parquet_is_cut_at_row_groups(self, tmp_path: Path) -> None:
        values = [os.urandom(50).hex() for _ in range(100)]
        pq.write_table(pa.table({"text": values}), tmp_path / "x.parquet", row_group_size=10, compression="none")
        read = options("x.parquet", format="parquet", split_bytes=3000)
        frozen = freeze(read, tmp_path)
        assert [(piece.start, piece.end) for (piece,) in frozen.shards] == [(0, 3), (3, 6), (6, 9), (9, 10)]
        assert [text for shard in read_all(frozen, read) for text in shard] == values

    def test_parquet_without_the_text_column_is_refused_before_anything_runs(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"content": ["a"]}), tmp_path / "x.parquet")
        with pytest.raises(UserError, match=r"x\.parquet has no column 'text'.*it has: content"):
            freeze(options("x.parquet", format="parquet"), tmp_path)
        freeze(options("x.parquet", format="parquet", columns={"text": "content"}), tmp_path)

    def test_small_files_are_grouped(self, tmp_path: Path) -> None:
        for number in range(10):
            line_file(tmp_path / f"{number}.jsonl", "x" * 10)
        size = (tmp_path / "0.jsonl").stat().st_size
        assert [len(shard) for shard in freeze(options("*.jsonl", group_bytes=4 * size), tmp_path).shards] == [4, 4, 2]
        assert [len(shard) for shard in freeze(options("*.jsonl", group_bytes=0), tmp_path).shards] == [1] * 10
        # A few files of like size stay apart, so that there is work for every core.
        assert len(freeze(options("*.jsonl"), tmp_path).shards) == 10

    def test_many_small_files_become_few_shards(self, tmp_path: Path) -> None:
        for number in range(320):
            (tmp_path / f"{number:03}.txt").write_bytes(b"x" * 100)
        frozen = freeze(options("*.txt", format="text"), tmp_path)
        assert [len(shard) for shard in frozen.shards] == [10] * 32

    @settings(max_examples=60, deadline=None)
    @given(
        sizes=st.lists(st.integers(0, 50), min_size=1, max_size=8), group=st.integers(0, 100), split=st.integers(1, 60)
    )
    def test_every_byte_is_in_one_piece(
        self, tmp_path_factory: pytest.TempPathFactory, sizes: list[int], group: int, split: int
    ) -> None:
        folder = tmp_path_factory.mktemp("sizes")
        for number, size in enumerate(sizes):
            (folder / f"{number}.jsonl").write_bytes(b"x" * size)
        frozen = freeze(options("*.jsonl", group_bytes=group, split_bytes=split), folder)
        covered: dict[str, list[int]] = {}
        for shard in frozen.shards:
            for piece in shard:
                size = Path(piece.path).stat().st_size
                covered.setdefault(piece.path, []).extend(range(piece.start, size if piece.end is None else piece.end))
        assert covered == {file.path: list(range(file.size)) for file in frozen.files}


class TestChanges:
    def test_the_same_inputs_freeze_the_same(self, tmp_path: Path) -> None:
        line_file(tmp_path / "a.jsonl", "a")
        frozen = freeze(options("*.jsonl"), tmp_path)
        assert freeze(options("*.jsonl"), tmp_path, frozen) == frozen
        assert FrozenInputs.model_validate_json(frozen.model_dump_json()) == frozen
        assert FrozenInputs.model_validate(frozen.model_dump(mode="json")) == frozen

    def test_a_touched_file_is_the_same_and_a_changed_one_is_not(self, tmp_path: Path) -> None:
        path = line_file(tmp_path / "a.jsonl", "a")
        frozen = freeze(options("*.jsonl"), tmp_path)
        os.utime(path, ns=(1, 1))
        freeze(options("*.jsonl"), tmp_path, frozen)
        line_file(path, "b")
        with pytest.raises(
            UserError, match=r"a\.jsonl changed since this run began: the same size, but other content.*--out"
        ) as caught:
            freeze(options("*.jsonl"), tmp_path, frozen)
        assert caught.value.exit_code == 2
        line_file(path, "longer")
        with pytest.raises(UserError, match="14 bytes then, 19 now"):
            freeze(options("*.jsonl"), tmp_path, frozen)

    def test_a_file_that_went_is_named(self, tmp_path: Path) -> None:
        for name in "ab":
            line_file(tmp_path / f"{name}.jsonl", name)
        frozen = freeze(options("*.jsonl"), tmp_path)
        (tmp_path / "a.jsonl").unlink()
        with pytest.raises(UserError, match=r"a\.jsonl was read by this run before"):
            freeze(options("*.jsonl"), tmp_path, frozen)

    def test_new_files_make_new_shards_behind_the_old(self, tmp_path: Path) -> None:
        for name in "bd":
            line_file(tmp_path / f"{name}.jsonl", name)
        before = freeze(options("*.jsonl", group_bytes=1000), tmp_path)
        for name in "aec":
            line_file(tmp_path / f"{name}.jsonl", name)
        after = freeze(options("*.jsonl", group_bytes=1000), tmp_path, before)
        assert after.shards[: len(before.shards)] == before.shards
        assert read_all(after, options("*.jsonl")) == [["b", "d"], ["a", "c", "e"]]
