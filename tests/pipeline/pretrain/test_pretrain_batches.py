"""Training by a mixture: windows of one stratum each, resumed and shared out over ranks without a trace."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.pretrain.config import Job, TokenData, TrainConfig
from pipeline.pretrain.data.batches import Batches
from pipeline.pretrain.data.corpus import Corpus, open_corpus
from pipeline.pretrain.data.mixture import Mixture, Stage, Stratum
from pipeline.pretrain.data.order import batch_windows
from pipeline.pretrain.data.strata import Buckets, Stratification
from pipeline.pretrain.ranks import Place
from pipeline.pretrain.training.loop import train
from pipeline.pretrain.training.metrics import read_metrics
from tests.pipeline.pretrain.conftest import EOS, SMALL, document_id, run_ranks, sentences, token_data, write_shard

MakeJob = Callable[..., Job]
SOURCES = ("books", "code", "web")


def mixed(*weights: float, tokens: int = 10**6, max_epochs: float = 1e9, rule: Stratification | None = None) -> Mixture:
    """One stage over the three sources."""
    strata = [
        Stratum(label=name, documents=1, tokens=1, drawn=0, epochs=0.0, max_epochs=max_epochs) for name in SOURCES
    ]
    shares = tuple(weight / sum(weights) for weight in weights)
    return Mixture(
        rule=rule or Stratification(),
        tokens=tokens,
        held_out_fraction=0.05,
        strata=tuple(strata),
        stages=(Stage(end=tokens, weights=shares),),
    )


def source_of(number: int) -> str:
    """Sources take turns, so that no stratum lies in one piece."""
    return SOURCES[number % 3 if number % 7 else 2]


def shards(folder: Path, documents: list[list[int]], cuts: tuple[int, ...] = (40, 40, 70)) -> TokenData:
    bounds = [0, *cuts, len(documents)]
    files = []
    for number, (first, end) in enumerate(pairwise(bounds)):
        own = range(first, end)
        files.append(
            write_shard(
                folder / f"m{number}",
                documents[first:end],
                ids=[document_id(k) for k in own],
                columns={"source": [source_of(k) for k in own]},
            )
        )
    return token_data(*files)


def config(**changes: Any) -> TrainConfig:
    fields = {"shape": SMALL, "sequence_length": 8, "steps": 20, "batch_size": 4, "learning_rate": 1e-2}
    return TrainConfig(**{**fields, **changes})


def opened(data: TokenData, settings_: TrainConfig) -> Corpus:
    return open_corpus(
        data, held_out_fraction=settings_.held_out_fraction, seed=settings_.seed, mixture=settings_.mixture
    )


@pytest.fixture(scope="module")
def documents() -> list[list[int]]:
    """The first two tokens of a document tell its number."""
    return [[1 + k // 40, 1 + k % 40, *sentence] for k, sentence in enumerate(sentences(90, length=20))]


@pytest.fixture(scope="module")
def same(documents: list[list[int]], tmp_path_factory: pytest.TempPathFactory) -> TokenData:
    return shards(tmp_path_factory.mktemp("same"), documents)


def test_a_stratum_is_the_stream_of_its_training_documents(tmp_path: Path, documents: list[list[int]]) -> None:
    settings_ = config(mixture=mixed(1, 1, 2), held_out_fraction=0.2)
    corpus = opened(shards(tmp_path, documents), settings_)
    held = [corpus.held_out_tokens(k).tolist() for k in range(len(corpus.held_out.start))]
    assert len(held) > 5
    streams = {
        name: [
            token
            for k, document in enumerate(documents)
            if source_of(k) == name and document not in held
            for token in (*document, EOS)
        ]
        for name in SOURCES
    }
    starts = corpus.stratum_start
    assert np.diff(starts).tolist() == [len(streams[name]) for name in SOURCES]
    whole = corpus.read(np.array([0]), corpus.tokens)[0].tolist()
    assert whole == [token for name in SOURCES for token in streams[name]]
    batches = Batches(corpus, settings_)
    for step in range(1, 21):
        for start, row in zip(batches.rows(step), corpus.read(batches.rows(step), 9), strict=True):
            stratum = int(np.searchsorted(starts, start, side="right")) - 1
            inside = int(start - starts[stratum])
            assert inside % 8 == 0
            assert row.tolist() == streams[SOURCES[stratum]][inside : inside + 9]


@settings(deadline=None, max_examples=12)
@given(weights=st.tuples(*[st.integers(0, 9)] * 3).filter(any), batch_size=st.integers(1, 9), seed=st.integers(0, 99))
def test_steps_follow_the_weights_and_read_each_window_once_an_epoch(
    same: TokenData, weights: tuple[int, int, int], batch_size: int, seed: int
) -> None:
    steps = 200 // batch_size
    plan = mixed(*weights, tokens=8 * steps * batch_size)
    settings_ = config(mixture=plan, batch_size=batch_size, steps=steps, seed=seed)
    corpus = opened(same, settings_)
    batches = Batches(corpus, settings_)
    starts = np.concatenate([batches.rows(step) for step in range(1, steps + 1)])
    stratum = np.searchsorted(corpus.stratum_start, starts, side="right") - 1
    read = np.bincount(stratum, minlength=3)
    assert np.abs(read - np.array(weights) / sum(weights) * len(starts)).max() <= 1 + 1e-6
    for number in range(3):
        windows = (max(0, int(np.diff(corpus.stratum_start)[number])) - 1) // 8
        mine = starts[stratum == number]
        for epoch in range(0, len(mine), max(1, windows)):
            assert len(set(mine[epoch : epoch + windows].tolist())) == len(mine[epoch : epoch + windows])
    # What the metrics say, asked step by step and all at once.
    one_by_one = [batches.drawn(step) for step in range(1, steps + 1)]
    assert (
        one_by_one[-1]
        == Batches(corpus, settings_).drawn(steps)
        == dict(zip(SOURCES, (8 * read).tolist(), strict=True))
    )


def test_without_a_mixture_windows_are_as_they_were(tmp_path: Path, documents: list[list[int]]) -> None:
    settings_ = config(seed=3)
    corpus = opened(shards(tmp_path, documents), settings_)
    batches = Batches(corpus, settings_)
    count = corpus.num_windows(8, 4)
    for step in range(1, 200):
        expected = batch_windows(step - 1, batch_size=4, num_windows=count, seed=3)
        assert np.array_equal(batches.rows(step), 8 * expected)
    assert batches.drawn(5) is None


def test_a_stratum_without_weight_is_held_out_but_not_trained_on(tmp_path: Path, documents: list[list[int]]) -> None:
    data = shards(tmp_path, documents)
    every, some = (opened(data, config(mixture=mixed(*weights))) for weights in ((1, 1, 1), (1, 0, 1)))
    assert np.array_equal(every.held_out.start, some.held_out.start)
    assert every.tokens - some.tokens == np.diff(every.stratum_start)[1]


@pytest.mark.parametrize(
    ("changes", "plan", "message"),
    [
        ({"steps": 21}, {"tokens": 20 * 32}, "21 steps take 672 tokens, the mixture plans 640: .* at most 20 steps"),
        ({"steps": 300}, {"max_epochs": 4.0}, r"stratum 'books' would be read \d+\.\d+ times, .* allows 4: lower"),
        ({"sequence_length": 400}, {}, "stratum 'code' has 1 tokens, too few for one sequence of 400"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_training(
    tmp_path: Path, documents: list[list[int]], changes: dict[str, int], plan: dict[str, Any], message: str
) -> None:
    weights = (0, 1, 0) if "sequence_length" in changes else (8, 1, 1)
    settings_ = config(mixture=mixed(*weights, **plan), **changes)
    few = documents[:20] if "sequence_length" in changes else documents
    corpus = opened(shards(tmp_path, few, cuts=(10,)), settings_)
    with pytest.raises(UserError, match=message):
        Batches(corpus, settings_)


def test_a_source_the_mixture_does_not_know_is_refused(tmp_path: Path) -> None:
    files = write_shard(tmp_path / "t", sentences(4, length=9), columns={"source": ["web", "news", "web", "books"]})
    with pytest.raises(UserError, match="documents of 'news', a stratum the mixture does not know; mix again"):
        opened(token_data(files), config(mixture=mixed(1, 1, 1)))


def test_ranks_and_deaths_do_not_show_in_a_mixture(make_job: MakeJob, tmp_path: Path) -> None:
    data = shards(tmp_path, sentences(90))
    plan = mixed(5, 1, 2, tokens=64 * 8)
    options = {"data": data, "mixture": plan, "steps": 8, "evaluate_every": 8, "checkpoint_every": 3}
    one, stopped, two, four = (make_job(name, **options) for name in ("one", "stopped", "two", "four"))
    train(one, Place())

    def stop(step: int, _saved: bool) -> None:
        if step == 5:  # the last checkpoint is of step 3
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(stopped, Place(), stop)
    run_ranks((two, 2, None), (four, 4, (2, 5)))
    train(stopped, Place())
    train(four, Place())
    curves = [
        [
            {name: value for name, value in line.items() if name not in ("tokens_per_s", "seconds_to_first_step")}
            for line in read_metrics(Path(job.home) / "metrics.jsonl")
        ]
        for job in (one, stopped, two, four)
    ]
    assert curves[1] == curves[0]
    assert len(curves[0]) == 9
    for curve in curves[2:]:
        for line, other in zip(curve, curves[0], strict=True):
            assert line.get("strata") == other.get("strata")
            assert line["loss"] == pytest.approx(other["loss"], rel=1e-5)
    last = curves[0][-2]["strata"]
    assert sum(last.values()) == 8 * 64
    assert [last[name] / 64 / 8 for name in SOURCES] == pytest.approx([5 / 8, 1 / 8, 2 / 8], abs=1 / 32)


def test_a_checkpoint_of_another_mixture_is_refused(make_job: MakeJob, tmp_path: Path) -> None:
    data = shards(tmp_path, sentences(90))
    plans = mixed(5, 1, 2), mixed(5, 1, 3)
    first, other = (make_job("same", data=data, mixture=plan, steps=5) for plan in plans)
    train(first, Place())
    with pytest.raises(UserError, match=f"mixture='{plans[0].digest}', this run has '{plans[1].digest}'"):
        train(other, Place())


def test_buckets_of_a_measure_are_strata(tmp_path: Path) -> None:
    values = [0.2, None, 0.3, 0.29999, float("nan"), 0.7, 1e9, -1.0]
    files = write_shard(tmp_path / "q", sentences(8, length=5), columns={"score": values, "language": ["en", None] * 4})
    buckets = Buckets(column="score", buckets={"low": None, "middle": 0.3, "high": 0.7})
    codes, labels = Stratification(by="quality", quality=buckets).labels(files.documents)
    names = ["low", "undefined", "middle", "low", "undefined", "high", "high", "low"]
    assert [labels[code] for code in codes] == names
    codes, labels = Stratification(by=["language", "quality"], quality=buckets).labels(files.documents)
    expected = [f"{language}|{name}" for language, name in zip(["en", "und"] * 4, names, strict=True)]
    assert [labels[code] for code in codes] == expected
    missing = Buckets(column="other", buckets={"low": None})
    with pytest.raises(UserError, match=r"no column 'other' to make strata by; .*`keep: \[other\]`"):
        Stratification(by="quality", quality=missing).labels(files.documents)
    words = Buckets(column="language", buckets={"low": None})
    with pytest.raises(UserError, match="'language' holds string, not numbers"):
        Stratification(by="quality", quality=words).labels(files.documents)


@pytest.mark.parametrize(
    "wrong",
    [
        {"low": 0.1, "high": 0.5},
        {},
        {"low": None, "high": 0.5, "top": 0.5},
        {"low": None, "a|b": 1},
        {"low": None, "x": None},
    ],
)
def test_buckets_that_overlap_or_leave_gaps_are_refused(wrong: dict[str, float | None]) -> None:
    with pytest.raises(ValueError, match="bucket"):
        Buckets(column="score", buckets=wrong)
