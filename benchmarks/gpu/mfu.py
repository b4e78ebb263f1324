"""Model FLOP utilization of a training step on this GPU: sizes, attention kernels, optimizers; and where the time goes.

python benchmarks/gpu/mfu.py [--models 124m 350m 1.3b] [--attention auto cudnn flash sdpa] [--optimizers adamw muon]
                             [--tokens 32768] [--steps 20] [--vocabulary 32768] [--no-compile] [--profile] [--out mfu.json]

Needs torch and numpy alone, not this project's other dependencies: a GPU host may have nothing else. Attention kernels are
swept on the first model only. A step is forward, backward, clipping and update of one micro-batch of random ids, on one GPU;
its time is the median of the steps after three that warm up. MFU on two bases: the data sheet's dense bfloat16, and large
matrix products measured on the spot. FLOP a token: 6 N_matmul + 12 L d T; ``mfu_causal`` leaves half of the attention out.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
# The package's own __init__ imports the engine, whose dependencies a GPU host need not have.
_bare = ModuleType("pipeline")
_bare.__path__ = [str(ROOT / "pipeline")]
sys.modules["pipeline"] = _bare

from pipeline.pretrain.data.batch import Batch  # noqa: E402
from pipeline.pretrain.model.flops import flops_per_token, measured_peak_flops, parameters, peak_flops, utilization  # noqa: E402
from pipeline.pretrain.model.transformer import Transformer  # noqa: E402
from pipeline.pretrain.ranks import Place  # noqa: E402
from pipeline.pretrain.sharding.distribute import distribute, make_gradients  # noqa: E402
from pipeline.pretrain.training.optim import make_optimizers, update  # noqa: E402
from pipeline.pretrain.training.spikes import Spikes  # noqa: E402

WARM_UP = 3
CLIP = 1.0
RATE = 1e-3
GOALS = {"124m": 0.40, "350m": 0.47, "1.3b": 0.52}


@dataclass(frozen=True)
class Shape:
    """As ``pipeline.pretrain.config.Shape``, which needs pydantic; a test holds the two together."""

    layers: int
    dim: int
    heads: int
    kv_heads: int
    ffn_dim: int
    tied: bool = True
    qk_norm: bool = False
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    feed_forward: str = "swiglu"
    rope_scaling: None = None
    experts: None = None
    head_width: None = None

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.dim // self.heads


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    model: str
    length: int
    attention: str
    optimizer: str
    tokens: int
    compile: bool
    vocabulary: int


SHAPES = {
    "tiny": (Shape(2, 128, 4, 2, 384), 256),
    "124m": (Shape(12, 768, 6, 6, 2048), 1024),
    "350m": (Shape(24, 1024, 8, 8, 2816), 2048),
    "1.3b": (Shape(24, 2048, 16, 8, 5632, tied=False), 2048),
}


class Step:
    """What ``pipeline.pretrain.training.loop`` does with a batch of one micro-batch, on one rank."""

    def __init__(self, case: Case, device: torch.device) -> None:
        shape, length = SHAPES[case.model]
        self.device, place = device, Place(device=device)
        job = SimpleNamespace(sharding="replicate", recompute="none", compile=case.compile)
        model = Transformer(shape, case.vocabulary, max_length=length, attention=case.attention)
        self.model = distribute(model, job, place)
        config = SimpleNamespace(optimizer=case.optimizer, learning_rate=RATE, weight_decay=0.1)
        self.optimizers = make_optimizers(self.model, config)
        self.gradients = make_gradients(self.model, job, place)
        self.spikes = Spikes(None, device)
        rows = max(1, case.tokens // length)
        ids = torch.randint(case.vocabulary, (rows, length + 1), device=device)
        self.batch = Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
        self.tokens = rows * length

    def __call__(self) -> torch.Tensor:
        """One update; the loss before it, nats per token."""
        self.gradients.clear()
        with self.gradients.part(last=True):
            with torch.autocast(self.device.type, torch.bfloat16):
                losses = self.model.loss(self.batch, z_loss=0.0)
            (losses.trained / self.tokens).backward()
        loss = self.gradients.add_up(losses.nats) / self.tokens
        grad_norm = self.gradients.norm()
        skip = self.spikes.look(loss, grad_norm)
        self.gradients.scale_((CLIP / grad_norm).clamp(max=1.0))
        update(self.optimizers, RATE, skip)
        return loss


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measured(case: Case, device: torch.device, steps: int, profile: bool) -> dict[str, Any]:
    """Time, memory and losses of one case."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    torch.manual_seed(0)
    began = time.perf_counter()
    step = Step(case, device)
    first = float(step())
    to_first_step = time.perf_counter() - began
    for _ in range(WARM_UP - 1):
        step()
    seconds = []
    loss = torch.tensor(first)
    gc.disable()  # its pauses are longer than a step of a small model
    try:
        for _ in range(steps):
            synchronize(device)
            start = time.perf_counter()
            loss = step()
            synchronize(device)
            seconds.append(time.perf_counter() - start)
    finally:  # a case that fails is not the last
        gc.enable()
    row: dict[str, Any] = {
        **asdict(case),
        "micro_batch_tokens": step.tokens,
        "seconds_to_first_step": to_first_step,
        "step_s": statistics.median(seconds),
        "step_s_least": min(seconds),
        "tokens_per_s": step.tokens / statistics.median(seconds),
        "first_loss": first,
        "last_loss": float(loss),
    }
    if device.type == "cuda":
        row["peak_memory_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
    if profile:
        row["profile"] = profiled(step, device)
    return row


def profiled(step: Step, device: torch.device) -> list[dict[str, Any]]:
    """The 20 kernels (on a CPU: operations) with the most time of two steps."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as found:
        for _ in range(2):
            step()
        synchronize(device)
    attribute = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    rows = [(event.key, getattr(event, attribute), event.count) for event in found.key_averages()]
    whole = sum(microseconds for _, microseconds, _ in rows) or 1
    rows.sort(key=lambda row: -row[1])
    return [
        {"kernel": name[:120], "share": microseconds / whole, "calls": count} for name, microseconds, count in rows[:20]
    ]


def with_utilization(row: dict[str, Any], peak: float | None, gemm: float) -> dict[str, Any]:
    shape, length = SHAPES[row["model"]]
    flops = flops_per_token(shape, row["vocabulary"], length)
    speed = row["tokens_per_s"]
    return row | {
        "parameters": parameters(shape, row["vocabulary"]).total,
        "flops_per_token": flops.total,
        "mfu": utilization(speed, flops.total, peak),
        "mfu_causal": utilization(speed, flops.causal, peak),
        "mfu_of_measured_gemm": utilization(speed, flops.total, gemm),
        "goal": GOALS.get(row["model"]),
    }


def cases(asked: argparse.Namespace) -> Iterator[Case]:
    """Every model and optimizer with the first kernel, the other kernels with the first model."""
    for model in asked.models:
        _, length = SHAPES[model]
        case = Case(
            model,
            length,
            asked.attention[0],
            asked.optimizers[0],
            asked.tokens,
            not asked.no_compile,
            asked.vocabulary,
        )
        yield from (replace(case, optimizer=optimizer) for optimizer in asked.optimizers)
        if model == asked.models[0]:
            yield from (replace(case, attention=attention) for attention in asked.attention[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=["124m", "350m", "1.3b"])
    kernels = ["auto", "cudnn", "flash", "sdpa"]
    parser.add_argument("--attention", nargs="+", choices=kernels, default=kernels)
    parser.add_argument("--optimizers", nargs="+", choices=["adamw", "muon"], default=["adamw"])
    parser.add_argument("--tokens", type=int, default=32_768, help="of a micro-batch")
    parser.add_argument("--vocabulary", type=int, default=32_768, help="ids")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--gemm-size", type=int, default=8192)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "CPU"
    peak = peak_flops(name) if device.type == "cuda" else None
    gemm = measured_peak_flops(device, size=asked.gemm_size)
    report: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": name,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "peak_tflops": None if peak is None else peak / 1e12,
        "measured_gemm_tflops": gemm / 1e12,
        "cases": [],
    }
    print(f"{name}, torch {torch.__version__}: data sheet {report['peak_tflops']}, GEMM {gemm / 1e12:.1f} TFLOP/s")
    print(
        f"{'model':6} {'attention':9} {'optimizer':9} {'tokens/s':>10} {'MFU':>7} {'of GEMM':>8} {'goal':>5} {'GiB':>6}"
    )
    for case in cases(asked):
        try:
            row = with_utilization(measured(case, device, asked.steps, asked.profile), peak, gemm)
        except (RuntimeError, ValueError) as error:  # a kernel that this device lacks ends its own row alone
            row = {**asdict(case), "error": str(error).splitlines()[0]}
        report["cases"].append(row)
        print(line(row), flush=True)
        if asked.out is not None:  # after each row: a machine may be taken away
            asked.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def line(row: dict[str, Any]) -> str:
    start = f"{row['model']:6} {row['attention']:9} {row['optimizer']:9}"
    if "error" in row:
        return f"{start} {row['error']}"

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f} %"

    goal = "-" if row["goal"] is None else f"{100 * row['goal']:.0f} %"
    memory = f"{row['peak_memory_gib']:.1f}" if "peak_memory_gib" in row else "-"
    return (
        f"{start} {row['tokens_per_s']:>10,.0f} {percent(row['mfu']):>7} {percent(row['mfu_of_measured_gemm']):>8} "
        f"{goal:>5} {memory:>6}"
    )


if __name__ == "__main__":
    main()
