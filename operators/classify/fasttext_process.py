"""Trains one fastText classifier in a process of its own: ``python -m operators.classify.fasttext_process CONFIG``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import fasttext


def main(config: Path) -> None:
    """Train as a JSON file says: ``model`` where to write, ``arguments`` for ``fasttext.train_supervised``."""
    plan = json.loads(config.read_text(encoding="utf-8"))
    fasttext.train_supervised(**plan["arguments"]).save_model(plan["model"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
