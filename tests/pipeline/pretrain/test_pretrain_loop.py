"""Training as a whole: the same curve for any number of ranks, and through any number of deaths."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import RunFailedError, UserError
from pipeline.pretrain import local
from pipeline.pretrain.config import Experts, Job
from pipeline.pretrain.ranks import Place
from pipeline.pretrain.training.loop import train
from pipeline.pretrain.training.metrics import read_metrics
from tests.pipeline.pretrain.conftest import SMALL, document_id, run_ranks, sentences, token_data, write_shard

MakeJob = Callable[..., Job]
CLOCK = ("tokens_per_s", "seconds_to_first_step")


def curve(job: Job) -> list[dict[str, Any]]:
    """The metrics, without what the clock says."""
    return [
        {name: value for name, value in line.items() if name not in CLOCK}
        for line in read_metrics(Path(job.home) / "metrics.jsonl")
    ]


def numbers(job: Job, name: str) -> list[float]:
    return [line[name] for line in curve(job) if name in line]


def assert_same_up_to_rounding(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(found) == len(expected)
    for line, other in zip(found, expected, strict=True):
        assert line.keys() == other.keys()
        for name, value in other.items():
            assert _rounded(line[name]) == _near(value), (name, other)


def _rounded(value: Any) -> Any:
    return dict(_leaves(value)) if isinstance(value, dict) else value


def _near(value: Any) -> Any:
    """The value, or all values of a nested one by their path, where floats may differ in the sixth digit."""
    if isinstance(value, dict):
        return {path: _near(leaf) for path, leaf in _leaves(value)}
    return pytest.approx(value, rel=1e-5) if isinstance(value, float) else value


def _leaves(value: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _leaves(inner, f"{above}{name}.")
        else:
            yield f"{above}{name}", inner


def test_ranks_and_deaths_do_not_show(make_job: MakeJob) -> None:
    """One, two and four ranks learn the same; two ranks of which one is killed do so bit for bit."""
    one, two, four, broken, moved = (make_job(name) for name in ("one", "two", "four", "broken", "moved"))
    train(one, Place())
    # The last checkpoint before the death is of step 10, or of 5 where that one was not on disk yet: steps are done again.
    run_ranks((two, 2, None), (four, 4, None), (broken, 2, (1, 13)), (moved, 4, (2, 13)))
    for other in (two, four):
        assert_same_up_to_rounding(curve(other), curve(one))
    for job in (broken, moved):
        assert 10 <= len(numbers(job, "lr")) < 30
    run_ranks((broken, 2, None))
    assert curve(broken) == curve(two)
    train(moved, Place())
    assert curve(moved)[:5] == curve(four)[:5]
    assert_same_up_to_rounding(curve(moved), curve(one))
    assert len(numbers(one, "lr")) == 30


def test_a_rank_that_hangs_ends_the_others_in_words(make_job: MakeJob) -> None:
    job = make_job("hangs")
    told = run_ranks((job, 2, (1, 3, "hang")))
    assert "a rank waited 5 s for the others: one hangs" in told
    assert len(numbers(job, "lr")) == 4 - 1


def test_muon_learns_the_same_on_ranks_that_share_its_work_and_its_weights(make_job: MakeJob) -> None:
    """Stacks of three experts in two layers, which two ranks share; under fsdp the ranks hold pieces of each."""
    experts = SMALL.model_copy(update={"experts": Experts(count=3, ffn_dim=24)})
    options = {"optimizer": "muon", "shape": experts, "steps": 10, "checkpoint_every": 10}
    one, two, split = (
        make_job("one", **options),
        make_job("two", **options),
        make_job("split", **options, sharding="fsdp"),
    )
    train(one, Place())
    run_ranks((two, 2, None), (split, 2, None))
    for other in (two, split):
        assert_same_up_to_rounding(curve(other), curve(one))


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
    assert set(steps[1]) == {"step", "tokens", "loss", "grad_norm", "lr", "tokens_per_s"}
    assert set(steps[0]) == {*steps[1], "seconds_to_first_step"}
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


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [(7, RunFailedError, "rank 1 of the training ended with 7: oh"), (2, UserError, "^oh$")],
)
def test_a_rank_that_fails_takes_the_others_with_it(
    make_job: MakeJob, code: int, error: type[Exception], message: str
) -> None:
    """Rank 0 would sleep for ten minutes."""
    script = (
        "import sys, time\n"
        "if sys.argv[sys.argv.index('--rank') + 1] == '0': time.sleep(600)\n"
        f"sys.stderr.write('oh'); sys.exit({code})"
    )
    with pytest.raises(error, match=message):
        local.launch(make_job("failing"), 2, ("-c", script))


def test_a_rank_ends_when_its_driver_does() -> None:
    script = "import time; from pipeline.pretrain.lifeline import exit_with_parent; exit_with_parent(); time.sleep(600)"
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, cwd=root) as rank:
        rank.stdin.close()
        assert rank.wait(timeout=300) == 1


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
    from pipeline.pretrain.data.corpus import open_corpus  # only here

    corpus = open_corpus(data, held_out_fraction=job.config.held_out_fraction, seed=job.config.seed)
    return {int(start) // 61 for start in corpus.held_out.start}  # every document has 60 tokens and the EOS
