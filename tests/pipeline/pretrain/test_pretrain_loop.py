"""Training as a whole: the same curve for any number of ranks, and through any number of deaths."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import RunFailedError, UserError
from pipeline.pretrain import local
from pipeline.pretrain.config import Job
from pipeline.pretrain.loop import train
from pipeline.pretrain.metrics import read_metrics
from pipeline.pretrain.ranks import Place
from tests.pipeline.pretrain.conftest import document_id, sentences, token_data, write_shard

MakeJob = Callable[..., Job]
DYING = (str(Path(__file__).with_name("dying_rank.py")),)


def curve(job: Job) -> list[dict[str, Any]]:
    """The metrics, without what the clock says."""
    return [
        {name: value for name, value in line.items() if name != "tokens_per_s"}
        for line in read_metrics(Path(job.home) / "metrics.jsonl")
    ]


def numbers(job: Job, name: str) -> list[float]:
    return [line[name] for line in curve(job) if name in line]


def test_ranks_and_deaths_do_not_show(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """One, two and four ranks learn the same; two ranks of which one is killed do so bit for bit."""
    one, two, four, broken = (make_job(name) for name in ("one", "two", "four", "broken"))
    train(one, Place())
    local.launch(two, 2)
    local.launch(four, 4)
    for other in (two, four):
        for name in ("loss", "grad_norm", "bits_per_byte"):
            assert numbers(other, name) == pytest.approx(numbers(one, name), rel=1e-5), name
        for name in ("step", "tokens", "lr", "documents", "bytes", "unigram_bits_per_byte"):
            assert numbers(other, name) == numbers(one, name), name
    assert len(numbers(one, "lr")) == 30
    # The last checkpoint before the death is of step 10, so some steps are done again.
    monkeypatch.setenv("DIE_AT", "1:13")
    with pytest.raises(RunFailedError, match="ended with"):
        local.launch(broken, 2, DYING)
    assert 13 <= len(numbers(broken, "lr")) < 30
    local.launch(broken, 2)
    assert curve(broken) == curve(two)


def test_a_run_goes_on_with_another_number_of_ranks(make_job: MakeJob) -> None:
    whole, moved = make_job("whole", steps=12), make_job("moved", steps=12)
    train(whole, Place())

    def stop(step: int, _saved: bool) -> None:
        if step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(moved, Place(), stop)
    local.launch(moved, 2)
    assert curve(moved)[:5] == curve(whole)[:5]
    assert numbers(moved, "loss") == pytest.approx(numbers(whole, "loss"), rel=1e-5)
    assert numbers(moved, "step") == numbers(whole, "step")


def test_one_rank_goes_on_bit_for_bit_from_any_step(make_job: MakeJob) -> None:
    whole = make_job("whole", steps=11)
    train(whole, Place())
    for last in (1, 5, 10):
        broken = make_job(f"broken{last}", steps=11, checkpoint_every=2)

        def stop(step: int, _saved: bool, last: int = last) -> None:
            if step == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(broken, Place(), stop)
        train(broken, Place())
        assert curve(broken) == curve(whole)


def test_a_finished_run_is_left_alone(make_job: MakeJob) -> None:
    job = make_job("done", steps=6)
    train(job, Place())
    before = (Path(job.home) / "metrics.jsonl").read_bytes()
    train(job, Place())
    assert (Path(job.home) / "metrics.jsonl").read_bytes() == before


def test_the_file_has_a_line_a_step_and_a_line_an_evaluation(make_job: MakeJob) -> None:
    job = make_job("lines", steps=12, evaluate_every=5)
    train(job, Place())
    lines = [json.loads(line) for line in (Path(job.home) / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "evaluation" not in line]
    assert [line["step"] for line in steps] == list(range(1, 13))
    assert [line["tokens"] for line in steps] == [64 * step for step in range(1, 13)]
    assert set(steps[0]) == {"step", "tokens", "loss", "grad_norm", "lr", "tokens_per_s"}
    evaluations = [line for line in lines if "evaluation" in line]
    assert [line["step"] for line in evaluations] == [5, 10, 12]
    assert {line["evaluation"] for line in evaluations} == {"held_out"}
    # 48 ids, nothing learned yet: ln(128 rows of the padded vocabulary) = 4.85 nats
    assert steps[0]["loss"] == pytest.approx(4.85, abs=0.1)


def test_a_loss_that_is_no_number_stops_with_the_documents_of_its_batch(make_job: MakeJob) -> None:
    job = make_job("nan", learning_rate=1e30, warmup_steps=0)
    with pytest.raises(RunFailedError, match=r"step \d+: loss .*nan.*[0-9a-f]{32}") as caught:
        train(job, Place())
    known = {document_id(number).hex() for number in range(80)}
    named = set(re.findall(r"[0-9a-f]{32}", str(caught.value)))
    assert named
    assert named <= known


def test_ranks_that_cannot_share_a_batch_are_refused(make_job: MakeJob) -> None:
    with pytest.raises(UserError, match="3 workers cannot share a batch of 4"):
        local.launch(make_job("uneven"), 3)


def test_text_teaches_more_than_the_same_tokens_shuffled(make_job: MakeJob, tmp_path: Path) -> None:
    """Same documents, ids, counts and held-out text; only the order of tokens in what is trained on differs."""
    documents = sentences(300)
    random = np.random.default_rng(0)
    shuffled = [random.permutation(document).tolist() for document in documents]
    bits = {}
    for name, trained_on in (("text", documents), ("shuffled", shuffled)):
        job = make_job(name, steps=120, batch_size=8, evaluate_every=120, micro_batch_tokens=128, checkpoint_every=120)
        # First the documents of the text, to learn which are held out; those are put back unshuffled.
        held = _held_out_rows(job, token_data(write_shard(tmp_path / f"{name}-plain", documents)))
        mixed = [documents[k] if k in held else trained_on[k] for k in range(300)]
        data = token_data(write_shard(tmp_path / name, mixed))
        train(job.model_copy(update={"data": data}), Place())
        bits[name] = numbers(job, "bits_per_byte")[-1], numbers(job, "unigram_bits_per_byte")[-1]
    (text, unigram), (control, same_unigram) = bits["text"], bits["shuffled"]
    assert unigram == same_unigram
    assert text < 0.6 * unigram
    assert text < 0.6 * control


def _held_out_rows(job: Job, data: object) -> set[int]:
    from pipeline.pretrain.data import open_corpus  # noqa: PLC0415  # only here

    corpus = open_corpus(data, held_out_fraction=job.config.held_out_fraction, seed=job.config.seed)
    return {int(start) // 61 for start in corpus.held_out.start}  # every document has 60 tokens and the EOS
