"""A reader that opened a run before a takedown by another process."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.dataset import Run
from pipeline.errors import DamagedFileError, RunFailedError
from tests.workflows.conftest import Call
from tests.workflows.takedown.conftest import MIDDLE, urls, write_list


def test_who_reads_on_is_told_to_open_the_run_again(run: Path, sluice: Call, tmp_path: Path) -> None:
    opened = {step: Run.open(str(run))[step].shards() for step in ("clean", "unique")}
    done = sluice("takedown", run, "--urls", write_list(tmp_path, MIDDLE), "--yes")
    assert done.exit_code == 0, done.stderr
    for shards in opened.values():
        with pytest.raises(RunFailedError, match=r"changed the run to generation 2 .*; open the run again") as caught:
            list(shards[0].documents())
        assert not isinstance(caught.value, DamagedFileError)
    assert len(urls(run, "clean")) > 0


def test_a_file_that_is_lost_after_a_takedown_is_damaged(run: Path, sluice: Call, tmp_path: Path) -> None:
    assert sluice("takedown", run, "--urls", write_list(tmp_path, MIDDLE), "--yes").exit_code == 0
    shards = Run.open(str(run))["clean"].shards()
    for shard in shards:
        shard.file(".parquet").unlink()
        with pytest.raises(DamagedFileError, match="run again: it is made anew"):
            list(shard.documents())
