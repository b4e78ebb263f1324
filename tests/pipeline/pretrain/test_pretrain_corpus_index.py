"""The index of a corpus says what its tables say, and of no other corpus."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from pipeline.pretrain.config import Job, TokenData, TrainConfig
from pipeline.pretrain.data import corpus_index
from pipeline.pretrain.data.batches import checked_batches
from pipeline.pretrain.data.corpus import Corpus, open_corpus
from pipeline.pretrain.data.corpus_index import indexed_corpus
from pipeline.pretrain.data.mixture import Mixture, Stage, Stratum
from pipeline.pretrain.data.strata import Stratification
from tests.pipeline.pretrain.conftest import SMALL, document_id, sentences, token_data, write_shard

SOURCES = ("books", "web")


@pytest.fixture(autouse=True)
def _index_of_few_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_index, "FEWEST_SHARDS", 2)


@pytest.fixture
def data(tmp_path: Path) -> TokenData:
    shards = []
    for number in range(4):
        ids = [document_id(10 * number + k) for k in range(10)]
        sources = {"source": [SOURCES[k % 2] for k in range(10)]}
        shards.append(
            write_shard(tmp_path / str(number), sentences(10, seed=number, length=9), ids=ids, columns=sources)
        )
    return token_data(*shards)


def mixture() -> Mixture:
    strata = tuple(
        Stratum(label=name, documents=20, tokens=200, drawn=0, epochs=0.0, max_epochs=9.0) for name in SOURCES
    )
    stage = Stage(end=4000, weights=(0.7, 0.3))
    return Mixture(rule=Stratification(), tokens=4000, held_out_fraction=0.1, strata=strata, stages=(stage,))


def config(**changes: object) -> TrainConfig:
    return TrainConfig(**{"shape": SMALL, "learning_rate": 1e-2, "held_out_fraction": 0.1, **changes})


def told(corpus: Corpus) -> dict[str, object]:
    """All that it says, as lists."""
    held = {field.name: getattr(corpus.held_out, field.name).tolist() for field in fields(corpus.held_out)}
    plain = {
        field.name: value.tolist() if isinstance(value := getattr(corpus, field.name), np.ndarray) else value
        for field in fields(corpus)
        if field.name not in ("held_out", "payloads")
    }
    return plain | held | {"payloads": [payload.tolist() for payload in corpus.payloads]}


def opened(data: TokenData, asked: TrainConfig) -> Corpus:
    options = {"held_out_fraction": asked.held_out_fraction, "seed": asked.seed, "mixture": asked.mixture}
    return open_corpus(data, **options)


@pytest.mark.parametrize("mixed", [False, True], ids=["stream", "mixture"])
def test_a_second_reader_needs_no_table(
    tmp_path: Path, data: TokenData, mixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = config(mixture=mixture() if mixed else None)
    expected, home = told(opened(data, asked)), tmp_path / "home"
    assert told(indexed_corpus(data, asked, home)) == expected
    assert [path.name.startswith("corpus-") for path in home.iterdir()] == [True]
    monkeypatch.setattr(corpus_index, "open_corpus", None)
    assert told(indexed_corpus(data, asked, home)) == expected


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"held_out_fraction": 0.3}, {"mixture": mixture()}], ids=lambda one: next(iter(one))
)
def test_another_configuration_has_another_index(tmp_path: Path, data: TokenData, changes: dict[str, object]) -> None:
    indexed_corpus(data, config(), tmp_path / "home")
    assert told(indexed_corpus(data, config(**changes), tmp_path / "home")) == told(opened(data, config(**changes)))
    assert len(list((tmp_path / "home").iterdir())) == 1


def test_files_that_changed_are_read_again(tmp_path: Path, data: TokenData) -> None:
    before = indexed_corpus(data, config(), tmp_path / "home")
    ids = [document_id(100 + k) for k in range(10)]
    write_shard(tmp_path / "0", sentences(10, seed=9, length=9), ids=ids, columns={"source": ["web"] * 10})
    os.utime(tmp_path / "0.docs.parquet", ns=(1, 1))  # whatever the clock's steps are
    after = indexed_corpus(data, config(), tmp_path / "home")
    assert told(after) == told(opened(data, config()))
    assert after.digest != before.digest


def test_a_broken_index_is_made_again(tmp_path: Path, data: TokenData) -> None:
    expected = told(indexed_corpus(data, config(), tmp_path / "home"))
    (index,) = (tmp_path / "home").iterdir()
    index.write_bytes(index.read_bytes()[:100])
    assert told(indexed_corpus(data, config(), tmp_path / "home")) == expected
    assert index.stat().st_size > 100


def test_without_a_place_for_it_the_tables_are_read(tmp_path: Path, data: TokenData) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    assert told(indexed_corpus(data, config(), tmp_path / "home")) == told(opened(data, config()))


def test_one_shard_makes_no_index(tmp_path: Path, data: TokenData) -> None:
    alone = data.model_copy(update={"shards": data.shards[:1]})
    indexed_corpus(alone, config(), tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_whoever_only_looks_writes_nothing(tmp_path: Path, data: TokenData) -> None:
    home = tmp_path / "home"
    assert told(indexed_corpus(data, config(), home, keep=False)) == told(opened(data, config()))
    assert not home.exists()
    indexed_corpus(data, config(), home)
    before = list(home.iterdir())
    job = Job(config=config(seed=1, batch_size=2, sequence_length=4), data=data, home=str(home))
    checked_batches(job, 1, wait=False)
    assert list(home.iterdir()) == before
    checked_batches(job, 1)
    assert list(home.iterdir()) != before


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path, data: TokenData) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / f".corpus-{'0' * 32}.npz.{'1' * 32}").write_bytes(b"half")
    (home / ".others").write_bytes(b"")
    indexed_corpus(data, config(), home)
    assert sorted(path.name[:7] for path in home.iterdir()) == [".others", "corpus-"]
