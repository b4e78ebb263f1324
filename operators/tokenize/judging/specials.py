"""Whether a text can give a special token: here, and in programs that take a tokenizer's file as it stands."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
from tokenizers import Tokenizer

from operators.tokenize.encoder import Encoder
from operators.tokenize.judging.vocabulary import UNKNOWN, Vocabulary

_FORMS = ("{0}", "a{0}b", "a {0} b", "{0}{0}", "\n{0}\n")


@dataclass(frozen=True)
class Isolation:
    """What becomes of special tokens written in a text.

    leaks: special tokens that the encoder gives for a text that writes one. taken: those that the tokenizers library,
    with the file as it stands, takes out of a text for the mark itself; any program that loads the file so lets a page
    end a document.
    """

    tokens: tuple[str, ...]
    leaks: tuple[str, ...]
    taken: tuple[str, ...]

    @classmethod
    def of(cls, tokenizer_json: str, encoder: Encoder, vocabulary: Vocabulary) -> Isolation:
        """Try every special token but the unknown one, which is meant to come out of texts, in several texts."""
        whole = Tokenizer.from_str(tokenizer_json)
        names = {k: token for token, k in encoder.special_tokens.items() if not vocabulary.kinds[k] & UNKNOWN}
        probes = [form.format(token) for token in names.values() for form in _FORMS]
        ids, _ = encoder.encode(pa.array(probes, pa.large_string()))
        leaks = {names[number] for number in ids.tolist() if number in names}
        taken = {
            token
            for number, token in names.items()
            if number in whole.encode(f"a {token} b", add_special_tokens=False).ids
        }
        return cls(*(tuple(sorted(found)) for found in (names.values(), leaks, taken)))

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "isolated": not self.leaks}
