"""Columns that grow on disk, part by part, until they are written as one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt


class GrowingColumns:
    """Columns of unknown length, in files of a scratch folder; memory holds one part.

    Use: ``add`` at least once, then ``arrays``, which maps what was added; ``remove`` when that was used.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        self._folder = folder
        self._stem = stem
        self._files: dict[str, IO[bytes]] = {}
        self._forms: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}

    def add(self, part: Mapping[str, npt.NDArray[Any]]) -> None:
        """Append rows; every part has the same columns."""
        for name, array in part.items():
            if name not in self._files:
                self._files[name] = self._path(name).open("wb")
                self._forms[name] = array.dtype, array.shape[1:]
            np.ascontiguousarray(array).tofile(self._files[name])

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All that was added, mapped: nothing is read before it is touched."""
        out = {}
        for name, (dtype, shape) in self._forms.items():
            self._files[name].close()
            path = self._path(name)
            empty = np.empty((0, *shape), dtype)
            out[name] = np.memmap(path, dtype, "r").reshape(-1, *shape) if path.stat().st_size else empty
        return out

    def remove(self) -> None:
        """Delete the files."""
        for name in self._files:
            self._path(name).unlink()

    def _path(self, name: str) -> Path:
        return self._folder / f"{self._stem}.{name}.growing"
