"""Sliding windows: the oracle of 8 bits a byte, a slow twin with a real model, token shards against texts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.evaluation.perplexity import Texts, perplexity
from pipeline.evaluation.token_shards import held_out_texts, shard_texts
from pipeline.pretrain.data.corpus import open_corpus
from pipeline.pretrain.model.transformer import Transformer
from pipeline.pretrain.ranks import Place
from pipeline.pretrain.training.parts import Part
from pipeline.pretrain.training.windows import Cut
from tests.pipeline.pretrain.conftest import (
    EOS,
    SMALL,
    VOCABULARY,
    document_id,
    sentences,
    token_bytes,
    token_data,
    write_shard,
)


def one_text(tokens: list[int], num_bytes: int, **labels: str) -> Texts:
    return Texts([np.array(tokens, np.int64)], np.array([num_bytes]), {name: [label] for name, label in labels.items()})


@settings(max_examples=25, deadline=None)
@given(
    text=st.text(min_size=1, max_size=60),
    cuts=st.lists(st.integers(1, 7), min_size=1, max_size=60),
    length=st.integers(1, 12),
    data=st.data(),
)
def test_an_oracle_of_one_in_256_a_byte_scores_exactly_8_under_any_tokenizer(
    text: str, cuts: list[int], length: int, data: st.DataObject
) -> None:
    """The text is cut into tokens anywhere, even inside letters; id k > 0 stands for k bytes."""
    left, tokens = len(text.encode("utf-8", "surrogatepass")), []
    num_bytes = left
    while left:
        tokens.append(min(left, cuts[len(tokens) % len(cuts)]))
        left -= tokens[-1]
    cut = Cut(begin_id=0, length=length, stride=data.draw(st.integers(1, length)))

    def nats(_inputs: Tensor, targets: Tensor) -> Tensor:
        return torch.where(targets == 0, 1e6, 8 * math.log(2) * targets.double())

    found = perplexity(nats, [one_text(tokens, num_bytes)], cut, Place(), vocab_size=8)
    assert found.whole.bits_per_byte == pytest.approx(8.0, abs=1e-12)
    assert found.whole.tokens == len(tokens)


def test_a_real_model_token_by_token() -> None:
    """The slow twin: each token from a forward pass of its own, over what the definition lets it see."""
    model = Transformer(SMALL, VOCABULARY, max_length=8, seed=1).double()
    documents = [sentences(1, seed=k, length=n)[0] for k, n in enumerate((3, 8, 9, 12, 21))]
    cut = Cut(begin_id=EOS, length=8, stride=4)
    wanted = []
    for document in documents:
        context = [EOS, *document]
        total = 0.0
        for k in range(1, len(context)):
            # Windows begin at 0, 4, 8 ... and hold 8 targets: the first that holds target k begins at the least such.
            begin = 4 * max(0, math.ceil((k - 8) / 4))
            logits = model(torch.tensor([context[begin:k]]))[0, -1].detach()
            total -= float(logits.log_softmax(-1)[context[k]])
        wanted.append(total)
    chunks = [one_text(document, 7, kind=str(len(document) % 2)) for document in documents]
    found = perplexity(model.nats, chunks, cut, Place(), vocab_size=VOCABULARY)
    assert found.whole.nats == pytest.approx(sum(wanted), rel=1e-9)
    assert found.groups["kind"]["0"].nats == pytest.approx(wanted[1] + wanted[3], rel=1e-9)
    told = found.told()
    assert told["perplexity"] == pytest.approx(math.exp(sum(wanted) / 53))
    assert (told["tokens"], told["bytes"], told["by_kind"]["1"]["documents"]) == (53, 35, 3)


def test_more_context_scores_no_worse_a_text_that_repeats_itself() -> None:
    """A model that knows a token if it saw it before: overlapping windows see more of them."""

    def nats(inputs: Tensor, targets: Tensor) -> Tensor:
        rows = [
            [0.0 if target in row[: k + 1] else 5.0 for k, target in enumerate(wanted)]
            for row, wanted in zip(inputs.tolist(), targets.tolist(), strict=True)
        ]
        return torch.tensor(rows)

    texts = one_text([1, 2, 3, 4] * 4, 16)
    apart, half = (
        perplexity(nats, [texts], Cut(begin_id=0, length=6, stride=stride), Place(), vocab_size=8).whole.nats
        for stride in (6, 3)
    )
    # Apart: 4 new tokens in each of the windows of 6, 6 and 4 targets, of which the later two see one target before.
    assert apart == 5.0 * (4 + 3 + 3)
    assert half < apart


def test_the_end_of_floats() -> None:
    assert Part(1e6, 1, 1, 1).perplexity == math.inf
    assert math.isnan(Part(1.0, 1, 0, 1).bits_per_byte)


@pytest.mark.parametrize("most", [1, 7, 40, 99])
def test_token_shards_give_the_documents_with_the_least_ids(tmp_path: Path, most: int) -> None:
    documents = sentences(40, length=9)
    ids = [document_id(k) for k in range(40)]
    data = token_data(
        write_shard(tmp_path / "a", documents[:25], ids=ids[:25]),
        write_shard(tmp_path / "b", documents[25:], ids=ids[25:]),
    )
    wanted = sorted(range(40), key=lambda k: ids[k])[:most]
    found = [tokens.tolist() for texts in shard_texts(data, most) for tokens in texts.tokens]
    assert found == [documents[k] for k in sorted(wanted)]


def test_held_out_documents_are_those_the_corpus_holds_out(tmp_path: Path) -> None:
    documents = [[1 + k] * (2 + k) for k in range(30)]
    columns = {"language": ["en" if k % 2 else "zh" for k in range(30)]}
    files = write_shard(tmp_path / "a", documents, columns=columns)
    corpus = open_corpus(token_data(files), held_out_fraction=0.3, seed=1)
    held = {corpus.held_out_tokens(k)[0] for k in range(4)}
    (texts,) = held_out_texts(corpus, 4)
    assert {tokens[0] for tokens in texts.tokens} == held
    for tokens, size, language in zip(texts.tokens, texts.num_bytes, texts.labels["language"], strict=True):
        assert len(tokens) == tokens[0] + 1
        assert size == len(tokens) * token_bytes(int(tokens[0]))
        assert language == ("zh" if tokens[0] % 2 else "en")
