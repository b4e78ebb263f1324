"""Tokenizers that cannot do what a step asks of them: refused by ``plan`` and ``run`` before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from pipeline.errors import UserError
from tests.workflows.conftest import Call
from workflows.recipe import load

MARKS = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
RECIPE = """\
name: linked
steps:
  docs:
    read: {{format: jsonl, paths: [in.jsonl]}}
  bpe:
    from: docs
    train_tokenizer: {{special_tokens: ["<|endoftext|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]}}
  plain:
    from: docs
    train_tokenizer: {{vocab_size: 4096}}
  again:
    from: docs
    train_tokenizer: {{special_tokens: ["<|endoftext|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]}}
  uni:
    from: docs
    train_tokenizer: {{algorithm: unigram}}
  tokens:
    from: docs
    tokenize: {tokenize}
  packed:
    from: tokens
    pack:
      sequence_length: 512
      {fim}
"""
STEP = "{tokenizer: {step: bpe}}"
FILE = "{tokenizer: {file: some.json}}"


def write(folder: Path, tokenize: str = STEP, fim: str = "policy: concat") -> Path:
    """The recipe, and a byte-level tokenizer and another in files."""
    for name, marks in (("some.json", ("<|endoftext|>", *MARKS)), ("other.json", ("<s>", *MARKS[:2]))):
        made = Tokenizer(models.BPE({letter: k for k, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}, []))
        made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        made.add_special_tokens(list(marks))
        made.save(str(folder / name))
    words = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    words.save(str(folder / "words.json"))
    (folder / "broken.json").write_text('{"model": 1}', encoding="utf-8")
    (folder / "in.jsonl").write_text('{"text": "a text"}\n', encoding="utf-8")
    path = folder / "linked.yaml"
    path.write_text(RECIPE.format(tokenize=tokenize, fim=fim), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("tokenize", "fim", "said"),
    [
        (
            "{tokenizer: {file: other.json}}",
            "policy: concat",
            "19: step 'tokens': eos: the tokenizer has no token '<|endoftext|>'; name one of its special tokens: ['<s>'",
        ),
        (
            '{tokenizer: {step: plain}, eos: "</s>"}',
            "policy: concat",
            (
                "19: step 'tokens': eos: '</s>' is none of the special_tokens of step 'plain', which ends documents with the "
                "first of them; write eos: '<|endoftext|>', or add it"
            ),
        ),
        ("{tokenizer: {file: broken.json}}", "policy: concat", "19: step 'tokens': cannot read a tokenizer from"),
        (
            "{tokenizer: {step: plain}}",
            "fim: {tokenizer: {step: plain}}",
            (
                "24: step 'packed': fim: <|fim_prefix|>, <|fim_suffix|>, <|fim_middle|> are no special token of step 'plain' "
                "(it has <|endoftext|>); train with special_tokens that hold them"
            ),
        ),
        (
            STEP,
            'fim: {tokenizer: {step: bpe}, suffix: "<|fim_sufix|>"}',
            "24: step 'packed': fim: <|fim_sufix|> is no special token of step 'bpe'",
        ),
        (
            STEP,
            "fim: {tokenizer: {step: plain}}",
            (
                "24: step 'packed': fim.tokenizer is plain, but the tokens of step 'tokens' are made by bpe; write fim: "
                "{tokenizer: {step: bpe}}"
            ),
        ),
        ("{tokenizer: {step: uni}}", "fim: {tokenizer: {step: uni}}", "step 'uni' trains unigram; give that step"),
        (FILE, "fim: {tokenizer: {file: other.json}}", "24: step 'packed': fim.tokenizer is "),
        (
            '{tokenizer: {file: other.json}, eos: "<s>"}',
            "fim: {tokenizer: {file: other.json}}",
            "24: step 'packed': fim: <|fim_middle|> is no special token of tokenizer ",
        ),
        (
            '{tokenizer: {file: words.json}, eos: "[UNK]"}',
            "fim: {tokenizer: {file: words.json}}",
            "24: step 'packed': fim cuts texts at characters",
        ),
    ],
    ids=["eos", "eos-step", "unreadable", "marks", "mark", "steps", "unigram", "files", "marks-file", "words-file"],
)
def test_what_cannot_work_is_refused_with_its_line(tmp_path: Path, tokenize: str, fim: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        load(write(tmp_path, tokenize, fim))
    assert said in str(refused.value)
    assert str(refused.value).startswith("1 mistake")


@pytest.mark.parametrize(
    ("tokenize", "fim"),
    [
        (STEP, "fim: {tokenizer: {step: bpe}}"),
        (STEP, "fim: {tokenizer: {step: again}}"),  # trained alike, so the same
        (FILE, "fim: {tokenizer: {file: some.json}}"),
        (FILE, "fim: {tokenizer: {step: bpe}}"),  # a file may hold what a step makes again
        ('{tokenizer: {file: other.json}, eos: "<s>"}', "policy: concat"),
        ('{tokenizer: {step: bpe}, eos: "<|fim_middle|>"}', "policy: concat"),
    ],
    ids=["step", "alike", "file", "file-and-step", "eos-file", "eos-step"],
)
def test_what_may_work_is_not_refused(tmp_path: Path, tokenize: str, fim: str) -> None:
    assert [step.name for step in load(write(tmp_path, tokenize, fim)).steps][-1] == "packed"


@pytest.mark.parametrize("command", ["plan", "run"])
def test_both_commands_refuse_before_anything_runs(tmp_path: Path, command: str, sluice: Call) -> None:
    path = write(tmp_path, "{tokenizer: {file: other.json}}")
    out = () if command == "plan" else ("--out", tmp_path / "run", "--backend", "inline")
    result = sluice(command, path, *out)
    assert result.exit_code == 2
    assert "step 'tokens': eos" in result.stderr
    assert not (tmp_path / "run").exists()
