"""Bits per byte: the definition, worked by hand and by an oracle."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.pretrain.data.corpus import Corpus, open_corpus
from pipeline.pretrain.ranks import Place
from pipeline.pretrain.training.evaluate import score
from pipeline.pretrain.training.unigram import unigram_nats
from pipeline.pretrain.training.windows import Cut, document_nats
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


@pytest.mark.parametrize(("length", "stride"), [(1, 1), (3, 3), (5, 5), (50, 50), (4, 2), (5, 2), (6, 3), (50, 25)])
def test_each_token_is_predicted_once_after_what_stands_before_it(length: int, stride: int) -> None:
    """Worked out from the numbers: token k stands at k + 1 behind the mark, and is predicted by the first window with it."""
    windows = list(Cut(begin_id=EOS, length=length, stride=stride).windows(7, 11))
    assert {window.document for window in windows} == {7}
    scored = [k for window in windows for k in range(window.done + 1, window.end + 1)]
    assert scored == [*range(1, 12)]
    for number, window in enumerate(windows):
        assert window.begin == number * stride
        assert 0 < window.end - window.begin <= length
        # Inputs before the first scored target, itself included.
        assert number == 0 or window.done + 1 - window.begin >= length - stride + 1


def test_no_window_of_a_document_without_tokens() -> None:
    assert list(Cut(begin_id=EOS, length=4, stride=4).windows(0, 0)) == []


@pytest.mark.parametrize("stride", [8, 4, 3])
def test_what_each_target_sees(stride: int) -> None:
    """Of a document 1, 2, 3 ... the input at a target's place is the number before it, and the mark before the first."""
    documents = [np.arange(1, n + 1) for n in (5, 8, 9, 30)]
    seen: list[tuple[int, int, int]] = []

    def nats(inputs: Tensor, targets: Tensor) -> Tensor:
        for row, wanted in zip(inputs.tolist(), targets.tolist(), strict=True):
            seen.extend((before, target, row[0]) for before, target in zip(row, wanted, strict=True) if target != EOS)
        return (targets != EOS).double()

    cut = Cut(begin_id=EOS, length=8, stride=stride)
    found = document_nats(nats, [len(one) for one in documents], documents.__getitem__, cut, Place(), vocab_size=48)
    assert found.tolist() == [5, 8, 9, 30]  # one nat a token: each counted once
    assert all(before == target - 1 for before, target, _ in seen)
    assert {first for _, _, first in seen} == {k for k in range(0, 30, stride) if k == 0 or k + 8 - stride < 30}


@pytest.mark.parametrize("world", [2, 3, 7])
def test_ranks_share_the_work_and_call_equally_often(world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum over ranks is what one rank finds, though some ranks have nothing to do in the last turn."""
    documents = [np.full(n, 1 + n % 7) for n in range(1, 40)]
    table = torch.rand(48, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    calls: list[int] = []

    def run(place: Place) -> np.ndarray:
        calls.append(0)

        def nats(inputs: Tensor, targets: Tensor) -> Tensor:
            calls[-1] += 1
            return table[targets] + inputs

        cut = Cut(begin_id=EOS, length=8, stride=8)
        return document_nats(nats, [len(one) for one in documents], documents.__getitem__, cut, place, vocab_size=48)

    whole = run(Place())
    parts = [run(Place(rank, world)) for rank in range(world)]
    np.testing.assert_allclose(np.sum(parts, axis=0), whole, rtol=1e-14)
    assert len(set(calls[1:])) == 1
    assert calls[1] == -(-calls[0] // world)


def test_by_source_and_language(tmp_path: Path) -> None:
    """One nat a token: bits per byte of a group are its tokens / (ln 2 x its bytes)."""
    documents = [[1, 5, 9], [2, 6], [3], [1, 1]]  # 2, 3 and 4 bytes a token of 1, 2 and 3 modulo 4
    columns = {"source": ["web", "web", "book", "book"], "language": ["en", "zh", None, "en"]}
    files = write_shard(tmp_path / "t", documents, columns=columns)
    corpus = open_corpus(token_data(files), held_out_fraction=0.5, seed=0, held_out_below=2**64 - 1)
    found = score(lambda _, targets: torch.ones(targets.shape), corpus, length=8, max_documents=9, place=Place())
    one = 1 / math.log(2)
    assert found.line()["sources"] == {
        "web": {"bits_per_byte": pytest.approx(one * 5 / 12), "documents": 2, "bytes": 12},
        "book": {"bits_per_byte": pytest.approx(one * 3 / 8), "documents": 2, "bytes": 8},
    }
    assert {name: part["bytes"] for name, part in found.line()["languages"].items()} == {"en": 10, "zh": 6, "und": 4}
    assert found.bits_per_byte == pytest.approx(one * 8 / 20)


def test_many_sources_are_told_as_the_largest_and_the_rest(tmp_path: Path) -> None:
    documents = [[3] * (1 + k) for k in range(60)]
    files = write_shard(tmp_path / "t", documents, columns={"source": [f"s{k}" for k in range(60)]})
    corpus = open_corpus(token_data(files), held_out_fraction=0.5, seed=0, held_out_below=2**64 - 1)
    found = score(lambda _, targets: torch.ones(targets.shape), corpus, length=8, max_documents=99, place=Place())
    sources = found.line()["sources"]
    assert [*sources][:2] == ["s59", "s58"]
    assert len(sources) == 40
    assert sources["(others)"]["documents"] == 21
    assert sources["(others)"]["bytes"] == 4 * sum(range(1, 22))


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
