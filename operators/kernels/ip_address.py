"""Which IP addresses are public, by the IANA registries as of 2024, whatever the Python version."""

from __future__ import annotations

import numpy as np

from operators.kernels.buffers import ByteArray, OffsetArray
from operators.kernels.compiled import kernel

# First number, prefix length. https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast and class E.
_RESERVED_V4 = (
    ("0.0.0.0", 8),  # noqa: S104  # a range to refuse, nothing to bind to
    ("10.0.0.0", 8),
    ("100.64.0.0", 10),
    ("127.0.0.0", 8),
    ("169.254.0.0", 16),
    ("172.16.0.0", 12),
    ("192.0.0.0", 24),
    ("192.0.2.0", 24),
    ("192.168.0.0", 16),
    ("198.18.0.0", 15),
    ("198.51.100.0", 24),
    ("203.0.113.0", 24),
    ("224.0.0.0", 3),
)


def _ranges() -> np.ndarray:
    rows = []
    for address, prefix in _RESERVED_V4:
        first = int.from_bytes(bytes(map(int, address.split("."))), "big")
        rows.append((first, first + (1 << (32 - prefix)) - 1))
    return np.array(rows, np.int64)


_V4 = _ranges()


@kernel
def is_global_v4(octets: OffsetArray) -> bool:
    """Whether four octets are an address of the public net: not private, shared, reserved, multicast or for examples."""
    address = octets[0] << 24 | octets[1] << 16 | octets[2] << 8 | octets[3]
    for row in range(len(_V4)):  # noqa: SIM110  # numba compiles loops, not generators
        if _V4[row, 0] <= address <= _V4[row, 1]:
            return False
    return True


@kernel
def _value(byte: np.uint8) -> np.int64:
    return np.int64(byte) - 48 if byte < 58 else np.int64(byte | 32) - 87


@kernel
def is_global_v6(text: ByteArray) -> bool:
    """Whether hexadecimal digits and colons are a unicast address of the public net (2000::/3).

    Not for examples (2001:db8::/32, 3fff::/20) nor of a protocol (2001::/23).
    """
    groups = np.zeros(8, np.int64)
    count, gap, at = 0, -1, 0
    while at < len(text):
        if text[at] == 58:
            if at + 1 >= len(text) or text[at + 1] != 58 or gap >= 0 or count == 0:
                return False
            gap = count
            at += 2
            continue
        size = 0
        if count == 8:
            return False
        while at < len(text) and text[at] != 58:
            groups[count] = groups[count] << 4 | _value(text[at])
            at += 1
            size += 1
            if size > 4:
                return False
        count += 1
        if at < len(text) and not (at + 1 < len(text) and text[at + 1] == 58):
            at += 1
            if at == len(text):
                return False
    if (gap < 0 and count != 8) or (gap >= 0 and count > 7):
        return False
    second = groups[1] if gap != 1 else 0  # 2001::db8 has its gap there
    if groups[0] == 0x2001 and (second < 0x200 or second == 0xDB8):
        return False
    return 0x2000 <= groups[0] < 0x3FFF or (groups[0] == 0x3FFF and second >= 0x1000)
