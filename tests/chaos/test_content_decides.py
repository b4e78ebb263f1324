"""Other worker counts, and input files renamed, re-split and shuffled: the same documents with the same tokens."""

from __future__ import annotations

import hashlib
import io
import random
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from fastwarc.warc import ArchiveIterator

from pipeline.dataset import Run
from tests.chaos.conftest import RECIPE, ROOT, Done, run_to_end

pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.timeout(1800)]


def token_hashes(out: Path) -> Counter:
    """How often each sequence of tokens stands in the token shards, document by document."""
    found: Counter = Counter()
    for shard in Run.open(str(out))["tokens"].shards():
        tokens = np.memmap(shard.file(".bin"), dtype=shard.facts["dtype"], mode="r")
        table = pq.read_table(shard.file(".docs.parquet"))
        for start, length in zip(table["start"].to_pylist(), table["num_tokens"].to_pylist(), strict=True):
            found[hashlib.sha256(tokens[start : start + length].tobytes()).hexdigest()] += 1
    return found


def without_training(folder: Path, pages: str) -> Path:
    """The quickstart up to its tokens, reading other files: two folders deep, so that its own paths hold as they are."""
    text = RECIPE.read_text(encoding="utf-8").partition("  model:\n")[0]
    place = folder / "workflows" / "recipes"
    place.mkdir(parents=True)
    (folder / "samples").symlink_to(ROOT / "samples")
    (place / "recipe.yaml").write_text(text.replace("../../samples/*.warc.gz", pages), encoding="utf-8")
    return place / "recipe.yaml"


def run_again(undisturbed: Done, folder: Path, pages: str, *more: str) -> Path:
    """The same recipe on other files or workers, with the classifier of the first run."""
    out = folder / "run"
    out.mkdir(parents=True)
    for dataset in undisturbed.out.glob("quality-*"):
        shutil.copytree(dataset, out / dataset.name)
    run_to_end(out, more, recipe=without_training(folder, pages))
    # Had the classifier been trained anew, the comparison would compare two classifiers.
    assert [p.name for p in out.glob("quality-*")] == [p.name for p in undisturbed.out.glob("quality-*")]
    return out


@pytest.mark.sweep
@pytest.mark.parametrize("workers", [1, 3])
def test_worker_counts(undisturbed: Done, tmp_path: Path, workers: int) -> None:
    out = run_again(undisturbed, tmp_path, "../../samples/*.warc.gz", "--workers", str(workers))
    assert token_hashes(out) == token_hashes(undisturbed.out)


def test_renamed_resplit_and_shuffled_input(undisturbed: Done, tmp_path: Path) -> None:
    records = [record for path in sorted((ROOT / "samples").glob("*.warc.gz")) for record in raw_records(path)]
    random.Random(5).shuffle(records)
    (tmp_path / "work" / "other").mkdir(parents=True)
    for number in range(9):
        with (tmp_path / "work" / "other" / f"renamed-{number * 7 % 9}.warc.gz").open("wb") as file:
            file.write(b"".join(records[number::9]))
    out = run_again(undisturbed, tmp_path / "work", "../../other/*.warc.gz", "--backend", "inline")
    expected = token_hashes(undisturbed.out)
    assert len(expected) > 100
    assert token_hashes(out) == expected


def raw_records(path: Path) -> list[bytes]:
    """The compressed bytes of each record of a WARC file (each is a gzip member of its own)."""
    data = path.read_bytes()
    starts = [record.stream_pos for record in ArchiveIterator(io.BytesIO(data), parse_http=False)]
    return [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]
