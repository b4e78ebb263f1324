"""A training that begins with another model's weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM

from pipeline.errors import UserError
from pipeline.pretrain.config import Job, RopeScaling, Start
from pipeline.pretrain.data.batch import IGNORED
from pipeline.pretrain.data.batches import checked_batches
from pipeline.pretrain.data.loader import Loader
from pipeline.pretrain.model.described import describe
from pipeline.pretrain.model.export import export
from pipeline.pretrain.model.load import load_model
from pipeline.pretrain.ranks import Place
from pipeline.pretrain.start import StartFrom
from pipeline.pretrain.training.loop import train
from pipeline.pretrain.training.metrics import read_metrics
from tests.pipeline.pretrain.conftest import VOCABULARY, run_ranks

MakeJob = Callable[..., Job]
ROWS = 50
"""Neither padded to 128 nor as many as the tokens have ids."""


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A model that transformers made, and its folder."""
    torch.manual_seed(5)
    config = Qwen3Config(
        vocab_size=ROWS, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=16, initializer_range=0.2, tie_word_embeddings=False,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(tmp_path / "theirs")
    return tmp_path / "theirs"


def continued(make_job: MakeJob, folder: Path, home: str, **changes: object) -> Job:
    """A job that starts from a folder."""
    shape, _, rows, *_ = describe(folder / "config.json")
    start = Start(model=str(folder), sha256="ab" * 32, rows=rows)
    fields = {"shape": shape, "start": start, "learning_rate": 1e-3, "steps": 8, "evaluate_every": 4, **changes}
    job = make_job(home, **fields)
    return job.model_copy(update={"start_weights": (str(folder / "model.safetensors"),)})


def stretched(make_job: MakeJob, folder: Path, home: str) -> Job:
    """On windows four times as long."""
    scaling = RopeScaling(method="yarn", factor=4.0, original_length=16)
    shape = describe(folder / "config.json").shape.model_copy(update={"rope_scaling": scaling})
    return continued(make_job, folder, home, shape=shape, sequence_length=64, micro_batch_tokens=64)


def test_the_first_loss_is_that_of_the_model(make_job: MakeJob, theirs: Path) -> None:
    """As transformers has it, on the first batch."""
    job = continued(make_job, theirs, "first", steps=1)
    train(job, Place())
    _, source = checked_batches(job, 1)
    loader = Loader(job, source, Place(), 1)
    batch = loader.next_step()
    loader.close()
    model = AutoModelForCausalLM.from_pretrained(theirs).eval()
    nats = 0.0
    with torch.inference_mode():
        for part in batch.parts:
            logits, targets = model(part.inputs).logits, part.targets
            nats += float(
                functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum")
            )
    lines = read_metrics(Path(job.home) / "metrics.jsonl")
    (loss,) = [line["loss"] for line in lines if "lr" in line]
    assert loss == pytest.approx(nats / batch.num_targets, rel=1e-5)
    assert abs(loss - math.log(ROWS)) > 0.1  # not that of weights that know nothing
    assert [(line["step"], "evaluation" in line) for line in lines] == [(0, True), (1, False), (1, True)]


def test_stretched_by_yarn_it_learns_and_is_exported_as_transformers_reads_it(
    make_job: MakeJob, theirs: Path, tmp_path: Path
) -> None:
    job = stretched(make_job, theirs, "long")
    train(job, Place())
    export(job, tmp_path / "export")
    before, *_, after = [
        line["loss"] for line in read_metrics(Path(job.home) / "metrics.jsonl") if "evaluation" in line
    ]
    assert after < before - 0.05
    loaded, other = load_model(tmp_path / "export"), AutoModelForCausalLM.from_pretrained(tmp_path / "export")
    assert (loaded.max_length, loaded.model.embedding.num_embeddings) == (64, ROWS)
    assert other.config.rope_parameters["rope_type"] == "yarn"
    tokens = torch.randint(VOCABULARY, (2, 64), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(other(tokens).logits, loaded.model(tokens), rtol=0, atol=2e-5)


@pytest.mark.slow
def test_split_and_resumed_it_learns_the_same(make_job: MakeJob, theirs: Path) -> None:
    """fsdp on two ranks until one dies, hsdp of 2 x 2 until it is stopped, then one; against one that nothing happened to."""
    whole, moved = (stretched(make_job, theirs, name) for name in ("whole", "moved"))
    moved = moved.model_copy(update={"checkpoint_every": 2})
    train(whole, Place())
    split = moved.model_copy(update={"sharding": "fsdp"})
    both = moved.model_copy(update={"sharding": "hsdp", "shard_ranks": 2, "checkpoint_every": 1000})
    run_ranks((split, 2, (1, 3)), (both, 4, (3, 5, "stop")))
    # From a checkpoint on, the files that it started from are no longer looked at.
    train(moved.model_copy(update={"start_weights": ("gone",)}), Place())
    curves = [
        [(line["step"], "evaluation" in line, line["loss"]) for line in read_metrics(Path(job.home) / "metrics.jsonl")]
        for job in (whole, moved)
    ]
    assert [step for step, _, _ in curves[0]] == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 8]
    assert [line[:2] for line in curves[1]] == [line[:2] for line in curves[0]]
    assert [line[2] for line in curves[1]] == pytest.approx([line[2] for line in curves[0]], rel=1e-5)


def test_a_checkpoint_of_a_training_from_another_model_is_refused(make_job: MakeJob, theirs: Path) -> None:
    job = continued(make_job, theirs, "other", steps=1)
    train(job, Place())
    start = Start(model="elsewhere", sha256="ab" * 32, rows=ROWS)
    train(
        job.model_copy(update={"config": job.config.model_copy(update={"start": start})}), Place()
    )  # the same by a link
    other = start.model_copy(update={"sha256": "cd" * 32})
    with pytest.raises(UserError, match=r"was written with start\.sha256='abab.*', this run has 'cdcd"):
        train(job.model_copy(update={"config": job.config.model_copy(update={"start": other})}), Place())


@pytest.mark.parametrize(
    ("method", "expected"), [pytest.param(None, 16, id="plain"), pytest.param("yarn", 64, id="stretched")]
)
def test_shorter_sequences_take_no_positions_away(
    make_job: MakeJob, theirs: Path, tmp_path: Path, method: str | None, expected: int
) -> None:
    """The model of 16 positions, plain or made 64, goes on with 8; what comes of it can be stretched from 16."""
    folder = theirs
    if method is not None:
        job = stretched(make_job, theirs, "long").model_copy(update={"checkpoint_every": 1})
        train(job.model_copy(update={"config": job.config.model_copy(update={"steps": 1})}), Place())
        weights, _ = export(job, tmp_path / "long_export")
        folder = weights.parent
    begun = StartFrom(model=str(folder)).found()
    shape = begun.shape(None, {}, 8)
    short = continued(make_job, folder, "short", shape=shape, start=begun.recorded(), sequence_length=8, steps=1)
    train(short, Place())
    export(short, tmp_path / "short_export")
    again = StartFrom(model=str(tmp_path / "short_export")).found()
    assert again.described().max_length == expected
    assert again.shape(None, {}, expected) == shape
    wanted = RopeScaling(method="yarn", factor=8.0, original_length=16)
    assert again.shape(None, {"rope_scaling": wanted}, 128).rope_scaling == wanted


def test_a_linear_model_tells_its_original_length_by_its_positions(
    make_job: MakeJob, theirs: Path, tmp_path: Path
) -> None:
    scaling = RopeScaling(method="linear", factor=4.0, original_length=16)
    shape = StartFrom(model=str(theirs)).found().shape(None, {"rope_scaling": scaling}, 32)
    job = continued(make_job, theirs, "linear", shape=shape, sequence_length=32, steps=1)
    train(job, Place())
    export(job, tmp_path / "export")
    found = describe(tmp_path / "export" / "config.json")
    assert (found.max_length, found.shape.rope_scaling) == (64, scaling)


def test_a_smaller_factor_has_fewer_positions(make_job: MakeJob, theirs: Path, tmp_path: Path) -> None:
    job = stretched(make_job, theirs, "long")
    train(job.model_copy(update={"config": job.config.model_copy(update={"steps": 1})}), Place())
    export(job, tmp_path / "export")
    begun = StartFrom(model=str(tmp_path / "export")).found()
    less = RopeScaling(method="yarn", factor=2.0, original_length=16)
    assert begun.shape(None, {"rope_scaling": less}, 32).rope_scaling == less
    with pytest.raises(UserError, match="has 32 positions, and sequence_length is 64"):
        begun.shape(None, {"rope_scaling": less}, 64)
