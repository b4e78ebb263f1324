"""GPUs by name: what they compute and hold."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from pipeline.errors import UserError
from pipeline.pretrain.model.flops import peak_flops

GB = 1_000_000_000

_MEMORY_GB = MappingProxyType(
    {
        "V100": 32,
        "T4": 16,
        "A10": 24,
        "A30": 24,
        "A40": 48,
        "A6000": 48,
        "A100": 80,
        "A800": 80,
        "L4": 24,
        "L40": 48,
        "L40S": 48,
        "H20": 96,
        "H100": 80,
        "H100 NVL": 94,
        "H800": 80,
        "H200": 141,
        "GH200": 96,
        "B100": 180,
        "B200": 180,
        "RTX 3090": 24,
        "RTX 4090": 24,
        "RTX 5090": 32,
        "MI250X": 64,
        "MI300X": 192,
        "MI325X": 256,
    }
)
"""By the makers' data sheets; the largest kind where there are two. MI250X: one of its two halves."""


@dataclass(frozen=True)
class Gpu:
    """One GPU: dense bfloat16 operations a second, and bytes of memory."""

    name: str
    peak_flops: float
    memory_bytes: float


def find_gpu(name: str, *, memory_gb: float | None = None) -> Gpu:
    """A GPU by its short name, "H100" or "RTX 4090" say. memory_gb: what it has, if not what the table says.

    Raises:
        UserError: the table does not have it.
    """
    wanted = " ".join(name.upper().split())
    peak, memory = peak_flops(wanted), memory_gb or _MEMORY_GB.get(wanted)
    if peak is None or memory is None:
        msg = f"no GPU is known by the name {name!r}; there are: {', '.join(_MEMORY_GB)}"
        raise UserError(msg)
    return Gpu(wanted, peak, memory * GB)
