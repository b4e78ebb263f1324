"""Which windows each step trains on: a pure function of (corpus, configuration, step), with a mixture or without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.errors import UserError
from pipeline.pretrain.config import Job, TrainConfig
from pipeline.pretrain.data.corpus import Corpus
from pipeline.pretrain.data.corpus_index import indexed_corpus
from pipeline.pretrain.data.documents import Int64s
from pipeline.pretrain.data.mixture import Draw, stratum_windows
from pipeline.pretrain.data.order import batch_windows
from pipeline.pretrain.data.packed import PackedRows
from pipeline.pretrain.data.source import RowSource
from pipeline.pretrain.data.streamed import open_streamed

_SLACK = 1.1
"""How many times its limit a stratum may be read: the plan knew neither which documents would be held out, nor windows."""


class Batches:
    """The windows of every step; steps count from 1.

    A window is ``sequence_length + 1`` tokens of the stream, and as a row it is where it begins there.
    """

    def __init__(self, corpus: Corpus, config: TrainConfig) -> None:
        """Look whether there is enough for every step.

        Raises:
            UserError: the windows do not fill one batch, the mixture ends before the last step, a stratum has no window,
                or would be read more often than the mixture allows.
        """
        self._corpus, self._config = corpus, config
        self._draw: Draw | None = None
        self._counted = 0, np.zeros(len(corpus.stratum_start) - 1, np.int64)
        if corpus.mixture is None:
            self._num_windows = np.array([corpus.num_windows(config.sequence_length, config.batch_size)])
            return
        self._num_windows = np.maximum(0, np.diff(corpus.stratum_start) - 1) // config.sequence_length
        self._draw = Draw(corpus.mixture, sequence_length=config.sequence_length, seed=config.seed)
        self._check(self._draw)

    def rows(self, step: int) -> Int64s:
        """(batch_size,) Where the windows of a step's global batch begin in the stream."""
        config = self._config
        if self._draw is None:
            count = int(self._num_windows[0])
            windows = batch_windows(step - 1, batch_size=config.batch_size, num_windows=count, seed=config.seed)
            return windows * config.sequence_length
        strata, numbers = self._draw.samples((step - 1) * config.batch_size, config.batch_size)
        starts = np.empty(len(strata), np.int64)
        for stratum in np.unique(strata):
            of = strata == stratum
            windows = stratum_windows(
                self._draw.mixture.strata[stratum].label,
                numbers[of],
                num_windows=int(self._num_windows[stratum]),
                seed=config.seed,
            )
            starts[of] = self._corpus.stratum_start[stratum] + windows * config.sequence_length
        return starts

    def tokens(self, rows: Int64s) -> tuple[Int64s, None]:
        """Tokens of windows (N, sequence_length + 1); all are full.

        Raises:
            UserError: an id the tokenizer does not have.
        """
        return self._corpus.read(rows, self._config.sequence_length + 1), None

    def lengths(self, rows: Int64s) -> None:
        """None: all are full."""

    def breaks(self, rows: Int64s) -> None:
        """None: each document follows the EOS of another."""

    def num_targets(self, rows: Int64s) -> int:
        """Tokens of windows but the first of each."""
        return len(rows) * self._config.sequence_length

    def documents_of(self, rows: Int64s) -> list[str]:
        """Hex ids of the documents that windows touch, in order, each once."""
        return self._corpus.documents_of(rows, self._config.sequence_length + 1)

    def close(self) -> None:
        """No call waits."""

    def drawn(self, step: int) -> dict[str, int] | None:
        """Tokens of each stratum up to and with a step; None without a mixture."""
        if self._draw is None:
            return None
        tokens = self._samples(self._draw, step) * self._config.sequence_length
        return dict(zip(self._draw.mixture.labels, tokens.tolist(), strict=True))

    def epochs(self, step: int) -> dict[str, float] | None:
        """How many times each stratum's windows were read up to and with a step; None without a mixture."""
        if self._draw is None:
            return None
        read = self._samples(self._draw, step) / np.maximum(1, self._num_windows)
        return dict(zip(self._draw.mixture.labels, np.round(read, 4).tolist(), strict=True))

    def _samples(self, draw: Draw, step: int) -> Int64s:
        """(strata,) Samples of each up to and with a step; from those of the step before where these were asked last."""
        size = self._config.batch_size
        if self._counted[0] == step - 1:
            strata, _ = draw.samples((step - 1) * size, size)
            counts = self._counted[1] + np.bincount(strata, minlength=len(self._counted[1]))
        else:
            counts = draw.drawn(step * size)
        self._counted = step, counts
        return counts

    def _check(self, draw: Draw) -> None:
        config, mixture = self._config, draw.mixture
        wanted = config.steps * config.batch_size
        if wanted > draw.num_samples:
            msg = (
                f"{config.steps} steps take {wanted * config.sequence_length} tokens, the mixture plans "
                f"{mixture.tokens}: raise `tokens` or `steps` of the step that mixes, or train for at most "
                f"{draw.num_samples // config.batch_size} steps"
            )
            raise UserError(msg)
        samples = draw.drawn(wanted)
        for stratum, count, windows in zip(mixture.strata, samples.tolist(), self._num_windows.tolist(), strict=True):
            if count and not windows:
                msg = (
                    f"stratum {stratum.label!r} has {stratum.tokens} tokens, too few for one sequence of "
                    f"{config.sequence_length} beside the held-out documents: lower sequence_length, or give it weight 0"
                )
                raise UserError(msg)
            if count > _SLACK * stratum.max_epochs * windows + 1:
                msg = (
                    f"stratum {stratum.label!r} would be read {count / windows:.2f} times, since {windows} sequences "
                    f"are left of it beside the held-out documents; the mixture allows {stratum.max_epochs:g}: lower "
                    f"its weight, train for fewer steps, or raise max_epochs on the step that mixes"
                )
                raise UserError(msg)


def checked_batches(job: Job, world: int, *, wait: bool = True) -> tuple[Corpus, RowSource]:
    """The corpus of a job and its rows, once the mistakes that can be seen before any rank starts are ruled out.

    wait: whether rows of a streaming job wait for shards that are not committed yet; else they are refused, and nothing is
    written, as suits whoever only looks.

    Raises:
        UserError: too few documents, shards that do not fit, a mixture that cannot be drawn, options that exclude each
            other, or a batch that ranks cannot share.
    """
    config = job.config
    if config.batch_size % world:
        msg = f"{world} workers cannot share a batch of {config.batch_size} sequences evenly: make it a multiple"
        raise UserError(msg)
    _check_options(job)
    if job.data.arriving is not None:
        return open_streamed(job, wait=wait)
    corpus = indexed_corpus(job.data, config, Path(job.home), keep=wait)
    if not job.data.packed:
        return corpus, Batches(corpus, config)
    packed = PackedRows(corpus, config)
    return replace(corpus, digest=packed.digest), packed


def _check_options(job: Job) -> None:
    config, data = job.config, job.data
    if data.packed and config.mixture is not None:
        msg = (
            "a mixture draws from strata of the stream, and packed rows hold documents of several: train on one of them"
        )
        raise UserError(msg)
    if config.objective is None:
        return
    if config.document_mask:
        msg = f"document_mask is for the next token; the objective {config.objective.kind!r} has a mask of its own"
        raise UserError(msg)
    from pipeline.pretrain.objectives.prepare import check_objective  # torch takes 2 s, and most trainings need none

    check_objective(
        config.objective, sequence_length=config.sequence_length, eos_id=data.eos_id, vocab_size=data.vocab_size
    )
