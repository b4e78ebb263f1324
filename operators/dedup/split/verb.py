"""The verb ``split`` of a recipe and the nodes it stands for."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from operators.dedup.exact import ExactCopies
from operators.dedup.near.components import Components
from operators.dedup.near.edges import BandEdges
from operators.dedup.near.runs import BandRuns, Bands
from operators.dedup.order import Order
from operators.dedup.signatures import Signatures
from operators.dedup.split.draw import Shares
from operators.dedup.split.hosts import HostEdges, Hosts
from operators.dedup.split.parts import Part
from operators.dedup.split.sets import ClusterSets
from pipeline.errors import UserError
from pipeline.value import Value
from pipeline.work import Node

_USUAL_SLOTS = 112  # as many as dedup takes by default


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class Split(Value):
    """Hold out sets of documents for evaluation so that no near copy of them is trained on.

    A set is made of whole clusters: documents connected by shared buckets (``bands`` of ``rows`` slots over word
    ``ngram`` s, no threshold) and exact copies, however long the chain. held_out: each set's share of the documents, so
    about that many go there, chosen by their content and the seed. The step itself is what is left to train on, a set
    is ``<step>.<set>``. A cluster of more than max_cluster documents always trains. by: ``host`` keeps all documents of
    a URL's host together too. seed: default the recipe's. partitions and memory_gib say how the work is cut; they change nothing.

    With 20 bands of 5 a pair of Jaccard similarity 0.8 shares a bucket with probability 0.9996, of 0.7 with 0.975, of
    0.5 with 0.47, of 0.3 with 0.048; it may be connected through others where it does not.
    """

    held_out: Shares
    ngram: int = Field(default=5, ge=1, le=1000)
    bands: int = Field(default=20, ge=1, le=1000)
    rows: int = Field(default=5, ge=1, le=1000)
    max_cluster: int = Field(default=1000, ge=1)
    by: Annotated[tuple[Literal["host"], ...], BeforeValidator(_as_tuple)] = ()
    seed: int | None = Field(default=None, ge=0, lt=1 << 63)
    partitions: int | None = Field(default=None, ge=1, le=4096)
    memory_gib: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _signature_fits(self) -> Self:
        if self.bands * self.rows > 4096:  # the number is in the message
            msg = f"bands * rows is {self.bands * self.rows} bytes a document; give at most 4096"
            raise ValueError(msg)
        return self

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:
        """Signatures, exact copies, bucket keys, edges, components, their sets, each held-out set, and the step itself.

        Raises:
            UserError: there are no documents to read.
        """
        if source is None:
            msg = f"step {step!r} is a split without documents; name the step to read with 'from'"
            raise UserError(msg)
        cut: dict[str, Any] = {"partitions": self.partitions, "memory_gib": self.memory_gib}
        signatures = Signatures(ngram=self.ngram, num_perm=max(_USUAL_SLOTS, self.bands * self.rows))
        runs = BandRuns(signatures=signatures, bands=Bands(bands=self.bands, rows=self.rows))
        drawing: dict[str, Any] = {
            "signatures": signatures,
            "held_out": self.held_out,
            "seed": seed if self.seed is None else self.seed,
            "max_cluster": self.max_cluster,
        }
        inputs = {role: f"{step}.{role}" for role in ("signatures", "exact", "runs", "edges", "components", "sets")}

        def named(*roles: str) -> dict[str, str]:
            return {role: inputs[role] for role in roles}

        # The smallest id stands for all copies of a text, as it does for a cluster.
        exact = ExactCopies(signatures=signatures, order=Order(keep=("id",)), **cut)
        parts = [(f"{step}.{name}", name) for name, _ in self.held_out]
        connected, linked = named("edges"), ()
        if self.by:
            connected["links"] = f"{step}.links"
            linked = (
                Node(f"{step}.hosts", Hosts(), {"documents": source}),
                Node(f"{step}.links", HostEdges(**cut), {"runs": f"{step}.hosts", **named("exact")}),
            )
        return (
            Node(inputs["signatures"], signatures, {"documents": source}),
            Node(inputs["exact"], exact, named("signatures")),
            Node(inputs["runs"], runs, named("signatures")),
            Node(inputs["edges"], BandEdges(runs=runs, **cut), named("runs", "exact")),
            *linked,
            Node(inputs["components"], Components(memory_gib=self.memory_gib), connected),
            Node(inputs["sets"], ClusterSets(**drawing, **cut), named("signatures", "exact", "components")),
            *(
                Node(node, Part(part=part, **drawing), {"documents": source, **named("signatures", "exact", "sets")})
                for node, part in [*parts, (step, None)]
            ),
        )
