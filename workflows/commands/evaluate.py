"""``sluice evaluate``: a model on texts, questions and continuations, as tables or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import torch
import typer
from rich.table import Table
from rich.text import Text

from pipeline.errors import UserError
from pipeline.evaluation import choices as by_choice
from pipeline.evaluation import continuations as by_continuation
from pipeline.evaluation.items import Choices, Prompt, read_items
from pipeline.evaluation.perplexity import Texts, perplexity
from pipeline.evaluation.spans import span_scores
from pipeline.generation.generate import generate
from pipeline.generation.options import Options
from pipeline.generation.scorer import ModelScorer
from pipeline.pretrain.model.load import LoadedModel
from pipeline.pretrain.ranks import Place
from pipeline.pretrain.training.windows import Cut
from workflows.commands.cat import one_line
from workflows.commands.generate import before_stop, encoded, stops
from workflows.commands.summary import print_table
from workflows.evaluated import file_texts, held_out_of, step_texts
from workflows.models import Found, find_model

_NEW_TOKENS = 64
Results = dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A model, and what it is to be scored on."""

    model: str
    run: str | None = None
    step: str | None = None
    texts: tuple[Path, ...] = ()
    choices: tuple[Path, ...] = ()
    continuations: tuple[Path, ...] = ()
    length: int | None = None
    stride: int | None = None
    max_documents: int = 2000
    max_new_tokens: int | None = None
    stop: tuple[str, ...] = ()
    tokenizer: Path | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Judge:
    """A model that was found and loaded."""

    asked: Asked
    found: Found
    model: LoadedModel

    @property
    def begin_id(self) -> int:
        """The mark before a text: the model's own, else its end mark, as evaluations commonly do."""
        begin_id = self.model.bos_id if self.model.bos_id is not None else self.model.eos_id
        if begin_id is None:
            msg = f"{self.found.config} names neither bos_token_id nor eos_token_id; add the mark that begins a text there"
            raise UserError(msg)
        return begin_id

    @property
    def num_ids(self) -> int:
        """Ids of the model."""
        return self.model.model.embedding.num_embeddings

    def cut(self) -> Cut:
        """How documents are cut into windows.

        Raises:
            UserError: a window is longer than the model's positions, or windows would leave tokens out.
        """
        length = self.model.max_length if self.asked.length is None else self.asked.length
        if length > self.model.max_length:
            msg = f"--length {length}: the model has {self.model.max_length} positions; give at most that"
            raise UserError(msg)
        stride = max(1, length // 2) if self.asked.stride is None else self.asked.stride
        if stride > length:
            msg = f"--stride {stride} is more than the {length} tokens of a window, which would leave some unscored"
            raise UserError(msg)
        return Cut(self.begin_id, length, stride)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of texts, without marks."""
        return encoded(self.found, texts)

    @property
    def score(self) -> by_choice.Score:
        """Scores spans."""
        return partial(
            span_scores,
            self.model.model,
            max_length=self.model.max_length,
            vocab_size=self.num_ids,
            device=torch.device(self.asked.device),
        )

    def write(self, prompts: Sequence[Sequence[int]]) -> list[str]:
        """What the model writes after each prompt, greedily. Of a prompt too long the end is read."""
        most = self.asked.max_new_tokens or min(_NEW_TOKENS, max(1, self.model.max_length // 2))
        room = self.model.max_length - most
        if room < 1:
            msg = (
                f"--max-new-tokens {most} leaves no room for a prompt in the model's {self.model.max_length} positions; "
                "give fewer"
            )
            raise UserError(msg)
        kept = [prompt[-room:] for prompt in prompts]
        marks = self.found.marks(self.model)
        ended = stops(self.found, self.asked.stop) if self.asked.stop else None
        options = Options(max_new_tokens=most)
        written = generate(ModelScorer(self.model), kept, options, marks, ended=ended)
        texts = [
            self.found.decoder.continuation(prompt, one.tokens) for prompt, (one,) in zip(kept, written, strict=True)
        ]
        return [before_stop(text, self.asked.stop) for text in texts]


def print_evaluation(asked: Asked, *, as_json: bool) -> None:
    """Score and print.

    Raises:
        UserError: the model, a text or a file is refused.
    """
    result = evaluate(asked)
    if as_json:
        typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2))
        return
    for kind, show in (("texts", _show_texts), ("choices", _show_choices), ("continuations", _show_continuations)):
        for name, told in result[kind].items():
            typer.echo(f"{one_line(name)}")
            show(told)
            typer.echo("")


def evaluate(asked: Asked) -> dict[str, Any]:
    """All that was asked for, as JSON holds it: by kind, then by where it came from.

    Raises:
        UserError: see ``print_evaluation``.
    """
    if asked.device == "cuda" and not torch.cuda.is_available():
        msg = "--device cuda: torch sees no GPU here; leave it out to run on the CPU"
        raise UserError(msg)
    questions = {str(path): read_items(path, Choices) for path in asked.choices}
    prompts = {str(path): read_items(path, Prompt) for path in asked.continuations}
    found = find_model(asked.model, asked.tokenizer)
    if found.objective == "mlm":
        msg = f"{found.name} was trained to fill in masks (objective mlm) and sees both ways: it predicts no next token"
        raise UserError(msg)
    sources = dict(_sources(asked, found))
    judge = Judge(asked, found, found.load(asked.device))
    return {
        "model": asked.model,
        "texts": _texts(judge, sources),
        "choices": {name: _choices(judge, name, items) for name, items in questions.items()},
        "continuations": {name: _continuations(judge, name, items) for name, items in prompts.items()},
    }


def _sources(asked: Asked, found: Found) -> Iterator[tuple[str, Iterator[Texts]]]:
    """Where texts come from, by a name."""
    if asked.run is not None and asked.step is None:
        msg = f"--run {asked.run}: say which step of it by --step"
        raise UserError(msg)
    if asked.step is not None:
        run = asked.run or (None if found.step is None else found.step.run.storage.uri)
        if run is None:
            msg = f"--step {asked.step}: say of which run by --run, since {asked.model} is none"
            raise UserError(msg)
        yield f"{run}:{asked.step}", step_texts(found, run, asked.step, asked.max_documents)
    if asked.texts:
        yield " ".join(map(str, asked.texts)), file_texts(found, asked.texts, asked.max_documents)
    if not (asked.step or asked.texts or asked.choices or asked.continuations):
        yield "held out", held_out_of(found, asked.max_documents)


def _texts(judge: Judge, sources: Mapping[str, Iterator[Texts]]) -> Results:
    found = {}
    for name, chunks in sources.items():
        cut = judge.cut()
        one = perplexity(
            judge.model.model.nats,
            chunks,
            cut,
            Place(device=torch.device(judge.asked.device)),
            vocab_size=judge.num_ids,
        )
        if not one.whole.tokens:
            msg = f"{name}: no document has any text to score"
            raise UserError(msg)
        found[name] = {**one.told(), "window_tokens": cut.length, "stride_tokens": cut.stride}
    return found


def _choices(judge: Judge, name: str, items: Sequence[Choices]) -> dict[str, Any]:
    answered = by_choice.answer(items, judge.encode, judge.score, judge.begin_id)
    return {"too_long": _too_long(judge, name, items, answered), **by_choice.told(answered)}


def _continuations(judge: Judge, name: str, items: Sequence[Prompt]) -> dict[str, Any]:
    continued = by_continuation.continue_all(items, judge.encode, judge.score, judge.begin_id, judge.write)
    return {"too_long": _too_long(judge, name, items, continued), **by_continuation.told(continued)}


def _too_long(judge: Judge, name: str, items: Sequence[object], scored: Sequence[object]) -> int:
    """How many were left out."""
    if not scored:
        msg = (
            f"{name}: every line has a choice or a reference of more tokens than the model has positions "
            f"({judge.model.max_length}); give shorter ones, or a model of longer sequences"
        )
        raise UserError(msg)
    return len(items) - len(scored)


def _show_too_long(told: Mapping[str, Any], what: str) -> None:
    if told["too_long"]:
        typer.echo(f"left out: {told['too_long']:,} {what} of more tokens than the model has positions")


def _show_texts(told: Mapping[str, Any]) -> None:
    table = _table(("", "bits per byte", "perplexity", "bytes per token", "documents", "bytes", "tokens"))
    for name, row in _rows(told, ("source", "language")):
        rounded = (f"{row['bits_per_byte']:.4f}", f"{row['perplexity']:,.2f}", f"{row['bytes_per_token']:.2f}")
        table.add_row(Text(one_line(name)), *rounded, *(f"{row[key]:,}" for key in ("documents", "bytes", "tokens")))
    print_table(table)
    typer.echo(f"windows of {told['window_tokens']:,} tokens, {told['stride_tokens']:,} apart")


def _show_choices(told: Mapping[str, Any]) -> None:
    rules = [f"accuracy_{rule}" for rule in by_choice.RULES]
    table = _table(
        ("", *(rule.replace("_", " ") for rule in rules), "chance", "answer bits per byte", "questions", "cut")
    )
    for name, row in _rows(told, ("task", "language")):
        shares = [_share(row[rule]) for rule in rules]
        rest = (
            f"{row['chance']:.3f}",
            f"{row['answer_bits_per_byte']:.4f}",
            f"{row['questions']:,}",
            f"{row['cut']:,}",
        )
        table.add_row(Text(one_line(name)), *shares, *rest)
    print_table(table)
    _show_too_long(told, "questions with a choice")


def _share(measured: Mapping[str, float | None]) -> str:
    error = measured["standard_error"]
    return f"{measured['value']:.3f} ± {'-' if error is None else format(error, '.3f')}"


def _show_continuations(told: Mapping[str, Any]) -> None:
    measures = ("exact_match", "accuracy", "token_accuracy", "rouge1", "rouge2", "rougeL", "rougeLsum")
    table = _table(("", *measures, "bleu", "chrf", "bits per byte", "prompts", "cut"))
    signatures: dict[str, None] = {}
    for name, row in _rows(told, ("task", "language")):
        likeness = [row.get(key) for key in ("bleu", "chrf")]
        signatures |= dict.fromkeys(one["signature"] for one in likeness if one is not None)
        table.add_row(
            Text(one_line(name)),
            *(f"{row[key]:.3f}" for key in measures),
            *("-" if one is None else f"{one['value']:.2f}" for one in likeness),
            f"{row['reference_bits_per_byte']:.4f}", f"{row['prompts']:,}", f"{row['cut']:,}",
        )  # fmt: skip
    print_table(table)
    _show_too_long(told, "prompts with a first reference")
    for signature in signatures:
        typer.echo(signature)


def _rows(told: Mapping[str, Any], labels: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All together, then each group."""
    yield "all", told
    for label in labels:
        for name, row in told.get(f"by_{label}", {}).items():
            yield f"{label} {name}", row


def _table(head: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, title in enumerate(head):
        table.add_column(title, justify="right" if number else "left", no_wrap=True)
    return table
