"""The verb ``dedup`` of a recipe and the nodes it stands for."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from operators.dedup.clusters import Clusters
from operators.dedup.edges import BandEdges
from operators.dedup.exact import ExactCopies
from operators.dedup.order import Policy
from operators.dedup.signatures import Signatures
from operators.dedup.sketch import Bands
from operators.dedup.verdicts import Verdicts
from pipeline.errors import UserError
from pipeline.value import Value
from pipeline.work import Node


class MinHash(Value):
    """Near duplicates by word n-grams: ``bands`` of ``rows`` slots, and the Jaccard estimate from which a copy goes.

    Source of the defaults: FineWeb's 5-grams and 14 x 8 (arXiv:2406.17557), half of all pairs at Jaccard 0.685 found.
    """

    ngram: int = Field(default=5, ge=1, le=1000)
    bands: int = Field(default=14, ge=1, le=1000)
    rows: int = Field(default=8, ge=1, le=1000)
    threshold: float = Field(default=0.7, gt=0, le=1)

    @model_validator(mode="after")
    def _signature_fits(self) -> Self:
        if self.bands * self.rows > 4096:  # the number is in the message
            msg = f"bands * rows is {self.bands * self.rows} bytes a document; give at most 4096"
            raise ValueError(msg)
        return self


class Dedup(Value):
    """Remove documents whose text another document has (``exact``), or nearly has (``minhash``).

    keep: which of several stays: the longest, newest or oldest first, then the smaller id. partitions and memory_gib
    say how the barrier is cut (by itself: a task per 8 shards, 1 GiB of records at once); they change no verdict.
    """

    exact: bool = True
    minhash: MinHash | None = MinHash()
    keep: Policy = ("longest",)
    partitions: int | None = Field(default=None, ge=1, le=4096)
    memory_gib: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not self.exact and self.minhash is None:
            msg = "exact: false and minhash: null leave nothing to do; leave the step out"
            raise ValueError(msg)
        return self

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:  # noqa: ARG002  # nothing is random
        """Signatures, exact copies, edges, clusters and the step itself, without those that are switched off.

        Raises:
            UserError: there are no documents to read.
        """
        if source is None:
            msg = f"step {step!r} is a dedup without documents; name the step to read with 'from'"
            raise UserError(msg)
        near = self.minhash
        bands = Bands(ngram=near.ngram, bands=near.bands, rows=near.rows) if near else None
        signatures = Signatures(exact=self.exact, bands=bands)
        cut = {"partitions": self.partitions, "memory_gib": self.memory_gib}
        inputs = {"signatures": f"{step}.signatures"}
        nodes = [Node(f"{step}.signatures", signatures, {"documents": source})]
        if self.exact:
            nodes.append(Node(f"{step}.exact", ExactCopies(signatures=signatures, keep=self.keep, **cut), dict(inputs)))
            inputs["exact"] = f"{step}.exact"
        if near:
            nodes.append(Node(f"{step}.edges", BandEdges(signatures=signatures, **cut), dict(inputs)))
            clusters = Clusters(signatures=signatures, keep=self.keep, threshold=near.threshold)
            nodes.append(Node(f"{step}.clusters", clusters, {**inputs, "edges": f"{step}.edges"}))
            inputs["clusters"] = f"{step}.clusters"
        return (*nodes, Node(step, Verdicts(signatures=signatures), {"documents": source, **inputs}))
