"""The recipe's ``pretrain``: token shards in, one trained model out."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from pipeline.errors import UserError
from pipeline.pretrain.batches import checked_batches
from pipeline.pretrain.config import (
    MICRO_BATCH_TOKENS,
    PRESETS,
    Device,
    Job,
    Preset,
    Schedule,
    Shape,
    TokenData,
    TokenFiles,
    TrainConfig,
)
from pipeline.pretrain.mixture import Mixture, read_mixture
from pipeline.work import EVERY, Extent, Kind, Node, Output, Result, Shard, ShardWork, Task, TaskPlan

_WARMUP_FRACTION = 0.1


class Pretrain(ShardWork):
    """Train a decoder-only transformer on token shards, as they come or by a mixture: ``from`` a step that mixes.

    Leaves ``metrics.jsonl`` and ``checkpoints/`` in the dataset's own folder while it runs, and commits the weights in
    Hugging Face's layout, the metrics and a summary. ``workers`` and the other fields of ``runtime`` say how it is run:
    they may change between two drivers of one run.
    """

    kind: ClassVar[Kind] = "model"
    recorded: ClassVar[bool] = True
    barrier: ClassVar[bool] = True
    gang: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("torch",)
    runtime: ClassVar[tuple[str, ...]] = (
        "workers",
        "device",
        "checkpoint_every",
        "keep_checkpoints",
        "micro_batch_tokens",
    )

    preset: Preset = "tiny"
    sequence_length: int = Field(default=256, gt=0)
    steps: int = Field(default=200, gt=0)
    workers: int = Field(default=2, gt=0)
    """Ranks, each with one core or one GPU."""
    device: Device = "cpu"
    batch_size: int = Field(default=8, gt=0)
    """Sequences a step, over all workers."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Peak; None: the preset's."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """None: a tenth of the steps."""
    schedule: Schedule = "cosine"
    weight_decay: float = Field(default=0.1, ge=0)
    qk_norm: bool = False
    evaluate_every: int = Field(default=100, gt=0)
    checkpoint_every: int = Field(default=100, gt=0)
    keep_checkpoints: int = Field(default=2, gt=0)
    micro_batch_tokens: int | None = Field(default=None, gt=0)
    """Tokens a worker takes through the model at once; None: what suits the device."""
    held_out_fraction: float = Field(default=0.05, gt=0, le=0.5)
    """Share of documents, by hash of their id, that are never trained on."""
    seed: int | None = None
    """None: the recipe's."""

    @model_validator(mode="after")
    def _workers_share(self) -> Self:
        if self.batch_size % self.workers:
            msg = f"{self.workers} workers cannot share a batch of {self.batch_size} sequences evenly"
            raise ValueError(msg)
        return self

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:
        """One node.

        Raises:
            UserError: the step reads from nothing.
        """
        if source is None:
            msg = f"step {step!r}: pretrain needs 'from', the step that holds the tokens"
            raise UserError(msg)
        work = self if self.seed is not None else self.model_copy(update={"seed": seed})
        return (Node(step, work, {"documents": source}),)

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """One task over all shards."""
        return [TaskPlan(0, dict.fromkeys(shards, EVERY))]

    def run(self, task: Task) -> Result:
        """Train, or go on where an earlier driver was stopped."""
        # Imported here since torch takes 2 s, which a plan of the recipe should not.
        from pipeline.pretrain.export import export

        home = task.home or task.scratch / "home"
        job = self.job(task.inputs["documents"], home, _planned(task))
        self._launch(job)
        weights, described = export(job, task.scratch)
        metrics = task.scratch / "metrics.jsonl"
        metrics.write_bytes((home / "metrics.jsonl").read_bytes())
        facts = summary(metrics) | _epochs(job)
        summarised = task.scratch / "summary.json"
        summarised.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        outputs = [
            Output(weights, ".safetensors"),
            Output(described, ".config.json"),
            Output(metrics, ".metrics.jsonl"),
            Output(summarised, ".json"),
        ]
        return Result(outputs=outputs, facts=facts)

    def job(self, shards: Sequence[Shard], home: Path, mixture: Mixture | None = None) -> Job:
        """The run as the ranks get it.

        Raises:
            UserError: the shards were made by different tokenizers.
        """
        return Job(
            config=self._config(mixture),
            data=_token_data(shards),
            home=str(home.resolve()),  # ranks may run in another folder
            device=self.device,
            checkpoint_every=self.checkpoint_every,
            keep_checkpoints=self.keep_checkpoints,
            micro_batch_tokens=self.micro_batch_tokens or MICRO_BATCH_TOKENS[self.device],
        )

    def _config(self, mixture: Mixture | None) -> TrainConfig:
        shape: Shape = PRESETS[self.preset].model_copy(update={"qk_norm": self.qk_norm})
        warmup = round(_WARMUP_FRACTION * self.steps) if self.warmup_steps is None else self.warmup_steps
        return TrainConfig(
            shape=shape,
            sequence_length=self.sequence_length,
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate or shape.learning_rate,
            warmup_steps=warmup,
            schedule=self.schedule,
            weight_decay=self.weight_decay,
            held_out_fraction=self.held_out_fraction,
            evaluate_every=self.evaluate_every,
            seed=self.seed or 0,
            mixture=mixture,
        )

    def _launch(self, job: Job) -> None:
        # The driver is connected to a cluster or it is not; looked up so that this file need not import ray.
        ray = sys.modules.get("ray")
        if ray is not None and ray.is_initialized():
            from pipeline.pretrain import ray_entry  # without a cluster Ray must not be needed

            ray_entry.launch(job, self.workers)
        else:
            from pipeline.pretrain import local  # torch, see run()

            local.launch(job, self.workers)


def _planned(task: Task) -> Mixture | None:
    """The mixture that the task's ``from`` names."""
    mixtures = task.inputs.get("mixture", ())
    return read_mixture(mixtures[0].file(".json").read_text(encoding="utf-8")) if mixtures else None


def _epochs(job: Job) -> dict[str, Any]:
    """For each stratum, the tokens that were drawn and how many times its sequences were read."""
    if job.config.mixture is None:
        return {}
    _, batches = checked_batches(job, 1)
    tokens, epochs = batches.drawn(job.config.steps), batches.epochs(job.config.steps)
    return {
        "strata": {name: {"tokens": count, "epochs": (epochs or {})[name]} for name, count in (tokens or {}).items()}
    }


def summary(metrics: Path) -> dict[str, Any]:
    """What a finished run's metrics come to."""
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if "evaluation" not in line]
    evaluated = [line for line in lines if "evaluation" in line][-1]
    return {
        "steps": steps[-1]["step"],
        "tokens": steps[-1]["tokens"],
        "first_loss": steps[0]["loss"],
        "final_loss": steps[-1]["loss"],
        "bits_per_byte": evaluated["bits_per_byte"],
        "unigram_bits_per_byte": evaluated["unigram_bits_per_byte"],
        "held_out_documents": evaluated["documents"],
        "held_out_bytes": evaluated["bytes"],
    }


def _token_data(shards: Sequence[Shard]) -> TokenData:
    made: list[dict[str, Any]] = [{name: shard.facts[name] for name in _OF_ONE_TOKENIZER} for shard in shards]
    for shard, facts in zip(shards, made, strict=True):
        for name, value in facts.items():
            if value != made[0][name]:
                msg = f"token shard {shard.index} has {name}={value!r}, shard {shards[0].index} {made[0][name]!r}"
                raise UserError(msg)
    if not made:
        msg = "no token shards to train on"
        raise UserError(msg)
    return TokenData(
        shards=tuple(
            TokenFiles(tokens=str(shard.file(".bin").resolve()), documents=str(shard.file(".docs.parquet").resolve()))
            for shard in shards
        ),
        **made[0],
    )


_OF_ONE_TOKENIZER = ("dtype", "vocab_size", "eos_id", "tokenizer_sha256")
