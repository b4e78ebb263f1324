"""Scaling laws: loss, in nats per token, of models by their size and the tokens they saw.

N: parameters, D: tokens, C: operations of the whole training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.planning.formula import Formula, Range

PETAFLOP_DAY = 1e15 * 86_400

_CHINCHILLA_DOMAIN = (
    Range("N", 7e7, 1.6e10, "parameters"),
    Range("D", 5e9, 5e11, "tokens"),
)
_TEXT = "L = {e} + {a} / N^{alpha} + {b} / D^{beta}; C = 6 N D; N, D = argmin L at C"


@dataclass(frozen=True)
class Law:
    """L(N, D) = e + a / N**alpha + b / D**beta, with N all parameters, embeddings included."""

    e: float
    a: float
    b: float
    alpha: float
    beta: float
    formula: Formula

    def loss(self, params: float, tokens: float) -> float:
        """Nats per token."""
        return self.e + self.a / params**self.alpha + self.b / tokens**self.beta

    def optimum(self, flops: float) -> tuple[float, float]:
        """Parameters and tokens of the least loss among those with 6 N D = flops.

        Source: Hoffmann et al. 2022, eq. 4.
        """
        balance = math.log(self.alpha * self.a / (self.beta * self.b))
        params = _exp((balance + self.beta * math.log(flops / 6)) / (self.alpha + self.beta))
        return params, flops / 6 / params

    def parameters_for(self, tokens: float) -> float:
        """Parameters of the model for which that many tokens are the optimum."""
        balance = math.log(self.alpha * self.a / (self.beta * self.b))
        return _exp((balance + self.beta * math.log(tokens)) / self.alpha)


def _exp(exponent: float) -> float:
    """As far as numbers go: a law fitted to runs that tell little may have exponents near 0."""
    return math.exp(max(-_LARGEST, min(exponent, _LARGEST)))


_LARGEST = 200.0
"""Of a logarithm: e^200 is 7e86, beyond any model or corpus, and its square is still a number."""


def make_law(constants: tuple[float, float, float, float, float], formula: Formula) -> Law:
    """A law from (e, a, b, alpha, beta), its text filled in."""
    e, a, b, alpha, beta = constants
    text = _TEXT.format(e=f"{e:.4g}", a=f"{a:.5g}", b=f"{b:.6g}", alpha=f"{alpha:.4g}", beta=f"{beta:.4g}")
    named = Formula(formula.name, text, formula.source, formula.domain, formula.note)
    return Law(e, a, b, alpha, beta, named)


REFIT = make_law(
    (1.8172, 482.01, 2085.43, 0.3478, 0.3658),
    Formula(
        "Chinchilla, refitted",
        "",
        "Besiroglu et al. 2024, arXiv:2404.10102: Hoffmann's runs read off the plots, fitted again",
        _CHINCHILLA_DOMAIN,
    ),
)
HOFFMANN = make_law(
    (1.69, 406.4, 410.7, 0.34, 0.28),
    Formula(
        "Chinchilla, as printed",
        "",
        "Hoffmann et al. 2022, arXiv:2203.15556, section 3.3 and appendix D.3",
        _CHINCHILLA_DOMAIN,
        "its constants are rounded and its fit had not converged (arXiv:2404.10102): too few parameters; for comparison",
    ),
)

KAPLAN = Formula(
    "Kaplan",
    "L = ((6.4e13 / N)^(0.076 / 0.103) + 1.8e13 / D)^0.103; N = 1.3e9 (C / PF-day)^0.73",
    "Kaplan et al. 2020, arXiv:2001.08361, eq. 1.5 with the constants of its joint fit in table 2, and table 6",
    (Range("N", 768, 1.5e9, "parameters without embeddings"), Range("D", 2.2e7, 2.3e10, "tokens")),
    "its models were all decayed over the same number of steps, which favours large ones; for comparison",
)
CRITICAL_BATCH = Formula(
    "critical batch",
    "B = 2e8 / L^(1 / 0.21) tokens",
    "Kaplan et al. 2020, arXiv:2001.08361, eq. 1.4",
    (),
    "a batch well above it spends tokens without saving steps",
)
DATA_LIMITED = Formula(
    "repeated tokens",
    "D' = U + 15.4 U (1 - exp(-(D / U - 1) / 15.4)); L(N, D') in place of L(N, D)",
    "Muennighoff et al. 2023, arXiv:2305.16264, eq. 5",
    (Range("N", 1e7, 9e9, "parameters"), Range("D", 1e8, 9e11, "tokens")),
    "fitted on C4 with constants of its own; up to 4 epochs repeated tokens are worth about as much as new ones",
)
_REPEATED_HALF_LIFE = 15.387756
"""Epochs after which a further one is worth 1/e of a fresh one."""


def kaplan_loss(params: float, tokens: float) -> float:
    """Nats per token. params: without embeddings."""
    return float(((6.4e13 / params) ** (0.076 / 0.103) + 1.8e13 / tokens) ** 0.103)


def kaplan_parameters(flops: float) -> float:
    """Parameters, without embeddings, to which Kaplan et al. would give that compute."""
    return float(1.3e9 * (flops / PETAFLOP_DAY) ** 0.73)


def critical_batch(loss: float) -> float:
    """Tokens of a batch above which more of them save few steps, at that loss."""
    return float(2e8 / loss ** (1 / 0.21))


def effective_tokens(tokens: float, unique: float) -> float:
    """Fresh tokens that are worth as much as reading ``unique`` ones until ``tokens`` are read."""
    if tokens <= unique:
        return tokens
    repeats = tokens / unique - 1
    return unique * (1 + _REPEATED_HALF_LIFE * -math.expm1(-repeats / _REPEATED_HALF_LIFE))
