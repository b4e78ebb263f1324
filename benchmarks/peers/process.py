"""Starts the sides of a comparison, each in its own environment, and talks to them over pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent
ENVIRONMENTS = Path(os.environ.get("SLUICE_PEERS", HERE.parents[1] / ".peers"))
"""One virtual environment for each peer, made by ``install.py``."""

SIDES = {
    "sluice": ("", "sluice_side"),
    "datatrove": ("datatrove", "datatrove_side"),
    "datatrove lines": ("datatrove", "datatrove_lines_side"),
    "datatrove signatures": ("datatrove", "datatrove_signatures_side"),
    "rensa": ("rensa", "rensa_side"),
    "dolma": ("dolma", "dolma_side"),
    "nemo": ("nemo", "nemo_side"),
    "juicer": ("juicer", "juicer_side"),
}
"""Name of a side: (its environment, the module that serves it)."""


def python_of(side: str) -> Path:
    """The interpreter of a side; ours runs in the environment of the caller."""
    environment, _ = SIDES[side]
    return ENVIRONMENTS / environment / "bin" / "python" if environment else Path(sys.executable)


def installed(side: str) -> bool:
    """Whether the side has an environment."""
    environment, _ = SIDES[side]
    return not environment or (ENVIRONMENTS / environment / "installed").exists()


def versions(side: str) -> tuple[str, str]:
    """What the side's numbers depend on, beside the documents: its packages and the module that serves it."""
    environment, module = SIDES[side]
    return (ENVIRONMENTS / environment / "installed").read_text(), (HERE / f"{module}.py").read_text()


def nltk_data() -> str:
    """Folder with ``tokenizers/punkt_tab``: the user's, else what ``install.py`` has put beside the environments."""
    return os.environ.get("NLTK_DATA", str(ENVIRONMENTS / "nltk_data"))


def has_punkt() -> bool:
    """Whether NLTK's English sentence data are there."""
    return (Path(nltk_data()) / "tokenizers" / "punkt_tab" / "english").is_dir()


class Side:
    """One running side. Use as a context manager."""

    def __init__(self, name: str, core: int | None = None) -> None:
        command = [str(python_of(name)), str(HERE / "child.py"), SIDES[name][1]]
        if core is not None:
            command = ["taskset", "-c", str(core), *command]
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
        data = {"NLTK_DATA": nltk_data()}
        path = {"PYTHONPATH": str(HERE.parents[1])} if name == "sluice" else {}
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.name = name
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, **one, **data, **path, **offline},
        )  # fmt: skip

    def ask(self, job: str, texts: list[str]) -> dict[str, Any]:
        """The reply to one job.

        Raises:
            RuntimeError: the side failed; its traceback is the message.
        """
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps({"job": job, "texts": texts}) + "\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        reply = json.loads(line) if line else {"error": f"{self.name} ended"}
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.stdin is not None:
            self._child.stdin.close()
        self._child.wait()
