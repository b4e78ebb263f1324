"""Who sees whom: masks against forward passes of each document alone, and against what a change leaves alone."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from pipeline.pretrain.data.batch import next_token_batch
from pipeline.pretrain.data.cuts import Cuts, Cutter
from pipeline.pretrain.model import sight, varlen
from pipeline.pretrain.model.sight import Seen, dense_mask, make_sight
from pipeline.pretrain.model.transformer import Transformer
from tests.pipeline.pretrain.conftest import SMALL
from tests.pipeline.pretrain.test_pretrain_model import random_tokens, varied


def moved(before: Tensor, after: Tensor) -> list[bool]:
    """At which positions of the one row the logits differ."""
    return (before != after).any(dim=-1)[0].tolist()


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(0)
    made = Transformer(varied(qk_norm=True), 40, max_length=12)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3)
    return made


@pytest.mark.parametrize("causal", [True, False])
def test_masked_documents_equal_documents_alone(model: Transformer, causal: bool) -> None:
    tokens = random_tokens(2, 12, seed=1)
    cuts = [[5, 4, 3], [1, 11]]
    documents = torch.stack([torch.repeat_interleave(torch.arange(len(row)), torch.tensor(row)) for row in cuts]).int()
    with torch.no_grad():
        found = model(tokens, documents=documents, causal=causal)
        for row, lengths in enumerate(cuts):
            alone = [model(part[None], causal=causal)[0] for part in tokens[row].split(lengths)]
            torch.testing.assert_close(found[row], torch.cat(alone), rtol=0, atol=1e-5)
        assert (found[0, 5:] - model(tokens, causal=causal)[0, 5:]).abs().max() > 0.1


def test_batches_of_documents_cost_what_documents_alone_cost(model: Transformer) -> None:
    """An EOS begins the document behind it: its first token is predicted from the EOS alone."""
    row = np.array([[7, 8, 9, 0, 11, 12, 0, 13, 14, 15, 16, 0, 17]])
    batch = next_token_batch(row, eos_id=0, document_mask=True)
    with torch.no_grad():
        found = model.nats(batch.inputs, batch.targets, documents=batch.documents)[0]
        documents = [[7, 8, 9, 0], [0, 11, 12, 0], [0, 13, 14, 15, 16, 0], [0, 17]]
        alone = [model.nats(torch.tensor([one[:-1]]), torch.tensor([one[1:]]))[0] for one in documents]
    torch.testing.assert_close(found, torch.cat(alone), rtol=0, atol=1e-5)


def test_a_prefix_sees_all_of_itself_and_nothing_later(model: Transformer) -> None:
    tokens, prefix = random_tokens(1, 12, seed=2), torch.tensor([5])
    with torch.no_grad():
        before = model(tokens, prefix=prefix)
        for place, expected in [(4, [True] * 12), (5, [False] * 5 + [True] * 7), (9, [False] * 9 + [True] * 3)]:
            changed = tokens.clone()
            changed[0, place] = (changed[0, place] + 1) % 40
            assert moved(before, model(changed, prefix=prefix)) == expected
        torch.testing.assert_close(model(tokens, prefix=torch.tensor([1])), model(tokens), rtol=0, atol=1e-5)


def test_without_causality_all_see_all_inside_their_document(model: Transformer) -> None:
    tokens, documents = random_tokens(1, 12, seed=3), torch.tensor([[0] * 8 + [1] * 4])
    changed = tokens.clone()
    changed[0, 6] = (changed[0, 6] + 1) % 40
    with torch.no_grad():
        assert moved(model(tokens, causal=False), model(changed, causal=False)) == [True] * 12
        found = moved(
            model(tokens, causal=False, documents=documents), model(changed, causal=False, documents=documents)
        )
    assert found == [True] * 8 + [False] * 4


def test_a_prefix_does_not_reach_into_the_next_document() -> None:
    mask = dense_mask(Seen(torch.tensor([[0, 0, 1, 1]]), torch.tensor([3])), 4, torch.device("cpu"))
    assert mask is not None
    assert mask[0, 0].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    assert dense_mask(Seen(), 4, torch.device("cpu")) is None


@given(lengths=st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=6).map(tuple), min_size=1, max_size=3))
def test_cuts_are_those_of_all_rows_laid_end_to_end(lengths: list[tuple[int, ...]]) -> None:
    width = max(sum(row) for row in lengths)
    rows = [(*row, width - sum(row)) if sum(row) < width else row for row in lengths]
    # Rows may begin with any number, so also with the one that the row before ended with.
    documents = torch.stack([torch.repeat_interleave(torch.arange(7, 7 + len(row)), torch.tensor(row)) for row in rows])
    found = Cutter().cut(documents)
    expected, total = [0], 0
    for row in rows:
        for length in row:
            total += length
            expected.append(total)
    ends = found.ends.tolist()
    assert ends[: len(expected)] == expected
    assert set(ends[len(expected) :]) <= {total}
    assert found.ends.dtype == torch.int32
    assert max(map(max, rows)) <= found.longest <= width


def test_cuts_keep_their_size() -> None:
    """Compiled code must not meet a new one with every batch: it grows by doubling, and never shrinks."""
    cutter, sizes = Cutter(), []
    for number in (1, 3, 40, 2, 33, 64, 65, 1):
        documents = torch.arange(2 * 512).clamp(max=number).view(2, 512)
        found = cutter.cut(documents)
        sizes.append((len(found.ends) - 1, found.longest))
    # A micro-batch of 1,024 tokens has room for 4; a row of 512 begins at each half.
    assert [count for count, _ in sizes] == [4, 8, 64, 64, 64, 128, 128, 128]
    assert {longest for _, longest in sizes} == {512}
    short = Cutter()
    longest = [short.cut(torch.arange(100)[None] // size).longest for size in (3, 9, 2, 64, 100)]
    assert longest == [4, 16, 16, 64, 100]


@pytest.mark.parametrize("causal", [True, False])
def test_a_cut_micro_batch_equals_documents_alone(
    monkeypatch: pytest.MonkeyPatch, model: Transformer, causal: bool
) -> None:
    """The whole way, from the batch to the kernel, of which a loop over documents takes the place on a CPU."""
    monkeypatch.setattr(varlen, "_kernel", lambda: by_document)
    monkeypatch.setattr(varlen, "_parameters", lambda _: frozenset({"window_size", "enable_gqa"}))
    monkeypatch.setattr(sight, "_by_document", lambda *_: True)
    rows = np.array([[7, 8, 0, 9, 10, 0, 11, 12, 13], [1, 2, 3, 4, 5, 6, 0, 7, 8]])
    batch = next_token_batch(rows, eos_id=0, document_mask=True)
    cutter = Cutter()
    with torch.no_grad():
        for number, part in enumerate(batch.split(1)):
            cut = part.cut(cutter)
            assert cut.cuts is not None
            found = model.nats(cut.inputs, cut.targets, documents=cut.documents, causal=causal, cuts=cut.cuts)[0]
            begins = [[0, 2, 5, 8], [0, 6, 8]][number]
            pieces = [(part.inputs[:, i:j], part.targets[:, i:j]) for i, j in itertools.pairwise(begins)]
            alone = [model.nats(*piece, causal=causal)[0] for piece in pieces]
            torch.testing.assert_close(found, torch.cat(alone), rtol=0, atol=1e-5)
            masked = model.nats(cut.inputs, cut.targets, documents=cut.documents, causal=causal)[0]
            torch.testing.assert_close(found, masked, rtol=0, atol=1e-5)


def by_document(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    **options: object,
) -> Tensor:
    """What the kernel computes; it itself wants a GPU."""
    assert torch.equal(cu_seq_q, cu_seq_k)
    assert (cu_seq_q.diff().max() <= max_q, max_k) == (True, max_q)
    parts = []
    for begin, end in itertools.pairwise(cu_seq_q):
        alone = (one[begin:end].transpose(0, 1)[None] for one in (query, key, value))
        together = scaled_dot_product_attention(
            *alone, is_causal=options.get("window_size") == (-1, 0), enable_gqa=True
        )
        parts.append(together[0].transpose(0, 1))
    return torch.cat(parts)


@pytest.mark.parametrize("causal", [True, False])
def test_rows_laid_end_to_end_equal_the_mask(monkeypatch: pytest.MonkeyPatch, causal: bool) -> None:
    monkeypatch.setattr(varlen, "_kernel", lambda: by_document)
    monkeypatch.setattr(varlen, "_parameters", lambda _: frozenset({"window_size", "enable_gqa"}))
    documents = torch.tensor([[0, 0, 0, 1, 1, 2], [4, 5, 5, 5, 5, 5]])
    random = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, heads, 6, 8, generator=random) for heads in (4, 2, 2))
    found = varlen.attend_by_document(query, key, value, Cutter().cut(documents), causal=causal)
    mask = dense_mask(Seen(documents, causal=causal), 6, torch.device("cpu"))
    expected = scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        pytest.param({"is_causal"}, {"is_causal": True}, id="torch-2.10"),
        pytest.param({"window_size"}, {"window_size": (-1, 0)}, id="torch-2.11"),
        pytest.param({"window_size", "enable_gqa"}, {"window_size": (-1, 0), "enable_gqa": True}, id="torch-2.13"),
    ],
)
def test_each_torch_is_asked_in_its_own_words(
    monkeypatch: pytest.MonkeyPatch, parameters: set[str], expected: dict[str, object]
) -> None:
    asked: dict[str, object] = {}

    def varlen_attn(query: Tensor, *_: object, **options: object) -> Tensor:
        asked.update(options)
        return query

    monkeypatch.setattr(varlen, "_kernel", lambda: varlen_attn)
    monkeypatch.setattr(varlen, "_parameters", lambda _: frozenset(parameters))
    heads = torch.zeros(1, 4, 2, 8)
    varlen.attend_by_document(heads, heads[:, :2], heads[:, :2], Cuts(torch.tensor([0, 2]), 2), causal=True)
    assert asked == expected


def test_a_torch_without_the_kernel_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen, "_kernel", lambda: None)
    assert not varlen.can_attend_by_document()
    with pytest.raises(RuntimeError, match="set attention to sdpa"):
        varlen.attend_by_document(*[torch.zeros(1, 1, 1, 8)] * 3, Cuts(torch.tensor([0, 1]), 1), causal=True)


def test_plain_training_asks_for_no_mask() -> None:
    """The fast path: a row without documents and prefix must not pay for a mask of T x T."""
    seen = []
    model = Transformer(SMALL, 40, max_length=12)
    model.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    model(random_tokens(1, 12))
    assert [(one.mask, one.cuts, one.causal) for one in seen] == [(None, None, True)]


@pytest.mark.parametrize(
    ("wished", "capability", "autocast", "backend", "by_document"),
    [
        ("auto", 9, True, "cudnn", True),
        ("auto", 9, False, "cudnn", False),  # float32 has no such kernel
        ("auto", 8, True, "sdpa", True),
        ("sdpa", 9, True, "sdpa", False),
        ("cudnn", 8, True, "cudnn", False),
        ("flash", 9, True, "flash", True),
        ("varlen", 9, True, "cudnn", True),
    ],
)
def test_kernels_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch, wished: str, capability: int, autocast: bool, backend: str, by_document: bool
) -> None:
    """What is chosen where there is a GPU; the tokens only say that they lie on one."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (capability, 0))
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: autocast)
    model = Transformer(SMALL, 40, max_length=4, attention=wished)
    on_gpu = SimpleNamespace(shape=(1, 4), device=torch.device("cuda"))
    plain = make_sight(model, on_gpu, Seen(), None)
    assert (plain.backend, plain.mask, plain.cuts) == (backend, None, None)
    documents = torch.tensor([[0, 0, 1, 1]])
    monkeypatch.setattr(sight, "dense_mask", lambda *_: "a mask")
    cuts = Cutter().cut(documents)
    masked = make_sight(model, on_gpu, Seen(documents, cuts=cuts), None)
    assert (masked.cuts is cuts, masked.mask) == (by_document, None if by_document else "a mask")
    assert make_sight(model, on_gpu, Seen(documents, torch.tensor([2]), cuts=cuts), None).mask == "a mask"
    assert make_sight(model, on_gpu, Seen(documents), None).mask == "a mask"
