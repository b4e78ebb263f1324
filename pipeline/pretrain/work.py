"""The recipe's ``pretrain``: token shards in, one trained model out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from pipeline.errors import UserError
from pipeline.pretrain.checks import problem_of
from pipeline.pretrain.config import (
    MICRO_BATCH_TOKENS,
    PRESETS,
    Backend,
    Device,
    Experts,
    FeedForward,
    Job,
    Objective,
    Optimizer,
    Preset,
    Recompute,
    RopeScaling,
    Schedule,
    Shape,
    Sharding,
    Streaming,
    TrainConfig,
)
from pipeline.pretrain.data.arrivals import streaming, wait_for_all
from pipeline.pretrain.data.inputs import token_data
from pipeline.pretrain.data.mixture import Mixture, read_mixture
from pipeline.pretrain.model.described import Described
from pipeline.pretrain.start import StartFrom, as_start
from pipeline.pretrain.summary import summary
from pipeline.work import EVERY, Beside, Extent, Kind, Node, Output, Result, Shard, ShardWork, Task, TaskPlan

_WARMUP_FRACTION = 0.1
_SEQUENCES = 8
_SAME_NAMES = (
    "sequence_length",
    "steps",
    "schedule",
    "decay_fraction",
    "weight_decay",
    "optimizer",
    "skip_sigmas",
    "z_loss",
    "document_mask",
    "objective",
    "held_out_fraction",
    "evaluate_every",
)
"""Parameters that are fields of ``TrainConfig`` as they are."""
_RUNTIME = (
    "device",
    "checkpoint_every",
    "keep_checkpoints",
    "keep_every",
    "sharding",
    "shard_ranks",
    "compile",
    "recompute",
    "attention",
    "log_every",
    "tensorboard",
)
"""Parameters that are fields of ``Job`` as they are."""


class Pretrain(ShardWork):
    """Train a decoder-only transformer on token shards, as they come, by a mixture, or packed: ``from`` a step that does so.

    Leaves ``metrics.jsonl`` and ``checkpoints/`` in the dataset's own folder while it runs, and commits the weights in
    Hugging Face's layout, the metrics and a summary. ``workers`` and the other fields of ``runtime`` say how it is run:
    they may change between two drivers of one run.
    """

    kind: ClassVar[Kind] = "model"
    recorded: ClassVar[bool] = True
    barrier: ClassVar[bool] = True
    gang: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("torch",)
    runtime: ClassVar[tuple[str, ...]] = ("workers", "min_workers", "micro_batch_tokens", *_RUNTIME)

    start_from: Annotated[StartFrom | None, BeforeValidator(as_start)] = None
    """A trained model whose weights and shape this training begins with; None: weights drawn by the seed."""
    preset: Preset = "tiny"
    shape: Shape | None = None
    """Widths and depths of one's own, instead of a preset's."""
    qk_norm: bool = False
    feed_forward: FeedForward = "swiglu"
    rope_scaling: RopeScaling | None = None
    """For longer sequences than the model was trained on before."""
    experts: Experts | None = None
    sequence_length: int = Field(default=256, gt=0)
    steps: int = Field(default=200, gt=0)
    workers: int = Field(default=2, gt=0)
    """Ranks, each with one core or one GPU."""
    min_workers: int | None = Field(default=None, gt=0)
    """On a cluster: begin, and go on after a loss, with that few where no more can be had; None: always ``workers``."""
    device: Device = "cpu"
    batch_size: int | None = Field(default=None, gt=0)
    """Sequences a step, over all workers; None: as many as ``batch_tokens`` says, or 8."""
    batch_tokens: int | None = Field(default=None, gt=0)
    """Tokens a step, over all workers, instead of ``batch_size``."""
    optimizer: Optimizer = "adamw"
    learning_rate: float | None = Field(default=None, gt=0)
    """Peak; None: the preset's."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """None: a tenth of the steps."""
    schedule: Schedule = "cosine"
    decay_fraction: float = Field(default=0.2, gt=0, le=1)
    """Of the steps, in which ``wsd`` falls to zero."""
    weight_decay: float = Field(default=0.1, ge=0)
    z_loss: float = Field(default=0.0, ge=0)
    """Weight of the squared log of the softmax's sum; 1e-5 is usual."""
    skip_sigmas: float | None = Field(default=None, gt=0)
    """Leave updates out whose loss or gradient lies that many standard deviations above the mean of 128; 6 is usual."""
    document_mask: bool = False
    """A token sees its own document only."""
    objective: Objective | None = None
    """None: the next token from all before it."""
    evaluate_every: int = Field(default=100, gt=0)
    checkpoint_every: int = Field(default=100, gt=0)
    keep_checkpoints: int = Field(default=2, gt=0)
    keep_every: int | None = Field(default=None, gt=0)
    """Checkpoints of steps that it divides stay for good."""
    micro_batch_tokens: int | None = Field(default=None, gt=0)
    """Tokens a worker takes through the model at once; None: what suits the device."""
    sharding: Sharding = "replicate"
    shard_ranks: int | None = Field(default=None, gt=0)
    """Workers of a group of ``hsdp``; None: those of a node."""
    compile: bool = False
    recompute: Recompute = "none"
    attention: Backend = "auto"
    log_every: int = Field(default=1, gt=0)
    """Steps whose metrics are brought over from the device at once."""
    tensorboard: bool = False
    held_out_fraction: float = Field(default=0.05, gt=0, le=0.5)
    """Share of documents, by hash of their id, that are never trained on."""
    streaming: Streaming | None = None
    """Begin when the first token shards are committed, and take the others as they come; None: when all are."""
    seed: int | None = None
    """None: the recipe's."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        problem = problem_of(self)
        if problem is not None:
            raise ValueError(problem)
        return self

    @property
    def sequences(self) -> int:
        """Of a step, over all workers."""
        if self.batch_tokens is not None:
            return self.batch_tokens // self.sequence_length
        return _SEQUENCES if self.batch_size is None else self.batch_size

    @property
    def beside(self) -> Beside | None:
        """The workers' cores and GPUs, from the first window on."""
        if self.streaming is None:
            return None
        return Beside("documents", self.streaming.window, self.workers, self.workers * (self.device == "cuda"))

    def located(self, folder: Path) -> Pretrain:
        """The same with the path of ``start_from`` taken from a folder, and that model looked at.

        Raises:
            UserError: there is no such model, or it differs from what the step asks for.
        """
        if self.start_from is None:
            return self
        found = self.model_copy(update={"start_from": self.start_from.located(folder)})
        found.with_start_files()
        return found

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:
        """One node.

        Raises:
            UserError: the step reads from nothing, or ``start_from`` names no model that fits.
        """
        if source is None:
            msg = f"step {step!r}: pretrain needs 'from', the step that holds the tokens"
            raise UserError(msg)
        seeded = {} if self.seed is not None else {"seed": seed}
        return (Node(step, self.with_start_files().model_copy(update=seeded), {"documents": source}),)

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """One task over all shards."""
        return [TaskPlan(0, dict.fromkeys(shards, EVERY))]

    def run(self, task: Task) -> Result:
        """Train, or go on where an earlier driver was stopped."""
        # Imported here since torch takes 2 s, which a plan of the recipe should not.
        from pipeline.pretrain.model.export import export

        home = task.home or task.scratch / "home"
        if self.start_from is not None:
            self.start_from.check_files()
        job = self.job(task.inputs["documents"], home, _planned(task), task.inputs.get("sequences", ()))
        self._launch(job.model_copy(update={"began": task.began or time.time()}))
        wait_for_all(job)
        weights, described = export(job, task.scratch)
        metrics = task.scratch / "metrics.jsonl"
        metrics.write_bytes((home / "metrics.jsonl").read_bytes())
        facts = summary(metrics, job)
        summarised = task.scratch / "summary.json"
        summarised.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        outputs = [
            Output(weights, ".safetensors"),
            Output(described, ".config.json"),
            Output(metrics, ".metrics.jsonl"),
            Output(summarised, ".json"),
        ]
        return Result(outputs=outputs, facts=facts)

    def job(
        self, shards: Sequence[Shard], home: Path, mixture: Mixture | None = None, sequences: Sequence[Shard] = ()
    ) -> Job:
        """The run as the ranks get it. shards: of tokens. sequences: packed from them, to be trained on in their place.

        Raises:
            UserError: the shards were made by different tokenizers, or by another than that of the model to start from.
        """
        data, start = token_data(shards, sequences), self.start_from
        config = self._config(mixture)
        if start is not None and config.start is not None:
            start.check_tokens(data, config.start.rows)
        job = Job(
            config=config,
            data=data,
            start_weights=() if start is None else tuple(one.file or "" for one in start.files),
            home=str(home.resolve()),  # ranks may run in another folder
            micro_batch_tokens=self.micro_batch_tokens or MICRO_BATCH_TOKENS[self.device],
            **{name: getattr(self, name) for name in _RUNTIME},
        )
        return job if self.streaming is None else streaming(job, self.streaming.window)

    def _config(self, mixture: Mixture | None) -> TrainConfig:
        shape = self.model_shape()
        warmup = round(_WARMUP_FRACTION * self.steps) if self.warmup_steps is None else self.warmup_steps
        return TrainConfig(
            shape=shape,
            batch_size=self.sequences,
            learning_rate=self.learning_rate or shape.learning_rate,
            warmup_steps=warmup,
            seed=self.seed or 0,
            mixture=mixture,
            start=None if self.start_from is None else self.start_from.recorded(),
            **{name: getattr(self, name) for name in _SAME_NAMES},
        )

    def model_shape(self, base: Described | None = None) -> Shape:
        """The preset or the shape of one's own, with what the other parameters ask for beside it."""
        wanted = {name: getattr(self, name) for name in ("qk_norm", "feed_forward", "rope_scaling", "experts")}
        plain = {name: Pretrain.model_fields[name].default for name in wanted}
        changes = {name: value for name, value in wanted.items() if value != plain[name]}
        if self.start_from is not None:
            return self.start_from.shape(self.shape, changes, self.sequence_length, base)
        return (self.shape or PRESETS[self.preset]).model_copy(update=changes)

    def with_start_files(self) -> Pretrain:
        """The same with the files of ``start_from``; a model that is there already is held against the fields."""
        if self.start_from is None or self.start_from.step is not None:
            return self
        try:
            found = self.model_copy(update={"start_from": self.start_from.found()})
        except UserError as error:
            msg = f"{error} (a training that began with it needs it to go on: put it back, or name a copy; only its hashes count)"
            raise UserError(msg) from error
        found.model_shape()
        return found

    def _launch(self, job: Job) -> None:
        # The driver is connected to a cluster or it is not; looked up so that this file need not import ray.
        ray = sys.modules.get("ray")
        if ray is not None and ray.is_initialized():
            from pipeline.pretrain import ray_entry  # without a cluster Ray must not be needed

            ray_entry.launch(job, ray_entry.Workers(count=self.workers, least=self.min_workers))
        else:
            from pipeline.pretrain import local  # torch, see run()

            local.launch(job, self.workers)


def _planned(task: Task) -> Mixture | None:
    """The mixture that the task's ``from`` names."""
    mixtures = task.inputs.get("mixture", ())
    return read_mixture(mixtures[0].file(".json").read_text(encoding="utf-8")) if mixtures else None
