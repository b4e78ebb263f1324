"""Identity derived from values and sources."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from pipeline.fingerprint import canonical, digest, source_hash
from pipeline.value import Artifact
from tests.pipeline.small_operators import Length


def test_every_parameter_counts() -> None:
    assert digest(Length()) == digest(Length(min_chars=3))
    assert digest(Length()) != digest(Length(min_chars=4))
    assert digest(Length()) != digest(Length(as_="other"))


def test_floats_and_ints_differ_and_mappings_do_not_hang_on_order() -> None:
    assert digest(1) != digest(1.0)
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest(0.1 + 0.2) != digest(0.3)


def test_an_artifact_counts_by_its_hash_and_not_by_its_path() -> None:
    one, other = Artifact(file="a", sha256="x"), Artifact(file="b", sha256="x")
    assert digest(one) == digest(other)
    assert digest(one) != digest(Artifact(file="a", sha256="y"))


def test_what_has_no_stable_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no stable form for function"):
        canonical(lambda: None)
    with (tmp_path / "f").open("w") as file, pytest.raises(TypeError, match="no stable form"):
        canonical(file)
    with pytest.raises(TypeError, match="not resolved"):
        canonical(Artifact(step="quality"))


def test_an_edited_kernel_changes_the_operators_above_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "made_up"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "kernel.py").write_text("def f(): return 1\n")
    (package / "middle.py").write_text("from made_up import kernel\n")
    (package / "top.py").write_text("from made_up.middle import kernel\nclass Top: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    top = importlib.import_module("made_up.top").Top
    before = source_hash(top)
    source_hash.cache_clear()
    assert source_hash(top) == before
    (package / "kernel.py").write_text("def f(): return 2\n")
    source_hash.cache_clear()
    assert source_hash(top) != before
    for name in [name for name in sys.modules if name.startswith("made_up")]:
        del sys.modules[name]
