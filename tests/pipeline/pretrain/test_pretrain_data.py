"""The stream of windows against plain lists, and what is held out from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.pretrain.data.corpus import Corpus, open_corpus
from tests.pipeline.pretrain.conftest import EOS, document_id, sentences, token_data, write_shard


def opened(folder: Path, parts: list[list[int]], documents: list[list[int]], **options: object) -> Corpus:
    """A corpus of shards that hold the documents with the given numbers."""
    shards = [
        write_shard(folder / f"s{number}", [documents[k] for k in part], ids=[document_id(k) for k in part])
        for number, part in enumerate(parts)
    ]
    return open_corpus(token_data(*shards), **{"held_out_fraction": 0.2, "seed": 0, **options})


def held_out_documents(corpus: Corpus) -> list[list[int]]:
    return [corpus.held_out_tokens(k).tolist() for k in range(len(corpus.held_out.start))]


def test_windows_are_cut_from_the_training_documents_in_order(tmp_path: Path) -> None:
    documents = [[10 * k % 40 + 1, k % 5 + 1, *range(1, k % 7 + 1)] for k in range(30)]
    documents = [[*document, 1 + k] for k, document in enumerate(documents)]  # no two alike
    corpus = opened(tmp_path, [list(range(12)), [], list(range(12, 30))], documents)
    held = held_out_documents(corpus)
    assert 1 <= len(held) < 15
    stream = [token for document in documents if document not in held for token in (*document, EOS)]
    assert corpus.tokens == len(stream)
    windows = corpus.num_windows(8, 1)
    assert windows == (len(stream) - 1) // 8
    expected = [stream[8 * k : 8 * k + 9] for k in range(windows)]
    assert corpus.windows(np.arange(windows), 8).tolist() == expected
    assert corpus.windows(np.array([3, 0, 3]), 8).tolist() == [expected[3], expected[0], expected[3]]


def test_held_out_is_decided_by_content_not_by_shards(tmp_path: Path) -> None:
    documents = sentences(40, length=12)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one = opened(tmp_path / "one", [list(range(40))], documents)
    other = opened(tmp_path / "other", [[5, 3, *range(20, 40)], [0, 1, 2, 4, *range(6, 20)]], documents)
    assert held_out_documents(one) == held_out_documents(other)
    reseeded = opened(tmp_path / "one", [list(range(40))], documents, seed=1)
    assert held_out_documents(reseeded) != held_out_documents(one)
    assert one.digest != other.digest  # other windows: a checkpoint of the one must not go on with the other


def test_the_held_out_fraction_is_met_and_grows_by_adding(tmp_path: Path) -> None:
    documents = [[1 + k % 40, 2] for k in range(2000)]
    few, many = (opened(tmp_path, [list(range(2000))], documents, held_out_fraction=f) for f in (0.05, 0.3))
    # 100 and 600 expected; four standard deviations are 39 and 82.
    assert abs(len(few.held_out.start) - 100) < 39
    assert abs(len(many.held_out.start) - 600) < 82
    assert set(few.held_out.start) < set(many.held_out.start)


def test_at_least_one_document_is_held_out(tmp_path: Path) -> None:
    corpus = opened(tmp_path, [[0, 1, 2]], sentences(3, length=9), held_out_fraction=1e-9)
    assert len(corpus.held_out.start) == 1
    assert corpus.tokens == 20


def test_rows_of_one_id_go_the_same_way(tmp_path: Path) -> None:
    document = [4, 5, 6]
    shards = [write_shard(tmp_path / "t", [document] * 4, ids=[document_id(k) for k in (0, 1, 0, 0)])]
    corpus = open_corpus(token_data(*shards), held_out_fraction=1e-9, seed=0)
    assert len(corpus.held_out.start) in (1, 3)


@settings(deadline=None, max_examples=20)  # each writes two shards
@given(begin=st.integers(0, 50), count=st.integers(1, 4))
def test_documents_of_a_window_are_named(tmp_path_factory: pytest.TempPathFactory, begin: int, count: int) -> None:
    folder = tmp_path_factory.getbasetemp() / "named"
    folder.mkdir(exist_ok=True)
    documents = [[1 + k % 40] * (1 + k % 5) for k in range(60)]
    corpus = opened(folder, [list(range(25)), list(range(25, 60))], documents)
    starts = {
        int(s) + (0 if n == 0 else 10**6) for n, s in zip(corpus.held_out.shard, corpus.held_out.start, strict=True)
    }
    owner, position = [], {0: 0, 1: 0}
    for number, document in enumerate(documents):
        shard = int(number >= 25)
        if position[shard] + 10**6 * shard not in starts:
            owner += [number] * (len(document) + 1)
        position[shard] += len(document) + 1
    index = np.arange(begin % 20, begin % 20 + count)
    expected = dict.fromkeys(owner[k] for window in index for k in range(4 * window, 4 * window + 5))
    assert corpus.document_ids(index, 4) == [document_id(number).hex() for number in expected]


@pytest.mark.parametrize("parts", [1, 3])
def test_counts_are_of_training_tokens(tmp_path: Path, parts: int) -> None:
    documents = sentences(30, length=11)
    corpus = opened(tmp_path, [list(range(17)), list(range(17, 30))], documents)
    held = held_out_documents(corpus)
    expected = np.zeros(48, np.int64)
    for document in documents:
        if document not in held:
            np.add.at(expected, [*document, EOS], 1)
    counts = [corpus.training_counts(part=part, parts=parts) for part in range(parts)]
    assert np.array_equal(sum(counts), expected)


def test_too_few_documents_are_counted_for_the_user(tmp_path: Path) -> None:
    corpus = opened(tmp_path, [[0, 1, 2]], sentences(3, length=9), held_out_fraction=1e-9)
    with pytest.raises(UserError, match=r"20 training tokens make 2 sequences of 8, fewer than one batch of 3"):
        corpus.num_windows(8, 3)


def test_ids_of_another_vocabulary_are_refused(tmp_path: Path) -> None:
    corpus = opened(tmp_path, [list(range(4))], [[1, 2], [3, 90], [90, 4], [90, 5]])
    with pytest.raises(UserError, match="token id 90 in a vocabulary of 48"):
        corpus.windows(np.arange(corpus.num_windows(2, 1)), 2)


def test_a_payload_that_was_cut_is_refused(tmp_path: Path) -> None:
    files = write_shard(tmp_path / "cut", sentences(5, length=9))
    payload = Path(files.tokens)
    payload.write_bytes(payload.read_bytes()[:-2])
    with pytest.raises(UserError, match="98 bytes"):
        open_corpus(token_data(files), held_out_fraction=0.2, seed=0)


def test_wide_ids_are_read(tmp_path: Path) -> None:
    files = write_shard(tmp_path / "wide", [[1, 2, 3], [4, 5, 6]], dtype="uint32")
    corpus = open_corpus(token_data(files, dtype="uint32"), held_out_fraction=1e-9, seed=0)
    stream = corpus.windows(np.array([0]), 3)[0].tolist()
    assert stream in ([1, 2, 3, EOS], [4, 5, 6, EOS])
