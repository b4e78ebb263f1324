"""The file format of sketches and runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from operators.dedup.columns import open_columns, write_columns
from pipeline.errors import RunFailedError

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
    with pytest.raises(RunFailedError, match=r"file\.run.*delete this dataset's folder and run again"):
        open_columns(path, "run")


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    path = written(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[-100] ^= 1
    path.write_bytes(raw)
    with pytest.raises(RunFailedError, match="checksum"):
        open_columns(path, "run", verify=True)


def test_other_parameters_are_refused_by_name_and_value(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match=r"\{'bands': 14\}, this step needs \{'bands': 20\}"):
        open_columns(written(tmp_path), "run", {"bands": 20, "rows": 8})


def test_another_kind_or_version_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    with pytest.raises(RunFailedError, match="holds run version 1, expected sketch version 1"):
        open_columns(path, "sketch")
    path.write_bytes(path.read_bytes().replace(b'"format_version":1', b'"format_version":9'))
    with pytest.raises(RunFailedError, match="holds run version 9, expected run version 1"):
        open_columns(path, "run")
