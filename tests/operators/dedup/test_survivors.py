"""The survivor rule on sketches made by hand, and components."""

from __future__ import annotations

import random

import numpy as np
import pytest

from operators.kernels.forest import components, forest
from operators.kernels.survivors import survivors


def decide(rows: list[str], needed: int, most: int = 64) -> list[int]:
    """Four bands of two slots; each string is a document's eight slots."""
    slots = np.array([[ord(slot) for slot in row] for row in rows], np.uint8)
    return survivors(slots, bands=4, rows=2, needed=needed, most=most)[0].tolist()


def test_a_chain_does_not_remove_its_end() -> None:
    """b is like a, c is like b but not like a: connected components would remove c for a."""
    assert decide(["aaaaaaaa", "aaaaaaxx", "aaaayyxx"], needed=6) == [-1, 0, -1]


def test_only_who_stays_removes() -> None:
    assert decide(["aaaaaaaa", "aaaaaaxx", "aaaayyxx", "aaaayyyy"], needed=6) == [-1, 0, -1, 2]


def test_the_most_similar_is_the_representative_and_the_earliest_among_equals() -> None:
    assert decide(["aaaaaabb", "aaaaccaa", "aaaaccab"], needed=4) == [-1, 0, 0]
    assert decide(["aabbbbbb", "aaaaccaa", "aaaaccab"], needed=4) == [-1, -1, 1]
    assert decide(["aabbccdd", "aaxxyydd", "aaxxccdd"], needed=6) == [-1, -1, 0]


def test_without_a_common_bucket_there_is_no_comparison() -> None:
    """Six equal slots of eight, but one unequal in each band that is not whole elsewhere."""
    assert decide(["aaaaaaaa", "abababab"], needed=4) == [-1, -1]
    assert decide(["aaaaaaaa", "aabababa"], needed=4) == [-1, 0]


def test_no_more_than_the_first_members_of_a_bucket_are_compared() -> None:
    rows = ["aabcdefg", "aahijklm", "aanopqrs", "aanopqrX"]
    assert decide(rows, needed=7, most=3) == [-1, -1, -1, 2]
    # All three buckets of the last two are their own in the other bands, so the member is found there still.
    assert decide(rows, needed=7, most=1) == [-1, -1, -1, 2]
    crowded = ["aabcdefg", "aahijklm", "aanXpXrX", "aanYpYrY"]
    assert decide(crowded, needed=5, most=3) == [-1, -1, -1, 2]
    assert decide(crowded, needed=5, most=2) == [-1, -1, -1, -1]


@pytest.mark.parametrize("seed", range(5))
def test_components_equal_a_flood_fill(seed: int) -> None:
    draw = random.Random(seed)
    edges = [(draw.randrange(0, 400, 7), draw.randrange(0, 400, 7)) for _ in range(draw.randrange(1, 60))]
    left, right = (np.array(side, np.uint64) for side in zip(*edges, strict=True))
    neighbours: dict[int, set[int]] = {}
    for a, b in edges:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    smallest = {}
    for start in sorted(neighbours):
        waiting = [start]
        while waiting:
            node = waiting.pop()
            if node not in smallest:
                smallest[node] = start
                waiting.extend(neighbours[node])
    nodes, root = components(left, right)
    assert dict(zip(nodes.tolist(), nodes[root].tolist(), strict=True)) == smallest
    fewer = forest(left, right)
    assert sorted(zip(*(side.tolist() for side in fewer), strict=True)) == sorted(
        (r, n) for n, r in smallest.items() if r != n
    )
