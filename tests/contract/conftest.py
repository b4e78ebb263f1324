"""A small quality model, trained once."""

from __future__ import annotations

from pathlib import Path

import fasttext
import pytest


@pytest.fixture(scope="session")
def quality_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fastText model that tells prose from menus, from forty made-up lines."""
    folder = tmp_path_factory.mktemp("quality")
    lines = []
    for k in range(20):
        lines.append(f"__label__hq the river rises in the hills and number {k} of its bridges was built of stone")
        lines.append(f"__label__lq home login cart menu next previous click here {k} subscribe now")
    (folder / "train.txt").write_text("\n".join(lines), encoding="utf-8")
    # Fewer than ten threads leave part of the matrix uninitialised.
    model = fasttext.train_supervised(str(folder / "train.txt"), dim=8, epoch=20, bucket=1000, thread=12, verbose=0)
    model.save_model(str(folder / "model.bin"))
    return folder / "model.bin"
