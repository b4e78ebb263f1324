"""datatrove's own MinHash signature step, FineWeb's parameters: word 5-grams, 14 buckets of 8 hashes of 64 bits."""

from __future__ import annotations

import importlib.metadata  # noqa: F401  # datatrove uses it without importing it
from collections.abc import Callable
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.utils.hashing import HashConfig
from job import Job
from loguru import logger

logger.remove()
CONFIGS = {
    "xxhash": MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8),
    "sha1": MinhashConfig(
        n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(precision=64, hash_fc="sha1")
    ),
}
"""Its default hash function, and the one that FineWeb's published pipeline names."""


def _documents(texts: list[str]) -> list[Document]:
    return [Document(text=text, id=str(k)) for k, text in enumerate(texts)]


def _speed(config: str) -> Job:
    """The step as its executor calls it, files and their check included."""

    def run(documents: list[Document]) -> None:
        with TemporaryDirectory() as folder:
            MinhashDedupSignature(folder, config=CONFIGS[config]).run(documents)

    return Job(_documents, run, lambda _: {})


def _pairs(config: str) -> Job:
    def run(texts: list[str]) -> tuple[list[float], list[float]]:
        """For each two texts the share of equal hashes, and the Jaccard similarity of their own n-grams."""
        with TemporaryDirectory() as folder:
            step = MinhashDedupSignature(folder, config=CONFIGS[config])
            shingles = [step.get_shingles(text) for text in texts]
            signed = [np.concatenate(step.get_signature(one)) if one.size else np.zeros(0) for one in shingles]
        estimates, exact = [], []
        for k in range(0, len(texts), 2):
            left, right = set(shingles[k].ravel().tolist()), set(shingles[k + 1].ravel().tolist())
            both = bool(left) and bool(right)
            estimates.append(float((signed[k] == signed[k + 1]).mean()) if both else float("nan"))
            exact.append(len(left & right) / len(left | right) if both else float("nan"))
        return estimates, exact

    def report(found: tuple[list[float], list[float]]) -> dict[str, Any]:
        return {"estimates": found[0], "exact": found[1]}

    return Job(list, run, report)


JOBS: dict[str, Callable[[], Job]] = {
    **{name: partial(_speed, name) for name in CONFIGS},
    **{f"pairs {name}": partial(_pairs, name) for name in CONFIGS},
}
