"""Trains one fastText classifier in a process of its own: ``python -m operators.classify.fasttext_process CONFIG``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import fasttext

from pipeline.errors import RunFailedError

_STDERR_CHARS = 2000


def train(arguments: Mapping[str, object], model: Path, scratch: Path) -> None:
    """Train in a fresh process, so that nothing of an earlier training can enter, and write the model.

    arguments: those of ``fasttext.train_supervised``. scratch: where the child finds its orders.

    Raises:
        RunFailedError: fastText failed.
    """
    config = scratch / "fasttext.json"
    config.write_text(json.dumps({"model": str(model), "arguments": dict(arguments)}), encoding="utf-8")
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(  # this very module
        [sys.executable, "-m", "operators.classify.fasttext_process", str(config)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode or not model.is_file():
        said = done.stderr[-_STDERR_CHARS:].strip()
        msg = f"fastText training ended with exit status {done.returncode}; where it met NaN, lower lr={arguments['lr']}: {said}"
        raise RunFailedError(msg)


def main(config: Path) -> None:
    """Train as a JSON file says: ``model`` where to write, ``arguments`` for ``fasttext.train_supervised``."""
    plan = json.loads(config.read_text(encoding="utf-8"))
    fasttext.train_supervised(**plan["arguments"]).save_model(plan["model"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
