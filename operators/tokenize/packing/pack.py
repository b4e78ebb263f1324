"""What one task packs: documents of token shards into the rows of one shard of sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from operators.tokenize.packing.draws import drawn
from operators.tokenize.packing.infill import Fim, Infiller
from operators.tokenize.packing.layout import Documents, Packed, facts_of, write_packed
from operators.tokenize.packing.policies import best_fit, concat
from operators.tokenize.packing.reader import INPUT, TokenShards
from operators.tokenize.shards.reader import TokenShard
from pipeline.errors import UserError
from pipeline.ledger import Count, Flow, Ledger
from pipeline.work import Extent, Kind, Result, Shard, ShardWork, Task, TaskPlan

Policy = Literal["concat", "best_fit"]

POLICIES: Mapping[Policy, Callable[[Documents, int], Packed]] = {"concat": concat, "best_fit": best_fit}

_OF_TOKENS = ("dtype", "vocab_size", "eos_id", "tokenizer_sha256")
"""Facts of token shards that sequences over them have too."""


class Packing(ShardWork):
    """How documents become sequences, whichever of them a task takes.

    ``.pieces.npy`` and ``.rows.npy`` say which tokens stand in each sequence; only documents that ``fim`` rewrites are
    copied, to a ``.bin`` beside them. See ``layout``.
    """

    kind: ClassVar[Kind] = "sequences"
    libraries: ClassVar[tuple[str, ...]] = ("tokenizers",)

    sequence_length: int = Field(ge=1, lt=1 << 24)
    policy: Policy
    fim: Fim | None = None
    seed: int = 0

    def packed(self, task: Task, documents: Documents, tokens: Mapping[int, Shard]) -> Result:
        """The result of a task that takes these documents."""
        facts = _common_facts(list(tokens.values()))
        own = Infilled(self, task.scratch / "rewritten.bin", facts)
        shards = TokenShards(tokens.values())
        documents = own.documents(documents, shards)
        made = POLICIES[self.policy](documents, self.sequence_length)
        noted = {**facts_of(made, documents, self.sequence_length), "policy": self.policy, **own.facts, **facts}
        return Result(write_packed(task.scratch, made, own.path), _account(documents), noted)


class Infilled:
    """Documents with those that ``fim`` asks for rewritten; where it asks for none, as they are."""

    def __init__(self, work: Packing, path: Path, facts: Mapping[str, Any]) -> None:
        self._work, self._facts = work, facts
        self.path = path if work.fim is not None else None
        self.facts: dict[str, int] = {}

    def documents(self, documents: Documents, tokens: Mapping[int, TokenShard]) -> Documents:
        """What is to be packed."""
        if self._work.fim is None or self.path is None:
            return documents
        if not self._facts:
            self.path.touch()
            return documents
        infiller = Infiller(self._work.fim, self._work.seed, self._facts, self.path)
        try:
            return infiller.rewrite(documents, tokens)
        finally:
            infiller.close()
            self.facts = {"not_rewritten": infiller.num_left}


class PackShard(Packing):
    """One shard of sequences from each shard of tokens, its documents in the order they stand in there."""

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """Shard k from shard k."""
        return [TaskPlan(k, {INPUT: (k,)}) for k in range(shards[INPUT].count)]

    def run(self, task: Task) -> Result:
        """Pack one shard."""
        shard = token_input(task)
        return self.packed(task, all_documents(TokenShard.of(shard), shard.index, self.seed), {shard.index: shard})


def token_input(task: Task) -> Shard:
    """The one token shard of a task.

    Raises:
        UserError: it is a shard of something else.
    """
    (shard,) = task.inputs[INPUT]
    if lacking := [name for name in _OF_TOKENS if name not in shard.facts]:
        msg = f"{task.node}: the step it takes from holds no tokens ({', '.join(lacking)} unknown); name one with `tokenize`"
        raise UserError(msg)
    return shard


def all_documents(tokens: TokenShard, number: int, seed: int) -> Documents:
    """The documents of a token shard."""
    count = tokens.num_documents
    return Documents(
        shard=np.full(count, number, np.int32),
        document=np.arange(count, dtype=np.int32),
        start=np.array(tokens.offsets[:-1], np.int64),
        length=tokens.lengths.astype(np.int64),
        num_bytes=tokens.columns(["num_bytes"])["num_bytes"].to_numpy().astype(np.int64),
        rewritten=np.zeros(count, np.bool_),
        order=drawn(tokens.ids, seed, "pack"),
    )


def _common_facts(shards: Sequence[Shard]) -> dict[str, Any]:
    """What all token shards agree in.

    Raises:
        UserError: they were made by different tokenizers.
    """
    made = [{name: shard.facts[name] for name in _OF_TOKENS} for shard in shards]
    for shard, facts in zip(shards, made, strict=True):
        if facts != made[0]:
            msg = f"token shard {shard.index} has {facts}, shard {shards[0].index} {made[0]}: tokenize all alike"
            raise UserError(msg)
    return made[0] if made else {}


def _account(documents: Documents) -> Ledger:
    """All documents are kept; tokens are those that stand in the payloads, so more where ``fim`` rewrote some."""
    count = Count(len(documents.length), int(documents.num_bytes.sum()), documents.tokens)
    flow = Flow("pack", {"und": count}, {"und": count})
    return Ledger(into=count, kept=Count(count.docs, count.bytes, count.tokens), flows=[flow])
