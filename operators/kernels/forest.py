"""Union-find over addresses: edges to a forest, and to components."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.kernels.compiled import kernel
from operators.kernels.shingles import KeyArray

IndexArray = npt.NDArray[np.int64]


@kernel
def _find(parent: IndexArray, node: int) -> int:
    """The root, every second node on the way re-hung to its grandparent."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@kernel
def _unite(parent: IndexArray, left: IndexArray, right: IndexArray) -> None:
    """Join the ends of every edge; the smaller root stays root, so the roots do not hang on the order of edges."""
    for edge in range(len(left)):
        first, second = _find(parent, left[edge]), _find(parent, right[edge])
        if first < second:
            parent[second] = first
        elif second < first:
            parent[first] = second
    for node in range(len(parent)):
        parent[node] = _find(parent, node)


def components(left: KeyArray, right: KeyArray) -> tuple[KeyArray, IndexArray]:
    """Which nodes edges (left[i], right[i]) connect.

    Returns the nodes they touch, ascending, and for each the position of the smallest node of its component.
    """
    nodes, position = np.unique(np.concatenate([left, right]), return_inverse=True)
    parent = np.arange(len(nodes))
    ends = position.astype(np.int64)
    _unite(parent, ends[: len(left)], ends[len(left) :])
    return nodes, parent


def forest(left: KeyArray, right: KeyArray) -> tuple[KeyArray, KeyArray]:
    """The fewest edges with the same components: (smallest node, other node) for each other node, ascending."""
    nodes, root = components(left, right)
    others = root != np.arange(len(nodes))
    return nodes[root[others]], nodes[others]


def joined(root: IndexArray, left: IndexArray, right: IndexArray) -> None:
    """Take edges between numbered nodes into a forest: ``root`` (N,) holds, and is left with, each node's root."""
    _unite(root, left, right)


_STEP_1, _STEP_2 = 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53  # of murmur3's 64-bit finisher
_BACK_1, _BACK_2 = pow(_STEP_1, -1, 1 << 64), pow(_STEP_2, -1, 1 << 64)
_S33 = np.uint64(33)


def mixed(numbers: KeyArray) -> KeyArray:
    """Numbers in an order as good as random: a bijection of 64-bit numbers (murmur3's finisher)."""
    numbers = (numbers ^ (numbers >> _S33)) * np.uint64(_STEP_1)
    numbers = (numbers ^ (numbers >> _S33)) * np.uint64(_STEP_2)
    return numbers ^ (numbers >> _S33)


def unmixed(numbers: KeyArray) -> KeyArray:
    """The inverse of ``mixed``; a shift by 33 undoes itself."""
    numbers = (numbers ^ (numbers >> _S33)) * np.uint64(_BACK_2)
    numbers = (numbers ^ (numbers >> _S33)) * np.uint64(_BACK_1)
    return numbers ^ (numbers >> _S33)


def warm() -> None:
    """Compile the kernels of this module."""
    components(np.zeros(1, np.uint64), np.ones(1, np.uint64))
