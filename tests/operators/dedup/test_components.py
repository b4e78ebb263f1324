"""Connected components: in memory, and through scratch files, the same."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.dedup.external_sort import ExternalSort, merged, write_run
from operators.dedup.near.external_components import Connector
from operators.kernels.forest import mixed, unmixed

IN_MEMORY = 1 << 30


def members(edges: npt.NDArray[np.uint64], memory_bytes: int, step: int = 10**9) -> list[tuple[int, int]]:
    """(label, node) of edges given in parts; checks that no scratch file is left."""
    with TemporaryDirectory() as folder:
        graph = Connector(Path(folder), memory_bytes)
        for first in range(0, len(edges), step):
            graph.add(edges[first : first + step, 0], edges[first : first + step, 1])
        out = [pair for label, node in graph.members() for pair in zip(label.tolist(), node.tolist(), strict=True)]
        assert list(Path(folder).iterdir()) == []
        return out


def flooded(edges: npt.NDArray[np.uint64]) -> list[tuple[int, int]]:
    """The same by walking from each smallest node."""
    near: dict[int, set[int]] = {}
    for a, b in edges.tolist():
        if a != b:
            near.setdefault(a, set()).add(b)
            near.setdefault(b, set()).add(a)
    label: dict[int, int] = {}
    for start in sorted(near):
        waiting = [start]
        while waiting:
            node = waiting.pop()
            if node not in label:
                label[node] = start
                waiting += near[node]
    return sorted((smallest, node) for node, smallest in label.items())


def random_graph(seed: int, nodes: int, edges: int) -> npt.NDArray[np.uint64]:
    return np.random.default_rng(seed).integers(0, nodes, (edges, 2)).astype(np.uint64) << np.uint64(30)


CHAIN = np.stack([np.arange(3000), np.arange(1, 3001)], axis=1).astype(np.uint64)
SHAPES = {
    "sparse": random_graph(1, 3000, 1200),
    "critical": random_graph(2, 3000, 1600),
    "giant": random_graph(3, 500, 4000),
    "chain": CHAIN,
    "shuffled chain": np.random.default_rng(4).permutation(CHAIN * np.uint64(7919 << 20)),
    "two chains": np.concatenate([CHAIN[:1000] * np.uint64(2), CHAIN[:1000] * np.uint64(2) + np.uint64(1)]),
    "star": np.stack([np.full(3000, 1500), np.arange(3000)], axis=1).astype(np.uint64),
    "stars of stars": np.array([(k // 60 * 60 // (1 + 59 * (k % 60 == 0)), k) for k in range(1, 3000)], np.uint64),
    "one edge many times": np.full((3000, 2), [5, 9]).astype(np.uint64),
    "far addresses": np.array([[0, (1 << 64) - 1], [1, 1 << 63], [(1 << 64) - 2, 1]], np.uint64),
    "loops alone": np.full((9, 2), 3).astype(np.uint64),
    "nothing": np.empty((0, 2), np.uint64),
}


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("memory_bytes", [IN_MEMORY, 60_000])
def test_equal_a_flood_fill_at_any_memory(shape: str, memory_bytes: int) -> None:
    assert members(SHAPES[shape], memory_bytes, 700) == flooded(SHAPES[shape])


@settings(deadline=None, max_examples=40)
@given(
    edges=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=60),
    memory_bytes=st.sampled_from([1, 600, 3000, IN_MEMORY]),
    step=st.integers(1, 70),
    order=st.randoms(use_true_random=False),
)
def test_neither_the_order_of_edges_nor_the_memory_matters(
    edges: list[tuple[int, int]], memory_bytes: int, step: int, order: random.Random
) -> None:
    expected = flooded(np.array(edges, np.uint64).reshape(-1, 2))
    order.shuffle(edges)
    turned = [pair if order.random() < 0.5 else pair[::-1] for pair in edges]
    assert members(np.array(turned, np.uint64).reshape(-1, 2), max(memory_bytes, 8 * len(edges)), step) == expected


def test_a_large_graph_is_not_held(tmp_path: Path) -> None:
    """What does not fit goes to disk while edges come, and each bucket of the elimination is a part of it."""
    graph = Connector(tmp_path, 64_000)
    graph.add(CHAIN[:, 0], CHAIN[:, 1])
    assert graph._num_pending <= 500
    parts = [len(label) for label, _ in graph.members()]
    assert sum(parts) == 3001
    assert max(parts) <= 64_000 // 16


def test_mixing_is_undone() -> None:
    numbers = np.array([0, 1, 1 << 32, (1 << 64) - 1, 0x0123456789ABCDEF], np.uint64)
    assert unmixed(mixed(numbers)).tolist() == numbers.tolist()
    assert len(set(mixed(np.arange(1000, dtype=np.uint64) << np.uint64(32)).tolist())) == 1000
    # murmur3's published finisher of 1, worked out with Python's integers.
    value = 1
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        value = (value ^ value >> 33) * factor % 2**64
    assert mixed(np.array([1], np.uint64)).tolist() == [value ^ value >> 33]


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2**64 - 1)), max_size=60),
    memory_bytes=st.sampled_from([1, 500, 1500, IN_MEMORY]),
    step=st.integers(1, 61),
)
def test_an_external_sort_sorts(rows: list[tuple[int, int, int]], memory_bytes: int, step: int) -> None:
    with TemporaryDirectory() as folder:
        sort = ExternalSort(Path(folder), "x", memory_bytes)
        for first in range(0, len(rows), step):
            sort.add([np.array(column, np.uint64) for column in zip(*rows[first : first + step], strict=True)])
        for _ in range(2):  # it may be read twice
            parts = list(sort.chunks())
            found = [row for part in parts for row in zip(*(column.tolist() for column in part), strict=True)]
            assert found == sorted(rows)
        sort.remove()
        assert list(Path(folder).iterdir()) == []


def test_parts_of_a_merge_fit(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    runs = []
    for k in range(5):
        column = np.sort(draw.integers(0, 50, 400).astype(np.uint64))
        runs.append(write_run(tmp_path / str(k), [[column, np.arange(400 * k, 400 * k + 400, dtype=np.uint64)]], 400))
    parts = list(merged(runs, 100))
    assert max(len(part[0]) for part in parts) <= 100
    pairs = [pair for part in parts for pair in zip(part[0].tolist(), part[1].tolist(), strict=True)]
    assert pairs == sorted(pairs)
    assert len(pairs) == 2000


def test_a_run_of_another_length_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 records for a run of 3"):
        write_run(tmp_path / "x", [[np.zeros(2, np.uint64)]], 3)
