"""``mix`` in a recipe: the plan worked out by hand, and what is refused in words."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from operators.tokenize.mixing.blends import megatron_blend, olmo_sources, shard_strata
from operators.tokenize.mixing.mix import Mix
from operators.tokenize.mixing.plan import Amount, Request, Span, plan
from pipeline.errors import UserError
from pipeline.fingerprint import digest
from pipeline.pretrain.data.mixture import Mixture, read_mixture
from pipeline.pretrain.data.strata import Stratification
from pipeline.pretrain.work import Pretrain
from pipeline.work import Extent, Task
from pipeline.workflow import Step, Workflow

SOURCES = {"web": Amount(800, 8000), "books": Amount(10, 1500), "code": Amount(50, 500)}


def planned(found: dict[str, Amount] = SOURCES, **fields: Any) -> Mixture:
    """The plan of a ``Mix`` with these fields."""
    verb = Mix(**{"held_out_fraction": 0.0, **fields})
    spans = [Span(stage.until, stage.weights) for stage in verb.stages] or [Span(1.0, verb.weights)]
    rule = Stratification(by=verb.by, quality=verb.quality)
    tokens = verb.steps * verb.tokens_per_step if verb.steps and verb.tokens_per_step else verb.tokens
    return plan(
        Request(rule, spans, verb.upsample, tokens, verb.max_epochs, verb.held_out_fraction, verb.tokens_per_step),
        found,
    )


def weights(mixture: Mixture, stage: int = 0) -> dict[str, float]:
    return dict(zip(mixture.labels, mixture.stages[stage].weights, strict=True))


def test_weights_become_tokens_and_epochs() -> None:
    found = planned(weights={"web": 6, "books": 3, "code": 1}, tokens=5000)
    assert weights(found) == pytest.approx({"books": 0.3, "code": 0.1, "web": 0.6})
    assert found.labels == ["books", "code", "web"]
    assert [stratum.drawn for stratum in found.strata] == [1500, 500, 3000]
    assert [stratum.epochs for stratum in found.strata] == [1.0, 1.0, 0.375]
    assert (found.tokens, [stage.end for stage in found.stages]) == (5000, [5000])


def test_held_out_documents_count_as_never_drawn() -> None:
    found = planned(weights={"web": 6, "books": 3, "code": 1}, tokens=5000, held_out_fraction=0.2)
    assert [stratum.epochs for stratum in found.strata] == [1.25, 1.25, 0.4688]


def test_a_pattern_shares_its_weight_out_by_tokens_times_upsample() -> None:
    strata = {"web|low": Amount(6, 6000), "web|high": Amount(2, 2000), "books|high": Amount(1, 1500)}
    found = planned(strata, weights={"books|*": 0.2, "web|*": 0.8}, upsample={"web|high": 3}, tokens=1000)
    assert weights(found) == pytest.approx({"books|high": 0.2, "web|high": 0.4, "web|low": 0.4})
    own = planned(strata, weights={"*": 0.5, "web|low": 0.5}, tokens=1000)  # its own name comes before a pattern
    assert weights(own) == pytest.approx({"books|high": 0.5 * 15 / 35, "web|high": 0.5 * 20 / 35, "web|low": 0.5})


def test_upsampling_alone_says_how_often_each_is_read() -> None:
    found = planned(upsample={"books": 3, "code": 0}, held_out_fraction=0.1)
    assert [stratum.epochs for stratum in found.strata] == [3.0, 0.0, 1.0]
    assert found.tokens == int(0.9 * (3 * 1500 + 8000))
    assert [stratum.drawn for stratum in found.strata] == [4050, 0, 7200]


def test_without_a_word_all_is_read_once_in_proportion() -> None:
    found = planned()
    assert weights(found) == pytest.approx({"books": 0.15, "code": 0.05, "web": 0.8})
    assert {stratum.epochs for stratum in found.strata} == {1.0}


def test_stages_add_up() -> None:
    stages = [
        {"until": 0.6, "weights": {"web": 1, "*": 0}},
        {"weights": {"web": 0.5, "books": 0.25, "code": 0.25}},
    ]
    found = planned(stages=stages, tokens=2000)
    assert [stage.end for stage in found.stages] == [1200, 2000]
    assert weights(found, 0) == {"books": 0.0, "code": 0.0, "web": 1.0}
    assert [stratum.drawn for stratum in found.strata] == [200, 200, 1600]


NUMBERS = st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, 50)), min_size=1, max_size=8).filter(
    lambda pairs: any(weight for _, weight in pairs)
)


@given(pairs=NUMBERS, tokens=st.integers(1, 10**12))
def test_drawn_tokens_are_the_weights_of_all(pairs: list[tuple[int, int]], tokens: int) -> None:
    names = [f"s{k:02}" for k in range(len(pairs))]
    found = planned(
        {name: Amount(1, size) for name, (size, _) in zip(names, pairs, strict=True)},
        weights=dict(zip(names, (weight for _, weight in pairs), strict=True)),
        tokens=tokens,
        max_epochs=1e18,
    )
    whole = sum(weight for _, weight in pairs)
    for stratum, (size, weight) in zip(found.strata, pairs, strict=True):
        assert stratum.drawn == pytest.approx(weight * tokens / whole, abs=1, rel=1e-12)
        assert stratum.epochs == pytest.approx(weight * tokens / whole / size, abs=1e-4, rel=1e-9)


def test_more_than_four_epochs_are_refused_by_name_with_a_remedy() -> None:
    asked = {"weights": {"web": 5, "books": 4, "code": 1}, "tokens": 16000}
    with pytest.raises(UserError) as caught:
        planned(**asked)
    text = str(caught.value)
    assert text.splitlines() == [
        "a plan of 16,000 tokens reads 1 of 3 strata more often than max_epochs allows:",
        "  'books': 4.267 epochs (6,400 tokens drawn from its 1,500), over max_epochs 4: at most 0.375 of this plan",
        "  'code': 3.2 epochs (1,600 tokens drawn from its 500)",
        "  'web': 1 epochs (8,000 tokens drawn from its 8,000)",
        (
            "The longest plan that fits with these weights is `tokens: 15000`; or change the weights, or add documents. Only where so "
            "much repetition is wanted, allow it: max_epochs: {'books': 5}"
        ),
    ]
    assert planned(**asked, max_epochs={"books": 5}).strata[0].max_epochs == 5
    assert planned(**asked, max_epochs=4.3).strata[2].max_epochs == 4.3
    at_the_limit = planned(weights={"web": 5, "books": 3.75, "code": 1.25}, tokens=16000)
    assert [stratum.epochs for stratum in at_the_limit.strata] == [4.0, 4.0, 1.0]
    with pytest.raises(UserError, match=r"2 of 3 strata .*(?s:.*)max_epochs: \{'books': 8, 'code': 8\}"):
        planned(weights={"*": 0, "books": 3, "code": 1}, tokens=16000)


@pytest.mark.parametrize(
    "asked",
    [
        {"weights": {"web": 5, "books": 4, "code": 1}, "tokens": 16001},
        {"weights": {"web": 1, "books": 1, "code": 1}, "steps": 999, "tokens_per_step": 7, "held_out_fraction": 0.05},
        {"upsample": {"books": 9, "code": 5.5}},
        {
            "stages": [{"until": 0.3, "weights": {"*": 1}}, {"until": 1, "weights": {"books": 2, "*": 1}}],
            "tokens": 54321,
        },
    ],
    ids=["tokens", "steps", "upsample", "stages"],
)
def test_the_length_that_is_told_fits_and_hardly_more_does(asked: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        planned(**asked)
    told = re.search(r"is `(tokens|steps): (\d+)", str(caught.value))
    assert told is not None
    name, length = told[1], int(told[2])
    assert name == ("steps" if "steps" in asked else "tokens")
    planned(**{**asked, name: length})
    with pytest.raises(UserError):
        planned(**{**asked, name: length + 1 + length // 500})


def test_a_length_in_steps_that_no_plan_has_is_not_told() -> None:
    with pytest.raises(UserError, match="No shorter plan fits; or change"):
        planned(weights={"*": 1}, steps=2, tokens_per_step=100_000)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"weights": {"web": 1, "book": 1}, "tokens": 9},
            "no weight for 'books', 'code': name them, with 0 to leave out",
        ),
        ({"weights": {"*": 1, "book": 1}, "tokens": 9}, "weights: 'book' is no stratum .* did you mean 'books'"),
        ({"upsample": {"Web": 2}}, "upsample: 'Web' is no stratum .* there are 'books', 'code', 'web'"),
        ({"max_epochs": {"wiki": 9}}, "max_epochs: 'wiki' is no stratum"),
        (
            {"weights": {"*": 1, "code": 1}, "upsample": {"code": 0}, "tokens": 9},
            "'code' has a weight, but upsample is 0",
        ),
        ({"weights": {"*": 1, "code": 1e-7}, "tokens": 9}, "'code' would get 1e-07 of the tokens, less than 1.9e-06"),
    ],
)
def test_weights_that_do_not_fit_the_strata_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        planned(**fields)


def test_nothing_to_mix_is_said() -> None:
    with pytest.raises(UserError, match="no documents, so there is nothing to mix"):
        planned({})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"weights": {"a": -1}, "tokens": 5}, "give a number from 0"),
        ({"weights": {"a": 0.0}, "tokens": 5}, "every number is 0"),
        ({"weights": {"a": float("nan")}, "tokens": 5}, "give a number from 0"),
        ({"weights": {"a": 1}}, "say how much is drawn in all"),
        ({"weights": {"a": 1}, "tokens": 5, "steps": 5, "tokens_per_step": 2}, "tokens or steps, not both"),
        ({"weights": {"a": 1}, "steps": 5}, "tokens_per_step .* go together"),
        ({"weights": {"a": 1}, "stages": [{"weights": {"a": 1}}], "tokens": 5}, "not both"),
        ({"stages": [{"weights": {"a": 1}, "until": 0.5}], "tokens": 5}, "the last at 1"),
        ({"stages": [{"weights": {"a": 1}}, {"weights": {"a": 1}}], "tokens": 5}, "one after the other"),
        ({"by": ["quality"]}, "need both"),
        ({"by": []}, "each once"),
        ({"max_epochs": 0}, "above 0"),
        ({"by": "topic"}, "source"),
    ],
)
def test_mistakes_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Mix(**wrong)


@dataclass
class Committed:
    """A token shard, of which ``mix`` opens one file."""

    path: Path
    index: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    def file(self, suffix: str) -> Path:
        assert suffix == ".docs.parquet"
        return self.path


def committed(folder: Path, *shards: Sequence[tuple[str, str | None, int]]) -> list[Committed]:
    """Shards of (source, language, tokens) a document."""
    found = []
    for number, rows in enumerate(shards):
        columns = {
            "source": pa.array([source for source, _, _ in rows], pa.string()),
            "language": pa.array([language for _, language, _ in rows], pa.string()),
            "num_tokens": pa.array([tokens for _, _, tokens in rows], pa.int64()),
            "score": pa.array([tokens / 100 for _, _, tokens in rows], pa.float64()),
        }
        path = folder / f"{number}.docs.parquet"
        pq.write_table(pa.table(columns), path)
        found.append(Committed(path, number))
    return found


def run(verb: Mix, shards: list[Committed], folder: Path) -> tuple[Mixture, dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    result = verb.run(Task("mixed", 0, {"documents": shards}, folder))
    (output,) = result.outputs
    assert output.suffix == ".json"
    assert json.loads(output.path.read_text())["format_version"] == 1
    return read_mixture(output.path.read_text()), result.facts


SHARDS = (
    [("web", "en", 30), ("web", "zh", 50), ("web", "en", 5)],
    [],
    [("books", "en", 100), ("web", None, 20)],
)


def test_documents_are_counted_over_all_shards(tmp_path: Path) -> None:
    shards = committed(tmp_path, *SHARDS)
    verb = Mix(by=["source", "language"], tokens=100)
    found, facts = run(verb, shards, tmp_path / "one")
    counted = {stratum.label: (stratum.documents, stratum.tokens) for stratum in found.strata}
    assert counted == {"books|en": (1, 100), "web|en": (2, 35), "web|und": (1, 20), "web|zh": (1, 50)}
    assert facts["tokens"] == 100
    assert facts["strata"]["web|en"] == {"tokens": 35, "drawn": 17, "epochs": round(100 * 35 / 205 / (0.95 * 35), 4)}
    again, _ = run(verb, committed(tmp_path, *reversed(SHARDS)), tmp_path / "two")
    assert again == found  # neither the order of shards nor of documents matters
    buckets = {"column": "score", "buckets": {"low": None, "high": 0.5}}
    by_quality, _ = run(Mix(by="quality", quality=buckets, upsample={"high": 2}), shards, tmp_path / "three")
    assert {stratum.label: stratum.tokens for stratum in by_quality.strata} == {"high": 150, "low": 55}
    assert weights(by_quality) == pytest.approx({"high": 300 / 355, "low": 55 / 355})


def test_steps_are_tokens(tmp_path: Path) -> None:
    shards = committed(tmp_path, *SHARDS)
    by_steps, _ = run(Mix(steps=5, tokens_per_step=8), shards, tmp_path / "one")
    by_tokens, _ = run(Mix(tokens=40), shards, tmp_path / "two")
    assert by_steps == by_tokens


def test_one_task_over_every_shard_and_a_fingerprint_of_its_fields() -> None:
    (node,) = Mix(tokens=5).nodes("mixed", "tokens", 7)
    assert (node.name, dict(node.inputs)) == ("mixed", {"documents": "tokens"})
    (task,) = node.work.tasks({"documents": Extent(9)})
    assert (task.index, dict(task.needs)) == (0, {"documents": None})
    assert digest(Mix(tokens=5)) == digest(Mix(tokens=5, by=["source"])) != digest(Mix(tokens=6))


def test_training_from_a_mixture_takes_the_tokens_too() -> None:
    steps = [
        Step(name="model", source="mixed", verb=Pretrain()),
        Step(name="plain", source="tokens", verb=Pretrain()),
        Step(name="mixed", source="tokens", verb=Mix(tokens=5)),
    ]
    nodes = {node.name: dict(node.inputs) for node in Workflow(name="w", steps=tuple(steps)).nodes()}
    assert nodes["model"] == {"documents": "tokens", "mixture": "mixed"}
    assert nodes["plain"] == nodes["mixed"] == {"documents": "tokens"}


def test_blends_for_other_trainers(tmp_path: Path) -> None:
    stages = [{"until": 0.5, "weights": {"web": 1, "*": 0}}, {"weights": {"web": 0.5, "books": 0.5, "code": 0}}]
    found = planned(stages=stages, tokens=8000)
    prefixes = {"web": [("w0", 6000), ("w1", 2000), ("none", 0)], "books": [("b", 1500)]}
    assert megatron_blend(found, prefixes) == ["0.25", "b", "0.5625", "w0", "0.1875", "w1"]
    assert megatron_blend(found, prefixes, stage=0) == ["0.75", "w0", "0.25", "w1"]
    expected = (
        'sources:\n  - source_name: "books"\n    target_ratio: 0.25\n    max_repetition_ratio: 1.3334\n    paths:\n'
        '      - "b.npy"\n  - source_name: "web"\n    target_ratio: 0.75\n    max_repetition_ratio: 1.0\n    paths:\n'
        '      - "w0.npy"\n      - "w1.npy"\n'
    )
    assert olmo_sources(found, {"web": ["w0.npy", "w1.npy"], "books": ["b.npy"]}) == expected
    for call in (megatron_blend, olmo_sources):
        with pytest.raises(UserError, match=r"'books' has 0\.25 of the mixture, but nothing was exported"):
            call(found, {"web": [("w0", 1)]})
    shards = committed(tmp_path, [("web", None, 3), ("code", None, 3), ("web", None, 3)], [("wiki", None, 3)])
    assert shard_strata(found, str(shards[0].path)).tolist() == [2, 1, 2]
    with pytest.raises(UserError, match="'wiki', a stratum the mixture does not know"):
        shard_strata(found, str(shards[1].path))
