"""What a model learned: loss and bits per byte, from ``metrics.jsonl``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.pretrain.config import recorded_objective
from pipeline.pretrain.training.metrics import read_metrics
from pipeline.report import svg
from pipeline.report.account import Account, StepAccount
from pipeline.report.markup import Markup, element, markup, section, table
from pipeline.report.units import count, number, seconds, share

METRICS = "metrics.jsonl"
_KINDS = {"sources": "source", "languages": "language"}
"""By what held-out documents are told apart: field of an evaluation's line, and a word for it."""
_WATCHED: tuple[tuple[Mapping[str, str], str, bool], ...] = (
    ({"lr": "learning rate"}, "Learning rate, by step", True),
    ({"grad_norm": "gradient"}, "Length of the gradient, by step", True),
    ({"tokens_per_s": "tokens/s"}, "Tokens per second, by step", True),
    ({"mfu": "of the data sheet", "mfu_measured": "of what this GPU reached"}, "Model FLOP utilization, by step", True),
)
"""Fields of a step's line and their names in the picture; its title; whether it begins at zero."""
_MOST_CURVES = 4
"""In one picture: colours there are."""
_MOST_POINTS = 1000
"""Of a curve: its picture is 420 points wide."""
_NAMED = 10
"""Steps that are named."""


@dataclass(frozen=True)
class Training:
    """The lines of one model's metrics: steps, and evaluations on held-out documents."""

    step: str
    steps: tuple[dict[str, Any], ...]
    evaluations: tuple[dict[str, Any], ...]
    epochs: Mapping[str, float] = field(default_factory=dict)
    """How often each stratum of a mixture was read; empty until the training is done."""
    objective: str | None = None
    """Kind of objective; None: the next token."""
    start_from: Mapping[str, str] | None = None
    """Name and sha256 of the model whose weights it began with; None: weights drawn by the seed."""

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
        # Measured as for every other model, and unlike the loss above no aim of this one.
        of_mlm = "; each token from those before it, which the objective mlm does not train" * (self.objective == "mlm")
        return (
            f"{self.step}: {last['bits_per_byte']:.3f} bits per byte on {last['documents']:,} held-out documents after "
            f"step {last['step']:,} (unigram model: {last['unigram_bits_per_byte']:.3f}{of_mlm})"
        )


def trainings(account: Account) -> list[Training]:
    """Every model of a run that has begun to learn."""
    return [one for step in account.steps if step.dataset.kind == "model" and (one := _read(step)) is not None]


def _read(step: StepAccount) -> Training | None:
    name = f"{step.dataset.folder}/{METRICS}"
    if not step.dataset.run.storage.exists(name):
        return None
    lines = read_metrics(step.dataset.run.storage.local_path(name))
    facts: Mapping[str, Any] = next((commit.facts for commit in step.dataset.commits.values()), {})
    return Training(
        step.name,
        tuple(line for line in lines if "evaluation" not in line),
        tuple(line for line in lines if "evaluation" in line),
        {name: drawn["epochs"] for name, drawn in facts.get("strata", {}).items()},
        recorded_objective(step.dataset.run.facts, step.name),
        facts.get("start_from"),
    )


def training(account: Account) -> Markup | None:
    """The section; None where nothing was trained."""
    parts = [model_part(one) for one in trainings(account)]
    return section("Training", *parts) if parts else None


def model_part(one: Training) -> Markup:
    """Curves and tables of one model."""
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
            element("p", "; ".join(facts) + ".") if (facts := _facts(one)) else None,
            element("div", *_learned(one), *_watched(one), class_="charts"),
            table(head, rows, text_columns=0) if rows else None,
            *(_kinds(one, label) for label in _KINDS),
            _strata(one),
        ]
    )


def _learned(one: Training) -> list[Markup]:
    """Curves of loss and of bits per byte."""
    at = [line["step"] for line in one.evaluations]
    held_out = svg.Curve("held out", at, [line["loss"] for line in one.evaluations], marks=True)
    charts = [svg.curves([_curve(one, "training", "loss"), held_out], "Loss, nats per token, by step")]
    if not at:
        return charts
    bits = [
        svg.Curve("model", at, [line["bits_per_byte"] for line in one.evaluations], marks=True),
        svg.Curve("unigram", at, [line["unigram_bits_per_byte"] for line in one.evaluations]),
    ]
    charts.append(svg.curves(bits, "Bits per byte of held-out documents, by step"))
    for label, title in _KINDS.items():
        lines = [line for line in one.evaluations if line.get(label)]
        names = [*lines[-1][label]][:_MOST_CURVES] if lines else []
        curves = [
            svg.Curve(name, [line["step"] for line in of], [line[label][name]["bits_per_byte"] for line in of])
            for name in names
            if (of := [line for line in lines if name in line[label]])
        ]
        if len(names) > 1:
            charts.append(svg.curves(curves, f"Bits per byte by {title}, by step"))
    return charts


def _watched(one: Training) -> list[Markup]:
    """Curves of how the training went."""
    charts = []
    for names, title, from_zero in _WATCHED:
        curves = [curve for key, name in names.items() if (curve := _curve(one, name, key)).xs]
        if curves:
            charts.append(svg.curves(curves, title, from_zero=from_zero))
    return charts


def _curve(one: Training, name: str, key: str) -> svg.Curve:
    """A measure of steps. Of very many the lowest and the highest of each stretch stay, so that no spike is lost."""
    points = [(line["step"], line[key]) for line in one.steps if line.get(key) is not None]
    wide = -(-len(points) // _MOST_POINTS) * 2  # two points stay of each stretch
    if len(points) > _MOST_POINTS:
        stretches = [points[first : first + wide] for first in range(0, len(points), wide)]
        points = [point for of in stretches for point in sorted({min(of, key=_height), max(of, key=_height)})]
    return svg.Curve(name, [x for x, _ in points], [y for _, y in points])


def _height(point: tuple[float, float]) -> float:
    return point[1]


def _facts(one: Training) -> list[str]:
    """What no curve shows."""
    first = [line["seconds_to_first_step"] for line in one.steps if line.get("seconds_to_first_step") is not None]
    skipped = [line["step"] for line in one.steps if line.get("skipped")]
    facts = []
    if one.start_from is not None:
        facts.append(f"began with the weights of {one.start_from['model']} (sha256 {one.start_from['sha256'][:16]})")
    if first:
        facts.append(f"first step after {seconds(first[0])}")
    if len(first) > 1:
        again = ", ".join(seconds(one) for one in first[1 : 1 + _NAMED])
        facts.append(f"started {len(first)} times, again at work after {again}{', ...' * (len(first) > 1 + _NAMED)}")
    if skipped:
        named = ", ".join(map(count, skipped[:_NAMED])) + ", ..." * (len(skipped) > _NAMED)
        facts.append(f"{count(len(skipped))} of {count(len(one.steps))} steps left the weights alone ({named})")
    return facts


def _kinds(one: Training, label: str) -> Markup | None:
    """Bits per byte of the last evaluation by source or language, where there is more than one."""
    parts = one.evaluations[-1].get(label, {}) if one.evaluations else {}
    rows = [
        (name, f"{part['bits_per_byte']:.4f}", count(part["documents"]), count(part["bytes"]))
        for name, part in parts.items()
    ]
    return (
        table((_KINDS[label], "bits per byte", "documents", "bytes"), rows, text_columns=1) if len(rows) > 1 else None
    )


def _strata(one: Training) -> Markup | None:
    """What a mixture gave to the training, most tokens first."""
    whole = sum(one.strata.values())
    rows = [
        (name, count(tokens), share(tokens, whole), f"{one.epochs[name]:.2f}" if name in one.epochs else "-")
        for name, tokens in sorted(one.strata.items(), key=lambda item: (-item[1], item[0]))
    ]
    return table(("stratum", "tokens drawn", "share", "epochs"), rows, text_columns=1) if rows else None
