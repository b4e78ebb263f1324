"""Recipes that stream into the trainer: what they may take from."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.pretrain.config import Streaming
from pipeline.pretrain.work import Pretrain
from workflows.recipe import load

RECIPE = """\
name: streamed
steps:
  crawl:
    read: {{format: jsonl, paths: [in.jsonl], source: small}}
  bpe:
    from: crawl
    train_tokenizer: {{vocab_size: 512}}
  tokens:
    from: crawl
    tokenize: {{tokenizer: {{step: bpe}}{tokenize}}}
  packed:
    from: tokens
    pack: {{sequence_length: 256}}
  mixed:
    from: tokens
    mix: {{by: source, weights: {{"*": 1}}, tokens: 409600}}
  model:
    from: {source}
    pretrain:
      streaming: {streaming}
"""


def recipe(folder: Path, source: str, streaming: str = "{window: 4}", tokenize: str = "") -> Path:
    path = folder / "streamed.yaml"
    path.write_text(RECIPE.format(source=source, streaming=streaming, tokenize=tokenize), encoding="utf-8")
    return path


def test_a_window_is_given_or_eight(tmp_path: Path) -> None:
    verb = load(recipe(tmp_path, "tokens"))["model"].verb
    assert isinstance(verb, Pretrain)
    assert verb.streaming == Streaming(window=4)
    assert load(recipe(tmp_path, "tokens", "{}"))["model"].verb.streaming == Streaming(window=8)
    assert load(recipe(tmp_path, "mixed", "null"))["model"].verb.streaming is None


@pytest.mark.parametrize(
    ("source", "tokenize", "said"),
    [
        ("mixed", "", "'mixed' plans what to draw once all tokens are counted.* or write `from: tokens`"),
        ("packed", "", "'packed' packs sequences once all tokens are there.* or write `from: tokens`"),
        (
            "tokens",
            ", tokens_per_shard: 1000",
            "'tokens' puts token shards together.* leave tokens_per_shard and shuffle",
        ),
    ],
    ids=["mixed", "packed", "regrouped"],
)
def test_what_needs_all_tokens_first_is_refused(tmp_path: Path, source: str, tokenize: str, said: str) -> None:
    with pytest.raises(UserError, match=rf"streamed\.yaml:20: step 'model': {said}"):
        load(recipe(tmp_path, source, tokenize=tokenize))
    load(recipe(tmp_path, source, "null", tokenize))


def test_a_misspelt_window_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"streamed\.yaml:20: .*window"):
        load(recipe(tmp_path, "tokens", "{windw: 4}"))
