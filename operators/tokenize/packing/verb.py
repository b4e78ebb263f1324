"""The verb ``pack`` of a recipe and the nodes it stands for."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from operators.tokenize.packing.infill import Fim
from operators.tokenize.packing.pack import PackShard, Policy
from operators.tokenize.packing.reader import INPUT, RELATED
from operators.tokenize.packing.related import ClusterLabels, PackRelated, RelatedCuts, RelatedKeys
from pipeline.errors import UserError
from pipeline.value import Value
from pipeline.work import Node


class Clusters(Value):
    """Documents that a ``dedup`` or ``split`` step found to share a bucket, directly or over others, are related."""

    step: str


class Pack(Value):
    """Token shards as sequences of one length, by index; tokens are copied only where ``fim`` rewrites a document.

    sequence_length: tokens a model reads of a sequence; a row holds one more, the last one it is to predict.
    policy: ``best_fit`` cuts no document that fits a row, and longer ones into that many and a rest, and puts each part
    where it leaves the least room. ``concat`` puts documents one after the other and cuts at every row.
    fim: rewrite some documents for fill-in-the-middle. related: documents of one URL host (``host``), or those that a step
    with ``dedup`` or ``split`` found similar (``{step: NAME}``), stand side by side, under ``best_fit`` as far as padding of
    half a percent allows; in an order drawn for each group and each document. seed: default the recipe's.
    Source: In-context Pretraining (Shi et al. 2023, arXiv:2310.10638) for the idea; there neighbours are found by a model.
    """

    sequence_length: int = Field(default=2048, ge=1, lt=1 << 24)
    policy: Policy = "best_fit"
    fim: Fim | None = None
    related: Literal["host"] | Clusters | None = None
    seed: int | None = Field(default=None, ge=0, lt=1 << 63)

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:
        """The step itself, and what it needs to put related documents together.

        Raises:
            UserError: the step reads from nothing.
        """
        if source is None:
            msg = f"step {step!r}: pack needs 'from', the step that holds the tokens"
            raise UserError(msg)
        seed = seed if self.seed is None else self.seed
        how: dict[str, Any] = {
            "sequence_length": self.sequence_length, "policy": self.policy, "fim": self.fim, "seed": seed,
        }  # fmt: skip
        if self.related is None:
            return (Node(step, PackShard(**how), {INPUT: source}),)
        labels: tuple[Node, ...] = ()
        by = "host" if self.related == "host" else "cluster"
        keyed = {INPUT: source}
        if isinstance(self.related, Clusters):
            found = self.related.step
            inputs = {role: f"{found}.{role}" for role in ("signatures", "components")}
            labels = (Node(f"{step}.labels", ClusterLabels(), inputs),)
            keyed["labels"] = f"{step}.labels"
        return (
            *labels,
            Node(f"{step}.{RELATED}", RelatedKeys(by=by, seed=seed), keyed),
            Node(f"{step}.cuts", RelatedCuts(by=by), {RELATED: f"{step}.{RELATED}"}),
            Node(step, PackRelated(**how), {INPUT: source, RELATED: f"{step}.{RELATED}", "cuts": f"{step}.cuts"}),
        )
