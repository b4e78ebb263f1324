"""Packed rows as training reads them: every token of a training document is predicted once, none held out is seen.

In these corpora no token but the EOS stands twice, so that a token tells where it comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.tokenize.packing.layout import Documents, write_packed
from operators.tokenize.packing.policies import best_fit, concat
from pipeline.errors import UserError
from pipeline.pretrain.config import Job, PackedFiles, TokenData, TrainConfig
from pipeline.pretrain.data.batch import IGNORED, next_token_batch
from pipeline.pretrain.data.batches import checked_batches
from pipeline.pretrain.data.corpus import Corpus, open_corpus
from pipeline.pretrain.data.mixture import Mixture, Stage, Stratum
from pipeline.pretrain.data.packed import PackedRows
from pipeline.pretrain.data.pieces import PIECE
from pipeline.pretrain.data.strata import Stratification
from tests.pipeline.pretrain.conftest import EOS, SMALL, document_id, write_shard

VOCABULARY = 60_000
REWRITTEN = 30_000
"""What a rewritten document's tokens are more than those it had."""


@dataclass(frozen=True)
class Packing:
    """Two token shards packed into two shards of rows, each from documents of both."""

    data: TokenData
    documents: list[list[int]]
    """As they are to be learned: rewritten ones as rewritten."""


def lengths_of(count: int) -> list[int]:
    """Empty, short, as long as a row, and some that fill several."""
    return [(0, 1, 3, 5, 8, 15, 16, 17, 40, 2)[k % 10] + k % 3 for k in range(count)]


def packing(folder: Path, policy: str = "best_fit", *, count: int = 120, length: int = 16) -> Packing:
    folder.mkdir(exist_ok=True)
    sizes, first, documents = lengths_of(count), 1, []
    for size in sizes:
        documents.append(list(range(first, first + size)))
        first += size
    half = count // 2
    files = [
        write_shard(
            folder / f"t{number}", documents[part], ids=[document_id(k) for k in range(count)[part]], dtype="uint16"
        )
        for number, part in enumerate((slice(half), slice(half, count)))
    ]
    learned = [
        [token + REWRITTEN for token in document] if k % 11 == 4 else document for k, document in enumerate(documents)
    ]
    packed = [
        _packed(folder, number, range(number, count, 2), learned, documents, policy, length) for number in range(2)
    ]
    data = TokenData(
        shards=tuple(files),
        packed=tuple(packed),
        packed_length=length,
        dtype="uint16",
        vocab_size=VOCABULARY,
        eos_id=EOS,
    )
    return Packing(data, learned)


def _packed(
    folder: Path,
    number: int,
    own: range,
    learned: list[list[int]],
    documents: list[list[int]],
    policy: str,
    length: int,
) -> PackedFiles:
    half = len(documents) // 2
    starts = np.cumsum([0, *(len(document) + 1 for document in documents)])
    starts = np.where(np.arange(len(starts)) < half, starts, starts - starts[half])
    rewritten = [learned[k] != documents[k] for k in own]
    payload = [token for k, new in zip(own, rewritten, strict=True) if new for token in (*learned[k], EOS)]
    at = np.cumsum([0, *(len(learned[k]) + 1 if new else 0 for k, new in zip(own, rewritten, strict=True))])
    given = Documents(
        shard=np.array([int(k >= half) for k in own], np.int32),
        document=np.array([k - half * (k >= half) for k in own], np.int32),
        start=np.where(rewritten, at[:-1], starts[list(own)]),
        length=np.array([len(learned[k]) + 1 for k in own]),
        num_bytes=np.ones(len(own), np.int64),
        rewritten=np.array(rewritten),
        order=np.array([7919 * k % 1009 for k in own], np.uint64),
    )
    place = folder / f"p{number}"
    place.mkdir()
    np.array(payload, "<u2").tofile(place / "own.bin")
    outputs = write_packed(place, {"best_fit": best_fit, "concat": concat}[policy](given, length), place / "own.bin")
    pieces, rows, own_tokens = (str(output.path) for output in outputs)
    return PackedFiles(pieces=pieces, rows=rows, rewritten=own_tokens)


def settings(**changes: Any) -> TrainConfig:
    fields = {"shape": SMALL, "sequence_length": 16, "steps": 9, "batch_size": 4, "learning_rate": 1e-2}
    return TrainConfig(**{**fields, "held_out_fraction": 0.15, **changes})


def opened(data: TokenData, config: TrainConfig) -> tuple[Corpus, PackedRows]:
    corpus = open_corpus(data, held_out_fraction=config.held_out_fraction, seed=config.seed)
    return corpus, PackedRows(corpus, config)


def epoch(rows: PackedRows, config: TrainConfig) -> np.ndarray:
    """The rows of one epoch: of some steps, cut off."""
    steps = -(-rows.num_rows // config.batch_size)
    return np.concatenate([rows.rows(step) for step in range(1, steps + 1)])[: rows.num_rows]


def held_out_numbers(corpus: Corpus, count: int) -> set[int]:
    return {
        int(row) + count // 2 * int(shard)
        for shard, row in zip(corpus.held_out.shard, corpus.held_out.row, strict=True)
    }


@pytest.mark.parametrize("policy", ["best_fit", "concat"])
def test_every_training_token_is_predicted_once_and_none_held_out_is_seen(tmp_path: Path, policy: str) -> None:
    given = packing(tmp_path / "p", policy)
    config = settings()
    corpus, rows = opened(given.data, config)
    held = held_out_numbers(corpus, 120)
    assert 5 < len(held) < 40
    order = epoch(rows, config)
    assert len(set(order.tolist())) == len(order)
    tokens, lengths = rows.tokens(order)
    breaks = rows.breaks(order)
    batch = next_token_batch(tokens, lengths, breaks, eos_id=EOS, document_mask=False)
    seen = {token for line, size in zip(tokens.tolist(), lengths.tolist(), strict=True) for token in line[:size]}
    training = [document for k, document in enumerate(given.documents) if k not in held]
    assert seen == {EOS, *(token for document in training for token in document)}
    before = {token: last for document in training for last, token in zip([EOS, *document], document, strict=False)}
    predicted: list[int] = []
    for line, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        for last, token in zip(line, targets, strict=True):
            if token != IGNORED and token != EOS:
                assert last == before[token]
                predicted.append(token)
    assert len(set(predicted)) == len(predicted)
    firsts = {document[0] for document in training if document}
    assert {token for document in training for token in document} - set(predicted) <= firsts
    if (
        policy == "concat"
    ):  # all documents in one stream: the first one's alone has nothing before it, or what is cut there
        assert len(firsts - set(predicted)) <= 2 + len(held)
    ends = int((batch.targets == EOS).sum())
    texts = [document for document in training if document]
    assert len(texts) <= ends <= len(training)
    assert rows.num_targets(order) == len(predicted) + ends == batch.num_targets


@pytest.mark.parametrize("policy", ["best_fit", "concat"])
def test_rows_are_their_pieces_without_those_held_out(tmp_path: Path, policy: str) -> None:
    """Against plain loops over the files."""
    given = packing(tmp_path / "p", policy)
    config = settings()
    corpus, rows = opened(given.data, config)
    held = held_out_numbers(corpus, 120)
    payloads = [np.fromfile(files.tokens, "<u2").tolist() for files in given.data.shards]
    expected, breaks, ids = [], [], []
    for files in given.data.packed:
        pieces, starts = np.load(files.pieces), np.load(files.rows)
        own = np.fromfile(files.rewritten, "<u2").tolist()
        for first, end in pairwise(starts.tolist()):
            line: list[int] = []
            broken, names = set(), {}
            whole = False
            for shard, row, start, length, new in pieces[first:end].tolist():
                number = row + 60 * shard
                if number in held:
                    continue
                part = (own if new else payloads[shard])[start : start + length]
                document = [*given.documents[number], EOS]
                if not (whole and part == document[: len(part)]):
                    broken.add(len(line))
                whole = part[-1] == EOS
                line += part
                names[document_id(number).hex()] = None
            expected.append(line)
            breaks.append(broken)
            ids.append(list(names))
    drawn = sorted(epoch(rows, config).tolist())
    assert drawn == [k for k, line in enumerate(expected) if len(line) > 1]
    assert len(drawn) < len(expected)  # some hold nothing but held-out documents
    tokens, lengths = rows.tokens(np.array(drawn))
    for k, line, size, marks in zip(drawn, tokens.tolist(), lengths, rows.breaks(np.array(drawn)), strict=True):
        assert line == expected[k] + [EOS] * (17 - len(expected[k]))
        assert size == len(expected[k])
        assert set(np.flatnonzero(marks).tolist()) == breaks[k]
        assert rows.documents_of(np.array([k])) == ids[k]
    for number in (0, 8, 61, 4, min(held)):
        found = rows.rows_with(int(number >= 60), number % 60).tolist()
        assert found == [k for k, names in enumerate(ids) if document_id(number).hex() in names]


def test_breaks_of_rows_made_by_hand(tmp_path: Path) -> None:
    """Payload 1 2 3 EOS 4 5 EOS 6 EOS; whatever a packer may write, not only what ours does."""
    files = write_shard(tmp_path / "t", [[1, 2, 3], [4, 5], [6]])
    made = [
        # 1 2 | 4 5 EOS | 6 EOS: 4 stands behind what breaks off, 6 behind an end mark.
        [(0, 0, 0, 2, 0), (0, 1, 4, 3, 0), (0, 2, 7, 2, 0)],
        # 4 5 EOS | 2 3 EOS: document 0 goes on from elsewhere.
        [(0, 1, 4, 3, 0), (0, 0, 1, 3, 0)],
    ]
    np.save(tmp_path / "pieces.npy", np.array([piece for row in made for piece in row], PIECE))
    np.save(tmp_path / "rows.npy", np.array([0, 3, 5]))
    packed = PackedFiles(pieces=str(tmp_path / "pieces.npy"), rows=str(tmp_path / "rows.npy"))
    data = TokenData(shards=(files,), packed=(packed,), packed_length=7, dtype="uint16", vocab_size=9, eos_id=EOS)
    rows = PackedRows(
        open_corpus(data, held_out_fraction=0.1, seed=0, held_out_below=0), settings(sequence_length=7, batch_size=2)
    )
    tokens, lengths = rows.tokens(np.array([0, 1]))
    assert tokens.tolist() == [[1, 2, 4, 5, 0, 6, 0, 0], [4, 5, 0, 2, 3, 0, 0, 0]]
    assert lengths.tolist() == [7, 6]
    assert [np.flatnonzero(line).tolist() for line in rows.breaks(np.array([0, 1]))] == [[0, 2], [0, 3]]
    assert [rows.num_targets(np.array([row])) for row in (0, 1)] == [5, 4]


def test_order_is_a_function_of_seed_and_step(tmp_path: Path) -> None:
    data = packing(tmp_path / "p").data
    one, same, other = (opened(data, settings(seed=seed))[1] for seed in (0, 0, 1))
    backwards = {step: same.rows(step).tolist() for step in range(40, 0, -1)}
    assert {step: one.rows(step).tolist() for step in range(1, 41)} == backwards
    assert any(other.rows(step).tolist() != backwards[step] for step in range(1, 5))
    assert one.digest == same.digest


def test_other_rows_have_another_digest(tmp_path: Path) -> None:
    digests = {
        opened(packing(tmp_path / name, policy).data, settings())[1].digest
        for name, policy in (("a", "best_fit"), ("b", "concat"), ("c", "best_fit"))
    }
    assert len(digests) == 2


def _longer(files: PackedFiles, data: TokenData) -> TokenData:
    del files
    return data.model_copy(update={"packed_length": 32})


def _few_shards(files: PackedFiles, data: TokenData) -> TokenData:
    del files
    return data.model_copy(update={"shards": data.shards[:1]})


def _beyond(files: PackedFiles, data: TokenData) -> TokenData:
    pieces = np.load(files.pieces)
    pieces["length"][0] += 1
    np.save(files.pieces, pieces)
    return data


def _cut(files: PackedFiles, data: TokenData) -> TokenData:
    np.save(files.rows, np.load(files.rows)[:-1])
    return data


def _other_kind(files: PackedFiles, data: TokenData) -> TokenData:
    np.save(files.pieces, np.load(files.pieces)["start"])
    return data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _longer,
            "sequence_length is 16, but the sequences were packed at 32: write sequence_length: 32, or pack at 16",
        ),
        (_few_shards, r"names token shard 1 of 1; pack again"),
        (_beyond, r"tokens \d+ to \d+ are not those of document \d+ of token shard \d; pack again"),
        (_cut, "its rows do not cover its pieces; pack again"),
        (_other_kind, "are not what `pack` writes; pack again"),
    ],
    ids=["length", "shards", "beyond", "cut", "kind"],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, change: Callable[[PackedFiles, TokenData], TokenData], message: str
) -> None:
    data = packing(tmp_path / "p").data
    with pytest.raises(UserError, match=message):
        opened(change(data.packed[0], data), settings())


def test_fewer_rows_than_a_batch_are_refused(tmp_path: Path) -> None:
    data = packing(tmp_path / "p", count=10).data
    with pytest.raises(
        UserError, match=r"\d+ packed sequences have something to learn from, fewer than one batch of 64"
    ):
        opened(data, settings(batch_size=64))


def test_ids_of_another_vocabulary_are_refused(tmp_path: Path) -> None:
    data = packing(tmp_path / "p").data.model_copy(update={"vocab_size": 500})
    config = settings()
    rows = opened(data, config)[1]
    with pytest.raises(UserError, match="in a vocabulary of 500"):
        rows.tokens(epoch(rows, config))


def test_a_mixture_over_packed_rows_is_refused(tmp_path: Path) -> None:
    stratum = Stratum(label="a", documents=1, tokens=1, drawn=0, epochs=0.0, max_epochs=4.0)
    mixture = Mixture(
        rule=Stratification(),
        tokens=99,
        held_out_fraction=0.0,
        strata=(stratum,),
        stages=(Stage(end=99, weights=(1.0,)),),
    )
    config = settings(mixture=mixture)
    job = Job(config=config, data=packing(tmp_path / "p").data, home=str(tmp_path))
    with pytest.raises(UserError, match="packed rows hold documents of several"):
        checked_batches(job, 1)
