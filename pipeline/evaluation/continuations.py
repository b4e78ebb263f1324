"""How a model continues prompts, against the continuations that are right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.evaluation.choices import Encode, Score
from pipeline.evaluation.items import Prompt
from pipeline.evaluation.likeness import bleu, is_han, rouge
from pipeline.evaluation.spans import Span, SpanScore

Write = Callable[[Sequence[Sequence[int]]], list[str]]
"""Ids of prompts, without marks, to the text that the model writes after each."""


@dataclass(frozen=True)
class Continued:
    """One prompt and what the model made of it."""

    item: Prompt
    written: str
    score: SpanScore
    """Of the first reference."""

    @property
    def exact(self) -> bool:
        """What was written is a reference, but for blanks at both ends."""
        return self.written.strip() in {reference.strip() for reference in self.item.references}

    @property
    def language(self) -> str:
        """As the file says, else ``zh`` where most letters of the references are Han, else ``und``."""
        return self.item.language or ("zh" if is_han("".join(self.item.references)) else "und")


def continue_all(items: Sequence[Prompt], encode: Encode, score: Score, begin_id: int, write: Write) -> list[Continued]:
    """Have every prompt continued, and the first reference of each scored as a continuation.

    A model writes after the tokens of the prompt. A reference is scored from the first token on that the prompt with it
    and without it do not share, so a token that spans the prompt's end counts as part of the reference. Prompts with a
    first reference too long for the model are left out.
    """
    prompts = encode([item.prompt for item in items])
    wholes = encode([item.prompt + item.references[0] for item in items])
    spans = []
    for prompt, whole in zip(prompts, wholes, strict=True):
        pairs = zip(prompt, whole, strict=False)
        first = next((number for number, (one, other) in enumerate(pairs) if one != other), len(prompt))
        spans.append(Span((begin_id, *whole), min(first, len(whole) - 1) + 1))
    scored = [(at, one) for at, one in enumerate(score(spans)) if one is not None]
    written = write([prompts[at] for at, _ in scored])
    return [Continued(items[at], text, one) for (at, one), text in zip(scored, written, strict=True)]


def told(continued: Sequence[Continued]) -> dict[str, Any]:
    """All prompts together, by language, and by task where there are several. BLEU stands by language only.

    Its tokens are another matter in every language, so one figure over several would mean nothing.
    """
    found = _told(continued)
    found["by_language"] = {}
    for name in sorted({one.language for one in continued}):
        of = [one for one in continued if one.language == name]
        likeness = bleu([one.written for one in of], [one.item.references for one in of], name)
        found["by_language"][name] = {**_told(of), **likeness}
    tasks = sorted({one.item.task for one in continued if one.item.task is not None})
    if len(tasks) > 1:
        found["by_task"] = {name: _told([one for one in continued if one.item.task == name]) for name in tasks}
    return found


def _told(continued: Sequence[Continued]) -> dict[str, Any]:
    count = len(continued)
    num_bytes = sum(len(one.item.references[0].encode()) for one in continued)
    tokens = sum(one.score.tokens for one in continued)
    return {
        "prompts": count,
        "exact_match": sum(one.exact for one in continued) / count,
        "accuracy": sum(one.score.greedy for one in continued) / count,
        "token_accuracy": sum(one.score.right for one in continued) / tokens,
        "reference_bits_per_byte": sum(one.score.nats for one in continued) / (math.log(2) * num_bytes),
        **rouge([one.written for one in continued], [one.item.references for one in continued]),
        "cut": sum(one.score.cut for one in continued),
    }
