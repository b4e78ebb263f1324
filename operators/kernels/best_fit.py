"""Best-fit decreasing: items into as few rows of one capacity as it finds, each where it leaves the least room."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from operators.kernels.compiled import kernel, lean_kernel

IntArray = npt.NDArray[np.int64]
NodeArray = npt.NDArray[np.uint8]
"""A binary tree in an array: node k has the children 2k and 2k + 1, leaf ``leaves + r`` says whether a row has room r."""


@lean_kernel
def _smallest_from(tree: NodeArray, leaves: int, room: int) -> int:
    """The least room of any row that is ``room`` or more; -1 where there is none."""
    node = leaves + room
    if tree[node] == 0:
        while node > 1 and (node & 1 or tree[node + 1] == 0):
            node >>= 1
        if node <= 1:
            return -1
        node += 1
        while node < leaves:
            node = 2 * node if tree[2 * node] else 2 * node + 1
    return node - leaves


@lean_kernel
def _mark(tree: NodeArray, node: int) -> None:
    while node >= 1 and tree[node] == 0:
        tree[node] = 1
        node >>= 1


@lean_kernel
def _clear(tree: NodeArray, node: int) -> None:
    tree[node] = 0
    node >>= 1
    while node >= 1 and tree[2 * node] == 0 and tree[2 * node + 1] == 0:
        tree[node] = 0
        node >>= 1


@lean_kernel
def _forget(tree: NodeArray, leaves: int, first: IntArray, rooms: IntArray) -> None:
    """Offer none of these rooms any more."""
    for k in range(len(rooms)):
        room = rooms[k]
        if first[room] >= 0:
            first[room] = -1
            _clear(tree, leaves + room)


@kernel
def best_fit(sizes: IntArray, group: npt.NDArray[Any], capacity: int, row: IntArray) -> int:
    """Put N items into rows of ``capacity``, in the order given: group by group, and by size, largest first, in each.

    sizes: int64 (N,), each from 1 to ``capacity``. group: uint64 (N,), equal ones side by side; no row holds items of two.
    row: int64 (N,), filled with each item's row. An item goes to the row of its group with the least room that holds it; of
    several with equal room, to the one filled last; else to a new row. Returns the number of rows. Time: N times the
    logarithm of the capacity. Memory: 16 bytes an item, and 10 to 12 per unit of capacity.
    """
    leaves = 1
    while leaves <= capacity:
        leaves *= 2
    tree = np.zeros(2 * leaves, np.uint8)
    first = np.full(capacity + 1, -1, np.int64)  # room -> the row filled last that has it
    following = np.empty(len(sizes), np.int64)
    rooms = np.empty(len(sizes), np.int64)
    rows = begun = 0
    for item in range(len(sizes)):
        if item > 0 and group[item] != group[item - 1]:
            _forget(tree, leaves, first, rooms[begun:rows])
            begun = rows
        size = sizes[item]
        room = _smallest_from(tree, leaves, size)
        if room < 0:
            chosen, room = rows, capacity
            rows += 1
        else:
            chosen = first[room]
            first[room] = following[chosen]
            if first[room] < 0:
                _clear(tree, leaves + room)
        row[item] = chosen
        left = room - size
        rooms[chosen] = left
        if left > 0:
            following[chosen] = first[left]
            first[left] = chosen
            _mark(tree, leaves + left)
    return rows


def warm() -> None:
    """Compile the kernels of this module."""
    one = np.ones(1, np.int64)
    best_fit(one, np.ones(1, np.uint64), 1, np.zeros(1, np.int64))
