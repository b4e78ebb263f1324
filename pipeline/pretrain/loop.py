"""The training loop of one rank. Knows neither Ray nor torchrun: whoever starts it has joined the ranks before."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from pipeline.errors import RunFailedError
from pipeline.pretrain.batches import Batches, checked_batches
from pipeline.pretrain.checkpoint import Checkpoints, identity
from pipeline.pretrain.config import Job
from pipeline.pretrain.data import Corpus
from pipeline.pretrain.documents import Int64s
from pipeline.pretrain.evaluate import score
from pipeline.pretrain.metrics import MetricsFile
from pipeline.pretrain.model import Transformer
from pipeline.pretrain.optim import Gradients, learning_rate, make_optimizer, set_learning_rate
from pipeline.pretrain.ranks import Place, add_up
from pipeline.pretrain.unigram import unigram_nats

Observer = Callable[[int, bool], None]
"""Called on every rank after each step: (step, whether a checkpoint of it was just completed)."""
_NAMED_DOCUMENTS = 50


def train(job: Job, place: Place, observe: Observer | None = None) -> None:
    """Train from the newest complete checkpoint of ``job.home`` to the last step. Every rank calls it.

    Raises:
        UserError: see ``checked_batches``; or the checkpoint belongs to another configuration.
        RunFailedError: the loss is no longer a number.
    """
    corpus, batches = checked_batches(job, place.world)
    with _one_thread(place), Trainer(job, corpus, batches, place) as trainer:
        for step in range(trainer.step + 1, job.config.steps + 1):
            saved = trainer.advance(step)
            if observe is not None:
                observe(step, saved)


class Trainer:
    """Model, optimizer, position in the data and the files of one rank."""

    def __init__(self, job: Job, corpus: Corpus, batches: Batches, place: Place) -> None:
        config = self.config = job.config
        self.job, self.corpus, self.batches, self.place = job, corpus, batches, place
        self.model = Transformer(
            config.shape, job.data.vocab_size, max_length=config.sequence_length, seed=config.seed
        ).to(place.device)
        self.optimizer = make_optimizer(self.model, config)
        self.checkpoints = Checkpoints(
            Path(job.home) / "checkpoints", config=identity(config, corpus), keep=job.keep_checkpoints
        )
        self.step = self.checkpoints.load_latest(self.model, self.optimizer)
        self.gradients = Gradients(self.model)
        self._unigram_bits: float | None = None
        self._metrics: MetricsFile | None = None

    def __enter__(self) -> Self:
        if self.place.rank == 0:
            Path(self.job.home).mkdir(parents=True, exist_ok=True)
            self._metrics = MetricsFile(Path(self.job.home) / "metrics.jsonl", step=self.step)
        return self

    def __exit__(self, *_: object) -> None:
        if self._metrics is not None:
            self._metrics.close()

    def advance(self, step: int) -> bool:
        """One step, and what is due after it; True where it left a checkpoint."""
        config = self.config
        began = time.perf_counter()
        loss, grad_norm = self._update(step)
        num_tokens = config.batch_size * config.sequence_length
        if self._metrics is not None:
            self._metrics.write(
                {
                    "step": step,
                    "tokens": step * num_tokens,
                    "loss": loss,
                    "grad_norm": grad_norm,
                    "lr": learning_rate(config, step),
                    "tokens_per_s": round(num_tokens / (time.perf_counter() - began), 1),
                    **self._drawn(step),
                }
            )
        self.step = step
        last = step == config.steps
        if last or step % config.evaluate_every == 0:
            self._evaluate(step)
        if not last and step % self.job.checkpoint_every:
            return False
        if self._metrics is not None:
            self._metrics.sync()
        self.checkpoints.save(self.model, self.optimizer, step)
        return True

    def _update(self, step: int) -> tuple[float, float]:
        """Loss of the whole batch before the update, in nats per token, and the length of its gradient."""
        config, place, gradients = self.config, self.place, self.gradients
        windows = self.batches.positions(step)
        share = config.batch_size // place.world
        tokens = torch.from_numpy(
            self.corpus.read(windows[place.rank * share : (place.rank + 1) * share], config.sequence_length + 1)
        )
        gradients.clear()
        # Divided by the tokens of all ranks, so that adding up gives the same mean for any number of them.
        scale = 1.0 / (config.batch_size * config.sequence_length)
        for part in tokens.split(max(1, self.job.micro_batch_tokens // config.sequence_length)):
            here = part.to(place.device)
            with self._precision():
                loss = self.model.nats(here[:, :-1], here[:, 1:]).sum() * scale
            loss.backward()
            gradients.loss.add_(loss.detach())
        add_up(gradients.summed)
        loss, grad_norm = float(gradients.loss), gradients.clip(config.clip)
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            raise RunFailedError(self._not_a_number(step, loss, grad_norm, windows))
        set_learning_rate(self.optimizer, learning_rate(config, step))
        self.optimizer.step()
        return loss, grad_norm

    def _drawn(self, step: int) -> dict[str, dict[str, int]]:
        """Tokens of each stratum so far, where there is a mixture."""
        tokens = self.batches.drawn(step)
        return {} if tokens is None else {"strata": tokens}

    def _evaluate(self, step: int) -> None:
        options = {
            "length": self.config.sequence_length,
            "max_documents": self.config.max_evaluation_documents,
            "place": self.place,
        }
        if self._unigram_bits is None:
            self._unigram_bits = score(unigram_nats(self.corpus, self.place), self.corpus, **options).bits_per_byte
        found = score(self._evaluation_nats, self.corpus, **options)
        if self._metrics is not None:
            self._metrics.write(
                {
                    "evaluation": "held_out",
                    "step": step,
                    "bits_per_byte": found.bits_per_byte,
                    "unigram_bits_per_byte": self._unigram_bits,
                    "loss": found.nats_per_token,
                    "documents": found.documents,
                    "bytes": found.bytes,
                    "tokens": found.tokens,
                }
            )

    def _evaluation_nats(self, inputs: Tensor, targets: Tensor) -> Tensor:
        with self._precision():
            return self.model.nats(inputs, targets)

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        """bfloat16 matrix work on a GPU; float32 on a CPU, where bits repeat."""
        if self.place.device.type == "cuda":
            return torch.autocast("cuda", torch.bfloat16)
        return contextlib.nullcontext()

    def _not_a_number(self, step: int, loss: float, grad_norm: float, windows: Int64s) -> str:
        ids = self.corpus.documents_of(windows, self.config.sequence_length + 1)
        more = f" and {len(ids) - _NAMED_DOCUMENTS} more" if len(ids) > _NAMED_DOCUMENTS else ""
        return (
            f"step {step}: loss {loss}, gradient {grad_norm}: no longer a number. Lower learning_rate "
            f"({self.config.learning_rate}), or look at the documents of this batch: "
            f"{', '.join(ids[:_NAMED_DOCUMENTS])}{more}"
        )


@contextlib.contextmanager
def _one_thread(place: Place) -> Iterator[None]:
    """One thread a rank on a CPU: sums are then made in one order, and ranks do not crowd each other out."""
    before = torch.get_num_threads()
    if place.device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
