"""Batches that are garbage or come to no number, and what else a loop does besides learning: logs and stops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.errors import RunFailedError, StoppedError, UserError
from pipeline.pretrain.around import around
from pipeline.pretrain.config import Job
from pipeline.pretrain.data.batch import Batch
from pipeline.pretrain.data.batches import checked_batches
from pipeline.pretrain.model.transformer import Losses, Transformer
from pipeline.pretrain.ranks import Place
from pipeline.pretrain.stopping import ASKED
from pipeline.pretrain.training import loop
from pipeline.pretrain.training.checkpoint import latest
from pipeline.pretrain.training.loop import train
from pipeline.pretrain.training.metrics import read_metrics
from tests.pipeline.pretrain.conftest import document_id, run_ranks, sentences
from tests.pipeline.pretrain.test_pretrain_loop import curve

MakeJob = Callable[..., Job]
Steps = dict[int, dict[str, Any]]


def steps_of(job: Job) -> Steps:
    return {line["step"]: line for line in curve(job) if "evaluation" not in line}


def skipping(job: Job, *steps: int) -> Job:
    return job.model_copy(update={"config": job.config.model_copy(update={"skipped_steps": steps})})


def tokens_of(job: Job, step: int) -> np.ndarray:
    _, source = checked_batches(job, 1)
    return source.tokens(source.rows(step))[0]


def without(steps: Steps, *left_out: int) -> Steps:
    return {step: line for step, line in steps.items() if step not in left_out}


def test_a_garbage_batch_is_not_learned_from(make_job: MakeJob) -> None:
    """The gradient of step 68 is as never before; all others are as if it had not been there."""
    job = make_job("garbage", steps=72, skip_sigmas=6.0, evaluate_every=72, checkpoint_every=72, warmup_steps=1)
    _, source = checked_batches(job, 1)
    for shard in job.data.shards:
        # Where step 68's windows begin in the stream is not where they are in a file: found by their tokens.
        payload = np.memmap(shard.tokens, np.uint16, mode="r+")
        for window in source.tokens(source.rows(68))[0]:
            places = np.lib.stride_tricks.sliding_window_view(payload, len(window))
            for place in np.flatnonzero((places == window).all(axis=1)):
                inner = payload[place : place + len(window)]
                inner[inner > 0] = 9  # the same word again and again, as some web pages have it
        payload.flush()
    train(job, Place())
    found = steps_of(job)
    assert [step for step, line in found.items() if line.get("skipped")] == [68]
    assert found[68]["grad_norm"] > 3 * max(found[step]["grad_norm"] for step in range(1, 68))
    never = skipping(make_job("never", steps=72, evaluate_every=72, checkpoint_every=72, warmup_steps=1), 68)
    train(never, Place())
    assert without(found, 68) == without(steps_of(never), 68)


def no_number_for(tokens: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of any micro-batch that begins with one of these windows."""
    loss = Transformer.loss

    def spoiled(self: Transformer, batch: Batch, *, z_loss: float = 0.0) -> Losses:
        found = loss(self, batch, z_loss=z_loss)
        wrong = any(np.array_equal(batch.inputs[0].numpy(), window[:-1]) for window in tokens)
        return Losses(*(one * float("nan") for one in found)) if wrong else found

    monkeypatch.setattr(Transformer, "loss", spoiled)


@pytest.mark.parametrize("log_every", [1, 4])
def test_a_batch_without_a_number_is_left_out_for_good(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], log_every: int
) -> None:
    job = make_job("nan", steps=14, log_every=log_every)
    with monkeypatch.context() as patch:
        no_number_for(tokens_of(job, 7), patch)

        def stop(step: int, _saved: bool) -> None:
            if step == 12:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(job, Place(), stop)
    _, source = checked_batches(job, 1)
    ids = source.documents_of(source.rows(7))
    said = capsys.readouterr().err
    assert "step 7: loss nan" in said
    assert all(one in said for one in ids)
    train(job, Place())  # the batch would be well now, yet the checkpoint knows
    assert steps_of(job)[7] == {"step": 7, "tokens": 7 * 64, "skipped": True, "documents": ids}
    expected = skipping(make_job("expected", steps=14), 7)
    train(expected, Place())
    assert curve(job) == curve(expected)


def test_ranks_find_a_batch_without_a_number_at_the_same_step(make_job: MakeJob) -> None:
    """Step 6 is looked at with steps 5 to 8, by both; one that looks earlier than the other waits for it elsewhere."""
    job = make_job("nan", steps=10, log_every=4)
    expected = skipping(make_job("expected", steps=10), 6)
    run_ranks((job, 2, (1, 6, "nan")))
    train(expected, Place())
    found, alone = steps_of(job), steps_of(expected)
    assert found.keys() == alone.keys()
    assert found[6] == alone[6]
    losses = [[line["loss"] for line in without(steps, 6).values()] for steps in (found, alone)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)  # one rank adds in another order


@pytest.mark.parametrize("together", [1000, 9])
def test_only_bad_batches_that_come_together_end_a_training(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    """Four in twelve steps; of the last nine, 3 to 11, three."""
    job = make_job("four", steps=12)
    no_number_for(np.concatenate([tokens_of(job, step) for step in (2, 5, 8, 11)]), monkeypatch)
    monkeypatch.setattr(loop, "_STEPS_TOGETHER", together)
    if together == 1000:
        with pytest.raises(RunFailedError, match=r"step 11: loss nan.*as at steps 2, 5, 8\).*Given up, as 4 steps"):
            train(job, Place())
        return
    train(job, Place())
    assert [step for step, line in steps_of(job).items() if line.get("skipped")] == [2, 5, 8, 11]


def test_it_does_not_matter_when_metrics_are_brought_over(make_job: MakeJob) -> None:
    often, seldom = make_job("often", steps=12), make_job("seldom", steps=12, log_every=7)
    train(often, Place())
    train(seldom, Place())
    assert curve(seldom) == curve(often)


def test_a_batch_in_turns_is_the_batch_at_once(make_job: MakeJob) -> None:
    turns = make_job("turns", steps=8, z_loss=1e-4)
    once = make_job("once", steps=8, z_loss=1e-4, micro_batch_tokens=64)
    train(turns, Place())
    train(once, Place())
    for name in ("loss", "grad_norm"):
        found, expected = ([line[name] for line in steps_of(job).values()] for job in (turns, once))
        assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("change", [{"optimizer": "muon"}, {"document_mask": True}], ids=["muon", "mask"])
def test_options_learn_otherwise_and_resume_exactly(make_job: MakeJob, change: dict[str, object]) -> None:
    plain, whole = make_job("plain", steps=9), make_job("whole", steps=9, **change)
    broken = make_job("broken", steps=9, **change, checkpoint_every=4)

    def stop(step: int, _saved: bool) -> None:
        if step == 6:
            raise KeyboardInterrupt

    train(plain, Place())
    train(whole, Place())
    with pytest.raises(KeyboardInterrupt):
        train(broken, Place(), stop)
    train(broken, Place())
    assert curve(broken) == curve(whole)
    assert steps_of(whole)[9]["loss"] != steps_of(plain)[9]["loss"]


def test_who_is_asked_to_stop_leaves_a_checkpoint_of_that_step(make_job: MakeJob) -> None:
    job, whole = make_job("stopped", steps=9), make_job("whole", steps=9)

    def ask(step: int, _saved: bool) -> None:
        if step == 4:
            ASKED.set()

    try:
        with pytest.raises(StoppedError, match="after step 4 of 9"):
            train(job, Place(), ask)
    finally:
        ASKED.clear()
    found = latest(Path(job.home) / "checkpoints")
    assert found is not None
    assert found.name == "step-00000004"
    train(job, Place())
    train(whole, Place())
    assert curve(job) == curve(whole)


def test_tensorboard_shows_the_same_curve(make_job: MakeJob) -> None:
    job = make_job("board", steps=10, evaluate_every=5, tensorboard=True)

    def stop(step: int, _saved: bool) -> None:
        if step == 8:  # the checkpoint is of step 5: three steps are done again
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(job, Place(), stop)
    train(job, Place())
    events = EventAccumulator(str(Path(job.home) / "tensorboard"))
    events.Reload()
    lines = read_metrics(Path(job.home) / "metrics.jsonl")
    for name, group in (
        ("train", [line for line in lines if "evaluation" not in line]),
        ("held_out", [line for line in lines if "evaluation" in line]),
    ):
        shown = [(event.step, event.value) for event in events.Scalars(f"{name}/loss")]
        assert shown == [(line["step"], pytest.approx(line["loss"])) for line in group]


def test_a_device_is_not_asked_before_it_is_time(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks at the metrics the loop asks for no value, which would make the host wait for a GPU."""
    job = make_job("silent", steps=9, log_every=4, evaluate_every=9, checkpoint_every=9, skip_sigmas=6.0)
    asked: list[int] = []
    at = [0]

    def note(step: int, _saved: bool) -> None:
        at[0] = step

    for name in ("item", "tolist", "__float__", "__bool__"):
        method = getattr(torch.Tensor, name)

        def counting(self: torch.Tensor, *args: object, method: Callable[..., Any] = method) -> object:
            if self.is_floating_point():
                asked.append(at[0] + 1)
            return method(self, *args)

        monkeypatch.setattr(torch.Tensor, name, counting)
    train(job, Place(), note)
    assert set(asked) <= {1, 4, 8, 9}
    assert 4 in asked


def test_the_documents_around_a_step_are_told(make_job: MakeJob) -> None:
    """Ids by hand: a document is in a batch where 16 tokens of a window are found in it."""
    job = skipping(make_job("around", steps=9, checkpoint_every=9), 4)
    train(job, Place())
    home = Path(job.home)
    lines = list(around(home, 7))
    assert [line["step"] for line in lines] == [6, 7, 8]
    texts = {document_id(number).hex(): document for number, document in enumerate(sentences(80))}
    for line in lines:
        assert line["loss"] == steps_of(job)[line["step"]]["loss"]
        for window in tokens_of(job, line["step"]):
            inside = max(np.split(window, np.flatnonzero(window == 0)), key=len)
            words = [int(token) for token in inside if token]
            (holder,) = [
                name for name, text in texts.items() if any(text[k : k + len(words)] == words for k in range(len(text)))
            ]
            assert holder in line["documents"]
    told = [line["step"] for line in around(home, width=0)]
    assert 4 in told
    assert len(told) == 2
    with pytest.raises(UserError, match="step 10 is not in"):
        list(around(home, 10))
    with pytest.raises(UserError, match=r"holds no job\.json"):
        list(around(home / "checkpoints"))
