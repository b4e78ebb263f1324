"""Continuations of real models: with and without cache, and as transformers continues them; contrastive decoding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from pipeline.errors import UserError
from pipeline.generation import scorer
from pipeline.generation.contrastive import Contrastive, contrast
from pipeline.generation.generate import generate
from pipeline.generation.options import Options
from pipeline.generation.scorer import ModelScorer
from pipeline.generation.texts import Marks
from pipeline.pretrain.config import Shape
from pipeline.pretrain.model.load import LoadedModel, load_model
from pipeline.pretrain.model.transformer import Transformer
from tests.pipeline.generation.fakes import EOS, Table, marks

SMALL = Shape(layers=2, dim=32, heads=4, kv_heads=2, ffn_dim=64)
PROMPTS = [[0, 5, 9, 9, 31], [0, 7], [0], [0, 3, 3, 40, 2, 11, 8, 1, 6]]
MARKS = Marks(eos_id=EOS, begin_id=EOS, vocab_size=48)


def model(seed: int, **changes: object) -> LoadedModel:
    """Untrained, with weights large enough for an opinion."""
    shape = SMALL.model_copy(update=changes)
    made = Transformer(shape, 48, max_length=64, seed=seed)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)
    return LoadedModel(made.eval(), shape, 64, EOS, EOS)


def whole(of: LoadedModel, rows: list[list[int]]) -> Tensor:
    """Logits after each row, every row alone and from its beginning."""
    with torch.inference_mode():
        return torch.cat([of.model(torch.tensor([row]))[:, -1] for row in rows])


@pytest.mark.parametrize("at_once", [1, 8, 1 << 14], ids=["one by one", "two by two", "whole"])
@pytest.mark.parametrize("changes", [{}, {"qk_norm": True, "kv_heads": 4, "tied": False}], ids=["grouped", "qk_norm"])
def test_logits_with_a_cache_are_those_without(
    monkeypatch: pytest.MonkeyPatch, at_once: int, changes: dict[str, object]
) -> None:
    """Rows of different lengths, filled in parts, then multiplied, exchanged and dropped while they grow."""
    monkeypatch.setattr(scorer, "_PREFILL_TOKENS", at_once)
    loaded = model(1, **changes)
    cached = ModelScorer(loaded)
    rows = [list(prompt) for prompt in PROMPTS]
    torch.testing.assert_close(cached.begin(rows, 20), whole(loaded, rows), rtol=1e-4, atol=1e-4)
    random = np.random.default_rng(0)
    for picked in ([0, 1, 2, 3], [2, 2, 0, 1, 3, 3], [5, 1, 1, 0, 4, 3], [4, 0], [1, 0], [1], [0, 0, 0]):
        cached.reorder(torch.tensor(picked))
        new = random.integers(1, 48, len(picked))
        rows = [[*rows[row], int(token)] for row, token in zip(picked, new, strict=True)]
        found = cached.step(torch.from_numpy(new))
        torch.testing.assert_close(found, whole(loaded, rows), rtol=1e-4, atol=1e-4)


def test_prompts_of_a_prefix_model_see_both_ways() -> None:
    loaded = model(1)
    prefixed = ModelScorer(loaded, prefix=True)
    found = prefixed.begin(PROMPTS, 4)
    new = torch.tensor([4, 5, 6, 7])
    after = prefixed.step(new)
    for row, prompt in enumerate(PROMPTS):
        text = torch.tensor([[*prompt, int(new[row])]])
        with torch.inference_mode():
            alone = loaded.model(text, prefix=torch.tensor([len(prompt)]))[0]
        torch.testing.assert_close(found[row], alone[-2], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(after[row], alone[-1], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, ModelScorer(loaded).begin(PROMPTS, 4), atol=1e-2)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[LlamaForCausalLM, LoadedModel]:
    """A model of transformers, and what we read from its files."""
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=48, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, eos_token_id=EOS, bos_token_id=EOS, initializer_range=0.3,
    )  # fmt: skip
    theirs = LlamaForCausalLM(config).eval()
    folder = tmp_path_factory.mktemp("llama")
    theirs.save_pretrained(folder)
    return theirs, load_model(folder)


def continued(theirs: LlamaForCausalLM, prompt: list[int], **how: object) -> tuple[int, ...]:
    """What transformers adds, without the end mark."""
    tokens = torch.tensor([[EOS, *prompt]])
    with torch.inference_mode():
        found = theirs.generate(
            tokens, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=12, pad_token_id=47, **how
        )
    new = found[0, tokens.shape[1] :].tolist()
    return tuple(new[: new.index(EOS)] if EOS in new else new)


@pytest.mark.parametrize(
    ("ours", "how"),
    [
        ({}, {}),
        # Transformers counts the mark before the text as a word of it; here only the n-grams are compared.
        ({"no_repeat_ngram": 2}, {"no_repeat_ngram_size": 2}),
        ({"beams": 4, "length_penalty": 0.0}, {"num_beams": 4, "length_penalty": 0.0, "early_stopping": "never"}),
    ],
    ids=["greedy", "ngrams", "beams"],
)
def test_continues_as_transformers_does(
    llama: tuple[LlamaForCausalLM, LoadedModel], ours: dict[str, object], how: dict[str, object]
) -> None:
    theirs, loaded = llama
    prompts = [[5, 9, 9, 31], [7], [3, 3, 40, 2, 11, 8, 1, 6], [20, 21], [30], [44, 2, 2], [12], [13], [14]]
    found = generate(ModelScorer(loaded), prompts, Options(max_new_tokens=12, **ours), MARKS)
    expected = [continued(theirs, prompt, **how) for prompt in prompts]
    assert [best.tokens for best, *_ in found] == expected
    assert len(set(expected)) > 6


def test_continuations_by_the_same_numbers_in_any_batch() -> None:
    prompts = [prompt[1:] for prompt in PROMPTS]
    options = Options(top_p=0.9, max_new_tokens=30, samples=2)
    one, many = (generate(ModelScorer(model(1)), prompts, options, MARKS, batch_rows=rows) for rows in (1, 16))
    assert [[c.tokens for c in samples] for samples in one] == [[c.tokens for c in samples] for samples in many]


def test_contrast_by_hand() -> None:
    """p 0.5, 0.3, 0.15, 0.05 against 0.25 each: at alpha 0.4 what has less than 0.2 is out."""
    larger = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    found = contrast(larger, torch.zeros(1, 4), alpha=0.4, temperature=1.0)[0]
    assert found[:2].tolist() == pytest.approx([np.log(2), np.log(1.2)], abs=1e-6)
    assert (found[2:] < -9_000).all()
    # The smaller model is sure of the first: the second says more. At a high temperature it is sure of nothing.
    sure = torch.tensor([[9.0, 0.0, 0.0, 0.0]])
    assert contrast(larger, sure, alpha=0.4, temperature=1.0).argmax() == 1
    assert contrast(larger, sure, alpha=0.4, temperature=1e6).argmax() == 0


def slow_contrastive(pair: tuple[LoadedModel, LoadedModel], prompt: list[int], length: int) -> list[int]:
    """Greedy by log p - log p of the smaller one, over tokens with at least 0.1 of the best one's p."""
    text = [EOS, *prompt]
    for _ in range(length):
        ours, theirs = (whole(one, [text])[0].double().softmax(0) for one in pair)
        scores = {t: float(ours[t] / theirs[t]) for t in range(48) if ours[t] >= 0.1 * ours.max()}
        token = max(scores, key=lambda t: scores[t])
        if token == EOS:
            break
        text.append(token)
    return text[1 + len(prompt) :]


def test_contrastive_decoding_takes_what_the_smaller_model_does_not_say() -> None:
    pair = model(1), model(2, layers=1, dim=16, heads=2, kv_heads=1)
    both = Contrastive(ModelScorer(pair[0]), ModelScorer(pair[1]))
    prompts = [prompt[1:] for prompt in PROMPTS]
    # One prompt at a time, too: rows leave the batch at different steps, and both models must follow.
    for rows in (1, 8):
        found = generate(both, prompts, Options(max_new_tokens=15), MARKS, batch_rows=rows)
        assert [list(one.tokens) for (one,) in found] == [slow_contrastive(pair, prompt, 15) for prompt in prompts]
    alone = generate(ModelScorer(pair[0]), prompts, Options(max_new_tokens=15), MARKS)
    assert [c.tokens for (c,) in alone] != [c.tokens for (c,) in found]


def test_contrastive_beams_add_up_scores() -> None:
    """Of all texts of three tokens that of the highest sum, since twice as many beams as texts lose none."""
    larger, smaller = Table.random(4, seed=1, scale=0.5), Table.random(4, seed=2, scale=0.5)
    both = Contrastive(larger, smaller, alpha=1e-9)
    options = Options(beams=64, max_new_tokens=3, length_penalty=0.0, min_new_tokens=3)
    best = generate(both, [[2]], options, marks(4))[0][0]

    def total(tokens: tuple[int, ...]) -> float:
        text, found = [1, 2], 0.0
        for token in tokens:
            for sign, one in ((1, larger), (-1, smaller)):
                logits = one.logits(text).astype(np.float64)
                found += sign * (logits[token] - np.log(np.exp(logits).sum()))
            text.append(token)
        return found

    texts = [(a, b, c) for a in range(1, 4) for b in range(1, 4) for c in range(1, 4)]
    assert best.tokens == max(texts, key=total)
    assert best.log_prob == pytest.approx(total(best.tokens))


def test_what_is_implausible_comes_only_where_nothing_else_is_left() -> None:
    """The only plausible token may not come twice: the next best of the larger model does, not the end."""
    table = np.zeros((5, 5, 5), np.float32)
    table[:, :, 2], table[:, :, 3] = 20, 5
    both = Contrastive(Table(table), Table(np.zeros((5, 5, 5), np.float32)))
    found = generate(both, [[4]], Options(max_new_tokens=2, no_repeat_ngram=1), marks(5))
    assert found[0][0].tokens == (2, 3)


def test_a_pair_of_different_vocabularies_is_refused() -> None:
    with pytest.raises(UserError, match="5 ids, the larger 4"):
        Contrastive(Table.random(4, seed=0), Table.random(5, seed=0))
    with pytest.raises(UserError, match="0 < alpha <= 1"):
        Contrastive(Table.random(4, seed=0), Table.random(4, seed=0), alpha=0)


def test_a_pair_has_the_positions_of_the_shorter_model() -> None:
    both = Contrastive(Table.random(4, seed=0, max_length=9), Table.random(4, seed=0, max_length=5))
    with pytest.raises(UserError, match="longer than the 5 positions"):
        generate(both, [[2, 3, 2, 3, 2]], Options(), marks(4))
