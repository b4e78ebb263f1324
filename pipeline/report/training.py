"""What a model learned: loss and bits per byte, from ``metrics.jsonl``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.pretrain.metrics import read_metrics
from pipeline.report import svg
from pipeline.report.account import Account, StepAccount
from pipeline.report.markup import Markup, element, markup, section, table
from pipeline.report.units import count, number, share

METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Training:
    """The lines of one model's metrics: steps, and evaluations on held-out documents."""

    step: str
    steps: tuple[dict[str, Any], ...]
    evaluations: tuple[dict[str, Any], ...]
    epochs: Mapping[str, float] = field(default_factory=dict)
    """How often each stratum of a mixture was read; empty until the training is done."""

    @property
    def strata(self) -> Mapping[str, int]:
        """Tokens of each stratum up to the last step; empty where it was not trained from a mixture."""
        return self.steps[-1].get("strata", {}) if self.steps else {}

    @property
    def summary(self) -> str | None:
        """One line: bits per byte beside the unigram model's; None before the first evaluation."""
        if not self.evaluations:
            return None
        last = self.evaluations[-1]
        return (
            f"{self.step}: {last['bits_per_byte']:.3f} bits per byte on {last['documents']:,} held-out documents after "
            f"step {last['step']:,} (unigram model: {last['unigram_bits_per_byte']:.3f})"
        )


def trainings(account: Account) -> list[Training]:
    """Every model of a run that has begun to learn."""
    return [one for step in account.steps if step.dataset.kind == "model" and (one := _read(step)) is not None]


def _read(step: StepAccount) -> Training | None:
    name = f"{step.dataset.folder}/{METRICS}"
    if not step.dataset.run.storage.exists(name):
        return None
    lines = read_metrics(step.dataset.run.storage.local_path(name))
    facts = next((commit.facts for commit in step.dataset.commits.values()), {})
    return Training(
        step.name,
        tuple(line for line in lines if "evaluation" not in line),
        tuple(line for line in lines if "evaluation" in line),
        {name: drawn["epochs"] for name, drawn in facts.get("strata", {}).items()},
    )


def training(account: Account) -> Markup | None:
    """The section; None where nothing was trained."""
    parts = [model_part(one) for one in trainings(account)]
    return section("Training", *parts) if parts else None


def model_part(one: Training) -> Markup:
    """Curves and tables of one model."""
    loss = svg.Curve("training", [line["step"] for line in one.steps], [line["loss"] for line in one.steps])
    at = [line["step"] for line in one.evaluations]
    held_out = svg.Curve("held out", at, [line["loss"] for line in one.evaluations], marks=True)
    bits = [
        svg.Curve("model", at, [line["bits_per_byte"] for line in one.evaluations], marks=True),
        svg.Curve("unigram", at, [line["unigram_bits_per_byte"] for line in one.evaluations]),
    ]
    rows = [
        (
            count(line["step"]),
            f"{line['bits_per_byte']:.4f}",
            f"{line['unigram_bits_per_byte']:.4f}",
            number(line["loss"]),
            count(line["documents"]),
            count(line["bytes"]),
            count(line["tokens"]),
        )
        for line in one.evaluations
    ]
    head = ("after step", "bits per byte", "unigram", "nats per token", "documents", "bytes", "tokens")
    return markup(
        [
            element("h3", one.step),
            element("p", one.summary) if one.summary else None,
            element(
                "div",
                svg.curves([loss, held_out], "Loss, nats per token, by step"),
                svg.curves(bits, "Bits per byte of held-out documents, by step") if rows else None,
                class_="charts",
            ),
            table(head, rows, text_columns=0) if rows else None,
            _strata(one),
        ]
    )


def _strata(one: Training) -> Markup | None:
    """What a mixture gave to the training, most tokens first."""
    whole = sum(one.strata.values())
    rows = [
        (name, count(tokens), share(tokens, whole), f"{one.epochs[name]:.2f}" if name in one.epochs else "-")
        for name, tokens in sorted(one.strata.items(), key=lambda item: (-item[1], item[0]))
    ]
    return table(("stratum", "tokens drawn", "share", "epochs"), rows, text_columns=1) if rows else None
