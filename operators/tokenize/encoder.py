"""Text to token ids: the fastest engine at hand that agrees with the reference."""

from __future__ import annotations

import hashlib
import json
import logging
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from operators.kernels.buffers import text_buffers
from operators.tokenize.engines import FASTEST_FIRST, Engine, Ids, Offsets, Reference
from operators.tokenize.probes import probes
from operators.tokenize.specials import without_specials
from pipeline.errors import RunFailedError, UserError

EngineName = Literal["auto", "tokenizers", "gigatoken", "fastokens"]

_LOG = logging.getLogger(__name__)
_U16_VOCAB = 65_500  # Megatron's bound: vocabularies below it are stored in 16 bits, all others in 32
_SAMPLE_BYTES = 256 << 10  # of the first real texts, checked too: a tenth of a second with the reference
_SHOWN_CHARS = 60


class Encoder:
    """One tokenizer, ready to encode. Not for use by several threads at once."""

    def __init__(self, tokenizer_json: str, engine: EngineName = "auto") -> None:
        whole = _parsed(tokenizer_json)
        vocabulary = whole.get_vocab(with_added_tokens=True)
        self.vocab_size = 1 + max(vocabulary.values(), default=0)
        """Largest id, plus one."""
        self.dtype: np.dtype = np.dtype("<u2" if self.vocab_size < _U16_VOCAB else "<u4")
        """Little-endian type of the ids."""
        self.sha256 = hashlib.sha256(tokenizer_json.encode()).hexdigest()
        self.special_tokens = {t.content: i for i, t in whole.get_added_tokens_decoder().items() if t.special}
        """Token to id; never the outcome of encoding a text."""
        self._vocabulary = vocabulary
        plain = without_specials(tokenizer_json)
        self._reference = Reference(plain)
        self._engine = self._choose(plain, engine)
        self._checked = self._engine is self._reference or engine != "auto"

    @classmethod
    def load(cls, path: str | Path, engine: EngineName = "auto") -> Encoder:
        """Read a tokenizer.json; one instance a process and tokenizer.

        engine: ``auto`` takes the fastest one installed that gives the reference's ids on fixed texts, and has it
        checked on the first real ones (see ``encode``); a name takes that one, unchecked.

        Raises:
            UserError: not a tokenizer.json, or the engine named is not installed.
        """
        try:
            return _encoder(Path(path).read_bytes().decode(), engine)
        except (OSError, ValueError) as error:
            msg = f"cannot read a tokenizer from {path}: {error}; it must be a tokenizer.json"
            raise UserError(msg) from error

    @property
    def engine(self) -> str:
        """Name of the engine in use."""
        return self._engine.name

    def token_id(self, token: str) -> int:
        """Id of a token such as the end mark.

        Raises:
            UserError: the vocabulary lacks it.
        """
        if token not in self._vocabulary:
            msg = f"the tokenizer has no token {token!r}; its special tokens are {sorted(self.special_tokens)}"
            raise UserError(msg)
        return self._vocabulary[token]

    def encode(self, column: pa.Array) -> tuple[Ids, Offsets]:
        """Ids of N texts back to back, and int64 (N + 1,) offsets: text i is ``ids[offsets[i]:offsets[i + 1]]``.

        A special token in a text is encoded as the letters it is written with.

        Raises:
            ValueError: the column has nulls; drop those rows before.
            RunFailedError: the engine chosen by ``auto`` differs from the reference on the first texts of this process.
        """
        if column.null_count:
            msg = f"cannot encode {column.null_count} nulls of {len(column)} texts; drop those rows before"
            raise ValueError(msg)
        if not self._checked and len(column):
            self._check_sample(column)
        ids, offsets = self._engine.encode(column)
        return ids.astype(self.dtype, copy=False), offsets

    def _choose(self, plain: str, engine: EngineName) -> Engine:
        if engine == "tokenizers":
            return self._reference
        texts = pa.array(probes(json.loads(plain), list(self.special_tokens)), pa.large_string())
        for candidate in FASTEST_FIRST:
            if engine not in ("auto", candidate.name):
                continue
            try:
                fast = candidate(plain)
                if engine == candidate.name or _first_difference(fast, self._reference, texts) is None:
                    return fast
                _LOG.warning("%s differs from tokenizers on %s; not used", fast.name, self.sha256[:16])
            except ImportError as error:
                if engine == candidate.name:
                    msg = f"engine {engine!r} is not installed ({error}); pip install 'sluice[fast]'"
                    raise UserError(msg) from error
            except (RuntimeError, ValueError, TypeError) as error:  # what they raise for a tokenizer they do not know
                if engine == candidate.name:
                    msg = f"engine {engine!r} cannot take this tokenizer: {error}; use engine 'auto'"
                    raise UserError(msg) from error
                _LOG.info("%s cannot take tokenizer %s: %s", candidate.name, self.sha256[:16], error)
        return self._reference

    def _check_sample(self, column: pa.Array) -> None:
        offsets = text_buffers(column).offsets
        rows = max(1, int(np.searchsorted(offsets, offsets[0] + _SAMPLE_BYTES, side="right")) - 1)
        sample = column.slice(0, rows)
        row = _first_difference(self._engine, self._reference, sample)
        if row is not None:
            # Falling back here would hold for this process alone: ids would depend on which worker got which shard.
            start = str(sample[row].as_py())[:_SHOWN_CHARS]
            msg = (
                f"engine {self._engine.name} gives other ids than tokenizers for the text that starts {start!r} "
                f"(tokenizer {self.sha256[:16]}); uninstall the package {self._engine.name}, or report this to its makers"
            )
            raise RunFailedError(msg)
        self._checked = True


def _parsed(tokenizer_json: str) -> Tokenizer:
    try:
        return Tokenizer.from_str(tokenizer_json)
    except Exception as error:  # the library has no class of its own for a file it cannot parse
        msg = f"not a tokenizer: {error}"
        raise ValueError(msg) from error


def _first_difference(one: Engine, other: Engine, texts: pa.Array) -> int | None:
    """The first text to which two engines give different ids."""
    ids, offsets = one.encode(texts)
    wanted_ids, wanted_offsets = other.encode(texts)
    if np.array_equal(offsets, wanted_offsets) and np.array_equal(ids, wanted_ids):
        return None
    for row in range(len(texts)):
        found = ids[offsets[row] : offsets[row + 1]]
        if not np.array_equal(found, wanted_ids[wanted_offsets[row] : wanted_offsets[row + 1]]):
            return row
    return 0  # an engine whose offsets do not cover its ids


@lru_cache(maxsize=2)
def _encoder(tokenizer_json: str, engine: EngineName) -> Encoder:
    return Encoder(tokenizer_json, engine)
