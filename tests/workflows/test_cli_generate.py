"""``sluice generate``: from a run, from a folder, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
import torch

from pipeline.dataset import Run
from tests.workflows.conftest import Call, copy_model
from workflows.models import find_model


@pytest.fixture(scope="module")
def run(trained: Path) -> Path:
    """A run with two models of one tokenizer."""
    return trained


@pytest.fixture(scope="module")
def folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The larger one as Hugging Face has models."""
    return copy_model(f"{run}:model", tmp_path_factory.mktemp("model"))


def told(sluice: Call, *arguments: object) -> list[dict[str, Any]]:
    done = sluice("generate", *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_continues_a_prompt_by_the_run_s_own_tokenizer(run: Path, sluice: Call) -> None:
    (found,) = told(sluice, f"{run}:model", "--prompt", "the quick brown", "--max-new-tokens", 8)
    assert (found["prompt"], found["tokens"], found["ended"], found["number"]) == ("the quick brown", 8, "length", 0)
    # The same by hand: the mark that ends a document, the prompt, and the likeliest token eight times over.
    model = find_model(f"{run}:model")
    ids = model.encoder.encode(pa.array(["the quick brown"], pa.large_string()))[0].tolist()
    text = [model.encoder.token_id("<|endoftext|>"), *ids]
    loaded = model.load()
    with torch.inference_mode():
        for _ in range(8):
            text.append(int(loaded.model(torch.tensor([text]))[0, -1, : model.encoder.vocab_size].argmax()))
    assert model.decoder.text(text[1:]) == "the quick brown" + found["text"]
    plain = sluice("generate", f"{run}:model", "--prompt", "the quick brown", "--max-new-tokens", 8)
    assert plain.stdout == "the quick brown" + found["text"] + "\n\n"


def test_a_folder_of_files_gives_the_same(run: Path, folder: Path, sluice: Call) -> None:
    prompts = ("--prompt", "the quick", "--prompt", "", "--max-new-tokens", 6)
    assert told(sluice, folder, *prompts) == told(sluice, f"{run}:model", *prompts)


def test_lines_in_lines_out(run: Path, tmp_path: Path, sluice: Call) -> None:
    """What stands beside a prompt comes back; a line a sample."""
    rows = [{"id": 7, "prompt": "the quick"}, {"id": 8, "prompt": "lazy dog"}]
    (tmp_path / "prompts.jsonl").write_bytes(b"\n\n".join(map(orjson.dumps, rows)))
    how = ("--prompts", tmp_path / "prompts.jsonl", "--samples", 2, "--top-p", 0.9, "--max-new-tokens", 5)
    found = told(sluice, f"{run}:model", *how)
    assert [(one["id"], one["prompt"], one["number"]) for one in found] == [
        (7, "the quick", 0), (7, "the quick", 1), (8, "lazy dog", 0), (8, "lazy dog", 1),
    ]  # fmt: skip
    assert found == told(sluice, f"{run}:model", *how)
    assert found != told(sluice, f"{run}:model", *how, "--seed", 1)
    # Neither the order of prompts nor the size of a batch changes what is drawn.
    (tmp_path / "prompts.jsonl").write_bytes(b"\n".join(map(orjson.dumps, reversed(rows))))
    again = told(sluice, f"{run}:model", *how, "--batch", 1)
    assert [one["text"] for one in again[2:] + again[:2]] == [one["text"] for one in found]


def test_beams_and_a_smaller_model(run: Path, sluice: Call) -> None:
    prompt = (f"{run}:model", "--prompt", "the quick", "--max-new-tokens", 6)
    beams = told(sluice, *prompt, "--beams", 3, "--all-beams")
    assert [one["number"] for one in beams] == [0, 1, 2]
    assert [one["score"] for one in beams] == sorted((one["score"] for one in beams), reverse=True)
    assert told(sluice, *prompt, "--beams", 3) == beams[:1]
    # Less itself a model has nothing to say: every plausible token scores 0.
    itself, pair = (told(sluice, *prompt, "--smaller", f"{run}:{name}") for name in ("model", "small_model"))
    assert itself[0]["log_prob"] == pytest.approx(0, abs=1e-6)
    assert pair[0]["log_prob"] > 1


def test_a_stop_text_is_cut_off(run: Path, sluice: Call) -> None:
    prompt = (f"{run}:model", "--prompt", "the", "--max-new-tokens", 12)
    whole = told(sluice, *prompt)[0]["text"]
    stop = whole[3:6]  # wherever tokens begin
    (found,) = told(sluice, *prompt, "--stop", stop, "--stop", "\x00")
    assert (found["text"], found["ended"]) == (whole[: whole.index(stop)], "stop")
    assert found["tokens"] < 12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{run}"], "trained several models; name one: {run}:model, {run}:small_model"),
        (["{run}:modle", "--prompt", "a"], "did you mean 'model'"),
        (["{run}:tokens", "--prompt", "a"], "step 'tokens' of {run} trains no model"),
        (["{run}/nowhere", "--prompt", "a"], "neither a folder with config.json and model.safetensors nor a run"),
        (["{run}:model"], "nothing to continue"),
        (["{run}:model", "--prompts", "{run}/none"], "cannot read the prompts"),
        (["{run}:model", "--prompts", "{run}/report.html"], "report.html:1: not JSON"),
        (["{run}:model", "--prompt", "a", "--beams", "2", "--top-k", "3"], "beams=2 does not go with top_k"),
        (["{run}:model", "--prompt", "a", "--top-p", "1.5"], "--top-p: "),
        (["{run}:model", "--prompt", "the " * 99], "longer than the 32 positions"),
        (["{run}:model", "--prompt", "a", "--smaller", "{run}:small_model", "--alpha", "0"], "0 < alpha <= 1"),
        (["{folder}", "--prompt", "a"], "no tokenizer.json beside"),
        (["{folder}", "--prompt", "a", "--tokenizer", "{run}/report.html"], "cannot read a tokenizer"),
        (["{folder}", "--prompt", "a", "--tokenizer", "{other}"], "has 384 ids, its tokenizer"),
        (["{run}:model", "--prompt", "a", "--smaller", "{with_other}"], "have different tokenizers"),
    ],
    ids=[
        "which model", "misspelt step", "no model step", "nowhere", "no prompt", "no file", "no JSON", "contradiction",
        "out of range", "long prompt", "alpha", "no tokenizer", "broken tokenizer", "other tokenizer", "other smaller",
    ],
)  # fmt: skip
def test_refusals(run: Path, folder: Path, tmp_path: Path, sluice: Call, arguments: list[str], words: str) -> None:
    alone, with_other = tmp_path / "alone", tmp_path / "with_other"
    for made in (alone, with_other):
        shutil.copytree(folder, made)
    (alone / "tokenizer.json").unlink()
    other = json.loads((folder / "tokenizer.json").read_text())
    other["added_tokens"].append({**other["added_tokens"][0], "id": 999, "content": "<|more|>"})
    other["model"]["vocab"]["<|more|>"] = 999
    (with_other / "tokenizer.json").write_text(json.dumps(other))
    places = {"run": run, "folder": alone, "with_other": with_other, "other": with_other / "tokenizer.json"}
    given = [argument.format(**places) for argument in arguments]
    done = sluice("generate", *given, *(["--prompt", "a"] if words.startswith("trained") else []))
    assert done.exit_code == 2
    assert words.format(**places) in done.stderr


def test_prompts_of_a_wrong_form_are_named_by_their_line(run: Path, tmp_path: Path, sluice: Call) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n{"promt": "b"}\n')
    done = sluice("generate", f"{run}:model", "--prompts", tmp_path / "p.jsonl")
    assert (done.exit_code, "p.jsonl:2: no field 'prompt'" in done.stderr) == (2, True)


def test_a_tokenizer_that_changed_since_is_refused(run: Path, folder: Path, tmp_path: Path, sluice: Call) -> None:
    """A recipe may name a file: what it holds now must be what the tokens were made with."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    facts = json.loads((copy / "run.json").read_text())
    changed = tmp_path / "tokenizer.json"
    changed.write_text((folder / "tokenizer.json").read_text() + "\n")
    facts["recipe"]["tokens"]["Tokenize"]["tokenizer"]["Artifact"] = {
        "step": None,
        "file": str(changed),
        "sha256": None,
    }
    (copy / "run.json").write_text(json.dumps(facts))
    done = sluice("generate", f"{copy}:model", "--prompt", "a")
    assert done.exit_code == 2
    assert "were made with" in done.stderr
    changed.unlink()
    done = sluice("generate", f"{copy}:model", "--prompt", "a")
    assert (done.exit_code, "is gone; give it by --tokenizer" in done.stderr) == (2, True)
    found = told(sluice, f"{copy}:model", "--prompt", "a", "--tokenizer", folder / "tokenizer.json")
    assert len(found) == 1


def test_the_objective_says_how_a_prompt_is_seen(run: Path, tmp_path: Path, sluice: Call) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    facts = json.loads((copy / "run.json").read_text())
    prompt = ("--prompt", "the quick brown", "--max-new-tokens", 6)

    def trained_with(kind: str) -> Path:
        facts["recipe"]["model"]["Pretrain"]["objective"] = {"Objective": {"kind": kind}}
        (copy / "run.json").write_text(json.dumps(facts))
        return copy

    causal, both_ways = (told(sluice, f"{run}:model", *prompt, how) for how in ("--causal", "--prefix"))
    assert causal == told(sluice, f"{run}:model", *prompt)
    assert causal[0]["log_prob"] != both_ways[0]["log_prob"]
    assert told(sluice, f"{trained_with('prefix')}:model", *prompt) == both_ways
    assert told(sluice, f"{trained_with('span')}:model", *prompt, "--causal") == causal
    refused = sluice("generate", f"{trained_with('mlm')}:model", *prompt)
    assert (refused.exit_code, "trained to fill in masks" in refused.stderr) == (2, True)


def test_a_model_that_is_not_trained_yet(run: Path, tmp_path: Path, sluice: Call) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / Run.open(str(run)).nodes["model"]["dataset"] / "commits")
    done = sluice("generate", f"{copy}:model", "--prompt", "a")
    assert (done.exit_code, "has trained no model yet" in done.stderr) == (2, True)
