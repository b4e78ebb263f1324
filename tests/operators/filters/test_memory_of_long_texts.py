"""What FineWeb's chain takes for one long text, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

LENGTH = 10_000_000
# Words, hashes and tables; measured: 42 of "a " (a word every two bytes), 30 of ideographs, 24 of the sentence.
MOST_BYTES_A_BYTE = 60

MEASURED = """\
import resource, sys
import pyarrow as pa
from operators import C4Lines, FinewebQuality, GopherQuality, GopherRepetition
from pipeline import apply

def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def run(text):
    table = pa.table({"id": ["1"], "text": pa.array([text], pa.large_string())})
    apply([GopherRepetition(), GopherQuality(), C4Lines(), FinewebQuality()], table)

unit = sys.argv[1]
run(unit * 1000)
before = peak()
run(unit * (%d // len(unit.encode())))
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit",
    [
        pytest.param("a ", id="one letter"),
        pytest.param("The plan was kept as it is, they said; nothing more came of it.\n", id="one sentence"),
        pytest.param("的", id="one ideograph"),
    ],
)
def test_a_long_text_takes_so_many_bytes_a_byte(unit: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED % LENGTH, unit], capture_output=True, text=True, check=True, timeout=300
    )
    assert int(done.stdout) < MOST_BYTES_A_BYTE * LENGTH
