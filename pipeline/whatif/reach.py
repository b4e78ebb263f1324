"""Whom a bound judges: limits by language leave a general limit the rows of all other languages."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.dataset import Dataset
from pipeline.language_labels import place_of
from pipeline.operator import Bound, Filter
from pipeline.whatif.histogram import limits


def languages_before(dataset: Dataset, operator: Filter) -> dict[str, int]:
    """Documents that came to an operator and are its, by language, the most frequent first."""
    flow = next((one for one in dataset.ledger.flows if one.operator == operator.name), None)
    only = next((values for key, values in operator.only if key == "language"), None)
    counts = flow.into if flow else {}
    found = {name: n.docs for name, n in counts.items() if n.docs and (only is None or place_of(name, only) >= 0)}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def by_general_limits(bound: Bound, languages: Mapping[str, int]) -> int:
    """How many of the documents have no limits of their language's own."""
    own = tuple(label for label, _, _ in bound.by_language)
    return sum(docs for language, docs in languages.items() if place_of(language, own) < 0)


def out_of_reach(was: Bound | None, then: Bound | None, languages: Mapping[str, int]) -> list[str]:
    """Languages whose limits are the same under both bounds; None: no bound."""
    return [name for name in languages if _limits(was, name) == _limits(then, name)]


def _limits(bound: Bound | None, language: str) -> tuple[float | None, float | None, tuple[str, ...] | None]:
    return (None, None, None) if bound is None else (*limits(bound, language), bound.among)
