"""Options of the whole suite (a folder's own conftest is read too late for them)."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos-seeds", type=int, default=2, help="points at which the driver is killed")
