"""``sluice plan RUN --training``: what to train on a run's tokens, with these GPUs, in this time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import typer
from rich.table import Table
from rich.text import Text

from pipeline.dataset import Dataset, Run
from pipeline.errors import UserError
from pipeline.planning.account import Statement, statements
from pipeline.planning.fit import Fit, fit
from pipeline.planning.formula import short
from pipeline.planning.gpus import find_gpu
from pipeline.planning.laws import REFIT
from pipeline.planning.plan import DECAY_FRACTION, Plan, Question, plan
from pipeline.planning.points import read_points
from pipeline.pretrain.config import PRESETS, Optimizer, Shape, TrainConfig
from pipeline.pretrain.model.flops import flops_per_token
from pipeline.report.units import seconds, size
from workflows.commands.plan_fit import fit_as_json, fit_warnings, fit_words
from workflows.commands.summary import print_table
from workflows.problems import near

_MFU = 0.4
_HELD_OUT: float = TrainConfig.model_fields["held_out_fraction"].default
"""Of the documents, which ``pretrain`` does not train on."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The command's options."""

    run: str
    step: str | None
    gpus: int
    hours: float
    gpu: str
    gpu_memory: float | None
    mfu: float | None
    measured: float | None
    preset: str | None
    sequence_length: int
    optimizer: Optimizer
    max_epochs: float
    price: float | None
    fit: tuple[str, ...]


def show_training_plan(asked: Asked, *, as_json: bool) -> None:
    """Print the plan, every formula with its value, domain and warnings, and a ``pretrain`` for the recipe.

    Raises:
        UserError: no such run, no tokens in it, options that contradict each other, or runs that cannot be fitted.
    """
    dataset = _tokens(Run.open(asked.run), asked.step)
    known = read_points(asked.fit)
    fitted = fit(known.points) if asked.fit else None
    found = plan(_question(asked, dataset, fitted))
    of_fit = fit_warnings(found, dataset, fitted, known)
    if as_json:
        told = _as_json(found, asked, fitted, of_fit)
        typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2))
        return
    _print_plan(found, asked, fitted)
    _print_warnings(of_fit)
    for statement in statements(found):
        _print_statement(statement)
    typer.echo("\n" + recipe(found, dataset.name))


def recipe(found: Plan, source: str) -> str:
    """The step that trains what was planned, as YAML."""
    question, shape, layout = found.question, found.shape, found.layout
    widths = ", ".join(f"{name}: {getattr(shape, name)}" for name in ("layers", "dim", "heads", "kv_heads", "ffn_dim"))
    lines = [
        "  model:",
        f"    from: {source}",
        "    pretrain:",
        f"      shape: {{{widths}, tied: {str(shape.tied).lower()}}}",
        f"      sequence_length: {question.sequence_length}",
        f"      batch_size: {found.batch_sequences}",
        f"      steps: {found.steps}",
        f"      learning_rate: {found.learning_rate:.2e}",
        f"      warmup_steps: {found.warmup_steps}",
        "      schedule: wsd",
        f"      optimizer: {question.optimizer}",
        "      device: cuda",
        f"      workers: {question.gpus}",
        f"      sharding: {layout.sharding}",
        *([f"      shard_ranks: {layout.sharers}"] if layout.sharding == "hsdp" else []),
        "      compile: true",
        f"      recompute: {layout.recompute}",
        f"      micro_batch_tokens: {layout.micro_batch_tokens}",
        f"      checkpoint_every: {found.checkpoint_every}",
    ]
    return "\n".join(lines)


def _tokens(run: Run, step: str | None) -> Dataset:
    """The dataset of tokens: the one named, or the last."""
    holding = [name for name in run.steps if run.nodes[name]["kind"] == "tokens"]
    if step is not None and step in run.steps and step not in holding:
        msg = f"step {step!r} holds no tokens; there are: {', '.join(holding) or 'none'}"
        raise UserError(msg)
    if not holding:
        msg = f"{run.storage.uri} has no step that holds tokens: add one with `tokenize`"
        raise UserError(msg)
    dataset = run[step or holding[-1]]
    if not dataset.complete:
        msg = f"step {dataset.name!r} is not finished: run it to its end, so that its tokens can be counted"
        raise UserError(msg)
    if not dataset.ledger.kept.tokens:
        msg = f"step {dataset.name!r} holds no tokens at all: there is nothing to plan"
        raise UserError(msg)
    return dataset


def _question(asked: Asked, dataset: Dataset, fitted: Fit | None) -> Question:
    vocab_size = next(int(commit.facts["vocab_size"]) for commit in dataset.commits.values())
    gpu = find_gpu(asked.gpu, memory_gb=asked.gpu_memory)
    shape = _shape(asked.preset)
    mfu = asked.mfu or _MFU
    if asked.measured is not None:
        if shape is None or asked.mfu is not None:
            msg = "--measured needs --preset, what it was measured with, and goes without --mfu"
            raise UserError(msg)
        mfu = asked.measured * flops_per_token(shape, vocab_size, asked.sequence_length).total / gpu.peak_flops
        if mfu > 1:
            msg = f"{asked.measured:,.0f} tokens/s of {asked.preset} is {mfu:.1f} times what one {gpu.name} can do: per GPU?"
            raise UserError(msg)
        shape = None
    return Question(
        tokens=round(dataset.ledger.kept.tokens * (1 - _HELD_OUT)),
        vocab_size=vocab_size,
        gpu=gpu,
        gpus=asked.gpus,
        hours=asked.hours,
        mfu=mfu,
        law=fitted.law if fitted else REFIT,
        sequence_length=asked.sequence_length,
        optimizer=asked.optimizer,
        max_epochs=asked.max_epochs,
        shape=shape,
    )


def _shape(preset: str | None) -> Shape | None:
    if preset is None:
        return None
    if preset not in PRESETS:
        msg = f"no preset {preset!r}{near(preset, PRESETS)}"
        raise UserError(msg)
    return PRESETS[preset]


def _print_plan(found: Plan, asked: Asked, fitted: Fit | None) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in _rows(found, asked, fitted):
        table.add_row(Text(name), Text(value))
    print_table(table)
    typer.echo()


def _rows(found: Plan, asked: Asked, fitted: Fit | None) -> Sequence[tuple[str, str]]:
    question, shape = found.question, found.shape
    params = found.parameters
    spare = "" if found.limited_by == "time" else f" of {asked.hours:g} h: the corpus is used up first"
    rows = [
        (
            "corpus",
            f"{question.tokens:,} tokens to train on ({100 * _HELD_OUT:.0f} % held out), {question.vocab_size:,} ids",
        ),
        (
            "model",
            f"{shape.layers} layers of width {shape.dim}, {shape.heads} heads, {shape.kv_heads} of keys, {shape.ffn_dim}",
        ),
        ("parameters", f"{short(params.total)}, {short(params.without_embedding)} without embeddings"),
        ("tokens", f"{short(found.tokens)}, {found.epochs:.2f} epochs, {found.tokens / params.total:.1f} a parameter"),
        (
            "batch",
            f"{found.batch_sequences:,} x {question.sequence_length:,} = {found.batch_tokens:,} tokens, {found.steps:,} steps",
        ),
        (
            "schedule",
            f"peak {found.learning_rate:.2e}, {found.warmup_steps:,} steps up, WSD, the last {100 * DECAY_FRACTION:.0f} % down",
        ),
        ("GPUs", _layout_words(found)),
        ("time", f"{seconds(found.seconds)}{spare}, {short(found.tokens_per_s)} tokens/s"),
        ("checkpoints", f"every {found.checkpoint_every:,} steps, {size(found.checkpoint_bytes)} each"),
        ("loss", _loss_words(found)),
    ]
    if found.limited_by == "corpus":
        rows.append(("data", _data_words(found)))
    if asked.price is not None:
        rows.append(("cost", f"{_cost(found, asked.price):,.2f}"))
    if fitted is not None:
        rows.append(("own law", fit_words(found, fitted)))
    return rows


def _data_words(found: Plan) -> str:
    """What the corpus lacks for the time there is."""
    params, tokens = REFIT.optimum(found.question.flops)
    return f"more text would help, more time or GPUs would not: {short(tokens)} tokens could be read by {short(params)} parameters"


def _loss_words(found: Plan) -> str:
    if found.loss <= found.guessing:
        return f"{found.loss:.3f} nats a token"
    return f"not foretold: this little training is outside of the law (guessing is {found.guessing:.1f} nats a token)"


def _layout_words(found: Plan) -> str:
    layout, gpus = found.layout, f"{found.question.gpus} x {found.question.gpu.name}"
    return f"{gpus}, {layout.sharding}, recompute {layout.recompute}, {layout.micro_batch_tokens:,} tokens at once"


def _cost(found: Plan, price: float) -> float:
    return price * found.question.gpus * found.seconds / 3600


def _print_warnings(warnings: Sequence[str]) -> None:
    if warnings:
        typer.echo("own law:")
        for warning in warnings:
            typer.echo(f"    beware: {warning}")
        typer.echo()


def _print_statement(statement: Statement) -> None:
    formula = statement.formula
    domain = f"; fitted on {', '.join(map(str, formula.domain))}" if formula.domain else ""
    typer.echo(f"{formula.name}: {statement.value}")
    typer.echo(f"    {formula.text}")
    typer.echo(f"    {formula.source}{domain}{f'; {formula.note}' if formula.note else ''}")
    for warning in statement.warnings:
        typer.echo(f"    beware: {warning}")


def _as_json(found: Plan, asked: Asked, fitted: Fit | None, of_fit: Sequence[str]) -> dict[str, Any]:
    made = statements(found)
    data: dict[str, Any] = {
        "corpus_tokens": found.question.tokens,
        "shape": found.shape.model_dump(),
        "parameters": asdict(found.parameters),
        "flops_per_token": found.flops_per_token.total,
        "tokens": found.tokens,
        "epochs": found.epochs,
        "steps": found.steps,
        "batch_sequences": found.batch_sequences,
        "batch_tokens": found.batch_tokens,
        "learning_rate": float(f"{found.learning_rate:.2e}"),
        "warmup_steps": found.warmup_steps,
        "loss": found.loss if found.loss <= found.guessing else None,
        "limited_by": found.limited_by,
        "layout": asdict(found.layout) | {"memory_bytes": found.layout.memory.total},
        "seconds": found.seconds,
        "tokens_per_s": found.tokens_per_s,
        "checkpoint_every": found.checkpoint_every,
        "checkpoint_bytes": found.checkpoint_bytes,
        "formulas": [statement.as_json() for statement in made],
        "warnings": [*of_fit, *(warning for statement in made for warning in statement.warnings)],
    }
    if asked.price is not None:
        data["cost"] = _cost(found, asked.price)
    if fitted is not None:
        data["fit"] = fit_as_json(found, fitted)
    return data
