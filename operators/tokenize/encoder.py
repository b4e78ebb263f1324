"""Text to token ids: the fastest engine at hand that agrees with the reference."""

from __future__ import annotations

import hashlib
import logging
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from operators.kernels.buffers import text_buffers
from operators.tokenize.engines import FASTEST_FIRST, Engine, Ids, Offsets, Reference
from operators.tokenize.foreign.files import json_of
from operators.tokenize.probes import probes
from operators.tokenize.specials import as_text, without_specials
from pipeline.errors import RunFailedError, UserError
from pipeline.named_files import content, file_state
from pipeline.value import Artifact

EngineName = Literal["auto", "tokenizers", "gigatoken", "fastokens"]

_LOG = logging.getLogger(__name__)
_U16_VOCAB = 65_500  # Megatron's bound: vocabularies below it are stored in 16 bits, all others in 32
_SAMPLE_BYTES = 512 << 10  # of the first real texts, checked too: a quarter of a second with the reference
_SAMPLE_DOCUMENTS = 2000
_SHOWN_CHARS = 60
_SHOWN_TOKENS = 20


class Encoder:
    """One tokenizer, ready to encode. Not for use by several threads at once."""

    def __init__(self, tokenizer_json: str, engine: EngineName = "auto") -> None:
        whole = as_text(tokenizer_json)
        self._reference = _reference(whole)
        self._vocabulary, self.special_tokens = _names(tokenizer_json, whole, self._reference)
        self.vocab_size = 1 + max(self._vocabulary.values(), default=0)
        """Largest id, plus one."""
        self.dtype: np.dtype = np.dtype("<u2" if self.vocab_size < _U16_VOCAB else "<u4")
        """Little-endian type of the ids."""
        self.sha256 = hashlib.sha256(tokenizer_json.encode()).hexdigest()
        self._engine = self._choose(whole, engine)
        checked = self._engine is self._reference or engine != "auto"
        self._unchecked_bytes = 0 if checked else _SAMPLE_BYTES

    @classmethod
    def load(cls, path: str | Path, engine: EngineName = "auto") -> Encoder:
        """Read a tokenizer.json or a SentencePiece model; one instance a process and tokenizer. A step calls ``of``.

        engine: ``auto`` takes the fastest one installed that gives the reference's ids on fixed texts, and has it
        checked on the first real ones (see ``encode``); a name takes that one, unchecked.

        Raises:
            UserError: not a tokenizer.json, or the engine named is not installed.
        """
        return cls.of(Artifact(file=str(path)), engine)

    @classmethod
    def of(cls, tokenizer: Artifact, engine: EngineName = "auto") -> Encoder:
        """The same for a file that a step names: as the bytes whose hash entered the fingerprint, or not at all.

        Raises:
            UserError: also where the file is not made yet, or was changed since the run was planned.
        """
        state = file_state(tokenizer)
        try:
            return _encoder(json_of(content(state)), engine)
        except (OSError, ValueError) as error:
            msg = f"cannot read a tokenizer from {state.path}: {error}; it must be a tokenizer.json or a SentencePiece model"
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
            known = sorted(self.special_tokens)[:_SHOWN_TOKENS]
            instead = f"name one of its special tokens: {known}" if known else "it has no special tokens; add one"
            msg = f"the tokenizer has no token {token!r}; {instead}"
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
        if self._unchecked_bytes > 0 and len(column):
            self._check_sample(column)
        try:
            ids, offsets = self._engine.encode(column)
        except RuntimeError as error:
            _LOG.warning("%s failed (%s); tokenizers, whose ids are the same, takes these texts", self.engine, error)
            ids, offsets = self._reference.encode(column)
        # Writable, as kernels are compiled for: an engine may hand out a view that is not.
        return ids.astype(self.dtype, copy=not ids.flags.writeable), offsets

    def _choose(self, whole: str, engine: EngineName) -> Engine:
        if engine == "tokenizers":
            return self._reference
        plain = without_specials(whole)
        texts = pa.array(probes(list(self.special_tokens), _added(plain)), pa.large_string())
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
        for sample in _samples(column):
            row = _first_difference(self._engine, self._reference, sample)
            if row is not None:
                # Falling back would hold for this process alone: ids would depend on which worker got which shard.
                start = str(sample[row].as_py())[:_SHOWN_CHARS]
                msg = (
                    f"engine {self._engine.name} gives other ids than tokenizers for the text that starts {start!r} "
                    f"(tokenizer {self.sha256[:16]}); uninstall the package {self._engine.name}, or report this to its "
                    f"makers"
                )
                raise RunFailedError(msg)
            self._unchecked_bytes -= pc.sum(pc.binary_length(sample)).as_py()


def _samples(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The first documents whole, and the beginnings of 2,000 that lie evenly; half of the bytes to be checked each.

    Some more where letters take several bytes, less where there are fewer documents. A document longer than its half
    is cut.
    """
    half = _SAMPLE_BYTES // 2
    offsets = text_buffers(column).offsets
    rows = max(1, int(np.searchsorted(offsets, offsets[0] + half, side="right")) - 1)
    spread = column.take(pa.array(np.arange(0, len(column), -(-len(column) // _SAMPLE_DOCUMENTS))))
    heads: pa.Array = pc.utf8_slice_codeunits(spread, 0, half // len(spread))
    return pc.utf8_slice_codeunits(column.slice(0, rows), 0, half), heads


def _reference(whole: str) -> Reference:
    try:
        return Reference(whole)
    except Exception as error:  # the library has no class of its own for a file it cannot parse
        msg = f"not a tokenizer: {error}"
        raise ValueError(msg) from error


def _added(tokenizer_json: str) -> list[dict[str, Any]]:
    return orjson.loads(tokenizer_json).get("added_tokens") or []


def _names(tokenizer_json: str, whole: str, reference: Reference) -> tuple[dict[str, int], dict[str, int]]:
    """Ids of all tokens and of the special ones, under the names that the file gives them."""
    ids = reference.vocabulary()
    for own, taken in zip(_added(tokenizer_json), _added(whole), strict=True):
        ids[own["content"]] = ids.pop(taken["content"], own["id"])
    return ids, {token["content"]: ids[token["content"]] for token in _added(tokenizer_json) if token["special"]}


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
