"""From the tokens that strata have and the weights asked for, a plan; or why there can be none."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from pipeline.errors import UserError
from pipeline.pretrain.data.mixture import MIN_WEIGHT, Mixture, Stage, Stratum
from pipeline.pretrain.data.strata import Stratification

Pairs = tuple[tuple[str, float], ...]
"""Pattern of a stratum's name -> number."""

_NAMED = 20
"""Strata named in an error."""


class Amount(NamedTuple):
    """What a stratum has; tokens count end marks."""

    documents: int
    tokens: int


class Span(NamedTuple):
    """Weights, and the share of the plan up to which they hold."""

    until: float
    weights: Pairs


@dataclass(frozen=True)
class Request:
    """What was asked for.

    tokens: of the whole plan; None: what ``upsample`` comes to. tokens_per_step: of a plan whose length is in steps.
    """

    rule: Stratification
    spans: Sequence[Span]
    upsample: Pairs
    tokens: int | None
    max_epochs: Pairs
    held_out_fraction: float
    tokens_per_step: int | None = None


def plan(request: Request, found: Mapping[str, Amount]) -> Mixture:
    """The plan over strata by name, in the order of their names.

    Raises:
        UserError: there are no tokens; a weight names no stratum, or a stratum has none; or a stratum would be read
            more often than allowed.
    """
    amounts = dict(sorted(found.items()))
    if not amounts:
        msg = "the shards hold no documents, so there is nothing to mix"
        raise UserError(msg)
    factors = _factors(amounts, request.upsample)
    left = 1 - request.held_out_fraction
    sizes = {label: factors[label] * amount.tokens for label, amount in amounts.items()}
    total = request.tokens if request.tokens is not None else math.floor(left * math.fsum(sizes.values()))
    if total < 1:
        msg = "upsample is 0 for every stratum, so nothing would be drawn"
        raise UserError(msg)
    drawn, stages = _drawn(request, sizes, total)
    limits = _limits(amounts, request.max_epochs)
    strata = tuple(
        Stratum(
            label=label,
            documents=amount.documents,
            tokens=amount.tokens,
            drawn=round(drawn[label]),
            epochs=round(drawn[label] / (left * amount.tokens), 4),
            max_epochs=limits[label],
        )
        for label, amount in amounts.items()
    )
    _check_epochs(strata, request, sizes, total)
    return Mixture(
        rule=request.rule,
        tokens=total,
        held_out_fraction=request.held_out_fraction,
        strata=strata,
        stages=tuple(stages),
    )


def _drawn(request: Request, sizes: Mapping[str, float], total: int) -> tuple[dict[str, float], list[Stage]]:
    """Tokens that a plan of some length draws from each stratum, and its stages."""
    stages, begin = [], 0
    drawn = dict.fromkeys(sizes, 0.0)
    for span in request.spans:
        weights = _weights(sizes, span.weights)
        end = total if span is request.spans[-1] else round(span.until * total)
        for label, weight in weights.items():
            drawn[label] += weight * (end - begin)
        if end > begin:
            stages.append(Stage(end=end, weights=tuple(weights.values())))
        begin = end
    return drawn, stages


def _weights(sizes: Mapping[str, float], asked: Pairs) -> dict[str, float]:
    """Share of each stratum, adding up to 1.

    What a pattern gets is shared out among its strata by their sizes; a stratum goes to the pattern that is its name,
    else to the first that fits. No weights: all by their sizes.
    """
    asked = asked or (("*", 1.0),)
    of = {label: _pattern(label, asked) for label in sizes}
    without = [label for label, pattern in of.items() if pattern is None]
    if without:
        msg = (
            f"no weight for {_listed(without)}: name {'it' if len(without) == 1 else 'them'}, with 0 to leave out, or "
            f"say what all others get together with '*'"
        )
        raise UserError(msg)
    _check_used(asked, of.values(), sizes, "weights")
    groups = {pattern: math.fsum(size for label, size in sizes.items() if of[label] == pattern) for pattern, _ in asked}
    empty = [pattern for pattern, weight in asked if weight and not groups[pattern]]
    if empty:
        msg = f"{empty[0]!r} has a weight, but upsample is 0 for all of its strata"
        raise UserError(msg)
    shares = dict(asked)
    whole = math.fsum(shares.values())
    weights = {
        label: shares[pattern] / whole * size / groups[pattern] if size else 0.0
        for (label, size), pattern in zip(sizes.items(), of.values(), strict=True)
        if pattern is not None
    }
    rare = [label for label, weight in weights.items() if 0 < weight < MIN_WEIGHT]
    if rare:
        msg = (
            f"stratum {rare[0]!r} would get {weights[rare[0]]:.2g} of the tokens, less than {MIN_WEIGHT:.2g}: join it "
            f"with others, leave it out with 0, or give it more"
        )
        raise UserError(msg)
    return weights


def _factors(amounts: Mapping[str, Amount], upsample: Pairs) -> dict[str, float]:
    of = {label: _pattern(label, upsample) for label in amounts}
    _check_used(upsample, of.values(), amounts, "upsample")
    known = dict(upsample)
    return {label: 1.0 if pattern is None else known[pattern] for label, pattern in of.items()}


def _limits(amounts: Mapping[str, Amount], asked: Pairs) -> dict[str, float]:
    of = {label: _pattern(label, asked) for label in amounts}
    _check_used(tuple(pair for pair in asked if pair[0] != "*"), of.values(), amounts, "max_epochs")
    known = dict(asked)
    return {label: MAX_EPOCHS if pattern is None else known[pattern] for label, pattern in of.items()}


def _pattern(label: str, asked: Pairs) -> str | None:
    """The pattern that a stratum goes by: its own name, else the first that fits."""
    patterns = [pattern for pattern, _ in asked]
    if label in patterns:
        return label
    return next((pattern for pattern in patterns if fnmatchcase(label, pattern)), None)


def _check_used(asked: Pairs, used: Iterable[str | None], there: Mapping[str, object], where: str) -> None:
    taken = set(used)
    for pattern, _ in asked:
        if pattern not in taken:
            close = difflib.get_close_matches(pattern, there, n=1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            msg = f"{where}: {pattern!r} is no stratum that is left to it{hint}; there are {_listed(list(there))}"
            raise UserError(msg)


def _check_epochs(strata: Sequence[Stratum], request: Request, sizes: Mapping[str, float], total: int) -> None:
    over = [stratum for stratum in strata if stratum.epochs > stratum.max_epochs]
    if not over:
        return
    left = 1 - request.held_out_fraction
    shown = sorted(strata, key=lambda stratum: -stratum.epochs / stratum.max_epochs)
    lines = [_epochs_of(stratum, left, total) for stratum in shown[:_NAMED]]
    lines += [f"and {len(shown) - _NAMED} more strata"] if len(shown) > _NAMED else []
    upsampled = " lower upsample," if request.tokens is None else ""
    allowed = ", ".join(f"{stratum.label!r}: {math.ceil(stratum.epochs)}" for stratum in over[:_NAMED])
    listed = "\n  ".join(lines)
    msg = (
        f"a plan of {total:,} tokens reads {len(over)} of {len(strata)} strata more often than max_epochs allows:\n  "
        f"{listed}\n{_fitting(strata, request, sizes, total)}; or{upsampled} change the weights, or add documents. "
        f"Only where so much repetition is wanted, allow it: max_epochs: {{{allowed}}}"
    )
    raise UserError(msg)


def _epochs_of(stratum: Stratum, left: float, total: int) -> str:
    line = (
        f"{stratum.label!r}: {stratum.epochs:.4g} epochs ({stratum.drawn:,} tokens drawn from its {stratum.tokens:,})"
    )
    if stratum.epochs <= stratum.max_epochs:
        return line
    share = stratum.max_epochs * left * stratum.tokens / total
    place = 10.0 ** (2 - math.floor(math.log10(share)))  # down to three digits
    return f"{line}, over max_epochs {stratum.max_epochs:g}: at most {math.floor(share * place) / place:g} of this plan"


def _fitting(strata: Sequence[Stratum], request: Request, sizes: Mapping[str, float], total: int) -> str:
    """The longest plan with the same weights, in words."""
    left, unit = 1 - request.held_out_fraction, request.tokens_per_step or 1

    def fits(units: int) -> bool:
        drawn, _ = _drawn(request, sizes, units * unit)
        return all(round(drawn[one.label] / (left * one.tokens), 4) <= one.max_epochs for one in strata)

    # Epochs are proportional to the length, but for the rounding of the ends of stages.
    drawn, _ = _drawn(request, sizes, total)
    most = min(one.max_epochs * left * one.tokens / drawn[one.label] * total for one in strata if drawn[one.label])
    units, less = math.ceil(most / unit), 1
    while units > 0 and not fits(units):
        units, less = units - less, 2 * less
    if units < 1:
        return "No shorter plan fits"
    asked = f"`tokens: {units}`" if request.tokens_per_step is None else f"`steps: {units}` ({units * unit:,} tokens)"
    return f"The longest plan that fits with these weights is {asked}"


def _listed(labels: Sequence[str]) -> str:
    named = ", ".join(repr(label) for label in labels[:_NAMED])
    return named if len(labels) <= _NAMED else f"{named} and {len(labels) - _NAMED} more"


MAX_EPOCHS = 4.0
"""Beyond it, a token read again is worth clearly less than a fresh one (Muennighoff et al. 2023, section 5)."""
