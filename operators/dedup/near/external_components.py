"""Connected components of graphs of any size, in bounded memory.

In memory where the edges fit. Else by node elimination (Sibeyn 2000; Dementiev, Sanders, Schultes and Sibeyn 2004,
"Engineering an External Memory Minimum Spanning Tree Algorithm"), a bucket of nodes at a time: addresses are mixed
into a random order and cut into buckets of that order, each of which fits. From the last bucket to the first, the nodes
of a bucket that are connected within it become one, which hangs itself on its smallest neighbour in an earlier bucket
and leaves its other edges to that. Then, from the first bucket to the last, each takes the label of what it hangs on.

Rather than randomized contraction (Boegeholz, Brand and Todor 2020, arXiv:1802.09478): that needs O(log V) rounds, each
of which sorts and joins all edges several times; here every record is appended to a bucket's file and read from it, an
edge in expectation once per bucket that halves what is left of the order, i.e. at most ln(buckets) + 1 times.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from operators.dedup.external_sort import ExternalSort, Rows
from operators.kernels.forest import IndexArray, components, forest, joined, mixed, unmixed
from operators.kernels.shingles import KeyArray

_BYTES_PER_EDGE = 128  # two ends, their order, their numbers, and the copies that sorting makes
_BYTES_PER_NODE = 96
_MOST_BITS = 12  # 4,096 buckets of five files each; at 1 GiB that is enough for 10 thousand million edges
_ALL = np.uint64((1 << 64) - 1)


class Connector:
    """Takes edges, gives components. What comes out does not hang on the memory, nor on the order of edges.

    Memory: ``memory_bytes``; the rest lies in ``scratch``, about 32 bytes for every edge and 64 for every node.
    """

    def __init__(self, scratch: Path, memory_bytes: int) -> None:
        self._scratch = scratch
        self._memory = memory_bytes
        self._limit = max(2, memory_bytes // _BYTES_PER_EDGE)
        self._pending: list[tuple[KeyArray, KeyArray]] = []
        self._num_pending = 0
        self._num_spilled = 0
        self._spilled = _PairFiles(scratch, "spilled", 1)

    def add(self, left: KeyArray, right: KeyArray) -> None:
        """Take edges; a node's edge to itself counts for nothing."""
        for first in range(0, len(left), self._limit):
            one, other = left[first : first + self._limit], right[first : first + self._limit]
            apart = one != other
            if self._num_pending + int(apart.sum()) > self._limit:
                self._compact()
            self._pending.append((one[apart], other[apart]))
            self._num_pending += int(apart.sum())

    def members(self) -> Iterator[Rows]:
        """(label, node), sorted by both, in parts: the label of a component is its smallest node."""
        if self._num_spilled:
            self._spill()
            yield from _eliminate(self._spilled, self._num_spilled, self._scratch, self._memory)
            return
        nodes, root = components(*self._taken())
        order = np.argsort(root, kind="stable")
        yield [nodes[root[order]], nodes[order]]

    def _taken(self) -> tuple[KeyArray, KeyArray]:
        none = np.empty(0, np.uint64)
        left, right = zip((none, none), *self._pending, strict=True)
        self._pending, self._num_pending = [], 0
        return np.concatenate(left), np.concatenate(right)

    def _compact(self) -> None:
        """Leave the fewest edges with the same components, and put them on disk where they are many."""
        self._pending = [forest(*self._taken())]
        self._num_pending = len(self._pending[0][0])
        if self._num_pending > self._limit // 2:
            self._spill()

    def _spill(self) -> None:
        left, right = self._taken()
        self._num_spilled += len(left)
        self._spilled.append(np.zeros(len(left), np.intp), left, right)


class _PairFiles:
    """Pairs of numbers, in a scratch file per bucket."""

    def __init__(self, folder: Path, stem: str, buckets: int) -> None:
        self._paths = [folder / f"{stem}.{bucket}.pairs" for bucket in range(buckets)]

    def append(self, bucket: IndexArray, left: KeyArray, right: KeyArray) -> None:
        """Put each pair into the file of its bucket."""
        if len(bucket) == 0:
            return
        order = np.argsort(bucket, kind="stable")
        pairs = np.stack([left[order], right[order]], axis=1)
        chosen, first = np.unique(bucket[order], return_index=True)
        for number, part in zip(chosen.tolist(), np.split(pairs, first[1:]), strict=True):
            with self._paths[number].open("ab") as file:
                part.tofile(file)

    def parts(self, bucket: int, num_pairs: int) -> Iterator[tuple[KeyArray, KeyArray]]:
        """The pairs of a bucket, so many at a time."""
        path = self._paths[bucket]
        size = path.stat().st_size if path.exists() else 0
        for offset in range(0, size, 16 * num_pairs):
            pairs = np.fromfile(path, np.uint64, 2 * num_pairs, offset=offset).reshape(-1, 2)
            yield pairs[:, 0].copy(), pairs[:, 1].copy()

    def remove(self, bucket: int) -> None:
        """Delete a bucket's file."""
        self._paths[bucket].unlink(missing_ok=True)


class _Elimination:
    """The files of an elimination; nodes are mixed addresses, so that equal widths hold about equal numbers.

    edges: (later node, earlier node), in the bucket of the later. smallest: (node, smallest address of what hung itself
    on it). local: (node, what it became one with). hanging: (node, what hangs on it). labelled: (node, its label).
    """

    def __init__(self, scratch: Path, num_edges: int, memory_bytes: int) -> None:
        nodes = 2 * num_edges  # more than there are
        self.bits = min(_MOST_BITS, max(1, (2 * nodes * _BYTES_PER_NODE // memory_bytes).bit_length()))
        self.part = max(2, memory_bytes // (2 * _BYTES_PER_EDGE))
        names = ("edges", "smallest", "local", "hanging", "labelled")
        self.edges, self.smallest, self.local, self.hanging, self.labelled = (
            _PairFiles(scratch, name, 1 << self.bits) for name in names
        )

    def bucket(self, nodes: KeyArray) -> IndexArray:
        """The bucket of each node."""
        return (nodes >> np.uint64(64 - self.bits)).astype(np.int64)

    def add_edges(self, one: KeyArray, other: KeyArray) -> None:
        """Put edges into the bucket of their later node; loops go."""
        later, earlier = np.maximum(one, other), np.minimum(one, other)
        apart = later != earlier
        self.edges.append(self.bucket(later[apart]), later[apart], earlier[apart])

    def nodes(self, bucket: int) -> KeyArray:
        """All nodes of a bucket, sorted."""
        found = np.empty(0, np.uint64)
        for later, earlier in self.edges.parts(bucket, self.part):
            found = np.union1d(found, np.concatenate([later, earlier[self.bucket(earlier) == bucket]]))
        for node, _ in self.smallest.parts(bucket, self.part):
            found = np.union1d(found, node)
        return found

    def eliminate(self, bucket: int) -> None:
        """Join what is connected within a bucket, and hang it on its smallest neighbour before the bucket."""
        nodes = self.nodes(bucket)
        root = np.arange(len(nodes))
        for later, earlier in self.edges.parts(bucket, self.part):
            inside = self.bucket(earlier) == bucket
            joined(root, np.searchsorted(nodes, later[inside]), np.searchsorted(nodes, earlier[inside]))
        address = unmixed(nodes)
        np.minimum.at(address, root, address.copy())
        for node, smallest in self.smallest.parts(bucket, self.part):
            np.minimum.at(address, root[np.searchsorted(nodes, node)], smallest)
        above = np.full(len(nodes), _ALL)
        for later, earlier in self._outward(bucket):
            np.minimum.at(above, root[np.searchsorted(nodes, later)], earlier)
        for later, earlier in self._outward(bucket):
            self.add_edges(*_distinct(above[root[np.searchsorted(nodes, later)]], earlier))
        self._write(bucket, nodes, root, address, above)
        self.edges.remove(bucket)
        self.smallest.remove(bucket)

    def _outward(self, bucket: int) -> Iterator[tuple[KeyArray, KeyArray]]:
        for later, earlier in self.edges.parts(bucket, self.part):
            outside = self.bucket(earlier) != bucket
            yield later[outside], earlier[outside]

    def _write(self, bucket: int, nodes: KeyArray, root: IndexArray, address: KeyArray, above: KeyArray) -> None:
        self.local.append(np.full(len(nodes), bucket), nodes, nodes[root])
        is_root = root == np.arange(len(nodes))
        hangs = is_root & (above != _ALL)
        self.smallest.append(self.bucket(above[hangs]), above[hangs], address[hangs])
        self.hanging.append(self.bucket(above[hangs]), above[hangs], nodes[hangs])
        ends = is_root & ~hangs
        self.labelled.append(np.full(int(ends.sum()), bucket), nodes[ends], address[ends])

    def label(self, bucket: int) -> Iterator[Rows]:
        """(label, address) of every node of a bucket; hands the labels on to what hangs on them."""
        label_of = [np.empty((2, 0), np.uint64), *(np.stack(pair) for pair in self.labelled.parts(bucket, self.part))]
        roots, label = np.concatenate(label_of, axis=1)
        order = np.argsort(roots)
        roots, label = roots[order], label[order]
        locals_of = [np.empty((2, 0), np.uint64), *(np.stack(pair) for pair in self.local.parts(bucket, self.part))]
        nodes, root = np.concatenate(locals_of, axis=1)
        labels = label[np.searchsorted(roots, root)]
        yield [labels, unmixed(nodes)]
        for node, hanging in self.hanging.parts(bucket, self.part):
            self.labelled.append(self.bucket(hanging), hanging, labels[np.searchsorted(nodes, node)])
        for files in (self.labelled, self.local, self.hanging):
            files.remove(bucket)


def _distinct(left: KeyArray, right: KeyArray) -> tuple[KeyArray, KeyArray]:
    """Each pair once."""
    order = np.lexsort((right, left))
    left, right = left[order], right[order]
    new = np.ones(len(left), np.bool_)
    new[1:] = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
    return left[new], right[new]


def _eliminate(spilled: _PairFiles, num_edges: int, scratch: Path, memory_bytes: int) -> Iterator[Rows]:
    work = _Elimination(scratch, num_edges, memory_bytes)
    members = ExternalSort(scratch, "members", memory_bytes // 2)
    for left, right in spilled.parts(0, work.part):
        work.add_edges(mixed(left), mixed(right))
    spilled.remove(0)
    for bucket in reversed(range(1 << work.bits)):
        work.eliminate(bucket)
    for bucket in range(1 << work.bits):
        for rows in work.label(bucket):
            members.add(rows)
    yield from members.chunks()
    members.remove()
