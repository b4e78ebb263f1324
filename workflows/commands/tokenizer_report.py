"""``sluice tokenizer report``: tokenizers side by side, as tables, JSON and one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import typer
from rich.table import Table
from rich.text import Text

from operators.tokenize.foreign.files import tokenizer_json
from operators.tokenize.judging.judge import Candidate, judge
from operators.tokenize.judging.page import render
from operators.tokenize.judging.shown import GROUP_MEASURES, OVERALL, largest, parting, visible
from operators.tokenize.judging.texts import Part, bounded, of_files, of_step
from operators.tokenize.training.train import TrainTokenizer
from pipeline.dataset import Run
from pipeline.errors import UserError
from pipeline.report.units import count, size
from workflows.commands.cat import one_line
from workflows.commands.summary import print_table
from workflows.commands.terminal import terminal
from workflows.problems import near

_BYTES_PER_MB = 1_000_000
_GROUPS_SHOWN = 40
_MARKS_SHOWN = 8


@dataclass(frozen=True)
class Asked:
    """What is to be judged, and on which texts."""

    tokenizers: tuple[str, ...]
    texts: tuple[Path, ...]
    run: str | None
    step: str | None
    limit_mb: float | None

    def parts(self) -> list[Part]:
        """The texts.

        Raises:
            UserError: neither files nor a step of a run, or both, or they are not there.
        """
        if bool(self.texts) == (self.run is not None) or (self.run is None) != (self.step is None):
            msg = "say which texts: either --texts FILE (may be repeated), or --run RUN with --step STEP"
            raise UserError(msg)
        if self.run is not None and self.step is not None:
            return of_step(self.run, self.step)
        return of_files(self.texts)


def print_report(asked: Asked, html: Path | None, *, as_json: bool) -> None:
    """Judge, print, and write the page.

    Raises:
        UserError: a tokenizer cannot be read, or there are no texts.
    """
    candidates = list(_candidates(asked.tokenizers))
    parts = asked.parts()
    limit = None if asked.limit_mb is None else int(asked.limit_mb * _BYTES_PER_MB)
    result = judge(candidates, bounded(parts, limit))
    if not result["texts"]["docs"]:
        msg = "no document has any text, so there is nothing to judge a tokenizer on"
        raise UserError(msg)
    places = [f"{asked.run}:{asked.step}"] if asked.run else [str(path) for path in asked.texts]
    result["texts"] |= {"from": places, "limit_bytes": limit}
    if html is not None:
        _write(html, render(result))
    if as_json:
        typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2))
        return
    _print_tables(result)
    if html is not None:
        typer.echo(f"\n{html}")


def _write(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        msg = f"cannot write the page: {error}"
        raise UserError(msg) from error


def _candidates(named: Sequence[str]) -> Iterator[Candidate]:
    """The tokenizers, each under a name of its own."""
    places = [_place(name) for name in named]
    for name, path in zip(named, places, strict=True):
        alike = sum(_short(other) == _short(name) for other in named)
        yield Candidate(_short(name) if alike == 1 else name, name, _content(name, path))


def _short(name: str) -> str:
    """A name for a column: of files the last part, of tokenizer.json the folder too; of RUN:STEP both."""
    path = Path(name)
    return "/".join(path.parts[-2:]) if path.name == "tokenizer.json" else path.name


def _place(name: str) -> Path:
    run, colon, step = name.rpartition(":")
    if Path(name).is_file() or not colon:
        return Path(name)
    opened = Run.open(run)
    trained = [name for name, verb in opened.facts["recipe"].items() if TrainTokenizer.__name__ in verb]
    if step not in trained:
        there = step in opened.steps
        others = f"; those are: {', '.join(trained) or 'none'}" if there or not trained else near(step, trained)
        msg = f"step {step!r} of {run} {'is no' if there else 'does not exist; name a'} train_tokenizer step{others}"
        raise UserError(msg)
    shards = opened[step].shards()
    if not shards:
        msg = f"step {step!r} of {run} has made no tokenizer yet; run the workflow first"
        raise UserError(msg)
    return shards[0].file(".json")


def _content(name: str, path: Path) -> str:
    try:
        return tokenizer_json(path)
    except (OSError, ValueError) as error:
        msg = (
            f"cannot read a tokenizer from {name}: {error}; give a tokenizer.json, a SentencePiece .model, or RUN:STEP"
        )
        raise UserError(msg) from error


def _print_tables(result: Mapping[str, Any]) -> None:
    terminal()
    texts, judged = result["texts"], result["tokenizers"]
    print(
        f"{count(texts['docs'])} documents, {size(texts['bytes'])}, {count(texts['chars'])} characters, "
        f"{count(texts['words'])} words"
    )
    whole = Table(box=None, pad_edge=False)
    whole.add_column("measure", no_wrap=True)
    for one in judged:
        whole.add_column(Text(one_line(one["name"])), justify="right", no_wrap=True)
    for measure in OVERALL:
        whole.add_row(measure.title, *(Text(measure.shown(one)) for one in judged))
    print_table(whole)
    for key, title in (("by_language", "language"), ("by_source", "source")):
        print()
        print_table(_groups(judged, key, title))
        if (more := len(judged[0][key]) - _GROUPS_SHOWN) > 0:
            print(f"and {more:,} smaller ones, with --json or --html")
    _print_problems(judged)


def _groups(judged: Sequence[Mapping[str, Any]], key: str, title: str) -> Table:
    """Rows of languages or sources, and for each tokenizer its measures."""
    table = Table(box=None, pad_edge=False)
    table.add_column(title, no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    for measure in GROUP_MEASURES:
        for k, one in enumerate(judged):
            name = one_line(one["name"]) if len(judged) > 1 else ""
            head = f"{measure.title}\n{name}" if k == 0 else f"\n{name}"
            table.add_column(Text(head.rstrip("\n")), justify="right", no_wrap=True)
    for name in largest(judged[0][key])[:_GROUPS_SHOWN]:
        cells = [measure.of(one[key][name]) for measure in GROUP_MEASURES for one in judged]
        table.add_row(*(Text(cell) for cell in (one_line(name) or "-", size(judged[0][key][name]["bytes"]), *cells)))
    return table


def _print_problems(judged: Sequence[Mapping[str, Any]]) -> None:
    """What is wrong, a line each."""
    for one in judged:
        name, first, specials = one_line(one["name"]), one["round_trip"]["first"], one["special_tokens"]
        if first is not None:
            print(
                f"\n{name} does not give {count(one['round_trip']['lossy'])} documents back, first {first['id']} at "
                f"character {first['at_char']:,}, where {parting(first)}:\n  text    {visible(first['text'])}\n  decoded {visible(first['decoded'])}"
            )
        if specials["leaks"]:
            print(f"\n{name} gives special tokens for texts that only write them: {' '.join(specials['leaks'])}")
        if specials["taken"]:
            shown = " ".join(specials["taken"][:_MARKS_SHOWN])
            more = len(specials["taken"]) - _MARKS_SHOWN
            print(
                f"\n{name}: written in a text, special tokens stay text in sluice; a program that loads the file as it stands "
                f"takes them for the marks: {one_line(shown)}{f' and {more:,} more' if more > 0 else ''}"
            )
