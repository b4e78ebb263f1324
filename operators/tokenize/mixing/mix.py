"""The recipe's ``mix``: token shards in, a plan of what to draw from them out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Self

import numpy as np
import pyarrow.parquet as pq
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from operators.tokenize.mixing.plan import MAX_EPOCHS, Amount, Request, Span, plan
from pipeline.pretrain.data.strata import Buckets, Keys, Stratification
from pipeline.value import Pairs, Value, as_pairs
from pipeline.work import EVERY, Extent, Kind, Node, Output, Result, Shard, ShardWork, Task, TaskPlan


def _as_limits(value: object) -> object:
    """A single number is the limit of all strata."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return (("*", float(value)),) if plain else as_pairs(value)


def _not_below_0(pairs: tuple[tuple[str, float], ...]) -> tuple[tuple[str, float], ...]:
    wrong = [(name, number) for name, number in pairs if not (math.isfinite(number) and number >= 0)]
    if wrong:
        msg = f"{wrong[0][0]!r} has {wrong[0][1]}; give a number from 0"
        raise ValueError(msg)
    return pairs


def _not_all_0(pairs: tuple[tuple[str, float], ...]) -> tuple[tuple[str, float], ...]:
    if pairs and not any(number for _, number in pairs):
        msg = "every number is 0, so nothing would be drawn"
        raise ValueError(msg)
    return pairs


def _above_0(pairs: tuple[tuple[str, float], ...]) -> tuple[tuple[str, float], ...]:
    wrong = [(name, number) for name, number in pairs if not (math.isfinite(number) and number > 0)]
    if wrong:
        msg = f"{wrong[0][0]!r} has {wrong[0][1]}; give a number above 0"
        raise ValueError(msg)
    return pairs


Factors = Annotated[Pairs[float], AfterValidator(_not_below_0)]
Weights = Annotated[Factors, AfterValidator(_not_all_0)]
Limits = Annotated[tuple[tuple[str, float], ...], BeforeValidator(_as_limits), AfterValidator(_above_0)]


class CurriculumStage(Value):
    """Weights up to a share of the plan's tokens."""

    weights: Weights
    until: float = Field(default=1.0, gt=0, le=1)


def _as_stages(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class Mix(ShardWork):
    """Plan how many tokens training draws from which stratum of the documents, and when.

    by: what strata are made by: source, language, quality, or several of them; a stratum's name joins them with ``|``.
    quality: a column of ``docs.parquet`` (kept by ``tokenize``) and its buckets. weights: share of the tokens drawn, by
    stratum or pattern (``web|*``, ``*``); what a pattern gets is shared out among its strata by their tokens times
    ``upsample``. upsample: factor by stratum or pattern, 1 where nothing is said. stages: weights that change on the
    way, in place of ``weights``. tokens, or steps of ``tokens_per_step``: how many are drawn in all; without weights it
    may be left out, and ``upsample`` then says how often each stratum is read. max_epochs: how often a stratum may be
    read, for all or by stratum; more is refused. held_out_fraction: share that training will hold out, so never draws.

    Source: block-wise drawing by cumulative weights is our own; the limit of 4 epochs is from Muennighoff et al. 2023,
    "Scaling Data-Constrained Language Models", arXiv:2305.16264, section 5.
    """

    kind: ClassVar[Kind] = "mixture"
    barrier: ClassVar[bool] = True

    by: Keys = ("source",)
    quality: Buckets | None = None
    weights: Weights = ()
    upsample: Factors = ()
    stages: Annotated[tuple[CurriculumStage, ...], BeforeValidator(_as_stages)] = ()
    tokens: int | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, gt=0)
    tokens_per_step: int | None = Field(default=None, gt=0)
    max_epochs: Limits = (("*", MAX_EPOCHS),)
    held_out_fraction: float = Field(default=0.05, ge=0, le=0.5)

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        ends = [stage.until for stage in self.stages]
        problem = None
        if ("quality" in self.by) != (self.quality is not None):
            problem = "strata by quality need both: `by` with quality, and `quality` with its column and buckets"
        elif self.weights and self.stages:
            problem = "give weights, or stages that have their own, not both"
        elif ends and (ends[-1] != 1 or sorted(set(ends)) != ends):
            problem = f"stages end one after the other and the last at 1; got until: {ends}"
        elif self.tokens is not None and self.steps is not None:
            problem = "give tokens or steps, not both"
        elif (self.steps is None) != (self.tokens_per_step is None):
            problem = "steps and tokens_per_step (batch_size times sequence_length of the training) go together"
        elif self.tokens is None and self.steps is None and (self.weights or self.stages):
            problem = "say how much is drawn in all: tokens, or steps and tokens_per_step"
        if problem:
            raise ValueError(problem)
        return self

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:
        """One node; a step that trains from it is given the tokens as well."""
        del seed  # the plan is no matter of chance; the order is the trainer's
        return (Node(step, self, {"documents": source or ""}),)

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """One task over all shards."""
        return [TaskPlan(0, dict.fromkeys(shards, EVERY))]

    def run(self, task: Task) -> Result:
        """Count, plan and write the plan.

        Raises:
            UserError: see ``plan``; or the input holds no tokens.
        """
        rule = Stratification(by=self.by, quality=self.quality)
        tokens = self.steps * self.tokens_per_step if self.steps and self.tokens_per_step else self.tokens
        spans = [Span(stage.until, stage.weights) for stage in self.stages] or [Span(1.0, self.weights)]
        request = Request(
            rule, spans, self.upsample, tokens, self.max_epochs, self.held_out_fraction, self.tokens_per_step
        )
        mixture = plan(request, _amounts(rule, task.inputs["documents"]))
        path = task.scratch / "mixture.json"
        path.write_text(mixture.model_dump_json(indent=2) + "\n", encoding="utf-8")
        strata = {one.label: {"tokens": one.tokens, "drawn": one.drawn, "epochs": one.epochs} for one in mixture.strata}
        return Result([Output(path, ".json")], facts={"tokens": mixture.tokens, "strata": strata})


def _amounts(rule: Stratification, shards: Sequence[Shard]) -> dict[str, Amount]:
    """Documents and tokens of each stratum, one shard's table of documents in memory at a time."""
    found: dict[str, Amount] = {}
    for shard in shards:
        path = str(shard.file(".docs.parquet"))
        codes, labels = rule.labels(path)
        tokens = pq.read_table(path, columns=["num_tokens"])["num_tokens"].to_numpy()
        documents = np.bincount(codes, minlength=len(labels))
        summed = np.zeros(len(labels), np.int64)
        np.add.at(summed, codes, tokens)
        for label, more, count in zip(labels, documents.tolist(), summed.tolist(), strict=True):
            before = found.get(label, Amount(0, 0))
            found[label] = Amount(before.documents + more, before.tokens + count)
    return found
