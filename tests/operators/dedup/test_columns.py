"""The file format of sketches and runs."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import xxhash

from operators.dedup import columns
from operators.dedup.columns import open_columns, write_columns
from pipeline.errors import DamagedFileError, RunFailedError

ARRAYS = {
    "key": np.arange(9, dtype=np.uint64),
    "slots": np.arange(18, dtype=np.uint8).reshape(9, 2),
    "none": np.empty((0, 2), np.uint32),
}


def written(folder: Path) -> Path:
    path = folder / "file.run"
    write_columns(path, "run", {"bands": 14, "rows": 8}, ARRAYS)
    return path


def test_round_trip(tmp_path: Path) -> None:
    file = open_columns(written(tmp_path), "run", {"bands": 14}, verify=True)
    assert file.parameters == {"bands": 14, "rows": 8}
    for name, array in ARRAYS.items():
        assert file[name].dtype == array.dtype
        assert np.array_equal(file[name], array)


def test_columns_lie_where_the_header_says(tmp_path: Path) -> None:
    raw = written(tmp_path).read_bytes()
    assert raw.startswith(b"SLUICOL\n")
    start = -(-(12 + int.from_bytes(raw[8:12], "little")) // 64) * 64
    assert raw[start : start + 72] == ARRAYS["key"].tobytes()
    assert raw[start + 128 : start + 146] == ARRAYS["slots"].tobytes()
    assert len(raw) == start + 192


@pytest.mark.parametrize("left", [0, 5, 11, 40, -1, -192])
def test_a_file_cut_off_is_refused(tmp_path: Path, left: int) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(DamagedFileError, match=r"file\.run.*run again: it is made anew"):
        open_columns(path, "run")


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    path = written(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[-100] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DamagedFileError, match="checksum") as caught:
        open_columns(path, "run", verify=True)
    assert caught.value.path == str(path)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.path, str(copy)) == (str(path), str(caught.value))


@pytest.mark.parametrize("field", [b'"columns":[["', b'"parameters":{"', b'"xxh3_128":"', b'"body_bytes"', b'"kind"'])
def test_a_flipped_bit_of_the_header_is_found(tmp_path: Path, field: bytes) -> None:
    path = written(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[raw.index(field) + len(field) - 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DamagedFileError):
        open_columns(path, "run", verify=True)


def test_a_file_is_read_again_only_where_its_state_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(
        columns.xxhash, "xxh3_128", lambda *data, made=xxhash.xxh3_128: read.append(data) or made(*data)
    )
    path = written(tmp_path)
    read.clear()
    for _ in range(3):
        open_columns(path, "run", verify=True)
    assert len(read) == 1
    os.utime(path, ns=(1, 1))
    open_columns(path, "run", verify=True)
    assert len(read) == 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match=r"none\.run is missing; run again: it is made anew"):
        open_columns(tmp_path / "none.run", "run")


def test_other_parameters_are_refused_by_name_and_value(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match=r"\{'bands': 14\}, this step needs \{'bands': 20\}"):
        open_columns(written(tmp_path), "run", {"bands": 20, "rows": 8})


def test_another_kind_or_version_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    with pytest.raises(RunFailedError, match="holds run version 2, expected sketch version 2"):
        open_columns(path, "sketch")
    path.write_bytes(path.read_bytes().replace(b'"format_version":2', b'"format_version":9'))
    with pytest.raises(RunFailedError, match="holds run version 9, expected run version 2"):
        open_columns(path, "run")
