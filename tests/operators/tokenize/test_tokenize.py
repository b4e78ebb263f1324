"""Tokenize: documents in, a committed shard out."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from token_fakes import TEXTS, documents, numbered, published, stream, task
from tokenizers import Tokenizer

from operators.tokenize.shards.encoded import Encode
from operators.tokenize.shards.regroup import Regroup
from operators.tokenize.shards.verify import verify
from operators.tokenize.tokens import Tokenize
from pipeline.errors import UserError
from pipeline.ledger import Count
from pipeline.value import Artifact
from pipeline.work import Node, Result


def work(path: Path, **options: str) -> Tokenize:
    return Tokenize(tokenizer=Artifact(file=str(path)), **options)


def outputs(paths: dict[str, Path]) -> dict[str, bytes]:
    return {suffix: path.read_bytes() for suffix, path in paths.items()}


def test_a_shard_reads_back_as_the_texts(tmp_path: Path, tokenizer_path: Path) -> None:
    texts = [*TEXTS, "x", " ", "\0", "<|endoftext|>"]
    result = stream(work(tokenizer_path), tmp_path / "task", documents(texts))
    paths = published(result, tmp_path / "published")
    tokens = np.memmap(paths[".bin"], np.uint16, "r")
    offsets = np.load(paths[".offsets.npy"])
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    spans = [tokens[start:end].tolist() for start, end in pairwise(offsets)]
    assert [tokenizer.decode(span[:-1], skip_special_tokens=False) for span in spans] == texts
    assert [span.index(0) for span in spans] == [len(span) - 1 for span in spans]
    assert verify([paths[".bin"]]) == []
    assert pq.read_table(paths[".docs.parquet"])["num_bytes"].to_pylist() == [len(text.encode()) for text in texts]


def test_the_account_and_the_facts(tmp_path: Path) -> None:
    path = numbered(tmp_path / "tokenizer.json", 100)
    english = documents(["w1 w2", "", "w3", None], source="books", language="en")
    unknown = documents(["w4 w5 w6", "  "], source="web")
    with_language = unknown.append_column("language.label", pa.nulls(2, pa.string()))
    result = stream(work(path), tmp_path / "task", english, with_language)
    ledger = result.ledger
    ledger.check("test")
    assert ledger.into == Count(6, 5 + 0 + 2 + 0 + 8 + 2, 3 + 2 + 4)
    assert ledger.kept == Count(3, 15, 9)
    assert ledger.dropped == {"tokenize:empty": Count(2, 0), "tokenize:no_tokens": Count(1, 2)}
    assert ledger.group_into == {"books|en": Count(4, 7, 5), "web|und": Count(2, 10, 4)}
    assert ledger.group_kept == {"books|en": Count(2, 7, 5), "web|und": Count(1, 8, 4)}
    (flow,) = ledger.flows
    assert (flow.operator, flow.into["en"], flow.out["und"]) == ("tokenize", Count(4, 7, 5), Count(1, 8, 4))
    facts = {key: result.facts[key] for key in ("tokens", "docs", "bytes", "dtype", "vocab_size", "eos_id")}
    assert facts == {"tokens": 9, "docs": 3, "bytes": 15, "dtype": "uint16", "vocab_size": 100, "eos_id": 99}
    paths = published(result, tmp_path / "published")
    assert np.fromfile(paths[".bin"], "<u2").tolist() == [1, 2, 99, 3, 99, 4, 5, 6, 99]
    dropped = pq.read_table(paths["dropped"]).to_pylist()
    assert [(row["operator"], row["reason"], row["bytes"], row["language"]) for row in dropped] == [
        ("tokenize", "empty", 0, "en"), ("tokenize", "empty", 0, "en"), ("tokenize", "no_tokens", 2, "und"),
    ]  # fmt: skip
    assert dropped[0]["id"] == english["id"][1].as_py()


@pytest.mark.parametrize(
    ("size", "dtype", "name"), [(65_499, "<u2", "uint16"), (65_500, "<u4", "uint32"), (66_000, "<u4", "uint32")]
)
def test_width_of_a_token(tmp_path: Path, size: int, dtype: str, name: str) -> None:
    path = numbered(tmp_path / "tokenizer.json", size)
    result = stream(work(path), tmp_path / "task", documents([f"w{size - 2} w0", "w9"]))
    assert result.facts["dtype"] == name
    paths = published(result, tmp_path / "published")
    assert np.fromfile(paths[".bin"], dtype).tolist() == [size - 2, 0, size - 1, 9, size - 1]
    assert verify([paths[".bin"]]) == []


@pytest.fixture(scope="module")
def whole_shard(
    tmp_path_factory: pytest.TempPathFactory, tokenizer_path: Path
) -> tuple[pa.Table, Result, dict[str, bytes]]:
    """4,200 short documents, more than a row group, tokenized in one batch."""
    docs = documents([TEXTS[k % 6][k % 11 : k % 11 + k % 5] if k % 7 else None for k in range(4200)])
    folder = tmp_path_factory.mktemp("whole")
    result = stream(work(tokenizer_path), folder / "task", docs)
    return docs, result, outputs(published(result, folder / "published"))


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 4200), max_size=5))
def test_batches_do_not_show(
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer_path: Path,
    whole_shard: tuple[pa.Table, Result, dict[str, bytes]],
    cuts: list[int],
) -> None:
    docs, whole, expected = whole_shard
    bounds = sorted([0, *cuts, 4200])
    parts = [docs.slice(a, b - a) for a, b in pairwise(bounds)]
    folder = tmp_path_factory.mktemp("split")
    split = stream(work(tokenizer_path), folder / "task", *parts)
    assert outputs(published(split, folder / "published")) == expected
    assert split.ledger.to_json() == whole.ledger.to_json()
    assert split.facts == whole.facts


def test_what_passes_on_has_tokens(tmp_path: Path, tokenizer_path: Path) -> None:
    sink = work(tokenizer_path).open(task(tmp_path / "task"))
    docs = documents(["a", "", "b"])
    assert sink.add(docs)["text"].to_pylist() == ["a", "b"]
    assert sink.add(docs.slice(1, 1)).num_rows == 0
    assert sink.close().facts["docs"] == 2


def test_a_shard_without_a_batch(tmp_path: Path, tokenizer_path: Path) -> None:
    result = stream(work(tokenizer_path), tmp_path / "task")
    assert (result.facts["docs"], result.facts["tokens"]) == (0, 0)
    assert verify([published(result, tmp_path / "published")[".bin"]]) == []


def test_a_tokenizer_without_the_end_mark(tmp_path: Path, tokenizer_path: Path) -> None:
    with pytest.raises(UserError, match=r"'</s>'.*<\|endoftext\|>"):
        stream(work(tokenizer_path, eos="</s>"), tmp_path / "task", documents(["a"]))


def test_another_end_mark(tmp_path: Path, tokenizer_path: Path) -> None:
    result = stream(work(tokenizer_path, eos="<|pad|>"), tmp_path / "task", documents(["a<|pad|>", "b"]))
    tokens = np.fromfile(published(result, tmp_path / "published")[".bin"], "<u2")
    assert result.facts["eos_id"] == 1
    assert np.flatnonzero(tokens == 1).tolist() == [len(tokens) - 3, len(tokens) - 1]


def test_columns_that_are_kept(tmp_path: Path, tokenizer_path: Path) -> None:
    docs = documents(["a", "", "b"])
    docs = docs.append_column("quality.score", pa.array([0.25, 0.5, None])).append_column("n", pa.array([1, 2, 3]))
    result = stream(
        Tokenize(tokenizer=Artifact(file=str(tokenizer_path)), keep=("n", "quality.score")), tmp_path / "task", docs
    )
    table = pq.read_table(published(result, tmp_path / "published")[".docs.parquet"])
    assert table.column_names[-3:] == ["origin", "n", "quality.score"]
    assert table.select(["n", "quality.score"]).to_pylist() == [
        {"n": 1, "quality.score": 0.25},
        {"n": 3, "quality.score": None},
    ]


def test_columns_that_cannot_be_kept(tmp_path: Path, tokenizer_path: Path) -> None:
    docs = documents(["a"]).append_column("score", pa.array([0.5])).append_column("words", pa.array([["a"]]))
    for name, words in (("scores", "no column 'scores'.*score, words"), ("words", "column 'words' is list<")):
        with pytest.raises(UserError, match=words):
            stream(Tokenize(tokenizer=Artifact(file=str(tokenizer_path)), keep=(name,)), tmp_path / name / "task", docs)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keep": ["start"]}, "start is a column that docs.parquet has anyway"),
        ({"shuffle": {}}, "give it window_tokens, or give tokens_per_shard"),
        ({"shuffle": {"window_tokens": 5}, "tokens_per_shard": 6}, "window_tokens=5 is less than tokens_per_shard=6"),
        ({"tokens_per_shard": 0}, "greater than or equal to 1"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Tokenize.model_validate({"tokenizer": {"step": "bpe"}, **options})


def test_as_a_step_with_sizes_or_an_order() -> None:
    tokenizer = {"tokenizer": {"step": "bpe"}}
    encode = Encode(tokenizer=Artifact(step="bpe"), eos="<|endoftext|>")
    for options, regroup in (
        ({"tokens_per_shard": 9}, Regroup(tokens_per_shard=9)),
        ({"tokens_per_shard": 9, "shuffle": {}}, Regroup(tokens_per_shard=9, window_tokens=9, seed=7)),
        ({"shuffle": {"window_tokens": 20, "seed": 3}}, Regroup(tokens_per_shard=20, window_tokens=20, seed=3)),
    ):
        nodes = Tokenize.model_validate({**tokenizer, **options}).nodes("tokens", "unique", 7)
        assert nodes == (
            Node("tokens.encoded", encode, {"documents": "unique"}),
            Node("tokens", regroup, {"encoded": "tokens.encoded", "documents": "unique"}),
        )


def test_as_a_step() -> None:
    step = Tokenize.model_validate({"tokenizer": {"step": "bpe"}})
    assert step.nodes("tokens", "unique", 0) == (Node("tokens", step, {"documents": "unique"}),)


def test_groups_by_a_plain_language_column(tmp_path: Path, tokenizer_path: Path) -> None:
    docs = documents(["a", "b"], source="s").append_column("language", pa.array(["en", None]))
    ledger = stream(work(tokenizer_path), tmp_path / "task", docs).ledger
    assert {group: count.docs for group, count in ledger.group_into.items()} == {"s|en": 1, "s|und": 1}
