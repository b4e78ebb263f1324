"""``sluice export RUN model --to huggingface``: the folder is read by transformers and by the commands alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from workflows.models import find_model

from .conftest import Call

FILES = ["config.json", "generation_config.json", "model.safetensors", "sluice_export.json", "tokenizer.json"]


@pytest.fixture(scope="module")
def run(trained: Path) -> Path:
    """A run with two models; the tests are about ``model``."""
    return trained


@pytest.fixture(scope="module")
def folder(run: Path, sluice: Call) -> Path:
    out = run.parent / "handed"
    done = sluice("export", run, "model", "--to", "huggingface", "--out", out)
    assert done.exit_code == 0, done.stderr
    assert "20 steps" in done.stdout
    return out


def generated(sluice: Call, model: object, prompt: str) -> dict[str, Any]:
    done = sluice("generate", model, "--prompt", prompt, "--max-new-tokens", 12, "--json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_weights_are_the_run_s_own(run: Path, folder: Path) -> None:
    found = find_model(f"{run}:model")
    assert sorted(path.name for path in folder.iterdir()) == [*FILES, "tokenizer_config.json"]
    assert (folder / "model.safetensors").samefile(found.weights)
    assert (folder / "config.json").samefile(found.config)
    assert found.tokenizer is not None
    assert (folder / "tokenizer.json").read_bytes() == found.tokenizer.read_bytes()
    record = orjson.loads((folder / "sluice_export.json").read_bytes())
    weights = sum(parameter.numel() for parameter in AutoModelForCausalLM.from_pretrained(folder).parameters())
    assert record["sets"] == {"model": {"parameters": weights, "steps": 20}}


@pytest.mark.parametrize("prompt", ["the quick brown", "", "lazy dog number 3"])
def test_transformers_writes_what_generate_writes(run: Path, folder: Path, sluice: Call, prompt: str) -> None:
    ours = generated(sluice, f"{run}:model", prompt)
    assert generated(sluice, folder, prompt) == ours
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.bos_token == tokenizer.eos_token == "<|endoftext|>"
    assert tokenizer.model_max_length == 32
    given = tokenizer(tokenizer.bos_token + prompt, return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(folder)
    written = model.generate(given["input_ids"], attention_mask=given["attention_mask"], max_new_tokens=12)
    text = tokenizer.decode(written[0, given["input_ids"].shape[1] :], skip_special_tokens=True)
    assert text == ours["text"]
    assert written.shape[1] - given["input_ids"].shape[1] == ours["tokens"] + (ours["ended"] == "eos")


def test_rows_that_only_fill_up_the_embedding_are_never_written(folder: Path) -> None:
    """306 ids, 384 rows (the texts have few words): without the list in generation_config.json a row of the rest could be the likeliest."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    assert (len(tokenizer), model.config.vocab_size) == (306, 384)
    assert model.generation_config.suppress_tokens == list(range(306, 384))


def test_again_and_another(run: Path, folder: Path, sluice: Call) -> None:
    same = ("export", run, "model", "--to", "huggingface", "--out", folder)
    done = sluice(*same)
    assert (done.exit_code, "nothing done" in done.stdout) == (0, True)
    done = sluice(*same, "--tokenizer", folder / "tokenizer.json")
    assert (done.exit_code, "holds another export" in done.stderr) == (2, True)


def test_a_takedown_tells_of_it(run: Path, folder: Path, tmp_path: Path, sluice: Call) -> None:
    (tmp_path / "urls.txt").write_text("http://a.example/7\n")
    done = sluice("takedown", run, "--urls", tmp_path / "urls.txt", "--dry-run")
    assert done.exit_code == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert f"Export of model to huggingface in {folder} was trained on them" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model", "--to", "megatron"], "holds a trained model, exported to huggingface"),
        (["tokens", "--to", "huggingface"], "for huggingface another step: model"),
        (["bpe", "--to", "huggingface"], "holds a tokenizer or a classifier, which is not exported"),
        (["model", "--to", "huggingface", "--split", "val=0.1"], "--split is for documents and tokens"),
        (["model", "--to", "huggingface", "--tokenizer", "{root}/in.jsonl"], "cannot read a tokenizer"),
        (["model", "--to", "huggingface", "--tokenizer", "{root}/none.json"], "none.json"),
        (["model", "--to", "huggingface", "--tokenizer", "{root}/large.json"], "has 384 ids and ends a text by id"),
        (["tokens", "--to", "olmo", "--tokenizer", "{root}/large.json"], "--tokenizer is for --to huggingface"),
    ],
    ids=["reader", "tokens", "tokenizer step", "split", "no tokenizer", "no file", "other tokenizer", "not for it"],
)
def test_refusals(run: Path, folder: Path, tmp_path: Path, sluice: Call, arguments: list[str], words: str) -> None:
    large = json.loads((folder / "tokenizer.json").read_text())
    large["added_tokens"].append({**large["added_tokens"][0], "id": 999, "content": "<|more|>"})
    large["model"]["vocab"]["<|more|>"] = 999
    (run.parent / "large.json").write_text(json.dumps(large))
    done = sluice("export", run, *(one.format(root=run.parent) for one in arguments), "--out", tmp_path / "out")
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_fills_in_masks_is_refused(run: Path, tmp_path: Path, sluice: Call) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    facts = json.loads((copy / "run.json").read_text())
    facts["recipe"]["model"]["Pretrain"]["objective"] = {"Objective": {"kind": "mlm"}}
    (copy / "run.json").write_text(json.dumps(facts))
    done = sluice("export", copy, "model", "--to", "huggingface", "--out", tmp_path / "out")
    assert (done.exit_code, "trained to fill in masks" in done.stderr) == (2, True)
    assert not (tmp_path / "out").exists()
