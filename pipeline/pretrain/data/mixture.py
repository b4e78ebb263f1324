"""What is drawn from which stratum, and when: a pure function of (plan, seed, sample), so that a resume needs no history.

Within a stage the samples stand in blocks. With the weights added up, W_s = w_1 + ... + w_s, and [x] the whole number
next to x, the first p samples of a stage hold

    [W_s p] - [W_(s-1) p]

of stratum s at every block's end: the counts add up to p and are at most one sample off w_s p. Inside a block a keyed
permutation spreads them. The last block of a stage may be longer, so the counts are as close at its end. What a sample
is follows from its block alone, and the sample that a stratum has reached from the same formula.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import xxhash
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from pipeline.pretrain.data.order import mix, permute
from pipeline.pretrain.data.strata import Stratification
from pipeline.value import Value

Int64s = NDArray[np.int64]

FORMAT_VERSION = 1
ONE = 1 << 48
"""Weights are fractions of it: exact in a double, and not a tenth of a sample off for 2**44 samples."""
MIN_BLOCK = 2048
"""Samples. Shorter blocks would follow the weights more closely but leave less to chance."""
MIN_WEIGHT = 2.0**-19
"""Of a stratum that is drawn from at all: a block holds at least two samples of the rarest, and at most 2**20 in all."""


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class Stratum(Value):
    """A stratum as planned. tokens: that it has, end marks and held-out documents included. drawn: by the whole plan."""

    label: str
    documents: int = Field(ge=0)
    tokens: int = Field(ge=0)
    drawn: int = Field(ge=0)
    epochs: float = Field(ge=0)
    max_epochs: float = Field(gt=0)


class Stage(Value):
    """Weights that hold up to a token of the plan. weights: of each stratum, in its order, adding up to 1."""

    end: int = Field(gt=0)
    weights: Annotated[tuple[float, ...], BeforeValidator(_as_tuple)]


class Mixture(Value):
    """A plan of what to draw from token shards; what ``mix`` writes and ranks get.

    tokens: of the whole plan, the last stage's ``end``. held_out_fraction: share that ``epochs`` takes as never drawn.
    """

    format_version: Literal[1] = FORMAT_VERSION
    rule: Stratification
    tokens: int = Field(gt=0)
    held_out_fraction: float = Field(ge=0, lt=1)
    strata: Annotated[tuple[Stratum, ...], BeforeValidator(_as_tuple)]
    stages: Annotated[tuple[Stage, ...], BeforeValidator(_as_tuple)]

    @property
    def labels(self) -> list[str]:
        """Names of the strata."""
        return [stratum.label for stratum in self.strata]

    @property
    def drawn_from(self) -> NDArray[np.bool_]:
        """(strata,) Which have a weight in some stage."""
        return np.array([stage.weights for stage in self.stages]).max(axis=0) > 0

    @property
    def digest(self) -> str:
        """Another plan has another one."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def samples(self, sequence_length: int) -> int:
        """Sequences in the whole plan."""
        return self.tokens // sequence_length


@dataclass(frozen=True)
class _Block:
    """Samples from ``first`` up to ``end``, all of one stage. drawn: (strata,) samples of each before it.

    strata, numbers: of each of its samples, the stratum and the number among those of the stratum.
    """

    first: int
    end: int
    drawn: Int64s
    strata: Int64s
    numbers: Int64s


class Draw:
    """Which stratum each sample comes from, and which of its samples it is. Samples count from 0 over the whole plan."""

    def __init__(self, mixture: Mixture, *, sequence_length: int, seed: int) -> None:
        self.mixture = mixture
        self._seed = seed
        ends = [stage.end // sequence_length for stage in mixture.stages]
        self._starts = [0, *ends]
        self._cumulative = [_cumulative(stage.weights) for stage in mixture.stages]
        least = min(weight for stage in mixture.stages for weight in stage.weights if weight > 0)
        # Twice what the rarest stratum needs to have a sample in each, so that no rounding makes a count negative.
        self.block = max(MIN_BLOCK, 1 << math.ceil(math.log2(2 / least)))
        none = np.zeros(len(mixture.strata), np.int64)
        self._last = _Block(0, 0, none, none[:0], none[:0])
        self._before = [none]
        for cumulative, first, end in zip(self._cumulative, self._starts, ends, strict=False):
            self._before.append(self._before[-1] + _drawn(cumulative, end - first))

    @property
    def num_samples(self) -> int:
        """Of the whole plan."""
        return self._starts[-1]

    def samples(self, first: int, count: int) -> tuple[Int64s, Int64s]:
        """Stratum of each of ``count`` samples from ``first`` on, and its number among those of the stratum, from 0."""
        strata, numbers = np.empty(count, np.int64), np.empty(count, np.int64)
        for block in self._blocks(first, first + count):
            low, high = max(first, block.first), min(first + count, block.end)
            here, there = slice(low - first, high - first), slice(low - block.first, high - block.first)
            strata[here], numbers[here] = block.strata[there], block.numbers[there]
        return strata, numbers

    def drawn(self, count: int) -> Int64s:
        """(strata,) Samples of each stratum among the first ``count``, from the block they end in alone."""
        if not count:
            return self._before[0].copy()
        (block,) = self._blocks(count - 1, count)
        return block.drawn + np.bincount(block.strata[: count - block.first], minlength=len(block.drawn))

    def _blocks(self, first: int, end: int) -> Iterator[_Block]:
        """The blocks that samples from ``first`` up to ``end`` lie in."""
        assert 0 <= first < end <= self.num_samples, (first, end, self.num_samples)
        while first < end:
            block = self._last  # looked up once: the loader's thread and the one that writes metrics share a Draw
            if not block.first <= first < block.end:
                block = self._last = self._laid_out(first)
            yield block
            first = block.end

    def _laid_out(self, sample: int) -> _Block:
        """The block a sample lies in."""
        # The last stage that begins there: one too short for a sample begins where the next one does.
        stage = int(np.searchsorted(self._starts, sample, side="right")) - 1
        start, length = self._starts[stage], self._starts[stage + 1] - self._starts[stage]
        whole = max(1, length // self.block)
        number = min((sample - start) // self.block, whole - 1)
        low, high = number * self.block, length if number == whole - 1 else (number + 1) * self.block
        before, after = _nearest(self._cumulative[stage], low), _nearest(self._cumulative[stage], high)
        drawn, bounds = self._before[stage] + np.diff(before), after - before
        key = mix(mix(np.array([self._seed], np.uint64)) ^ mix(np.array([start + low], np.uint64)))
        rank = permute(np.arange(high - low, dtype=np.uint64), high - low, key)
        strata = np.searchsorted(bounds, rank.astype(np.int64), side="right") - 1
        # Numbers rise with the samples, so that a stratum is read to its end before it is read again.
        order = np.argsort(strata, kind="stable")
        numbers = np.empty(high - low, np.int64)
        numbers[order] = np.arange(high - low) + (drawn - bounds[:-1])[strata[order]]
        return _Block(start + low, start + high, drawn, strata, numbers)


def stratum_windows(label: str, number: Int64s, *, num_windows: int, seed: int) -> Int64s:
    """The window of a stratum that each of its samples reads: each epoch takes every window once, in an order of its own.

    number: int64 (N,), from 0. Hangs on the stratum's name, not on its place among others.
    """
    epoch, index = np.divmod(number.astype(np.uint64), np.uint64(num_windows))
    name = np.array([xxhash.xxh3_64_intdigest(label.encode())], np.uint64)
    key = mix(mix(np.array([seed], np.uint64)) ^ name) + epoch
    return permute(index, num_windows, key).astype(np.int64)


def _cumulative(weights: Sequence[float]) -> tuple[int, ...]:
    """W_0 = 0, W_1, ... as fractions of ``ONE``; the last that has a weight, and all after it, are ``ONE``."""
    whole = math.fsum(weights)
    return tuple(round(math.fsum(weights[:k]) / whole * ONE) for k in range(len(weights) + 1))


def _nearest(cumulative: Sequence[int], count: int) -> Int64s:
    """(strata + 1,) The whole number next to W_s count, in integers of any size."""
    return np.array([(edge * count + ONE // 2) // ONE for edge in cumulative], np.int64)


def _drawn(cumulative: Sequence[int], count: int) -> Int64s:
    return np.diff(_nearest(cumulative, count))


def read_mixture(text: str) -> Mixture:
    """The plan that ``mix`` wrote."""
    plan: Any = Mixture.model_validate_json(text)
    return plan
