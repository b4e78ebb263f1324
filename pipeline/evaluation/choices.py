"""Multiple choice by likelihood: the model never writes, it is asked which answer it finds likeliest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.evaluation.items import Choices
from pipeline.evaluation.spans import Span, SpanScore

Encode = Callable[[Sequence[str]], list[list[int]]]
"""Texts to their ids, without marks."""
Score = Callable[[Sequence[Span]], Sequence[SpanScore | None]]
"""None of a span too long for the model."""
RULES = ("sum", "per_token", "per_byte")
"""Of the log-probability of a choice, of it by its tokens, of it by its UTF-8 bytes: the largest is chosen. The second
and the third take away what a longer text loses by its length."""


@dataclass(frozen=True)
class Answered:
    """One question and what the model made of it."""

    item: Choices
    scores: tuple[SpanScore, ...]
    """Of each choice."""

    def credit(self, rule: str) -> float:
        """1 where the right choice is the likeliest; of k equally likely ones each is worth 1 / k."""
        values = [self._value(number, rule) for number in range(len(self.scores))]
        best = max(values)
        return (values[self.item.right] == best) / values.count(best)

    def _value(self, number: int, rule: str) -> float:
        score = self.scores[number]
        by = {"sum": 1, "per_token": score.tokens, "per_byte": len(self.item.choices[number].encode())}
        return -score.nats / by[rule]


def answer(items: Sequence[Choices], encode: Encode, score: Score, begin_id: int) -> list[Answered]:
    """Score every choice of every question.

    All choices of a question are predicted from the same tokens: those that all of prompt, and prompt and choice, begin
    with. A token that spans the end of the prompt therefore counts as part of each choice. Questions with a choice too
    long for the model are left out.
    """
    texts = [text for item in items for text in (item.prompt, *(item.prompt + choice for choice in item.choices))]
    ids = iter(encode(texts))
    spans: list[Span] = []
    for item in items:
        prompt, *whole = (next(ids) for _ in range(1 + len(item.choices)))
        # At least one token is predicted, even of a choice that the prompt's last token swallows.
        first = min(min(_common(prompt, one), len(one) - 1) for one in whole)
        spans += [Span((begin_id, *one), first + 1) for one in whole]
    scores = iter(score(spans))
    found = []
    for item in items:
        of = [next(scores) for _ in item.choices]
        scored = tuple(one for one in of if one is not None)
        if len(scored) == len(of):
            found.append(Answered(item, scored))
    return found


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many ids both begin with."""
    for number, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return number
    return min(len(left), len(right))


def told(answered: Sequence[Answered]) -> dict[str, Any]:
    """All questions together, then by task and by language where there are several."""
    found = _told(answered)
    for label in ("task", "language"):
        names = sorted({name for one in answered if (name := getattr(one.item, label)) is not None})
        if len(names) > 1:
            found[f"by_{label}"] = {
                name: _told([one for one in answered if getattr(one.item, label) == name]) for name in names
            }
    return found


def _told(answered: Sequence[Answered]) -> dict[str, Any]:
    right = [(one.scores[one.item.right], one.item.choices[one.item.right]) for one in answered]
    found: dict[str, Any] = {
        "questions": len(answered),
        "chance": sum(1 / len(one.item.choices) for one in answered) / len(answered),
    }
    for rule in RULES:
        share = sum(one.credit(rule) for one in answered) / len(answered)
        error = math.sqrt(share * (1 - share) / len(answered)) if len(answered) > 1 else None  # one tells no spread
        found[f"accuracy_{rule}"] = {"value": share, "standard_error": error}
    num_bytes = sum(len(choice.encode()) for _, choice in right)
    found["answer_bits_per_byte"] = sum(score.nats for score, _ in right) / (math.log(2) * num_bytes)
    found["cut"] = sum(any(score.cut for score in one.scores) for one in answered)
    return found
