"""Mistakes of a training that are told before any rank starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import UserError
from pipeline.pretrain.objectives.spans import mask_ids_needed

if TYPE_CHECKING:
    from pipeline.pretrain.config import Job
    from pipeline.pretrain.work import Pretrain


def check_device(job: Job) -> None:
    """See that this machine has the device that a job names.

    Raises:
        UserError: it is ``cuda``, and torch sees no GPU.
    """
    if job.device != "cuda":
        return
    import torch  # takes 2 s, which a job for a CPU need not wait for here

    if not torch.cuda.is_available():
        msg = "device: cuda, but torch sees no GPU here: write device: cpu, or start it on a machine with a GPU"
        raise UserError(msg)


def problem_of(work: Pretrain) -> str | None:
    """What the fields of a step contradict of each other; None: nothing."""
    ranks, tokens = work.shard_ranks, work.micro_batch_tokens
    if ranks is not None and work.sharding != "hsdp":
        return f"shard_ranks {ranks} is for sharding: hsdp, and this is {work.sharding}: write hsdp, or leave shard_ranks out"
    # With min_workers the number of workers may change; those that do not fit stay out.
    if ranks is not None and work.min_workers is None and work.workers % ranks:
        return f"shard_ranks {ranks} does not divide workers {work.workers}: make workers a multiple of {ranks}"
    if tokens is not None and tokens < work.sequence_length:
        return f"micro_batch_tokens {tokens} is below sequence_length {work.sequence_length}: one sequence is the least"
    if work.shape is not None and work.preset != "tiny":  # the default: a recorded recipe names it beside any shape
        return f"shape and preset {work.preset} both say what is trained: leave one of them out"
    return _start_problem(work) or _objective_problem(work) or _batch_problem(work)


def _start_problem(work: Pretrain) -> str | None:
    if work.start_from is None:
        return None
    if work.preset != "tiny":
        return f"start_from and preset {work.preset} both say what is trained: leave preset out"
    if work.learning_rate is None:
        return (
            "start_from needs learning_rate: a preset's is for weights that know nothing; a tenth of the peak that the model "
            "was trained with is a cautious one"
        )
    return None


def _objective_problem(work: Pretrain) -> str | None:
    """Those of the objective that need no look at the tokens (``objectives.prepare.check_objective`` takes it)."""
    objective = work.objective
    if objective is None:
        return None
    ids = objective.mask_ids
    negative = sorted({one for one in ids if one < 0})
    if negative:
        return f"mask_ids {negative} are below 0, the first id: name ids from 0"
    repeated = sorted({one for one in ids if ids.count(one) > 1})
    if repeated:
        return f"mask_ids name {repeated} more than once, and each mask is a token of its own: name each once"
    needed = mask_ids_needed(objective, work.sequence_length)
    if len(objective.mask_ids) >= needed:
        return None
    return (
        f"objective {objective.kind} needs {needed} mask_ids for a sequence_length of {work.sequence_length}, and there are "
        f"{len(objective.mask_ids)}: name ids that stand for nothing else, as those of special_tokens that train_tokenizer was "
        f"given{' (a longer mean_span needs fewer)' if objective.kind == 'span' else ''}"
    )


def _batch_problem(work: Pretrain) -> str | None:
    if work.batch_tokens is not None and work.batch_size is not None:
        return "batch_size and batch_tokens say the same: give one of them"
    if work.batch_tokens is not None and work.batch_tokens % work.sequence_length:
        return f"batch_tokens {work.batch_tokens} is no multiple of sequence_length {work.sequence_length}"
    if work.min_workers is None and work.sequences % work.workers:
        default = "" if "workers" in work.model_fields_set else f" ({work.workers} is the default; write `workers: 1`)"
        return f"{work.workers} workers cannot share a batch of {work.sequences} sequences evenly{default}"
    if work.min_workers is not None and work.min_workers > work.workers:
        return f"min_workers {work.min_workers} is more than workers {work.workers}"
    return None
