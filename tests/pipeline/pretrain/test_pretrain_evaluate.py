"""Bits per byte: the definition, worked by hand and by an oracle."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.pretrain.data import Corpus, open_corpus
from pipeline.pretrain.evaluate import document_windows, score
from pipeline.pretrain.ranks import Place
from pipeline.pretrain.unigram import unigram_nats
from tests.pipeline.pretrain.conftest import EOS, VOCABULARY, sentences, token_bytes, token_data, write_shard


def corpus_of(folder: Path, documents: list[list[int]], fraction: float = 0.3) -> Corpus:
    return open_corpus(token_data(write_shard(folder / "t", documents)), held_out_fraction=fraction, seed=0)


@pytest.mark.parametrize("length", [4, 16, 1000])
def test_an_oracle_that_gives_each_byte_one_in_256_scores_exactly_8(tmp_path: Path, length: int) -> None:
    """p(token) = 256**-bytes(token), and nonsense for the EOS, which must not count."""
    corpus = corpus_of(tmp_path, [sentences(1, seed=k, length=5 + 7 * k)[0] for k in range(20)], 0.5)
    nats_of = [1e6 if token == EOS else 8 * math.log(2) * token_bytes(token) for token in range(VOCABULARY)]
    table = torch.tensor(nats_of, dtype=torch.float64)
    found = score(lambda _, targets: table[targets], corpus, length=length, max_documents=99, place=Place())
    assert found.bits_per_byte == pytest.approx(8.0, abs=1e-12)
    assert found.documents == len(corpus.held_out.start) > 2
    assert found.bytes == sum(
        token_bytes(token) for k in range(found.documents) for token in corpus.held_out_tokens(k).tolist()
    )


@pytest.mark.parametrize("length", [1, 3, 5, 50])
def test_each_token_is_predicted_once_after_what_stands_before_it(length: int) -> None:
    tokens = np.array([5, 6, 7, 8, 9, 10])
    windows = list(document_windows(tokens, EOS, length))
    assert [t for window in windows for t in window.tokens[1:]] == tokens.tolist()
    assert [t for window in windows for t in window.tokens[:-1]] == [EOS, *tokens[:-1]]
    assert max(len(window.tokens) for window in windows) == min(length, 6) + 1


def test_documents_do_not_see_each_other(tmp_path: Path) -> None:
    """Every row of every batch begins with the EOS or inside its own document, at position 0."""
    corpus = corpus_of(tmp_path, [[k + 1] * (3 + k) for k in range(20)], 0.5)
    seen: list[tuple[list[int], list[int]]] = []

    def nats(inputs: Tensor, targets: Tensor) -> Tensor:
        seen.extend(zip(inputs.tolist(), targets.tolist(), strict=True))
        return torch.zeros(targets.shape)

    score(nats, corpus, length=100, max_documents=99, place=Place())
    assert len(seen) == len(corpus.held_out.start)
    for inputs, targets in seen:
        assert inputs[0] == EOS
        assert len({*inputs, *targets} - {EOS}) == 1


def test_only_the_first_documents_by_hash_are_scored(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, sentences(20, length=10))
    found = score(lambda _, targets: torch.ones(targets.shape), corpus, length=8, max_documents=2, place=Place())
    assert (found.documents, found.tokens) == (2, 20)
    assert found.nats_per_token == 1.0


def test_the_unigram_model_by_hand(tmp_path: Path) -> None:
    """One of two equal documents is held out: training tokens are 1, 1, 2 and the EOS, of a vocabulary of 48."""
    corpus = corpus_of(tmp_path, [[1, 1, 2], [2, 1, 1]], fraction=1e-9)
    found = score(unigram_nats(corpus, Place()), corpus, length=8, max_documents=9, place=Place())
    # Smoothed: p(1) = 3/52, p(2) = 2/52. Ids 1 and 2 stand for 2 and 3 bytes.
    bits = 2 * math.log2(52 / 3) + math.log2(52 / 2)
    assert found.bits_per_byte == pytest.approx(bits / 7, abs=1e-12)
