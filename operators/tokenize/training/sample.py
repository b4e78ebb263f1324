"""Which documents a tokenizer is trained on: a function of their ids and of the corpus, never of order or shards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from operators.dedup.order import id_pairs
from pipeline.documents import with_text
from pipeline.errors import UserError
from pipeline.rejects import languages, sources
from pipeline.value import Pairs, Strings, Value

Buckets = npt.NDArray[np.int64]

_AXES = ("source", "language")
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31 = np.uint64(27), np.uint64(30), np.uint64(31)
_MANTISSA_BITS = 8
_FLOAT_MANTISSA_BITS = 23


class Strata(Value):
    """How the sample is shared between kinds of documents.

    by: what a stratum is: documents of one source, of one language, or of one source and language.
    temperature: a stratum's share goes with its bytes to the power of 1 / temperature. 1, the default: as in the corpus;
    higher: small strata get more, as in Conneau et al. 2019, arXiv:1911.02116, section 3.1 (alpha = 1 / temperature).
    weights: the share of all documents of one source or language (``{zh: 0.1}``), or of one stratum (``{web|zh: 0.1}``);
    what no weight names shares the rest. No document is taken twice: what a small stratum cannot fill, others do.
    """

    by: Strings = _AXES
    temperature: Annotated[float, Field(ge=1.0)] = 1.0
    weights: Pairs[float] = ()

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if not self.by or len(set(self.by)) < len(self.by) or not set(self.by) <= set(_AXES):
            msg = f"sample.by names source, language or both, each once; got {list(self.by)}"
            raise ValueError(msg)
        shares = [share for _, share in self.weights]
        if any(not 0 <= share <= 1 for share in shares) or math.fsum(shares) > 1 + 1e-9:
            msg = f"sample.weights are shares of the sample, of at most 1 together; got {dict(self.weights)}"
            raise ValueError(msg)
        return self

    def names(self, docs: pa.Table) -> pa.Array:
        """The stratum of each row, as in ``web|en``."""
        columns = {"source": sources, "language": languages}
        parts = [columns[axis](docs) for axis in _AXES if axis in self.by]
        return parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, "|")

    def budgets(self, sizes: Mapping[str, int], sample_bytes: int) -> dict[str, int]:
        """How many bytes of each stratum are wanted, given what there are of each.

        Raises:
            UserError: a weight names no stratum, or two weights name the same.
        """
        wanted = self._shares(sizes)
        budgets: dict[str, int] = {}
        left = float(min(sample_bytes, sum(sizes.values())))
        while wanted:
            whole = math.fsum(wanted.values())
            full = [name for name, share in wanted.items() if whole and left * share / whole >= sizes[name]]
            if not full:
                budgets |= {name: _whole(left * share / whole) if whole else 0 for name, share in wanted.items()}
                break
            for name in full:
                budgets[name] = sizes[name]
                left -= sizes[name]
                del wanted[name]
        return {name: budgets[name] for name in sorted(budgets)}

    def _shares(self, sizes: Mapping[str, int]) -> dict[str, float]:
        group_of: dict[str, str | None] = dict.fromkeys(sorted(sizes))
        for key, _ in self.weights:
            named = [name for name in group_of if key == name or key in name.split("|")]
            taken = sorted({str(group_of[name]) for name in named if group_of[name] is not None})
            if not named or taken:
                what = f"no documents; there are: {', '.join(group_of)}" if not named else f"what {taken[0]!r} names"
                msg = f"sample.weights: {key!r} names {what}"
                raise UserError(msg)
            group_of |= dict.fromkeys(named, key)
        powers = {name: float(size) ** (1 / self.temperature) for name, size in sizes.items()}
        share_of: dict[str | None, float] = dict(self.weights)
        share_of[None] = max(0.0, 1 - math.fsum(share_of.values()))
        whole: dict[str | None, float] = {}
        for name, group in group_of.items():
            whole[group] = whole.get(group, 0.0) + powers[name]
        return {name: share_of[group] * powers[name] / whole[group] for name, group in group_of.items() if sizes[name]}


def _whole(number: float) -> int:
    """Rounded down, but for what arithmetic has taken from a whole number."""
    return int(number + 1e-6)


class Chosen(NamedTuple):
    """Of each stratum, the documents in buckets below a limit."""

    limits: Mapping[str, int]

    def mask(self, names: pa.Array, buckets: Buckets) -> npt.NDArray[np.bool_]:
        """Which rows are in, given the stratum and the bucket of each."""
        encoded = names.dictionary_encode()
        limits = np.array([self.limits.get(str(name), 0) for name in encoded.dictionary.to_pylist()], np.int64)
        return buckets < limits[encoded.indices.to_numpy(zero_copy_only=False)] if len(names) else buckets < 0


def _mixed(value: Any) -> Any:
    """splitmix64's finisher: every bit of the result hangs on every bit of the value."""
    value = (value ^ (value >> _S30)) * _MIX_1
    value = (value ^ (value >> _S27)) * _MIX_2
    return value ^ (value >> _S31)


def buckets(docs: pa.Table, seed: int) -> Buckets:
    """int64 (rows,): the bucket of each document, by hash(seed, id).

    Buckets are as fine as floating-point numbers of eight binary places: whatever share of a corpus is asked for, however
    small, the last bucket holds 1/256 of it at most, and a corpus of any size has some thousand.
    """
    ids = id_pairs(docs, "a sample")
    # One array element, not a scalar: arrays wrap around without a warning.
    start = _mixed(np.array([seed], np.uint64) + _STEP)
    hashes = _mixed(_mixed(start ^ ids[:, 0]) + _STEP ^ ids[:, 1])
    shift = _FLOAT_MANTISSA_BITS - _MANTISSA_BITS
    return (hashes.astype(np.float32).view(np.uint32) >> np.uint32(shift)).astype(np.int64)


def cut(docs: pa.Table, max_chars: int) -> pa.Table:
    """The same rows with long texts cut."""
    text = pc.utf8_slice_codeunits(docs["text"].combine_chunks(), 0, max_chars)
    return with_text(docs, text)
