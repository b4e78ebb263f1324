"""Rows of shards that come one by one: the order, what is held out, waiting, and what is refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import StoppedError, UserError
from pipeline.pretrain.around import around
from pipeline.pretrain.config import Job, TrainConfig
from pipeline.pretrain.data.arrivals import ARRIVALS, Arrivals, ArrivalsFile, streaming, wait_for_all
from pipeline.pretrain.data.batches import checked_batches
from pipeline.pretrain.data.source import RowSource
from pipeline.pretrain.data.streamed import StreamedRows
from pipeline.pretrain.ranks import Place
from pipeline.pretrain.stopping import ASKED
from pipeline.pretrain.training.loop import train
from tests.pipeline.pretrain.conftest import EOS, SMALL, VOCABULARY, document_id, sentences, token_data, write_shard

LENGTH = 16
COUNTS = (9, 4, 0, 7, 12, 6, 5)
"""Documents of each shard."""
FACTS = {"dtype": "uint16", "vocab_size": VOCABULARY, "eos_id": EOS, "tokenizer_sha256": "ab" * 32}


class Run:
    """A run's folder with token shards, of which a driver tells."""

    def __init__(self, folder: Path, counts: Sequence[int] = COUNTS, window: int = 3, **config: object) -> None:
        self.folder, self.counts = folder, counts
        self.texts: list[list[list[int]]] = []
        first = 0
        for number, count in enumerate(counts):
            self.texts.append(sentences(count, seed=number, length=23 + number))
            first += count
        self.home = folder / "model-1"
        self.home.mkdir(parents=True, exist_ok=True)
        self.file = ArrivalsFile(self.home / ARRIVALS, planned=len(counts))
        fields = {"shape": SMALL, "sequence_length": LENGTH, "steps": 30, "batch_size": 4, "learning_rate": 1e-2}
        self.window = window
        self.config = TrainConfig(**{**fields, **config})

    def ids(self, shard: int) -> list[bytes]:
        return [document_id(1000 * shard + k) for k in range(self.counts[shard])]

    def seal(self, upto: int, **facts: object) -> None:
        """Write the next shards and tell of them."""
        (self.folder / "tokens-1").mkdir(exist_ok=True)
        while self.file.next < upto:
            number = self.file.next
            stem = self.folder / "tokens-1" / str(number)
            write_shard(stem, self.texts[number], ids=self.ids(number))
            names = {suffix: f"tokens-1/{number}{suffix}" for suffix in (".bin", ".docs.parquet")}
            self.file.tell(names, {**FACTS, **facts})

    def job(self) -> Job:
        first = [
            write_shard(self.folder / f"first-{k}", self.texts[k], ids=self.ids(k))
            for k in range(min(self.window, len(self.counts)))
        ]
        return streaming(Job(config=self.config, data=token_data(*first), home=str(self.home)), self.window)


def opened(run: Run) -> RowSource:
    return checked_batches(run.job(), 1)[1]


def training_stream(run: Run, window: int, seed: int) -> list[int]:
    """The tokens of a window that may be trained on, by Python: its documents with EOS, without those held out."""
    limit = held_out_limit(run, seed)
    stream = []
    for shard in range(window * run.window, min((window + 1) * run.window, len(run.counts))):
        for key, text in zip(run.ids(shard), run.texts[shard], strict=True):
            if document_hash(key, seed) >= limit:
                stream += [*text, EOS]
    return stream


def splitmix(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) % 2**64
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)


def document_hash(key: bytes, seed: int) -> int:
    low, high = (int.from_bytes(key[k : k + 8], "little") for k in (0, 8))
    return splitmix(splitmix(low ^ splitmix(seed)) ^ high)


def held_out_limit(run: Run, seed: int) -> int:
    """The fraction of the first window's configuration, or what holds the least of its documents out."""
    first = [document_hash(key, seed) for shard in range(run.window) for key in run.ids(shard)]
    return max(int(run.config.held_out_fraction * 2**64), min(first) + 1)


@pytest.mark.parametrize("seed", [0, 5])
def test_an_epoch_takes_every_sequence_once_window_by_window(tmp_path: Path, seed: int) -> None:
    run = Run(tmp_path, seed=seed)
    run.seal(7)
    source = opened(run)
    wanted: list[set[tuple[int, ...]]] = []
    for window in range(3):
        stream = training_stream(run, window, seed)
        cut = range(0, len(stream) - LENGTH, LENGTH)
        wanted.append({tuple(stream[at : at + LENGTH + 1]) for at in cut})
        assert len(wanted[-1]) == len(cut), "sequences differ, so that a set can count them"
    total = sum(map(len, wanted))
    seen = [row for step in range(1, 4 + 2 * total // 4) for row in map(tuple, source.tokens(source.rows(step))[0])]
    orders = []
    for epoch in range(2):
        at = epoch * total
        orders.append(seen[at : at + total])
        for sequences in wanted:
            assert {tuple(map(int, row)) for row in seen[at : at + len(sequences)]} == sequences
            at += len(sequences)
    assert orders[0] != orders[1], "each epoch has an order of its own"
    natural = source.tokens(np.arange(total))[0]
    assert orders[0] != [tuple(row) for row in natural], "they are permuted"


def test_when_shards_come_changes_nothing(tmp_path: Path) -> None:
    whole = Run(tmp_path / "whole")
    whole.seal(7)
    all_there = opened(whole)
    wanted = [all_there.tokens(all_there.rows(step))[0] for step in range(1, 31)]

    slow = Run(tmp_path / "slow")
    slow.seal(3)

    def upstream() -> None:
        for count in range(4, 8):
            time.sleep(0.15)
            slow.seal(count)

    thread = threading.Thread(target=upstream)
    source = opened(slow)
    thread.start()
    for step, tokens in enumerate(wanted, 1):
        assert np.array_equal(source.tokens(source.rows(step))[0], tokens)
    thread.join()
    # A resume asks for a late step first.
    later = opened(slow)
    for step in (23, 9, 30):
        assert np.array_equal(later.tokens(later.rows(step))[0], wanted[step - 1])
    assert source.num_targets(source.rows(1)) == 4 * LENGTH


def test_shards_that_are_not_told_of_are_not_touched(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.seal(5)
    # Of the second window two shards of three are sealed; the third is there, half-written and not told of.
    (tmp_path / "tokens-1" / "5.bin").write_bytes(b"half")
    corpus, source = checked_batches(run.job(), 1)
    first = max(0, len(training_stream(run, 0, 0)) - 1) // LENGTH
    assert first >= 8
    assert source.rows(first // 4).max() < first
    got: list[object] = []

    def ask() -> None:
        try:
            got.append(source.rows(first // 4 + 1))
        except StoppedError as error:
            got.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(0.5)
    assert thread.is_alive(), "it waits for shard 5"
    assert got == []
    run.seal(6)
    thread.join(20)
    assert isinstance(got[0], np.ndarray)
    assert corpus.documents == sum(COUNTS[:3]), (
        "what is held out and counted is of the first window, whatever came since"
    )


def test_held_out_documents_are_in_no_window(tmp_path: Path) -> None:
    run = Run(tmp_path, held_out_fraction=0.3)
    run.seal(7)
    corpus, source = checked_batches(run.job(), 1)
    limit = held_out_limit(run, 0)
    held = {key for shard in range(7) for key in run.ids(shard) if document_hash(key, 0) < limit}
    scored = {key for shard in range(3) for key in run.ids(shard)} & held
    assert len(corpus.held_out.start) == len(scored) > 0
    assert len(held) > len(scored), "later windows have some too"
    rows = np.unique(np.concatenate([source.rows(step) for step in range(1, 31)]))
    touched = set(source.documents_of(rows))
    assert touched.isdisjoint(key.hex() for key in held)
    assert len(touched) + len(held) == sum(COUNTS), "and all others are read"


def test_a_document_is_found_in_its_rows(tmp_path: Path) -> None:
    run = Run(tmp_path, held_out_fraction=0.3)
    run.seal(6)
    source = checked_batches(run.job(), 1)[1]
    assert isinstance(source, StreamedRows)
    rows = np.arange(1 + max(int(source.rows(step).max()) for step in range(1, 7)))
    by_row = {row: source.documents_of(np.array([row])) for row in rows.tolist()}
    for shard in range(6):
        for number, key in enumerate(run.ids(shard)):
            wanted = [row for row, documents in by_row.items() if key.hex() in documents]
            found = source.rows_with(shard, number)
            assert [row for row in found.tolist() if row in by_row] == wanted
    assert len(source.rows_with(6, 0)) == 0, "its window is not all there: nothing was read of it"


def test_a_document_is_found_before_any_step_was_asked_for(tmp_path: Path) -> None:
    run = _sealed(Run(tmp_path, window=2))
    wanted = {}
    for shard in range(7):
        source = opened(run)
        assert isinstance(source, StreamedRows)
        wanted[shard] = source.rows_with(shard, 1).tolist() if run.counts[shard] else []
    whole = opened(run)
    by_row = {row: whole.documents_of(np.array([row])) for step in range(1, 31) for row in whole.rows(step).tolist()}
    for shard, found in wanted.items():
        key = run.ids(shard)[1].hex() if run.counts[shard] else ""
        assert found == [row for row, documents in sorted(by_row.items()) if key in documents]
    assert wanted[6], "of the fourth window"


def test_who_looks_from_outside_waits_for_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.seal(4)
    words = r"token shard 4 is not committed, as far as .*arrivals\.jsonl tells"
    with pytest.raises(UserError, match=words):
        checked_batches(run.job(), 1, wait=False)[1].rows(30)
    run.seal(7)
    wanted = opened(run).rows(30)
    # The next driver has told of nothing yet: a training waits, but what was given before is known.
    ArrivalsFile(run.home / ARRIVALS, planned=7)
    assert np.array_equal(checked_batches(run.job(), 1, wait=False)[1].rows(30), wanted)
    assert Arrivals(run.home / ARRIVALS).count == 0


def test_around_tells_what_is_missing(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.seal(3)
    (run.home / "job.json").write_text(run.job().model_dump_json())
    (run.home / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 30, "loss": 2.0}\n')
    with pytest.raises(UserError, match="token shard 3 is not committed"):
        list(around(run.home, 30))
    assert [line["step"] for line in around(run.home, 1)] == [1]


@pytest.fixture
def asked() -> Iterator[threading.Event]:
    yield ASKED
    ASKED.clear()


def test_waiting_ends_when_the_driver_asks_or_the_reader_closes(tmp_path: Path, asked: threading.Event) -> None:
    run = Run(tmp_path)
    run.seal(3)
    source = opened(run)
    ends: list[Callable[[], None]] = [source.close, asked.set]
    for end in ends:
        timer = threading.Timer(0.3, end)
        timer.start()
        with pytest.raises(StoppedError, match="waiting for token shard 3"):
            source.rows(30)
    with pytest.raises(StoppedError, match="waiting for token shard 3"):
        wait_for_all(run.job())
    asked.clear()
    run.seal(7)
    assert len(source.rows(30)) == 4
    wait_for_all(run.job())


def test_a_run_folder_may_move(tmp_path: Path) -> None:
    run = Run(tmp_path / "here")
    run.seal(2)
    (tmp_path / "here").rename(tmp_path / "there")
    (first, _) = Arrivals(tmp_path / "there" / "model-1" / ARRIVALS).wait_for(2)
    assert first.files[".bin"] == str(tmp_path / "there" / "tokens-1" / "0.bin")
    assert first.facts == FACTS


def test_mistakes_are_refused_in_words(tmp_path: Path) -> None:
    small = Run(tmp_path / "small", (2, 1), window=1, sequence_length=LENGTH)
    small.seal(2)
    with pytest.raises(
        UserError, match=r"2 token shards make \d sequences of 16 in windows of 1 shards, fewer than one"
    ):
        opened(small).rows(1)
    with pytest.raises(
        UserError, match=r"held-out documents have no text.*first window of 1 token shards.*raise `window`"
    ):
        opened(_sealed(Run(tmp_path / "none", (0, 30), window=1)))
    run = Run(tmp_path / "other")
    run.seal(5)
    run.seal(7, vocab_size=64)
    with pytest.raises(UserError, match="token shard 5 has vocab_size=64, the first 48"):
        opened(run).rows(30)
    job = run.job()
    with pytest.raises(UserError, match="4 sequences evenly"):
        checked_batches(job, 3)
    packed = job.data.model_copy(update={"packed": ("something",)})
    with pytest.raises(UserError, match="packed sequences, need all of them"):
        checked_batches(job.model_copy(update={"data": packed}), 1)


def _sealed(run: Run) -> Run:
    run.seal(len(run.counts))
    return run


def test_a_shard_that_changed_since_is_refused_once_there_are_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "model-1" / ARRIVALS
    path.parent.mkdir()
    first = ArrivalsFile(path, planned=2)
    first.tell({".bin": "tokens-1/0-aa.bin"}, FACTS)
    first.tell({".bin": "tokens-1/1-bb.bin"}, FACTS)
    with path.open("a") as file:
        file.write('{"shard": 2, "fi')  # a driver that was killed
    again = ArrivalsFile(path, planned=2)
    for name in ("0-aa", "1-bb"):
        again.tell({".bin": f"tokens-1/{name}.bin"}, FACTS)
    assert [tuple(one.files.values()) for one in Arrivals(path).wait_for(2)] == [
        (str(tmp_path / "tokens-1" / f"{name}.bin"),) for name in ("0-aa", "1-bb")
    ]
    # Nothing was learned of it yet, so it may be another one.
    ArrivalsFile(path, planned=2).tell({".bin": "tokens-1/0-cc.bin"}, FACTS)
    (path.parent / "checkpoints").mkdir()
    with pytest.raises(UserError, match=r"shard 0 was tokens-1/0-cc\.bin .* is tokens-1/0-aa\.bin now .*remove its"):
        ArrivalsFile(path, planned=2).tell({".bin": "tokens-1/0-aa.bin"}, FACTS)


def test_a_refusal_and_a_kill_leave_the_record_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "model-1" / ARRIVALS
    (path.parent / "checkpoints").mkdir(parents=True)
    first = ArrivalsFile(path, planned=3)
    for name in ("0-aa", "1-bb", "2-cc"):
        first.tell({".bin": f"tokens-1/{name}.bin"}, FACTS)
    for _ in range(2):
        driver = ArrivalsFile(path, planned=3)
        driver.tell({".bin": "tokens-1/0-aa.bin"}, FACTS)
        with pytest.raises(UserError, match=r"shard 1 was tokens-1/1-bb\.bin .* is tokens-1/1-xx\.bin now"):
            driver.tell({".bin": "tokens-1/1-xx.bin"}, FACTS)
        ArrivalsFile(path, planned=3)  # killed before it told of anything
    with pytest.raises(UserError, match="shard 0 was"):
        ArrivalsFile(path, planned=3).tell({".bin": "tokens-1/0-xx.bin"}, FACTS)
    assert len(path.read_text().splitlines()) == 4, "it does not grow with drivers"


def test_a_checkpoint_knows_the_windows_it_was_given(tmp_path: Path) -> None:
    run = Run(tmp_path, steps=16, evaluate_every=100)
    run.seal(7)
    source = opened(run)
    assert isinstance(source, StreamedRows)
    starts = [len(training_stream(run, window, 0)) - 1 for window in range(3)]
    first = starts[0] // LENGTH
    source.rows(30)
    assert [len(source.given(step)) for step in (0, 1, first // 4, first // 4 + 1, 30)] == [0, 1, 1, 2, 3]
    assert len(set(source.given(30))) == 3

    def stop(step: int, _saved: bool) -> None:
        if step == 13:
            raise KeyboardInterrupt

    job = run.job().model_copy(update={"checkpoint_every": 12})
    assert len(source.given(12)) == 2
    with pytest.raises(KeyboardInterrupt):
        train(job, Place(), stop)
    write_shard(tmp_path / "tokens-1" / "5", run.texts[5], ids=[document_id(9000 + k) for k in range(6)])
    with pytest.raises(UserError, match="token shards 3 to 5 hold other documents than the training was given"):
        train(job, Place())
    write_shard(tmp_path / "tokens-1" / "5", run.texts[5], ids=run.ids(5))
    train(job, Place())
