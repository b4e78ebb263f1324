"""``pretrain`` in a recipe: its node, its fingerprint, and a whole run without Ray."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.errors import UserError
from pipeline.fingerprint import digest
from pipeline.pretrain.config import PRESETS, Experts, RopeScaling, Shape
from pipeline.pretrain.data.mixture import Mixture, Stage, Stratum
from pipeline.pretrain.data.strata import Stratification
from pipeline.pretrain.work import Pretrain
from pipeline.work import Extent, Task
from tests.pipeline.pretrain.conftest import EOS, VOCABULARY, document_id, sentences, write_shard


@dataclass
class CommittedShard:
    index: int
    stem: Path
    facts: dict[str, Any]

    def file(self, suffix: str) -> Path:
        return Path(f"{self.stem}{suffix}")


def committed(folder: Path, counts: tuple[int, ...], **facts: object) -> list[CommittedShard]:
    shards, first = [], 0
    for index, count in enumerate(counts):
        ids = [document_id(first + k) for k in range(count)]
        write_shard(folder / str(index), sentences(count, seed=index), ids=ids)
        known = {"dtype": "uint16", "vocab_size": VOCABULARY, "eos_id": EOS, "tokenizer_sha256": "cd" * 32}
        shards.append(CommittedShard(index, folder / str(index), {**known, "tokens": 61 * count, "docs": count}))
        first += count
    shards[-1].facts.update(facts)
    return shards


def test_how_it_runs_is_not_part_of_what_it_is() -> None:
    known = digest(Pretrain())
    same = Pretrain(
        workers=4,
        min_workers=2,
        device="cuda",
        checkpoint_every=7,
        keep_checkpoints=1,
        keep_every=5,
        micro_batch_tokens=512,
        sharding="hsdp",
        shard_ranks=2,
        compile=True,
        recompute="full",
        attention="cudnn",
        log_every=10,
        tensorboard=True,
    )
    assert digest(same) == known
    changes = [
        {"steps": 201},
        {"seed": 1},
        {"batch_size": 16},
        {"batch_tokens": 4096},
        {"preset": "124m"},
        {"shape": PRESETS["124m"]},
        {"optimizer": "muon"},
        {"z_loss": 1e-5},
        {"document_mask": True},
        {"feed_forward": "relu2"},
        {"experts": {"count": 4, "ffn_dim": 8}},
        {"objective": {"kind": "prefix"}},
        {"skip_sigmas": 6.0},
    ]
    assert len({known, *(digest(Pretrain(**change)) for change in changes)}) == len(changes) + 1


def test_a_batch_is_given_in_sequences_or_in_tokens(tmp_path: Path) -> None:
    def sequences(**fields: Any) -> int:
        return Pretrain(**fields).job(committed(tmp_path, (3,)), tmp_path).config.batch_size

    assert sequences() == 8
    assert sequences(batch_size=6) == 6
    assert sequences(batch_tokens=4096, sequence_length=128) == 32
    with pytest.raises(ValidationError, match="give one of them"):
        Pretrain(batch_size=8, batch_tokens=2048)
    with pytest.raises(ValidationError, match="batch_tokens 1000 is no multiple of sequence_length 256"):
        Pretrain(batch_tokens=1000)
    with pytest.raises(ValidationError, match="2 workers cannot share a batch of 3 sequences"):
        Pretrain(batch_tokens=768)
    assert Pretrain(workers=3, min_workers=2).sequences == 8  # those that fit take part
    with pytest.raises(ValidationError, match="min_workers 3 is more than workers 2"):
        Pretrain(min_workers=3)


def test_a_shape_of_ones_own_and_what_is_asked_for_beside_it(tmp_path: Path) -> None:
    def shape(**fields: Any) -> Shape:
        return Pretrain(**fields).job(committed(tmp_path, (3,)), tmp_path).config.shape

    own = Shape(layers=1, dim=8, heads=2, kv_heads=1, ffn_dim=8, feed_forward="relu2", qk_norm=True, learning_rate=0.5)
    assert shape(shape=own) == own
    assert shape() == PRESETS["tiny"]
    scaling = {"method": "yarn", "factor": 4.0, "original_length": 64}
    experts = {"count": 4, "ffn_dim": 16}
    found = shape(preset="124m", qk_norm=True, feed_forward="relu2", rope_scaling=scaling, experts=experts)
    changed = {"qk_norm": True, "feed_forward": "relu2", "rope_scaling": RopeScaling(**scaling)}
    assert found == PRESETS["124m"].model_copy(update={**changed, "experts": Experts(**experts)})
    config = Pretrain(shape=own).job(committed(tmp_path, (3,)), tmp_path).config
    assert config.learning_rate == 0.5


def test_what_a_recipe_says_reaches_the_ranks(tmp_path: Path) -> None:
    given = {
        "optimizer": "muon",
        "schedule": "wsd",
        "decay_fraction": 0.4,
        "z_loss": 1e-4,
        "skip_sigmas": 5.0,
        "document_mask": True,
        "evaluate_every": 7,
    }
    how = {"sharding": "fsdp", "recompute": "selective", "keep_every": 50, "log_every": 3, "attention": "flash"}
    job = Pretrain(**given, **how).job(committed(tmp_path, (3,)), tmp_path)
    assert {name: getattr(job.config, name) for name in given} == given
    assert {name: getattr(job, name) for name in how} == how


def test_the_recipes_seed_is_taken_unless_it_names_its_own() -> None:
    (node,) = Pretrain(steps=3).nodes("model", "tokens", 17)
    assert (node.name, node.work, dict(node.inputs)) == ("model", Pretrain(steps=3, seed=17), {"documents": "tokens"})
    (own,) = Pretrain(seed=5).nodes("model", "tokens", 17)
    assert own.work == Pretrain(seed=5)
    with pytest.raises(UserError, match="'model': pretrain needs 'from'"):
        Pretrain().nodes("model", None, 0)


def test_one_task_needs_every_shard() -> None:
    (plan,) = Pretrain().tasks({"documents": Extent(9)})
    assert (plan.index, dict(plan.needs)) == (0, {"documents": None})


@pytest.mark.parametrize(
    "wrong", [{"preset": "small"}, {"steps": 0}, {"sequence_lenght": 5}, {"learning_rate": -1.0}, {"workers": 3}]
)
def test_mistakes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Pretrain(**wrong)


def test_a_run_commits_the_model_its_curve_and_a_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = PRESETS["tiny"].model_copy(update={"layers": 1, "dim": 32, "ffn_dim": 32})
    monkeypatch.setattr("pipeline.pretrain.work.PRESETS", {"tiny": tiny})
    task = Task("model", 0, {"documents": committed(tmp_path, (30, 20))}, tmp_path / "scratch", tmp_path / "home")
    task.scratch.mkdir()
    work = Pretrain(workers=1, sequence_length=16, steps=12, batch_size=4, evaluate_every=6, seed=2)
    result = work.run(task)
    assert [output.suffix for output in result.outputs] == [".safetensors", ".config.json", ".metrics.jsonl", ".json"]
    assert all(output.path.parent == task.scratch for output in result.outputs)
    lines = [json.loads(line) for line in (task.home / "metrics.jsonl").read_text().splitlines()]
    assert result.outputs[2].path.read_bytes() == (task.home / "metrics.jsonl").read_bytes()
    assert result.facts["steps"] == 12
    assert result.facts["tokens"] == 12 * 64
    assert result.facts["final_loss"] == [line["loss"] for line in lines if "evaluation" not in line][-1]
    assert result.facts["bits_per_byte"] == lines[-1]["bits_per_byte"] != result.facts["unigram_bits_per_byte"]
    assert result.facts["held_out_documents"] >= 1
    assert json.loads(result.outputs[3].path.read_text()) == result.facts
    result.ledger.check("model")


def test_a_mixture_is_read_and_accounted_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = PRESETS["tiny"].model_copy(update={"layers": 1, "dim": 32, "ffn_dim": 32})
    monkeypatch.setattr("pipeline.pretrain.work.PRESETS", {"tiny": tiny})
    plan = Mixture(
        rule=Stratification(by="language"),
        tokens=320,
        held_out_fraction=0.05,
        strata=(Stratum(label="und", documents=50, tokens=3050, drawn=320, epochs=0.1, max_epochs=4.0),),
        stages=(Stage(end=320, weights=(1.0,)),),
    )
    (tmp_path / "mixed.json").write_text(plan.model_dump_json())
    inputs = {"documents": committed(tmp_path, (30, 20)), "mixture": [CommittedShard(0, tmp_path / "mixed", {})]}
    task = Task("model", 0, inputs, tmp_path / "scratch", tmp_path / "home")
    task.scratch.mkdir()
    work = Pretrain(workers=1, sequence_length=16, steps=5, batch_size=4)
    result = work.run(task)
    assert result.facts["strata"]["und"]["tokens"] == 320
    # 20 sequences of about 180, some documents being held out.
    assert result.facts["strata"]["und"]["epochs"] == pytest.approx(20 / 180, rel=0.15)
    lines = [json.loads(line) for line in (task.home / "metrics.jsonl").read_text().splitlines()]
    assert [line["strata"] for line in lines if "loss" in line and "lr" in line] == [
        {"und": 64 * step} for step in range(1, 6)
    ]
    with pytest.raises(UserError, match="6 steps take 384 tokens, the mixture plans 320"):
        work.model_copy(update={"steps": 6}).run(task)


def test_shards_of_two_tokenizers_are_refused(tmp_path: Path) -> None:
    shards = committed(tmp_path, (3, 3), vocab_size=64)
    with pytest.raises(UserError, match="token shard 1 has vocab_size=64, shard 0 48"):
        Pretrain().job(shards, tmp_path)
