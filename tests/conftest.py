"""What holds for the whole suite (a folder's own conftest is read too late for options)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# The models of the tests are small: slower with two threads than with one, and very slow with two that wait for a busy
# core. torch reads it when it is imported; processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos-seeds", type=int, default=2, help="points at which the driver is killed")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where only tests with a cluster are asked for, files without the mark are not imported: it takes 25 s a process."""
    asked = str(config.getoption("markexpr"))
    if not asked.startswith("ray") or not collection_path.match("test_*.py"):
        return None
    return True if "mark.ray" not in collection_path.read_text(encoding="utf-8") else None
