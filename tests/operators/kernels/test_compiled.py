"""Compiled kernels are kept on disk, under a key that knows their callees."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from operators.kernels import bytewise, c4, chinese, clean, compiled, quality, repetition, segmentation, spans, words
from pipeline.errors import UserError

CALLER = """
from operators.kernels.compiled import kernel

@kernel
def twice(values):
    return 2 * values.sum()
"""

RUN = """
import sys, numpy as np
sys.path.insert(0, sys.argv[1])
import doubled
print(doubled.twice(np.arange(4)), sum(doubled.twice.stats.cache_hits.values()))
"""


def run(folder: Path) -> list[str]:
    environment = {**os.environ, "SLUICE_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder)], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_second_process_loads_what_the_first_compiled_and_an_edit_is_seen(tmp_path):
    source = tmp_path / "doubled.py"
    source.write_text(CALLER)
    assert run(tmp_path) == ["12", "0"]
    assert run(tmp_path) == ["12", "1"]
    source.write_text(CALLER.replace("2 *", "3 *"))
    assert run(tmp_path) == ["18", "0"]
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".bin"]


def test_hash_covers_kernels_imported_in_turn(tmp_path, monkeypatch):
    for name in ("inner", "middle", "outer", "other"):
        (tmp_path / f"{name}.py").write_text(f"# {name}\n")
    (tmp_path / "middle.py").write_text("from operators.kernels.inner import x\n")
    (tmp_path / "outer.py").write_text("from operators.kernels.middle import y\n")
    monkeypatch.setattr(compiled, "__file__", str(tmp_path / "compiled.py"))
    before = compiled.sources_hash.__wrapped__(str(tmp_path / "outer.py"))
    (tmp_path / "other.py").write_text("# edited\n")
    assert compiled.sources_hash.__wrapped__(str(tmp_path / "outer.py")) == before
    (tmp_path / "inner.py").write_text("# edited\n")
    assert compiled.sources_hash.__wrapped__(str(tmp_path / "outer.py")) != before


def test_cache_that_cannot_be_written_is_the_users_mistake(tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file, not a folder")
    monkeypatch.setenv("SLUICE_CACHE_DIR", str(tmp_path / "taken"))

    @compiled.kernel
    def add(one, other):
        return one + other

    with pytest.raises(UserError, match="SLUICE_CACHE_DIR"):
        add(1, 2)


def test_function_as_argument_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SLUICE_CACHE_DIR", str(tmp_path))

    @compiled.kernel
    def add(one, other):
        return one + other

    @compiled.kernel
    def call(function, one):
        return function(one, one)

    with pytest.raises(TypeError, match="function as an argument"):
        call(add, 1)


@pytest.mark.parametrize("module", [bytewise, c4, chinese, clean, quality, repetition, segmentation, spans, words])
def test_warm_compiles_every_kernel_once(module):
    """One set of argument types each: what is warmed is what runs."""
    for name in ("segmentation", "repetition", "quality", "c4", "chinese", "clean"):
        importlib.import_module(f"operators.kernels.{name}").warm()
    entry_points = {"find_words", "find_spans", "repeated_lines", "repeated_ngrams", "quality_measures", "edit_pages",
                    "chinese_measures", "clean_texts"}  # fmt: skip
    for name in entry_points & set(vars(module)):
        assert len(getattr(module, name).signatures) == 1, name


def test_division_follows_numpy(tmp_path, monkeypatch):
    monkeypatch.setenv("SLUICE_CACHE_DIR", str(tmp_path))

    @compiled.lean_kernel
    def divide(one, other):
        return one / other

    assert np.isnan(divide(0, 0))
