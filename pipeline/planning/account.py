"""A plan as it is told: every formula that was used, what came out, where it holds, and where it was left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.planning.formula import Formula, short
from pipeline.planning.laws import (
    CRITICAL_BATCH,
    DATA_LIMITED,
    HOFFMANN,
    KAPLAN,
    REFIT,
    critical_batch,
    effective_tokens,
    kaplan_loss,
    kaplan_parameters,
)
from pipeline.planning.memory import FORMULA as MEMORY
from pipeline.planning.memory import GIB
from pipeline.planning.plan import Plan
from pipeline.planning.rates import (
    DEEPSEEK,
    POWER_LINES,
    STEP_LAW,
    careful_rate,
    deepseek_batch,
    deepseek_rate,
    power_lines_batch,
    step_law_batch,
    step_law_rate,
)

COMPUTE = Formula(
    "operations",
    "C = GPUs x seconds x peak x MFU",
    "peak: dense bfloat16 by the maker's data sheet",
    (),
    "start, evaluation and checkpoints are not counted; the MFU is what you measured or hope for",
)
PER_TOKEN = Formula(
    "operations a token",
    "6 N_matmul + 12 L d T",
    "Chowdhery et al. 2022 (PaLM), arXiv:2204.02311, appendix B",
    (),
    "N_matmul with the output head, without the embedding; attention as if it were not causal",
)
LOSS = Formula(
    "loss",
    "L(N, D), with D' for D where tokens are repeated",
    "the laws above",
    (),
    "nats a token of the corpus and tokenizer that a law was fitted on; fit your own runs for yours",
)
_WORTH_LESS, _WORTH_LITTLE = 4, 16
"""Epochs up to which repeated tokens are about as good as new ones, and after which more hardly help (2305.16264)."""


@dataclass(frozen=True)
class Statement:
    """One formula, its value in words, and what to beware of."""

    formula: Formula
    value: str
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "name": self.formula.name,
            "formula": self.formula.text,
            "source": self.formula.source,
            "domain": [str(one) for one in self.formula.domain],
            "note": self.formula.note,
            "value": self.value,
            "warnings": list(self.warnings),
        }


def statements(plan: Plan) -> list[Statement]:
    """All formulas behind a plan, in the order in which they are used."""
    return [*_sizes(plan), *_losses(plan), *_settings(plan), _memory(plan)]


def _sizes(plan: Plan) -> Iterator[Statement]:
    question = plan.question
    budget = question.flops
    gpu = f"{question.gpus} x {question.gpu.name} at {question.gpu.peak_flops / 1e12:.0f} TFLOP/s"
    yield Statement(COMPUTE, f"{gpu}, {question.hours:g} h, MFU {100 * question.mfu:.0f} %: {budget:.2e}")
    used = {"N": plan.parameters.total, "D": plan.tokens}
    for law in dict.fromkeys((question.law, HOFFMANN)):
        params, tokens = law.optimum(budget)
        value = f"at C: N {short(params)}, D {short(tokens)}, {short(tokens / params)} tokens a parameter"
        yield Statement(law.formula, value, law.formula.outside(**used))
    params = kaplan_parameters(budget)
    small = {"N": plan.parameters.without_embedding, "D": plan.tokens}
    value = f"at C: N {short(params)} without embeddings, D {short(budget / 6 / params)}"
    yield Statement(KAPLAN, value, KAPLAN.outside(**small))
    flops = plan.flops_per_token
    yield Statement(PER_TOKEN, f"{flops.total:.3e}; {flops.causal:.3e} if the causal half of attention is left out")


def _losses(plan: Plan) -> Iterator[Statement]:
    counted, unique = plan.parameters, plan.question.tokens
    worth = effective_tokens(plan.tokens, unique)
    if plan.epochs > 1:
        warnings = DATA_LIMITED.outside(N=counted.total, D=plan.tokens)
        if plan.epochs > _WORTH_LITTLE:
            warnings += (f"{plan.epochs:.1f} epochs: after about {_WORTH_LITTLE} more of them hardly help",)
        elif plan.epochs > _WORTH_LESS:
            warnings += (f"{plan.epochs:.1f} epochs: above {_WORTH_LESS} repeated tokens are worth visibly less",)
        yield Statement(
            DATA_LIMITED,
            f"U {short(unique)}, D {short(plan.tokens)} ({plan.epochs:.2f} epochs) count as D' {short(worth)}",
            warnings,
        )
    laws = {law.formula.name: law.loss(counted.total, worth) for law in (REFIT, HOFFMANN)}
    by_name = {plan.question.law.formula.name: plan.loss} | laws
    by_name["Kaplan"] = kaplan_loss(counted.without_embedding, worth)
    value = ", ".join(f"{name} {_predicted(loss, plan)}" for name, loss in by_name.items())
    meaningless = f"a loss above {plan.guessing:.1f} is that of guessing: so far outside, the law says nothing"
    yield Statement(LOSS, value, (meaningless,) if plan.loss > plan.guessing else ())


def _predicted(loss: float, plan: Plan) -> str:
    return f"{loss:.3f}" if loss <= plan.guessing else "outside of the law"


def _settings(plan: Plan) -> Iterator[Statement]:
    small, tokens = plan.parameters.without_embedding, plan.tokens
    head = 6 * plan.parameters.embedding // (1 if plan.shape.tied else 2)
    flops = tokens * float(plan.flops_per_token.total - head)
    rate, careful = step_law_rate(small, tokens), careful_rate(small, tokens)
    taken = "" if rate == careful else f" (the plan takes {careful:.2e}, that of the least it was fitted on)"
    yield Statement(
        STEP_LAW,
        f"rate {rate:.2e}{taken}, batch {short(step_law_batch(tokens))} tokens",
        STEP_LAW.outside(N=small, D=tokens),
    )
    yield Statement(
        DEEPSEEK,
        f"rate {deepseek_rate(flops):.2e}, batch {short(deepseek_batch(flops))} tokens; for comparison",
        DEEPSEEK.outside(C=flops),
    )
    yield Statement(POWER_LINES, f"batch {short(power_lines_batch(tokens))} tokens")
    critical = critical_batch(plan.loss)
    large = f"the batch of {short(plan.batch_tokens)} tokens is above it: more GPUs than this model can use well"
    if plan.loss > plan.guessing:
        yield Statement(CRITICAL_BATCH, "not known: it follows from the loss, which is outside of the law")
        return
    above = plan.batch_tokens > 2 * critical
    yield Statement(CRITICAL_BATCH, f"{short(critical)} tokens at the end", (large,) if above else ())


def _memory(plan: Plan) -> Statement:
    layout, gpu = plan.layout, plan.question.gpu
    parts: Mapping[str, int] = vars(layout.memory)
    value = ", ".join(f"{name} {size / GIB:.1f}" for name, size in parts.items())
    warning = f"{layout.memory.total / GIB:.1f} GiB do not fit {gpu.name}: take more GPUs, larger ones, or fewer hours"
    return Statement(MEMORY, f"{layout.memory.total / GIB:.1f} GiB: {value}", () if layout.fits else (warning,))
