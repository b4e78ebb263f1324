"""The guide's table of fields is the verb's."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from pipeline.pretrain.work import Pretrain

GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "pretrain.md"
ROW = re.compile(r"^\| `(\w+)` \| `([^`]+)` \| .* \| (free)? ?\|$", re.MULTILINE)


def test_every_field_stands_there_with_its_default() -> None:
    rows = {name: (yaml.safe_load(default), free == "free") for name, default, free in ROW.findall(GUIDE.read_text())}
    fields = Pretrain.model_fields
    assert set(rows) == set(fields)
    assert {name: default for name, (default, _) in rows.items()} == {
        name: field.default for name, field in fields.items()
    }
    assert {name for name, (_, free) in rows.items() if free} == set(Pretrain.runtime)
