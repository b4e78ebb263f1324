"""One rank from the command line: under torchrun, started by ``local``, or alone. Needs no Ray.

    python -m pipeline.pretrain.torchrun job.json
    torchrun --nproc-per-node 8 -m pipeline.pretrain.torchrun job.json

``job.json`` is a ``Job``. The last step leaves ``export/model.safetensors`` and ``export/config.json`` in its home.
SIGTERM (a scheduler's notice, torchrun's stop) or SIGINT (Ctrl-C) to any rank ends all of them after the same step with a
checkpoint; they exit with 75, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist

from pipeline.errors import RunFailedError, StoppedError, UserError
from pipeline.pretrain.checks import check_device
from pipeline.pretrain.config import Job
from pipeline.pretrain.lifeline import exit_with_parent
from pipeline.pretrain.model.export import export
from pipeline.pretrain.ranks import RanksApartError, current_place, join, told_apart
from pipeline.pretrain.stopping import ASKED
from pipeline.pretrain.training.loop import Observer, train
from pipeline.watch import MetricsWatch


def main(arguments: list[str] | None = None, observe: Observer | None = None) -> int:
    """Train as the rank that the environment (torchrun) or the options name; returns the exit code."""
    options = _parser().parse_args(arguments)
    job = Job.model_validate_json(Path(options.job).read_text(encoding="utf-8"))
    if options.die_with_parent:
        exit_with_parent()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C comes here too; the parent will tell
    try:
        _join_ranks(job, options)
        place = current_place(job.device)
        # A driver takes what its rank says for the error that ended it; that a run went on before is none.
        said = contextlib.redirect_stderr(sys.stdout if options.die_with_parent else sys.stderr)
        with told_apart(), said, _asked_by_signals(), _told(job, quiet=place.rank > 0 or options.die_with_parent):
            train(job, place, observe)
        if place.rank == 0 and not options.no_export:
            weights, _ = export(job, Path(job.home) / "export")
            sys.stdout.write(f"exported to {weights.parent}; `sluice run` of its recipe commits the model to the run\n")
    except (UserError, RunFailedError, StoppedError) as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except RanksApartError as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(RunFailedError.exit_code)  # leaving the group, as below, would wait for the others again
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline.pretrain.torchrun", description=__doc__.splitlines()[0])
    parser.add_argument("job", help="a Job as JSON")
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--world", type=int, default=1)
    parser.add_argument("--store", help="file through which the ranks of one machine find each other")
    parser.add_argument("--die-with-parent", action="store_true", help="end when standard input is closed")
    parser.add_argument("--no-export", action="store_true", help="leave only checkpoints and metrics")
    return parser


def _told(job: Job, *, quiet: bool) -> contextlib.AbstractContextManager[object]:
    """A line on the last step every few seconds."""
    if quiet:
        return contextlib.nullcontext()
    return MetricsWatch(Path(job.home) / "metrics.jsonl", "training", lambda line: print(line, flush=True))


@contextlib.contextmanager
def _asked_by_signals() -> Iterator[None]:
    """The training ends after the step in which a signal comes. One that comes again is the same question.

    A terminal's Ctrl-C goes to torchrun and to its ranks, and torchrun passes its own on: each rank hears of it twice.
    """
    ASKED.clear()
    heard = [one for one in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(one) is not signal.SIG_IGN]
    before = {one: signal.signal(one, lambda *_: ASKED.set()) for one in heard}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _join_ranks(job: Job, options: argparse.Namespace) -> None:
    if job.device == "cuda":
        check_device(job)
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", options.rank)))
    if "TORCHELASTIC_RUN_ID" in os.environ:
        join(job.device)
    elif options.world > 1:
        store = dist.FileStore(options.store, options.world)
        join(job.device, store=store, rank=options.rank, world_size=options.world)


if __name__ == "__main__":
    sys.exit(main())
