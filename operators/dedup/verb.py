"""The verb ``dedup`` of a recipe and the nodes it stands for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import Field, model_validator

from operators.dedup.checks.alarm import Alarm, LossAlarm
from operators.dedup.checks.audit import Audit
from operators.dedup.earlier.against import OtherRuns, earlier_runs
from operators.dedup.earlier.index import Index
from operators.dedup.earlier.levels import ROLE, EarlierRun
from operators.dedup.exact import ExactCopies
from operators.dedup.near.clusters import NGRAMS_ROLE, Clusters, Rule, Verify
from operators.dedup.near.components import Components
from operators.dedup.near.edges import BandEdges
from operators.dedup.near.runs import BandRuns, Bands
from operators.dedup.order import Order, Policy, Sources
from operators.dedup.signatures import Signatures
from operators.dedup.verdicts import Verdicts
from pipeline.errors import UserError
from pipeline.value import Value
from pipeline.work import EpochVerb, Node

_USUAL_SLOTS = 112


class MinHash(Value):
    """Near duplicates by word n-grams: ``bands`` of ``rows`` slots, and the Jaccard estimate from which a copy goes.

    num_perm: slots of a signature, 112 or ``bands * rows`` if that is more. All of them are in the estimate, the first
    ``bands * rows`` make the buckets; a change of bands or rows that leaves num_perm as it is reads no text again.
    full: also write whole signatures for other programs, see ``interchange``.
    verify: what must reach the threshold for a document to go: the estimate of the Jaccard similarity; ``jaccard``, the
    true one, counted over n-grams; ``containment``, the share of the n-grams of the document that would go which the
    one that stays has too, so that an excerpt goes for the whole. Only documents that share a bucket are looked at, and
    buckets are made for Jaccard. The last two store the n-grams, 4 bytes each: some 0.6 bytes for each byte of English text.

    Source of the defaults: FineWeb's 5-grams and 14 x 8 (arXiv:2406.17557), half of all pairs at Jaccard 0.685 found.
    """

    ngram: int = Field(default=5, ge=1, le=1000)
    bands: int = Field(default=14, ge=1, le=1000)
    rows: int = Field(default=8, ge=1, le=1000)
    threshold: float = Field(default=0.7, gt=0, le=1)
    num_perm: int | None = Field(default=None, ge=1, le=4096)
    full: bool = False
    verify: Verify = "estimate"

    @model_validator(mode="after")
    def _signature_fits(self) -> Self:
        if self.bands * self.rows > 4096:  # the number is in the message
            msg = f"bands * rows is {self.bands * self.rows} bytes a document; give at most 4096"
            raise ValueError(msg)
        if self.num_perm is not None and self.num_perm < self.bands * self.rows:
            msg = f"bands * rows is {self.bands * self.rows}, more than num_perm, {self.num_perm}; raise num_perm"
            raise ValueError(msg)
        return self

    @property
    def slots(self) -> int:
        """Slots of a signature."""
        return self.num_perm or max(_USUAL_SLOTS, self.bands * self.rows)


class Works(NamedTuple):
    """What the nodes of a dedup step have in common."""

    signatures: Signatures
    runs: BandRuns | None
    order: Order
    against: tuple[EarlierRun, ...]


class Dedup(EpochVerb):
    """Remove documents whose text another document has (``exact``), or nearly has (``minhash``).

    sources: of several, one of the source named first stays, those of sources not named last. keep: then the longest,
    shortest, newest, oldest, or the highest or lowest of a column of numbers, as in ``keep: [{highest: score},
    longest]``; then the smaller id.
    rule: greedy removes a document only for one that stays and is similar enough to it. transitive, for parity with
    datatrove, NeMo Curator and data-juicer, lets one document stay of all that shared buckets connect, over however many
    steps, and does not look at the threshold: many that go are unlike the one that stays, and with epochs or against
    the result is not that of one run over everything.
    partitions and memory_gib say how the barrier is cut (by itself: a task per 8 shards, 1 GiB of records at once); they
    change no verdict.
    against: other runs whose documents go before all of these, oldest first: what one of them has goes. index: keep
    what later runs need to go against this one. remove: false keeps every document and only makes the index, in which
    all of them count. alarm: the share that a source may lose before the run stops; null never stops it. audit: how many
    removed near duplicates are read again beside their survivors and compared n-gram by n-gram, for the report.
    """

    exact: bool = True
    minhash: MinHash | None = MinHash()
    keep: Policy = ("longest",)
    sources: Sources = ()
    rule: Rule = "greedy"
    partitions: int | None = Field(default=None, ge=1, le=4096)
    memory_gib: float = Field(default=1.0, gt=0)
    against: OtherRuns = ()
    index: bool = False
    remove: bool = True
    alarm: Alarm | None = Alarm()
    audit: int = Field(default=200, ge=0, le=100_000)

    @model_validator(mode="after")
    def _compares_or_indexes(self) -> Self:
        if not self.remove and not self.index:
            msg = "remove: false leaves nothing to do; add index: true, or leave the step out"
            raise ValueError(msg)
        if not self.remove and self.against:
            msg = "remove: false compares with nothing, so against has no use; leave one of them out"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _can_count(self) -> Self:
        counts = self.minhash is not None and self.minhash.verify != "estimate"
        if counts and (self.against or self.rule == "transitive"):
            why = "the index of another run holds no n-grams" if self.against else "rule: transitive compares nothing"
            msg = f"verify counts n-grams, and {why}; leave one of them out, or use verify: estimate"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not self.exact and self.minhash is None:
            msg = "exact: false and minhash: null leave nothing to do; leave the step out"
            raise ValueError(msg)
        return self

    def located(self, folder: Path) -> Dedup:
        """The same with the paths of other runs taken from a folder, and those runs looked at.

        Raises:
            UserError: another run is missing, has no index or one of other parameters; says what to do.
        """
        found = self.model_copy(update={"against": tuple(run.located(folder) for run in self.against)})
        found.works()
        return found

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:  # noqa: ARG002  # nothing is random
        """Signatures and bucket keys, what is decided epoch by epoch, and the step itself.

        Raises:
            UserError: there are no documents to read, or what it is compared with is not there.
        """
        if source is None:
            msg = f"step {step!r} is a dedup without documents; name the step to read with 'from'"
            raise UserError(msg)
        works = self.works()
        nodes = [Node(f"{step}.signatures", works.signatures, {"documents": source})]
        if works.runs:
            nodes.append(Node(f"{step}.runs", works.runs, {"signatures": f"{step}.signatures"}))
        verdict = {"documents": source, "signatures": f"{step}.signatures"}
        levels: dict[str, str] = {}
        for label in self.epochs or (None,):
            at = f"{step}.{label}" if label else step
            decided = self._decided(works, step, at, label, levels)
            nodes += decided
            made = {node.name for node in decided}
            if self.remove:
                found = {role: f"{at}.{role}" for role in ("exact", "clusters") if f"{at}.{role}" in made}
                alarm = LossAlarm(signatures=works.signatures, limits=self.alarm, epoch=label)
                read = {"documents": source, "signatures": f"{step}.signatures"}
                nodes.append(Node(f"{at}.alarm", alarm, {**read, **found}))
                for role in (*found, "alarm"):
                    verdict[f"{role}:{label}" if label else role] = f"{at}.{role}"
            if self.index or label != (self.epochs or (None,))[-1]:
                nodes.append(self._index(works, step, at, label, made))
                levels = {**levels, f"{ROLE}{len(levels)}": f"{at}.index"}
        return (*nodes, *self._audit(works, step, verdict), Node(step, Verdicts(signatures=works.signatures), verdict))

    def works(self) -> Works:
        """What the nodes have in common.

        Raises:
            UserError: what it is compared with is not there.
        """
        near = self.minhash
        order = Order(keep=self.keep, sources=self.sources)
        more: dict[str, Any] = (
            {"ngram": near.ngram, "num_perm": near.slots, "full": near.full, "ngrams": near.verify != "estimate"}
            if near
            else {"ngram": 1, "num_perm": 0}
        )
        signatures = Signatures(exact=self.exact, values=order.values, **more)
        runs = BandRuns(signatures=signatures, bands=Bands(bands=near.bands, rows=near.rows)) if near else None
        asked = {**(runs.parameters if runs else {}), **({"exact": True} if self.exact else {})}
        against = earlier_runs(self.against, asked, order.columns if near else ())
        return Works(signatures, runs, order, against)

    def _decided(self, works: Works, step: str, at: str, epoch: str | None, levels: Mapping[str, str]) -> list[Node]:
        """Exact copies, edges, components and clusters of an epoch, compared with the levels before it."""
        cut = {"partitions": self.partitions, "memory_gib": self.memory_gib, "epoch": epoch}
        earlier: dict[str, Any] = {"against": works.against} if works.against else {}
        signed = {"signatures": f"{step}.signatures"}
        exact = {"exact": f"{at}.exact"} if self.exact else {}
        nodes = []
        if self.exact:
            copies = ExactCopies(signatures=works.signatures, order=works.order, **cut, **earlier)
            nodes.append(Node(f"{at}.exact", copies, {**signed, **levels}))
        if self.minhash and works.runs and self.remove:
            edges = BandEdges(runs=works.runs, **cut, **earlier)
            near = self.minhash
            decide = {"order": works.order, "threshold": near.threshold, "rule": self.rule, "verify": near.verify}
            clusters = Clusters(runs=works.runs, **decide, **cut, **earlier)
            counted = {NGRAMS_ROLE: f"{step}.signatures"} if near.verify != "estimate" else {}
            found = {**signed, **exact, **counted, **levels}
            nodes += [
                Node(f"{at}.edges", edges, {"runs": f"{step}.runs", **exact, **levels}),
                Node(f"{at}.components", Components(memory_gib=self.memory_gib, epoch=epoch), {"edges": f"{at}.edges"}),
                Node(f"{at}.clusters", clusters, {**found, "components": f"{at}.components"}),
            ]
        return nodes

    def _audit(self, works: Works, step: str, verdict: Mapping[str, str]) -> list[Node]:
        """The sample of near duplicates that is read again; nothing waits for it."""
        inputs = {role: name for role, name in verdict.items() if role.partition(":")[0] not in ("exact", "alarm")}
        if not self.audit or not any(role.startswith("clusters") for role in inputs):
            return []
        return [Node(f"{step}.audit", Audit(signatures=works.signatures, pairs=self.audit), inputs)]

    def _index(self, works: Works, step: str, at: str, epoch: str | None, made: Collection[str]) -> Node:
        """What stays of an epoch, for those that come after it."""
        inputs = {"signatures": f"{step}.signatures", **({"runs": f"{step}.runs"} if works.runs else {})}
        decided = {role: f"{at}.{role}" for role in ("exact", "clusters") if f"{at}.{role}" in made}
        index = Index(
            signatures=works.signatures,
            runs=works.runs,
            order=works.order,
            against=works.against,
            partitions=self.partitions,
            memory_gib=self.memory_gib,
            epoch=epoch,
        )
        return Node(f"{at}.index", index, {**inputs, **decided})
