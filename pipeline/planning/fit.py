"""A scaling law of one's own, from small runs, and how far off it is at the largest of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, nnls

from pipeline.errors import UserError
from pipeline.planning.formula import Formula, Range, short
from pipeline.planning.laws import Law, effective_tokens, make_law

Floats = NDArray[np.float64]

FEWEST_RUNS = 6
"""Five constants are fitted; below, any loss at all would be met."""
_FEW_RUNS = 8
_SPAN = 30
"""Operations of the largest run over those of the smallest, below which the law is fitted to a spot."""
_LEAST_EXPONENT, _LARGEST_EXPONENT = 0.01, 3.0
_NO_FLOOR = 0.01
"""Nats a token; text has about 1 to 2."""
_SHOWN = 12
"""Digits of a sha256 in words."""
HUBER = 1e-3
"""Deviation of log L above which a run counts by its size, not its square (Hoffmann et al. 2022, appendix D.2)."""
_EXPONENTS = np.array([0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8, 1.0])
_STARTS = 4
"""L-BFGS goes on from the best so many points of the grid."""


@dataclass(frozen=True)
class Point:
    """One finished run: its parameters (all), the tokens it was trained on, its held-out loss in nats per token."""

    name: str
    params: float
    tokens: float
    loss: float
    bits_per_byte: float | None = None
    """The same loss by the bytes of the text, if that was measured."""
    unique: float | None = None
    """Tokens that there were to read; None: at least those it read."""
    tokenizer: str | None = None
    """Its sha256, if that is known."""
    held_out: tuple[int, int] | None = None
    """Documents that the loss is of, and their bytes, if that is known."""

    @property
    def flops(self) -> float:
        """6 N D."""
        return 6 * self.params * self.tokens

    @property
    def worth(self) -> float:
        """Fresh tokens that its reading was worth, as a plan counts them."""
        return self.tokens if self.unique is None else effective_tokens(self.tokens, self.unique)


@dataclass(frozen=True)
class Fit:
    """A law from all runs, and what one from all but the largest said of that one."""

    law: Law
    points: tuple[Point, ...]
    held_out: Point
    predicted: float
    """Loss of the held-out run by the law of the others."""
    tokenizer: str | None = None
    """sha256 of that of all runs, if it is known."""

    @property
    def held_out_error(self) -> float:
        """(predicted - measured) / measured, of the run with the most operations."""
        return self.predicted / self.held_out.loss - 1

    def bits_per_byte(self, loss: float) -> float | None:
        """A loss of the same tokenizer and held-out documents as bits per byte; None where no run says what that is."""
        known = [point for point in self.points if point.bits_per_byte is not None]
        ratios = [(point.bits_per_byte or 0) / point.loss for point in known]
        return loss * sum(ratios) / len(ratios) if ratios else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why this fit may tell less than it seems to."""
        found = []
        count, ratio = len(self.points), self.points[-1].flops / self.points[0].flops
        if count < _FEW_RUNS:
            found.append(f"{count} runs for five constants leave {count - 5} to check them by: 8 to 12 tell more")
        if ratio < _SPAN:
            found.append(f"the largest run has {short(ratio)} times the operations of the smallest: {_SPAN} tell more")
        for name, what in (("alpha", "sizes"), ("beta", "numbers of tokens")):
            value = getattr(self.law, name)
            if not _LEAST_EXPONENT < value < _LARGEST_EXPONENT:
                found.append(f"{name} = {value:.3g} is the end of its range: the {what} of these runs do not tell it")
        if self.law.e < _NO_FLOOR:
            found.append("E is 0: no run is large and long enough to show the loss that stays, so none is foretold")
        if len({point.held_out for point in self.points if point.held_out is not None}) > 1:
            found.append("the runs were scored on different held-out documents: their losses are not of one text")
        return tuple(found)


def fit(points: Sequence[Point]) -> Fit:
    """Fit L = E + A / N**alpha + B / D**beta to runs, and once more without the largest.

    Source: Hoffmann et al. 2022, arXiv:2203.15556, section 3.3 and appendix D.2: Huber loss of log L, L-BFGS from a grid;
    of exponents only, as the other three constants follow from them.

    Raises:
        UserError: too few runs, all of one size or of one number of tokens, or of different tokenizers.
    """
    tokenizer = _tokenizer(points)
    if len(points) < FEWEST_RUNS:
        msg = f"{len(points)} runs cannot be fitted: five constants need at least {FEWEST_RUNS}, better 8 to 12"
        raise UserError(msg)
    for what in ("params", "tokens"):
        different = {getattr(point, what) for point in points}
        if len(different) < 3:
            msg = f"the runs have only {len(different)} different {what}: vary both, over two decades if you can"
            raise UserError(msg)
    ordered = sorted(points, key=lambda point: (point.flops, point.name))
    *smaller, largest = ordered
    from_smaller, from_all = _law(smaller), _law(ordered)
    predicted = from_smaller.loss(largest.params, largest.worth)
    return Fit(from_all, tuple(ordered), largest, predicted, tokenizer)


def _tokenizer(points: Sequence[Point]) -> str | None:
    """The one of all runs; those that do not tell theirs are taken to have the same."""
    runs_of: dict[str, list[str]] = {}
    for point in points:
        if point.tokenizer is not None:
            runs_of.setdefault(point.tokenizer, []).append(point.name)
    if len(runs_of) > 1:
        groups = "; ".join(f"{', '.join(names)} (sha256 {sha[:_SHOWN]})" for sha, names in runs_of.items())
        msg = f"losses a token of different tokenizers are no points of one law: {groups}; give the runs of one of them"
        raise UserError(msg)
    return next(iter(runs_of), None)


def _law(points: Sequence[Point]) -> Law:
    params, tokens, loss = (np.log([getattr(point, what) for point in points]) for what in ("params", "worth", "loss"))
    constants = _constants(params, tokens, loss)
    log_a, log_b, log_e, alpha, beta = (float(constant) for constant in constants)
    formula = Formula(
        "own law",
        "",
        f"fitted to {len(points)} runs, Huber loss of log L",
        (
            Range("N", min(one.params for one in points), max(one.params for one in points), "parameters"),
            Range("D", min(one.worth for one in points), max(one.worth for one in points), "tokens"),
        ),
    )
    return make_law((float(np.exp(log_e)), float(np.exp(log_a)), float(np.exp(log_b)), alpha, beta), formula)


def _constants(params: Floats, tokens: Floats, loss: Floats) -> Floats:
    """(log A, log B, log E, alpha, beta) of the least Huber loss. All three inputs are logarithms, one a run."""
    starts = np.stack([_start(*pair, params, tokens, loss) for pair in product(_EXPONENTS, _EXPONENTS)])
    errors = _huber(_residuals(starts, params, tokens, loss)).sum(axis=1)
    best: tuple[float, Floats] | None = None
    for start in starts[np.argsort(errors, kind="stable")[:_STARTS]]:
        found = minimize(
            _objective,
            start,
            args=(params, tokens, loss),
            jac=True,
            method="L-BFGS-B",
            bounds=_BOUNDS,
            options=_PATIENCE,
        )
        if best is None or found.fun < best[0]:
            best = float(found.fun), found.x
    assert best is not None
    return best[1]


def _start(alpha: float, beta: float, params: Floats, tokens: Floats, loss: Floats) -> Floats:
    """The constants of least squares for given exponents: E, A and B then stand in a sum and are not negative."""
    terms = np.stack([np.exp(-alpha * params), np.exp(-beta * tokens), np.ones_like(loss)], axis=1)
    scale = terms.max(axis=0)
    found, _ = nnls(terms / scale / np.exp(loss)[:, None], np.ones_like(loss))
    return np.array([*np.log(np.maximum(found / scale, _LEAST)), alpha, beta])


_LEAST = 1e-4
"""Of a constant that least squares set to zero, whose logarithm must be a number."""

# Exponents below 0 would have more data or weights do harm; at 0 a law has no optimum.
_EXPONENT = (_LEAST_EXPONENT, _LARGEST_EXPONENT)
_BOUNDS = ((-5.0, 60.0), (-5.0, 60.0), (-12.0, 5.0), _EXPONENT, _EXPONENT)
# The loss is flat along A and alpha; the usual tolerances stop early, as they did for the printed constants.
_PATIENCE = {"maxiter": 5000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-10}
_SCALE = 1e6
"""Of the objective, whose values would else lie below L-BFGS's own tolerances."""


def _terms(constants: Floats, params: Floats, tokens: Floats) -> Floats:
    """Logarithms of A / N**alpha, of B / D**beta and of E: (3, ..., runs). constants: (..., 5)."""
    log_a, log_b, log_e, alpha, beta = np.moveaxis(constants[..., None], -2, 0)
    return np.stack([log_a - alpha * params, log_b - beta * tokens, log_e + 0 * params])


def _residuals(constants: Floats, params: Floats, tokens: Floats, loss: Floats) -> Floats:
    return _log_of_sum(_terms(constants, params, tokens)) - loss


def _log_of_sum(terms: Floats) -> Floats:
    """The log(sum(exp(terms))) over the first axis. scipy's takes ten times as long on arrays this small."""
    top = terms.max(axis=0)
    return top + np.log(np.exp(terms - top).sum(axis=0))


def _huber(residual: Floats) -> Floats:
    far = np.abs(residual)
    return np.where(far <= HUBER, residual**2 / 2, HUBER * (far - HUBER / 2))


def _objective(constants: Floats, params: Floats, tokens: Floats, loss: Floats) -> tuple[float, Floats]:
    """The scaled sum of Huber losses, and its gradient."""
    terms = _terms(constants, params, tokens)
    total = _log_of_sum(terms)
    residual = total - loss
    slope = np.clip(residual, -HUBER, HUBER)
    shares = np.exp(terms - total)
    a, b, e = (shares * slope).sum(axis=1)
    gradient = np.array([a, b, e, -(shares[0] * slope * params).sum(), -(shares[1] * slope * tokens).sum()])
    return _SCALE * float(_huber(residual).sum()), _SCALE * gradient
