"""The training loop of one rank. Knows neither Ray nor torchrun: whoever starts it has joined the ranks before."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from pipeline.errors import RunFailedError, StoppedError
from pipeline.pretrain.around import JOB_FILE
from pipeline.pretrain.config import Job
from pipeline.pretrain.data.batches import checked_batches
from pipeline.pretrain.data.corpus import Corpus
from pipeline.pretrain.data.loader import Loader, StepBatch
from pipeline.pretrain.data.source import RowSource
from pipeline.pretrain.data.streamed import StreamedRows
from pipeline.pretrain.ranks import Agreement, Place, from_first
from pipeline.pretrain.sharding.distribute import distribute, make_gradients
from pipeline.pretrain.stopping import ASKED
from pipeline.pretrain.training.beginning import empty_model, first_model
from pipeline.pretrain.training.checkpoint import Checkpoints, identity, latest
from pipeline.pretrain.training.evaluate import score
from pipeline.pretrain.training.optim import make_optimizers, update
from pipeline.pretrain.training.recorder import NAMED_DOCUMENTS, NotANumberError, Recorder
from pipeline.pretrain.training.schedule import learning_rate
from pipeline.pretrain.training.spikes import Spikes
from pipeline.pretrain.training.unigram import unigram_nats

Observer = Callable[[int, bool], None]
"""Called on every rank after each step: (step, whether a checkpoint of it was begun)."""
_MOST_LEFT_OUT = 3
"""Batches that may come to no number within ``_STEPS_TOGETHER``. One is a bad batch; with more it is the training."""
_STEPS_TOGETHER = 1000
"""A long run may meet a bad batch now and then: those further back than that say nothing of how it goes now."""


def train(job: Job, place: Place, observe: Observer | None = None) -> None:
    """Train from the newest complete checkpoint of ``job.home`` to the last step. Every rank calls it.

    A step whose loss is no number takes the run back to the newest checkpoint, and from there on without that batch.

    Raises:
        UserError: see ``checked_batches``; or the checkpoint belongs to another configuration.
        RunFailedError: the loss was no number for the fourth time within 1,000 steps.
        StoppedError: somebody asked for it, and there is a checkpoint of the step the run had come to; where ranks waited
            for shards and could not agree on a step, only those from before.
    """
    corpus, source = checked_batches(job, place.world)
    _check_memory(job, place)
    left_out: tuple[int, ...] = ()
    while True:
        with _settings(place), Trainer(job, corpus, source, place, left_out) as trainer:
            try:
                _to_the_end(trainer, observe)
            except NotANumberError as error:
                left_out = (*trainer.left_out, error.step)
                together = tuple(step for step in left_out if step > error.step - _STEPS_TOGETHER)
                words = _words(error, together, source, job)
            else:
                return
        if len(together) > _MOST_LEFT_OUT:
            msg = f"{words}. Given up, as {len(together)} steps within {_STEPS_TOGETHER:,} came to this"
            raise RunFailedError(msg)
        del trainer  # its memory is wanted for the next
        if place.rank == 0:
            found = latest(Path(job.home) / "checkpoints")
            sys.stderr.write(f"{words}. Going on from {found.name if found else 'the start'} without it\n")


def _to_the_end(trainer: Trainer, observe: Observer | None) -> None:
    if trainer.config.start is not None and not trainer.step:
        trainer.evaluate()  # what the model is worth before
    for step in range(trainer.step + 1, trainer.config.steps + 1):
        try:
            saved = trainer.advance(step)
        except StoppedError:  # while waiting for shards to come; another rank may have had them a moment before
            if trainer.agreement.all_at(step):
                trainer.save()
                trainer.checkpoints.wait()
            raise
        if observe is not None:
            observe(step, saved)
        if trainer.agreement.any(ASKED.is_set()) and step < trainer.config.steps:
            if not saved:
                trainer.save()
            trainer.checkpoints.wait()
            msg = f"stopped after step {step} of {trainer.config.steps}; a next launch goes on from there"
            raise StoppedError(msg)
    trainer.checkpoints.wait()


class Trainer:
    """Model, optimizers, position in the data and the files of one rank."""

    def __init__(
        self, job: Job, corpus: Corpus, source: RowSource, place: Place, left_out: tuple[int, ...] = ()
    ) -> None:
        """left_out: steps whose batches are left out beside those that the checkpoint and the job name."""
        config = self.config = job.config
        self.corpus, self.place = corpus, place
        begins = from_first(latest(Path(job.home) / "checkpoints") is None)
        self.model = distribute(first_model(job) if begins else empty_model(job), job, place)
        self.optimizers = make_optimizers(self.model, config)
        self.checkpoints = Checkpoints(
            Path(job.home) / "checkpoints",
            config=identity(config, corpus),
            keep=job.keep_checkpoints,
            keep_every=job.keep_every,
        )
        self.step = self.checkpoints.load_latest(self.model, self.optimizers)
        known = self.checkpoints.extra
        if isinstance(source, StreamedRows):
            source.check_given(known.get("windows", ()))
        self.left_out = tuple(sorted({*known.get("left_out", ()), *left_out}))
        skipped = tuple(sorted({*config.skipped_steps, *self.left_out}))
        self.job = job.model_copy(update={"config": config.model_copy(update={"skipped_steps": skipped})})
        self.spikes = Spikes(config.skip_sigmas, place.device)
        self.spikes.restore(**known.get("spikes", {}))
        self.gradients = make_gradients(self.model, job, place)
        self.agreement = Agreement()
        self.source = source
        self._unigram_bits: float | None = None

    def __enter__(self) -> Self:
        self.recorder = Recorder(self.job, self.source, self.place, self.step)
        if self.place.rank == 0:
            (Path(self.job.home) / JOB_FILE).write_text(self.job.model_dump_json(indent=1), encoding="utf-8")
        self.loader = Loader(self.job, self.source, self.place, self.step + 1)
        return self

    def __exit__(self, *_: object) -> None:
        self.loader.close()
        self.checkpoints.close()
        self.recorder.close()

    def advance(self, step: int) -> bool:
        """One step, and what is due after it; True where a checkpoint of it was begun.

        Raises:
            NotANumberError: this step, or one that was not looked at yet, came to no number.
        """
        config = self.config
        if step in self.job.config.skipped_steps:
            self.recorder.left_out(step)
        else:
            self._update(self.loader.next_step(), step)
        self.step = step
        last = step == config.steps
        if last or step % config.evaluate_every == 0:
            self.recorder.flush()
            self.evaluate()
        saved = last or step % self.job.checkpoint_every == 0
        if saved:
            self.save()
        return saved

    def save(self) -> None:
        """Begin a checkpoint of the step the run has come to.

        Raises:
            NotANumberError: a step that was not looked at yet came to no number.
        """
        self.recorder.flush()
        self.recorder.sync()
        known: dict[str, Any] = {"left_out": list(self.left_out), "spikes": self.spikes.state()}
        if isinstance(self.source, StreamedRows):
            known["windows"] = self.source.given(self.step)
        self.checkpoints.save(self.model, self.optimizers, self.step, known)
        self.recorder.start_clock()

    def _update(self, batch: StepBatch, step: int) -> None:
        """Learn from a batch. The host does not wait for the device."""
        config, gradients = self.config, self.gradients
        gradients.clear()
        nats = torch.zeros((), device=self.place.device)
        targets = max(1, batch.num_targets)
        for number, part in enumerate(batch.parts):
            with gradients.part(last=number == len(batch.parts) - 1):
                with self._precision():
                    losses = self.model.loss(part, z_loss=config.z_loss)
                (losses.trained / targets).backward()
            nats += losses.nats
        loss = gradients.add_up(nats) / targets
        grad_norm = gradients.norm()
        skip = self.spikes.look(loss, grad_norm)
        gradients.scale_((config.clip / grad_norm).clamp(max=1.0))
        update(self.optimizers, learning_rate(config, step), skip)
        self.recorder.add(step, torch.stack([loss, grad_norm, skip]), batch.num_targets)

    def evaluate(self) -> None:
        """Score the held-out documents and note it with the step the run has come to."""
        options = {
            "length": self.config.sequence_length,
            "max_documents": self.config.max_evaluation_documents,
            "place": self.place,
        }
        if self._unigram_bits is None:
            self._unigram_bits = score(unigram_nats(self.corpus, self.place), self.corpus, **options).bits_per_byte
        found = score(self._evaluation_nats, self.corpus, **options)
        unigram = {"unigram_bits_per_byte": self._unigram_bits}
        self.recorder.write({"evaluation": "held_out", "step": self.step, **unigram, **found.line()})
        self.recorder.start_clock()

    def _evaluation_nats(self, inputs: Tensor, targets: Tensor) -> Tensor:
        with self._precision():
            return self.model.nats(inputs, targets)

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        """bfloat16 matrix work on a GPU; float32 on a CPU, where bits repeat."""
        if self.place.device.type == "cuda":
            return torch.autocast("cuda", torch.bfloat16)
        return contextlib.nullcontext()


def _words(error: NotANumberError, left_out: tuple[int, ...], source: RowSource, job: Job) -> str:
    ids = source.documents_of(source.rows(error.step))
    more = f" and {len(ids) - NAMED_DOCUMENTS} more" if len(ids) > NAMED_DOCUMENTS else ""
    again = f" (as at steps {', '.join(map(str, left_out[:-1]))})" if len(left_out) > 1 else ""
    return (
        f"{error}{again}. Lower learning_rate ({job.config.learning_rate}), or look at the documents of this batch: "
        f"{', '.join(ids[:NAMED_DOCUMENTS])}{more}"
    )


def _check_memory(job: Job, place: Place) -> None:
    if place.device.type != "cuda":
        return
    from pipeline.planning.memory import check_memory  # the planner imports this package

    check_memory(job, place.world, torch.cuda.mem_get_info(place.device)[0])


@contextlib.contextmanager
def _settings(place: Place) -> Iterator[None]:
    """One thread a rank on a CPU: sums are then made in one order, and ranks do not crowd each other out.

    On a GPU no cyclic garbage collection, which stops a rank, and so all of them, for up to half a second.
    """
    before, collected = torch.get_num_threads(), gc.isenabled()
    if place.device.type == "cpu":
        torch.set_num_threads(1)
    else:
        gc.collect()
        gc.freeze()
        gc.disable()
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if collected:
            gc.enable()
