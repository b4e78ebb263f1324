"""rensa's signatures: as its users call it, on word 5-grams made in Python, and on hashes that a kernel has made.

A job is called ``<way>/<slots>``; ``pairs <way>/<slots>`` takes texts (or sets) two by two and estimates each pair. The
ways that begin with ``hashes`` take the path of a .npz with ``hashes`` (uint32, flat) and ``starts`` in place of texts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import rensa
from job import Job
from word_ngrams import word_ngrams

SEED = 42  # of its own examples
SLOTS = (112, 128)
"""As many as the others have, and the nearest power of two, for which rensa has a faster path."""


def _one_by_one(kind: Any, slots: int, texts: list[str]) -> list[list[int]]:
    signatures = []
    for text in texts:
        one = kind(num_perm=slots, seed=SEED)
        one.update(word_ngrams(text))
        signatures.append(one)
    return [one.digest_u64() if kind is rensa.CMinHash else one.digest() for one in signatures]


def _at_once(make: Callable[..., Any], slots: int, texts: list[str]) -> Any:
    return make([word_ngrams(text) for text in texts], slots, SEED)


def _from_hashes(make: Callable[..., Any], slots: int, sets: tuple[Any, Any]) -> Any:
    return make(*sets, slots, SEED)


def _sets(paths: list[str]) -> tuple[Any, Any]:
    with np.load(paths[0]) as file:
        return file["hashes"].astype(np.uint64), file["starts"].astype(np.uint64)


_R, _C = rensa.RMinHash, rensa.CMinHash
WAYS: dict[str, tuple[Callable[[list[str]], Any], Callable[[int, Any], Any]]] = {
    "RMinHash": (list, partial(_one_by_one, _R)),
    "RMinHash matrix": (list, partial(_at_once, _R.digest_matrix_from_token_sets)),
    "RMinHash rho": (list, partial(_at_once, _R.digest_matrix_from_token_sets_rho)),
    "CMinHash": (list, partial(_one_by_one, _C)),
    "CMinHash bulk": (list, partial(_at_once, _C.digests64_from_token_sets)),
    "hashes RMinHash": (_sets, partial(_from_hashes, _R.digest_matrix_from_flat_token_hashes)),
    "hashes RMinHash rho": (_sets, partial(_from_hashes, _R.digest_matrix_from_flat_token_hashes_rho)),
}
"""Way -> (how the texts are loaded, the work)."""


def _speed(way: str, slots: int) -> Job:
    load, work = WAYS[way]
    return Job(load, partial(work, slots), lambda _: {})


def _pairs(way: str, slots: int) -> Job:
    load, work = WAYS[way]

    def run(loaded: Any) -> Any:
        digests = work(slots, loaded)
        rows = np.array(digests.to_rows() if hasattr(digests, "to_rows") else digests, np.uint64)
        return (rows[0::2] == rows[1::2]).mean(axis=1).tolist()

    def report(estimates: list[float]) -> dict[str, Any]:
        return {"estimates": estimates}

    return Job(load, run, report)


JOBS: dict[str, Callable[[], Job]] = {
    f"{prefix}{way}/{slots}": partial(make, way, slots)
    for prefix, make in (("", _speed), ("pairs ", _pairs))
    for way in WAYS
    for slots in SLOTS
}
