"""``sluice evaluate``: a run's model on held-out documents, steps, files, questions and continuations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.pretrain.training.metrics import read_metrics
from tests.workflows.conftest import Call, copy_model, fox, run_of_rows
from workflows.models import Found

RECIPE = """\
name: evaluate
steps:
  crawl:
    read: {format: jsonl, paths: ["in.jsonl"], columns: {text: text, url: url, source: source, language: lang}}
  bpe:
    from: crawl
    train_tokenizer: {algorithm: byte_bpe, vocab_size: 384}
  other_bpe:
    from: crawl
    train_tokenizer: {algorithm: byte_bpe, vocab_size: 384, digits: 1}
  tokens:
    from: crawl
    tokenize: {tokenizer: {step: bpe}}
  other_tokens:
    from: crawl
    tokenize: {tokenizer: {step: other_bpe}}
  model:
    from: tokens
    pretrain: {sequence_length: 32, steps: 6, workers: 1, batch_size: 2, held_out_fraction: 0.3}
"""
NUM_DOCUMENTS = 40


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, sluice: Call) -> Path:
    """A run with texts of two languages from two sources."""
    rows = [
        {
            "url": f"http://a.example/{n}",
            "text": f"第{n}天天气很好，我们去公园玩{n % 7}小时。" * 3 if n % 4 == 0 else fox(n),
            "source": "web" if n % 3 else "book",
            "lang": "en" if n % 4 else "zh",
        }
        for n in range(NUM_DOCUMENTS)
    ]
    return run_of_rows(sluice, tmp_path_factory.mktemp("evaluate"), RECIPE, rows)


@pytest.fixture(scope="module")
def folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its model as Hugging Face has models."""
    return copy_model(str(run), tmp_path_factory.mktemp("model"))


def told(sluice: Call, *arguments: object) -> dict[str, Any]:
    done = sluice("evaluate", *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_held_out_documents_without_overlap_are_what_training_measured(run: Path, sluice: Call) -> None:
    """By another way: the weights from the export, the documents from the run, windows that do not overlap."""
    (metrics,) = run.glob("model-*/metrics.jsonl")
    last = read_metrics(metrics)[-1]
    found = told(sluice, run, "--stride", 32)["texts"]["held out"]
    assert found["bits_per_byte"] == pytest.approx(last["bits_per_byte"], rel=1e-5)
    assert (found["documents"], found["bytes"], found["tokens"]) == (last["documents"], last["bytes"], last["tokens"])
    for name, part in last["languages"].items():
        assert found["by_language"][name]["bits_per_byte"] == pytest.approx(part["bits_per_byte"], rel=1e-5)
    assert {*found["by_source"]} == {*last["sources"]} == {"web", "book"}


def test_tokens_documents_and_files_of_the_same_texts_score_the_same(run: Path, folder: Path, sluice: Call) -> None:
    texts = run.parent / "in.jsonl"
    tokens = told(sluice, run, "--step", "tokens")["texts"][f"{run}:tokens"]
    found = told(sluice, folder, "--run", run, "--step", "crawl", "--texts", texts)["texts"]
    assert tokens["documents"] == NUM_DOCUMENTS
    assert tokens["bytes"] == sum(len(orjson.loads(line)["text"].encode()) for line in texts.read_bytes().split(b"\n"))
    for one in found.values():
        assert {key: one[key] for key in ("documents", "bytes", "tokens")} == {
            key: tokens[key] for key in ("documents", "bytes", "tokens")
        }
        assert one["bits_per_byte"] == pytest.approx(tokens["bits_per_byte"], rel=1e-6)
        assert one["by_language"]["zh"]["bits_per_byte"] == pytest.approx(
            tokens["by_language"]["zh"]["bits_per_byte"], rel=1e-6
        )
    assert told(sluice, run, "--step", "crawl", "--max-documents", 7)["texts"][f"{run}:crawl"]["documents"] == 7


def test_questions_and_continuations(run: Path, tmp_path: Path, sluice: Call) -> None:
    questions, prompts = tmp_path / "q.jsonl", tmp_path / "c.jsonl"
    wrong = " zqxj zqxj zqxj zqxj"
    lines = [{"prompt": "the quick brown", "choices": [" fox jumps", wrong], "answer": " fox jumps"}] * 3
    questions.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    # What the model writes greedily is by definition an exact match, and every token the likeliest.
    done = sluice("generate", run, "--prompt", "the quick", "--max-new-tokens", 16, "--json")
    written = json.loads(done.stdout)["text"]
    rows = [{"prompt": "the quick", "answer": written}, {"prompt": "今天天气", "references": ["很好", "好"]}]
    prompts.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    found = told(sluice, run, "--choices", questions, "--continuations", prompts)
    assert found["texts"] == {}
    assert found["choices"][str(questions)]["accuracy_sum"] == {"value": 1.0, "standard_error": 0.0}
    continued = found["continuations"][str(prompts)]["by_language"]
    assert (continued["und"]["exact_match"], continued["und"]["rouge1"]) == (1.0, 1.0)
    assert {*continued} == {"und", "zh"}
    plain = sluice("evaluate", run, "--choices", questions, "--continuations", prompts)
    assert "accuracy per token" in plain.stdout
    assert "tok:zh" in plain.stdout


def test_lines_too_long_for_the_model_are_left_out_and_told(run: Path, tmp_path: Path, sluice: Call) -> None:
    """The model has 32 positions; one line in two has a choice, or a reference, of 200 tokens or so."""
    long = " zqxj" * 50
    lines = {
        "q.jsonl": [{"prompt": "the", "choices": [" fox", last], "answer": 0} for last in (long, " dog")],
        "c.jsonl": [{"prompt": "the", "answer": answer} for answer in (" fox", long)],
    }
    for name, rows in lines.items():
        (tmp_path / name).write_bytes(b"\n".join(map(orjson.dumps, rows)))
        (tmp_path / f"all-{name}").write_bytes(orjson.dumps(rows[name == "c.jsonl"]))
    asked = ("--choices", tmp_path / "q.jsonl", "--continuations", tmp_path / "c.jsonl", "--max-new-tokens", 2)
    found = told(sluice, run, *asked)
    questions, prompts = (found[kind][str(asked[at])] for kind, at in (("choices", 1), ("continuations", 3)))
    assert (questions["questions"], questions["too_long"]) == (1, 1)
    assert (prompts["prompts"], prompts["too_long"]) == (1, 1)
    plain = sluice("evaluate", run, *asked).stdout
    assert "left out: 1 questions with a choice of more tokens than the model has positions" in plain
    assert "± -" in plain
    assert "± 0.000" not in plain
    for option, name in (("--choices", "all-q.jsonl"), ("--continuations", "all-c.jsonl")):
        refused = sluice("evaluate", run, option, tmp_path / name)
        assert refused.exit_code == 2
        assert f"{name}: every line has a choice or a reference of more tokens" in refused.stderr


def test_tables(run: Path, sluice: Call) -> None:
    plain = sluice("evaluate", run).stdout
    assert "language zh" in plain
    assert "windows of 32 tokens, 16 apart" in plain


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{folder}"], "{folder} is no run, so there are no documents"),
        (["{folder}", "--step", "tokens"], "say of which run by --run"),
        (["{run}", "--run", "{run}"], "say which step of it by --step"),
        (["{run}", "--step", "other_tokens"], "were made by a tokenizer with sha256"),
        (["{run}", "--step", "bpe"], "not documents"),
        (["{run}", "--step", "token"], "did you mean 'tokens'?"),
        (["{run}", "--length", "33"], "the model has 32 positions"),
        (["{run}", "--length", "8", "--stride", "9"], "--stride 9 is more than the 8 tokens of a window"),
        (["{run}", "--texts", "none.jsonl"], "none.jsonl is not there"),
        (["{run}", "--choices", "none.jsonl"], "cannot read none.jsonl"),
        (["nowhere"], "nowhere is neither a folder"),
    ],
    ids=["folder", "no_run", "no_step", "tokenizer", "kind", "typo", "length", "stride", "texts", "choices", "model"],
)
def test_refusals(run: Path, folder: Path, sluice: Call, arguments: list[str], words: str) -> None:
    places = {"run": run, "folder": folder}
    done = sluice("evaluate", *(one.format(**places) for one in arguments))
    assert done.exit_code == 2, done.stdout
    assert words.format(**places) in done.stderr


def test_no_room_for_a_prompt(run: Path, tmp_path: Path, sluice: Call) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"prompt": "a", "answer": "b"}\n')
    done = sluice("evaluate", run, "--continuations", path, "--max-new-tokens", 32)
    assert done.exit_code == 2
    assert "leaves no room for a prompt in the model's 32 positions" in done.stderr


def test_a_model_that_fills_in_masks_is_refused(run: Path, sluice: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Found, "objective", "mlm")
    done = sluice("evaluate", run)
    assert done.exit_code == 2
    assert "was trained to fill in masks" in done.stderr
