"""fastText models: loaded once per process, asked for many texts at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from fasttext.FastText import _FastText

from pipeline.errors import UserError
from pipeline.fingerprint import file_sha256
from pipeline.named_files import FileState, check_sha256, file_state
from pipeline.value import Artifact

PREFIX = "__label__"


def open_model(path: str) -> _FastText:
    """The model in a file.

    ``fasttext.load_model`` is the same but for a warning it prints.

    Raises:
        UserError: no such file, or not a fastText model.
    """
    try:
        return _FastText(model_path=path)
    except (ValueError, RuntimeError) as error:
        msg = f"cannot load the fastText model {path}: {error}; name a file that fastText wrote (.bin or .ftz)"
        raise UserError(msg) from error


def load(path: str, sha256: str | None = None) -> _FastText:
    """The model in a file, kept for the life of the process until the file changes.

    sha256: of the file where it is known; else its size and time of change tell whether it is still the same.

    Raises:
        UserError: no such file, not a fastText model, or not the file of this sha256.
    """
    return load_artifact(Artifact(file=path, sha256=sha256))


def load_artifact(model: Artifact) -> _FastText:
    """The model that a parameter names; see ``load``."""
    return _kept(file_state(model))


@cache
def _kept(file: FileState) -> _FastText:
    if file.sha256 is not None and Path(file.path).is_file():
        check_sha256(file, file_sha256(file.path))
    return open_model(file.path)


def labels(model: _FastText) -> list[str]:
    """The labels a model knows, without prefix, sorted."""
    known: Any = model.get_labels()
    return sorted(label.removeprefix(PREFIX) for label in known)


def top_label(model: _FastText, lines: Sequence[str]) -> tuple[list[str | None], npt.NDArray[np.float64]]:
    """The most probable label of each line and its probability, in [0, 1].

    lines: without line breaks. A line in which the model sees nothing has the label None and the probability NaN.
    """
    found, probabilities = _predict(model, lines, 1)
    names = [row[0].removeprefix(PREFIX) if row else None for row in found]
    scores = [row[0] if len(row) else np.nan for row in probabilities]
    return names, np.clip(np.array(scores, np.float64), 0.0, 1.0)


def label_scores(model: _FastText, lines: Sequence[str]) -> dict[str, npt.NDArray[np.float64]]:
    """The probability of every label for each line, in [0, 1]; NaN where the model sees nothing in a line."""
    scores = {name: np.full(len(lines), np.nan) for name in labels(model)}
    found, probabilities = _predict(model, lines, len(scores))
    for row, (names, values) in enumerate(zip(found, probabilities, strict=True)):
        for name, value in zip(names, values, strict=True):
            scores[name.removeprefix(PREFIX)][row] = min(max(float(value), 0.0), 1.0)
    return scores


def _predict(model: _FastText, lines: Sequence[str], num_labels: int) -> tuple[list[list[str]], list[list[float]]]:
    if not lines:
        return [], []
    # The wrapper's predict() copies and searches every line once more, to say that it must not hold a line break.
    return model.f.multilinePredict([line + "\n" for line in lines], num_labels, 0.0, "strict")
