"""Mistakes of a training that are told before any rank starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from pipeline.errors import RunFailedError, UserError
from pipeline.pretrain.config import PRESETS, Job, Objective
from pipeline.pretrain.local import launch
from pipeline.pretrain.objectives.prepare import check_objective
from pipeline.pretrain.work import Pretrain


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"shard_ranks": 2}, "shard_ranks 2 is for sharding: hsdp, and this is replicate"),
        ({"sharding": "hsdp", "shard_ranks": 3, "workers": 4}, "shard_ranks 3 does not divide workers 4"),
        ({"micro_batch_tokens": 255}, "micro_batch_tokens 255 is below sequence_length 256"),
        ({"objective": {"kind": "mlm"}}, "objective mlm needs 1 mask_ids"),
        # 257 slots hold 35 hidden tokens in 12 spans.
        (
            {"objective": {"kind": "span", "mask_ids": [*range(100, 111)]}},
            "objective span needs 12 mask_ids for a sequence_length of 256, and there are 11: .*longer mean_span",
        ),
        ({"objective": {"kind": "mlm", "mask_ids": [-1]}}, r"mask_ids \[-1\] are below 0"),
        ({"objective": {"kind": "mlm", "mask_ids": [7, 7]}}, r"mask_ids name \[7\] more than once"),
        ({"shape": PRESETS["124m"], "preset": "350m"}, "shape and preset 350m both say"),
        (
            {"batch_size": 3},
            r"2 workers cannot share a batch of 3 sequences evenly \(2 is the default; write `workers: 1`\)",
        ),
    ],
    ids=["ranks-alone", "ranks", "micro-batch", "masks", "spans", "negative", "repeated", "shape", "workers"],
)
def test_fields_that_contradict_each_other_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Pretrain(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"sharding": "hsdp", "shard_ranks": 2, "workers": 4},
        {"sharding": "hsdp", "shard_ranks": 2, "workers": 3, "min_workers": 2},
        {"micro_batch_tokens": 256},
        {"shape": PRESETS["124m"]},
        {"objective": {"kind": "span", "mask_ids": [*range(100, 112)]}},
    ],
    ids=["ranks", "elastic", "micro-batch", "shape", "spans"],
)
def test_fields_that_fit_are_taken(fields: dict[str, Any]) -> None:
    work = Pretrain(**fields)
    assert Pretrain.model_validate(work.model_dump()) == work


@pytest.mark.parametrize("workers", [1, 2])
def test_a_gpu_that_is_not_there_is_told(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    job = make_job("gpu").model_copy(update={"device": "cuda"})
    with pytest.raises(UserError, match="device: cuda, but torch sees no GPU here"):
        launch(job, workers)


def test_a_rank_that_was_killed_is_told_by_its_signal(make_job: Callable[..., Job]) -> None:
    die = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(
        RunFailedError, match=r"was killed by SIGKILL \(often: out of memory\); the same command goes on"
    ):
        launch(make_job("killed"), 2, ("-c", die))


@pytest.mark.parametrize(("size", "spare"), [(2048, False), (2047, True)])
def test_spare_rows_are_offered_where_there_are_any(size: int, spare: bool) -> None:
    with pytest.raises(UserError, match="special_tokens") as refused:
        check_objective(Objective(kind="mlm"), sequence_length=64, eos_id=0, vocab_size=size)
    assert ("spare rows" in str(refused.value)) is spare


@pytest.mark.parametrize(
    ("ids", "size", "said"),
    [
        # 2,000 ids are padded to 2,048 rows.
        (
            (99_999,),
            2000,
            r"mask_ids \[99999\] lie behind the embedding, whose last id is 2047: .*spare rows 2000 to 2047",
        ),
        (
            (2048,),
            2048,
            r"mask_ids \[2048\] lie behind the embedding, whose last id is 2047: .*train_tokenizer was given$",
        ),
        ((0,), 2000, "mask_ids name 0, which ends every document: .*special_tokens"),
    ],
    ids=["spare", "full", "eos"],
)
def test_a_wrong_mask_is_told_by_its_cause(ids: tuple[int, ...], size: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_objective(Objective(kind="mlm", mask_ids=ids), sequence_length=64, eos_id=0, vocab_size=size)
