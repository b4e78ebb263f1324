"""Texts that grow by a token at a time, and what may come next in each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pipeline.generation.options import Options
from pipeline.generation.processors import NONE, allowed
from pipeline.generation.scorer import Scorer

Ended = Callable[[Sequence[int]], bool]
"""Asked with a continuation after each token: is it to end here?"""
End = Literal["eos", "length", "positions", "stop"]
"""The end mark, ``max_new_tokens``, the model's last position, or what ``Ended`` said."""


@dataclass(frozen=True)
class Marks:
    """What the tokenizer says about ids."""

    eos_id: int
    """Ends a text."""
    begin_id: int | None
    """Stands before a text; where a model was trained here that is the end mark of the document before."""
    vocab_size: int
    """Ids from here on are padding of the model's matrices and never come."""


@dataclass(frozen=True)
class Continuation:
    """What a model wrote."""

    tokens: tuple[int, ...]
    """Without the end mark."""
    log_prob: float
    """Of the tokens and the end mark, natural, after the penalties and before temperature, top-k, top-p and min-p. Of a
    contrastive pair the sum of the scores."""
    score: float
    """Of a beam: ``log_prob`` by its length penalty; else ``log_prob``."""
    ended: End


@dataclass(frozen=True)
class Row:
    """A text to continue."""

    prompt: tuple[int, ...]
    """With the mark before it."""
    sample: int
    limit: int
    """Most new tokens."""
    last: End
    """Why there are no more than that."""


class Texts:
    """R texts of one batch. The texts and the scorer's rows are always the same ones in the same order."""

    def __init__(
        self, scorer: Scorer, rows: Sequence[Row], options: Options, marks: Marks, ended: Ended | None
    ) -> None:
        """Each different prompt goes through the model once."""
        self._scorer, self._options, self._marks, self._ended = scorer, options, marks, ended
        prompts = list(dict.fromkeys(row.prompt for row in rows))
        self._logits = scorer.begin(prompts, max(row.limit for row in rows))
        longest = max(map(len, prompts))
        tokens = torch.full((len(prompts), longest), NONE, dtype=torch.int64)
        for line, prompt in zip(tokens, prompts, strict=True):
            line[longest - len(prompt) :] = torch.tensor(prompt)
            if marks.begin_id is not None:
                line[longest - len(prompt)] = NONE
        self._start, self._tokens = longest, tokens.to(self._logits.device)
        place = {prompt: number for number, prompt in enumerate(prompts)}
        if len(prompts) != len(rows):
            self._pick(torch.tensor([place[row.prompt] for row in rows]))

    def new(self, row: int) -> list[int]:
        """The continuation of a row so far."""
        return self._tokens[row, self._start :].tolist()

    def why_over(self, row: int, token: int, of: Row) -> End | None:
        """Why a row is over with this token as its next, if it is."""
        if token == self._marks.eos_id:
            return "eos"
        if self._ended is not None and self._ended([*self.new(row), token]):
            return "stop"
        return of.last if self._num_new + 1 == of.limit else None

    def scores(self) -> Tensor:
        """Logits (R, V) of what may come next, at least float32, penalties applied; each row has a finite one."""
        options, eos_id = self._options, self._marks.eos_id
        logits = self._logits.float() if self._logits.dtype.itemsize < 4 else self._logits.clone()
        logits[:, self._marks.vocab_size :] = -torch.inf
        if self._num_new < options.min_new_tokens:
            logits[:, eos_id] = -torch.inf
        scores = allowed(logits, self._tokens, self._start, options)
        # Where every token is ruled out, as by n-grams over a handful of ids, the text ends.
        stuck = torch.isneginf(scores).all(1)
        scores[stuck, eos_id] = 0.0
        return scores

    def worth(self, scores: Tensor) -> Tensor:
        """What each token adds to a text's log p, float64 (R, V); -inf where ``scores`` is."""
        scores = scores.double()
        return scores if self._scorer.adds_up else scores.log_softmax(1)

    def worth_of(self, scores: Tensor, tokens: Tensor) -> Tensor:
        """``worth`` of one token a row, int64 (R,), to single precision: a third of the time over 32k ids."""
        found = scores.gather(1, tokens[:, None])[:, 0]
        return found if self._scorer.adds_up else found - scores.logsumexp(1)

    @property
    def may_rise(self) -> bool:
        """A further token may raise what a text scores."""
        return self._scorer.adds_up

    def grow(self, rows: Tensor, tokens: Tensor) -> None:
        """Go on with some rows, int64 (any number), each with one more token, int64 (as many)."""
        if not torch.equal(rows, torch.arange(len(self._tokens), device=rows.device)):
            self._pick(rows)
        tokens = tokens.to(self._tokens.device)
        self._tokens = torch.cat((self._tokens, tokens[:, None]), dim=1)
        self._logits = self._scorer.step(tokens)

    @property
    def _num_new(self) -> int:
        return self._tokens.shape[1] - self._start

    def _pick(self, rows: Tensor) -> None:
        rows = rows.to(self._tokens.device)
        self._tokens, self._logits = self._tokens[rows], self._logits[rows]
        self._scorer.reorder(rows)
