"""Which Chinese characters are written in simplified or in traditional script only, from a shipped table."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from operators.kernels.shipped import shipped

TABLE_SHA256 = "cc1b8cf99573761e95891dcac9ec89ea83d75ecb602b65f3b0c6174757049bcc"
"""Of the shipped table; it stands in the source, so that another table is another fingerprint."""

SIMPLIFIED, TRADITIONAL = 1, 2

TABLE_CODES = 0x10000
"""The table ends with the basic plane; characters behind it tell nothing."""


@cache
def han_scripts() -> npt.NDArray[np.uint8]:
    """SIMPLIFIED, TRADITIONAL, or 0 for what both scripts write, uint8 (0x10000,), read-only.

    Raises:
        RunFailedError: the shipped table is not the one of this version.
    """
    path = Path(__file__).parent.parent / "data" / "han-script.txt"
    content = shipped(path, TABLE_SHA256)
    simplified, traditional = content.decode().removeprefix("# simplified\n").split("# traditional\n")
    table = np.zeros(TABLE_CODES, np.uint8)
    for chars, script in ((simplified, SIMPLIFIED), (traditional, TRADITIONAL)):
        table[[ord(char) for char in chars if char != "\n"]] = script
    table.setflags(write=False)
    return table
