"""Text to token ids: the fastest engines at hand that agree with the reference."""

from __future__ import annotations

import hashlib
import logging
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from operators.kernels.buffers import text_buffers
from operators.tokenize.engines import FASTEST_FIRST, Engine, Ids, Offsets, Reference
from operators.tokenize.foreign.files import json_of
from operators.tokenize.han import han_rows, in_order
from operators.tokenize.probes import probes
from operators.tokenize.specials import as_text, without_specials
from pipeline.errors import RunFailedError, UserError
from pipeline.named_files import content, file_state
from pipeline.value import Artifact

EngineName = Literal["auto", "tokenizers", "gigatoken", "fastokens"]

_LOG = logging.getLogger(__name__)
_U16_VOCAB = 65_500  # Megatron's bound: vocabularies below it are stored in 16 bits, all others in 32
_SAMPLE_BYTES = 512 << 10  # of the first real texts, checked too: a quarter of a second with the reference
_ENOUGH = 1 / 32  # of it left unchecked counts as none: a further text would cost more than it shows
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
        self._engines = self._choose(whole, engine)
        to_check = [] if engine != "auto" else [one for one in self._engines if one is not self._reference]
        self._unchecked_bytes = {one.name: _SAMPLE_BYTES for one in to_check}

    @classmethod
    def load(cls, path: str | Path, engine: EngineName = "auto") -> Encoder:
        """Read a tokenizer.json or a SentencePiece model; one instance a process and tokenizer. A step calls ``of``.

        engine: ``auto`` takes those installed that give the reference's ids on fixed texts, and has each checked on the
        first real ones it gets (see ``encode``). The first of ``FASTEST_FIRST`` encodes; where the tokenizer works on
        bytes and there is a second, that one encodes the documents in Han characters. A name takes that one, unchecked.

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
        """Names of the engines that texts are given to, by what they hold: the same for every shard of a dataset."""
        return "+".join(one.name for one in self._engines)

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
            RunFailedError: an engine chosen by ``auto`` differs from the reference on the first texts of this process.
        """
        if column.null_count:
            msg = f"cannot encode {column.null_count} nulls of {len(column)} texts; drop those rows before"
            raise ValueError(msg)
        most, for_han = self._engines[0], self._engines[-1]
        rows = han_rows(column) if most is not for_han else np.zeros(len(column), np.bool_)
        if rows.all() or not rows.any():
            ids, offsets = self._encode_by(for_han if rows.any() else most, column)
        else:
            mask = pa.array(rows)
            han = self._encode_by(for_han, column.filter(mask))
            ids, offsets = in_order(rows, han, self._encode_by(most, column.filter(pc.invert(mask))))
        # Writable, as kernels are compiled for: an engine may hand out a view that is not.
        return ids.astype(self.dtype, copy=not ids.flags.writeable), offsets

    def _encode_by(self, engine: Engine, column: pa.Array) -> tuple[Ids, Offsets]:
        if self._unchecked_bytes.get(engine.name, 0) > 0 and len(column):
            self._check_sample(engine, column)
        try:
            return engine.encode(column)
        except RuntimeError as error:
            _LOG.warning("%s failed (%s); tokenizers, whose ids are the same, takes these texts", engine.name, error)
            return self._reference.encode(column)

    def _choose(self, whole: str, engine: EngineName) -> list[Engine]:
        if engine == "tokenizers":
            return [self._reference]
        plain = without_specials(whole)
        texts = pa.array(probes(list(self.special_tokens), _added(plain)), pa.large_string())
        wanted = cache(lambda: self._reference.encode(texts))
        num_used = 1 + _byte_level(plain)
        found: list[Engine] = []
        for candidate in FASTEST_FIRST:
            if engine not in ("auto", candidate.name) or len(found) == num_used:
                continue
            try:
                fast = candidate(plain)
                if engine == candidate.name or _first_difference(fast.encode(texts), wanted()) is None:
                    found.append(fast)
                    continue
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
        return found or [self._reference]

    def _check_sample(self, engine: Engine, column: pa.Array) -> None:
        for sample in _samples(column, self._unchecked_bytes[engine.name]):
            row = _first_difference(engine.encode(sample), self._reference.encode(sample))
            if row is not None:
                # Falling back would hold for this process alone: ids would depend on which worker got which shard.
                start = str(sample[row].as_py())[:_SHOWN_CHARS]
                msg = (
                    f"engine {engine.name} gives other ids than tokenizers for the text that starts {start!r} "
                    f"(tokenizer {self.sha256[:16]}); uninstall the package {engine.name}, or report this to its "
                    f"makers"
                )
                raise RunFailedError(msg)
            self._unchecked_bytes[engine.name] -= pc.sum(pc.binary_length(sample)).as_py()
        if self._unchecked_bytes[engine.name] < _ENOUGH * _SAMPLE_BYTES:
            self._unchecked_bytes[engine.name] = 0


def _samples(column: pa.Array, num_bytes: int) -> tuple[pa.Array, pa.Array]:
    """The first documents whole, and the beginnings of 2,000 that lie evenly; half of ``num_bytes`` each.

    Some more where letters take several bytes, less where there are fewer documents. A document longer than its half
    is cut.
    """
    half = num_bytes // 2
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


def _byte_level(tokenizer_json: str) -> bool:
    """Whether pieces of text are cut out and merged byte by byte."""
    return b'"ByteLevel"' in orjson.dumps(orjson.loads(tokenizer_json).get("pre_tokenizer"))


def _first_difference(found: tuple[Ids, Offsets], wanted: tuple[Ids, Offsets]) -> int | None:
    """The first text to which two engines gave different ids."""
    ids, offsets = found
    wanted_ids, wanted_offsets = wanted
    if np.array_equal(offsets, wanted_offsets) and np.array_equal(ids, wanted_ids):
        return None
    for row in range(len(wanted_offsets) - 1):
        given = ids[offsets[row] : offsets[row + 1]]
        if not np.array_equal(given, wanted_ids[wanted_offsets[row] : wanted_offsets[row + 1]]):
            return row
    return 0  # an engine whose offsets do not cover its ids


@lru_cache(maxsize=2)
def _encoder(tokenizer_json: str, engine: EngineName) -> Encoder:
    return Encoder(tokenizer_json, engine)
