"""A file that a parameter names and that changes between planning and reading stops the run in words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from operators.classify.fasttext_model import load
from operators.filters.gopher_quality import GopherQuality
from operators.filters.importance_weights import FeatureCounts, write_importance
from operators.filters.keywords import Keywords
from operators.filters.redpajama_signals import RedpajamaSignals
from operators.scrub.toxicity import Toxicity
from pipeline.errors import UserError
from pipeline.named_files import content, file_state
from pipeline.value import Artifact

DOCS = pa.table({
    "id": ["a"], "text": pa.array(["two words"], pa.large_string()), "url": ["https://a.org/"], "lang": ["de"],
})  # fmt: skip


def _list(path: Path) -> None:
    path.write_text("words\n", encoding="utf-8")


def _domains(path: Path) -> None:
    path.write_text("a.org\tnews\n", encoding="utf-8")


def _profile(path: Path) -> None:
    path.write_text(json.dumps({"de": {"gopher_quality": {"min_words": 1, "stop_words": ["die"]}}}), encoding="utf-8")


def _weights(path: Path) -> None:
    counts = FeatureCounts(np.ones(4, np.int64), 4, 1)
    write_importance(path, counts, counts)


USES: dict[str, tuple[Callable[[Path], None], Callable[[Artifact], object]]] = {
    "toxicity": (_list, lambda file: Toxicity(lists=(), files=(file,)).measure(DOCS)),
    "keywords": (_list, lambda file: Keywords(lists=(("own", file),)).measure(DOCS)),
    "domains": (_domains, lambda file: RedpajamaSignals(domains=file).measure(DOCS)),
    "importance": (_weights, lambda file: RedpajamaSignals(importance={"books": file}).measure(DOCS)),
    "profile": (_profile, lambda file: GopherQuality(by_language=file).bounds),
    "stop words": (_profile, lambda file: GopherQuality(by_language=file).measure(DOCS)),
}


@pytest.mark.parametrize("use", USES, ids=list(USES))
def test_a_file_that_changed_since_planning_is_not_used(tmp_path: Path, use: str) -> None:
    make, read = USES[use]
    path = tmp_path / "named"
    make(path)
    planned = Artifact(file=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(UserError, match=r"named has sha256 .*but had .*when this run was planned; put the file back"):
        read(planned)
    make(path)
    read(planned)  # as it was planned with


def test_a_model_that_changed_since_planning_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"no model")
    with pytest.raises(UserError, match="when this run was planned"):
        load(str(path), "0" * 64)


def test_a_file_without_hash_is_known_by_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"one")
    before = file_state(Artifact(file=str(path)))
    assert content(before) == b"one"
    path.write_bytes(b"three")
    assert file_state(Artifact(file=str(path))) != before
    with pytest.raises(UserError, match="step 'made' is not made yet"):
        file_state(Artifact(step="made"))
