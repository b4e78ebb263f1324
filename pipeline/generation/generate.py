"""Continue texts, in batches: the one function that does it all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch

from pipeline.errors import UserError
from pipeline.generation.beam import search
from pipeline.generation.options import Options
from pipeline.generation.processors import limited
from pipeline.generation.sampling import draw, row_key, uniforms
from pipeline.generation.scorer import Scorer
from pipeline.generation.texts import Continuation, Ended, Marks, Row, Texts

_Found = TypeVar("_Found")


def generate(  # the scorer, what to do, and how
    scorer: Scorer,
    prompts: Sequence[Sequence[int]],
    options: Options,
    marks: Marks,
    *,
    batch_rows: int = 16,
    ended: Ended | None = None,
) -> list[list[Continuation]]:
    """Continuations of each prompt: its samples in order, or its beams, best first.

    prompts: token ids without the mark before a text, which is put there; one may be empty if there is such a mark.
    batch_rows: texts that go through the model together; it changes the speed, and results only as far as sums over other
    shapes round otherwise. ended: ends a continuation early, for which it is asked after each token.

    Raises:
        UserError: a prompt is longer than the model's positions, empty without a mark, or has an id that is none.
    """
    with torch.inference_mode():
        rows = [_row(prompt, scorer, options, marks) for prompt in prompts]

        def begin(batch: Sequence[Row]) -> Texts:
            return Texts(scorer, batch, options, marks, ended)

        if options.beams > 1:
            found = _in_batches(rows, batch_rows // options.beams, lambda b: search(begin(b), b, options))
            return [found[number] for number in range(len(rows))]
        wide = [Row(row.prompt, sample, row.limit, row.last) for row in rows for sample in range(options.samples)]
        chosen = _in_batches(wide, batch_rows, lambda b: _choose(begin(b), b, options))
        lines = [chosen[number] for number in range(len(wide))]
        return [lines[first : first + options.samples] for first in range(0, len(lines), options.samples)]


def _row(prompt: Sequence[int], scorer: Scorer, options: Options, marks: Marks) -> Row:
    whole = (*(() if marks.begin_id is None else (marks.begin_id,)), *prompt)
    if not whole:
        msg = "an empty prompt, and the model has no mark that a text begins with; give a first word"
        raise UserError(msg)
    wrong = next((token for token in whole if not 0 <= token < marks.vocab_size), None)
    if wrong is not None:
        msg = f"a prompt has id {wrong:,}, the model knows {marks.vocab_size:,}; is this the tokenizer it was trained with?"
        raise UserError(msg)
    if len(whole) > scorer.max_length:
        msg = (
            f"a prompt of {len(whole):,} tokens (mark included) is longer than the {scorer.max_length:,} positions of the "
            "model; shorten it"
        )
        raise UserError(msg)
    # The last new token is written and not read, so it needs no position.
    room = scorer.max_length - len(whole) + 1
    limit = min(room, options.max_new_tokens)
    return Row(whole, 0, limit, "positions" if room < options.max_new_tokens else "length")


def _in_batches(rows: Sequence[Row], size: int, do: Callable[[list[Row]], Sequence[_Found]]) -> dict[int, _Found]:
    """What is found for each row by its number; rows of like length go together, so that little is filled up."""
    order = sorted(range(len(rows)), key=lambda number: (len(rows[number].prompt), rows[number].prompt))
    found: dict[int, _Found] = {}
    for first in range(0, len(rows), max(1, size)):
        batch = order[first : first + max(1, size)]
        found |= zip(batch, do([rows[number] for number in batch]), strict=True)
    return found


def _choose(texts: Texts, rows: Sequence[Row], options: Options) -> list[Continuation]:
    """One continuation of each row, a token at a time: the likeliest, or drawn."""
    keys = np.array([row_key(row.prompt, row.sample, options.seed) for row in rows], np.uint64)
    log_probs = np.zeros(len(rows))
    live = np.arange(len(rows))
    done: dict[int, Continuation] = {}
    position = 0
    while len(live):
        scores = texts.scores()
        if options.drawn_at > 0:
            chosen = draw(limited(scores, options), uniforms(keys[live], position))
        else:
            chosen = scores.argmax(1)
        log_probs[live] += texts.worth_of(scores, chosen).double().cpu().numpy()
        position += 1
        going: list[int] = []
        for place, (number, token) in enumerate(zip(live.tolist(), chosen.tolist(), strict=True)):
            why = texts.why_over(place, token, rows[number])
            if why is None:
                going.append(place)
                continue
            tokens = (*texts.new(place), *(() if why == "eos" else (token,)))
            log_prob = float(log_probs[number])
            done[number] = Continuation(tokens, log_prob, log_prob, why)
        live = live[going]
        if going:
            kept = torch.tensor(going, device=chosen.device)
            texts.grow(kept, chosen[kept])
    return [done[number] for number in range(len(rows))]
