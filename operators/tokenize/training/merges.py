"""A tokenizer from counted pieces: which characters it knows, which pairs it merges, and its tokenizer.json."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from tokenizers import AddedToken, Tokenizer, decoders, models

from operators.kernels.bpe_tokens import characters, symbols_of
from operators.kernels.bpe_training import learn
from operators.kernels.buffers import ByteArray, Int32Array, IntArray
from operators.tokenize.training.splitting import Splitting

Algorithm = Literal["byte_bpe", "bpe", "wordpiece"]

UNKNOWN = "[UNK]"
"""What WordPiece gives for a word it cannot spell."""
_PREFIX = "##"
_CODE_POINTS = 0x110000
_MOST_WORD_CHARS = 100  # BERT's


class Initial(NamedTuple):
    """The tokens before any merge, and which of them a character is, first in a piece and elsewhere (-1: none)."""

    tokens: list[bytes]
    first: Int32Array
    rest: Int32Array
    prefix: str


class Learnt(NamedTuple):
    """Every token, by id, and the merges in order."""

    tokens: list[bytes]
    merges: list[tuple[int, int]]


def byte_letters() -> list[str]:
    """The letter that stands for each byte in a byte-level tokenizer.json.

    Printable characters of Latin-1 stand for themselves, the others take the letters from U+0100 on.
    """
    own = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in own else chr(next(others)) for byte in range(256)]


def byte_tokens() -> list[str]:
    """The tokens that stand for single bytes where a character is not known."""
    return [f"<0x{byte:02X}>" for byte in range(256)]


def initial(algorithm: Algorithm, specials: tuple[str, ...], pieces: Pieces, coverage: float) -> Initial:
    """What merging starts from: special tokens, then bytes or the characters that cover enough of the text."""
    names = [name.encode() for name in specials]
    if algorithm == "byte_bpe":
        letters = byte_letters()
        table = np.empty(256, np.int32)
        in_order = sorted(range(256), key=lambda byte: letters[byte])
        table[in_order] = np.arange(256) + len(names)
        return Initial([*names, *(bytes([byte]) for byte in in_order)], table, table, "")
    alphabet = covering(characters(pieces.data, pieces.offsets, pieces.counts), coverage)
    names += [token.encode() for token in (byte_tokens() if algorithm == "bpe" else [UNKNOWN])]
    first = np.full(_CODE_POINTS, -1, np.int32)
    first[alphabet] = np.arange(len(alphabet)) + len(names)
    tokens = [*names, *(chr(code).encode() for code in alphabet)]
    if algorithm == "bpe":
        return Initial(tokens, first, first, "")
    rest = np.where(first < 0, first, first + len(alphabet)).astype(np.int32)
    return Initial([*tokens, *(f"{_PREFIX}{chr(code)}".encode() for code in alphabet)], first, rest, _PREFIX)


def covering(count_of: IntArray, coverage: float) -> list[int]:
    """The most frequent characters that make up that share of the text, of equally frequent ones the lower; ascending."""
    order = np.argsort(-count_of, kind="stable")
    seen = int(np.count_nonzero(count_of))
    if coverage < 1:
        covered = np.cumsum(count_of[order[:seen]])
        seen = min(seen, int(np.searchsorted(covered, coverage * covered[-1])) + 1) if seen else 0
    return sorted(int(code) for code in order[:seen])


class Pieces(NamedTuple):
    """Distinct pieces of text with their counts."""

    data: ByteArray
    offsets: IntArray
    counts: IntArray

    @classmethod
    def of(cls, table: pa.Table) -> Pieces:
        """From the columns ``piece`` and ``count``."""
        column = table["piece"].combine_chunks()
        buffers: list[Any] = column.buffers()
        offsets = (
            np.frombuffer(buffers[1], np.int64, len(column) + 1, column.offset * 8) if len(column) else np.zeros(1)
        )
        data = np.frombuffer(buffers[2] or b"\0", np.uint8)
        return cls(data, offsets.astype(np.int64), table["count"].combine_chunks().to_numpy().astype(np.int64))


def learnt(pieces: Pieces, start: Initial, vocab_size: int, min_frequency: int) -> Learnt:
    """Merge pairs until there are ``vocab_size`` tokens, or none occurs ``min_frequency`` times."""
    symbols = np.empty(int(pieces.offsets[-1] - pieces.offsets[0]), np.int32)
    begins = symbols_of(pieces.data, pieces.offsets, start.first, start.rest, symbols)
    bounds = np.cumsum([0, *map(len, start.tokens)], dtype=np.int64)
    joined = np.frombuffer(b"".join(start.tokens), np.uint8)
    prefix = np.frombuffer(start.prefix.encode(), np.uint8)
    merges, data, ends = learn(symbols, begins, pieces.counts, joined, bounds, prefix, vocab_size, min_frequency)
    # A pair that came up twice stands where it came up last, as tokenizer.json can hold it once.
    rank = {(left, right): number for number, (left, right, _) in enumerate(merges.tolist())}
    raw, cuts = data.tobytes(), ends.tolist()
    tokens = [raw[a:b] for a, b in pairwise(cuts)]
    return Learnt(tokens, sorted(rank, key=rank.__getitem__))


def assemble(algorithm: Algorithm, found: Learnt, specials: tuple[str, ...], splitting: Splitting) -> Tokenizer:
    """The tokenizer as the library reads it."""
    if algorithm == "byte_bpe":
        letters = byte_letters()
        spelt = [token.decode() for token in found.tokens[: len(specials)]]
        spelt += ["".join(letters[byte] for byte in token) for token in found.tokens[len(specials) :]]
    else:
        spelt = [token.decode() for token in found.tokens]
    vocabulary = {token: number for number, token in enumerate(spelt)}
    tokenizer = Tokenizer(_model(algorithm, vocabulary, [(spelt[left], spelt[right]) for left, right in found.merges]))
    dress(tokenizer, algorithm, specials, splitting)
    return tokenizer


def dress(tokenizer: Tokenizer, algorithm: str, specials: tuple[str, ...], splitting: Splitting) -> None:
    """Give a model its splits, its decoder and its special tokens."""
    tokenizer.pre_tokenizer = splitting.encoding()
    normalizer = splitting.normalizer()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    named = [*specials, UNKNOWN] if algorithm == "wordpiece" else specials
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in named])
    decoder: Any
    if algorithm == "byte_bpe":
        decoder = decoders.ByteLevel()
    elif algorithm == "wordpiece":
        decoder = decoders.WordPiece(prefix=_PREFIX)
    else:
        decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.decoder = decoder


def _model(algorithm: Algorithm, vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Any:
    if algorithm == "wordpiece":
        return models.WordPiece(
            vocabulary,
            unk_token=UNKNOWN,
            max_input_chars_per_word=_MOST_WORD_CHARS,
            continuing_subword_prefix=_PREFIX,
        )
    return models.BPE(vocab=vocabulary, merges=merges, byte_fallback=algorithm == "bpe")
