"""Fill-in-the-middle: what is rewritten reads as before once its parts are put back, all else is untouched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from packing_fakes import MARKS, Committed, byte_level, token_shard
from pydantic import ValidationError
from token_fakes import TEXTS, documents, numbered
from tokenizers import Tokenizer

from operators.tokenize.packing.infill import Fim, Infiller
from operators.tokenize.packing.layout import Documents
from operators.tokenize.packing.pack import all_documents
from operators.tokenize.shards.reader import TokenShard
from pipeline.errors import UserError
from pipeline.value import Artifact

MANY = [f"{text[:k]} 中{k} e\u0301 {text[k:]}<|endoftext|>" for k in range(1, 60) for text in TEXTS]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return byte_level(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


def rewritten(
    folder: Path, shard: Committed, tokenizer: Path, *, seed: int = 7, **options: Any
) -> tuple[Documents, list[list[int]], int]:
    """The documents afterwards, the tokens of each, and how many were left as they are."""
    tokens = TokenShard.of(shard)
    path = folder / f"own{seed}.bin"
    infiller = Infiller(Fim(tokenizer=Artifact(file=str(tokenizer)), **options), seed, shard.facts, path)
    found = infiller.rewrite(all_documents(tokens, 0, seed), {0: tokens})
    infiller.close()
    own = np.fromfile(path, tokens.dtype)
    columns = zip(found.start.tolist(), found.length.tolist(), found.rewritten.tolist(), strict=True)
    return found, [(own if new else tokens.tokens)[a : a + n].tolist() for a, n, new in columns], infiller.num_left


def put_back(tokenizer: Tokenizer, ids: list[int]) -> tuple[str, bool]:
    """The text that a rewritten document was, and whether its suffix came first."""
    prefix, suffix, middle = (tokenizer.token_to_id(mark) for mark in MARKS)
    assert [ids.count(mark) for mark in (prefix, suffix, middle, 0)] == [1, 1, 1, 1]
    assert (ids[0], ids[-1]) == (prefix, 0)
    at, behind = ids.index(suffix), ids.index(middle)
    assert at < behind
    parts = (ids[1:at], ids[behind + 1 : -1], ids[at + 1 : behind])
    return "".join(tokenizer.decode(part, skip_special_tokens=False) for part in parts), at == 1


def test_texts_come_back(tmp_path: Path, tokenizer: Path) -> None:
    shard = token_shard(tmp_path, tokenizer, documents(MANY[:200]), documents(MANY[200:], source="two"))
    found, ids, num_left = rewritten(tmp_path, shard, tokenizer, rate=0.5)
    reader, tokens = Tokenizer.from_file(str(tokenizer)), TokenShard.of(shard)
    orders = []
    for k, text in enumerate(MANY):
        if found.rewritten[k]:
            back, suffix_first = put_back(reader, ids[k])
            assert back == text
            orders.append(suffix_first)
        else:
            assert ids[k] == tokens.document(k).tolist()
    # 354 draws at one half: further than five standard deviations off once in a million.
    assert 130 < len(orders) < 224
    assert len(orders) / 4 < sum(orders) < len(orders) * 3 / 4
    assert num_left == 0


def test_a_document_is_rewritten_alike_wherever_it_stands(tmp_path: Path, tokenizer: Path) -> None:
    docs = documents(MANY)
    backwards = docs.take(pa.array(range(len(MANY) - 1, -1, -1)))
    one = rewritten(tmp_path, token_shard(tmp_path / "a", tokenizer, docs), tokenizer)[1]
    other = rewritten(tmp_path, token_shard(tmp_path / "b", tokenizer, backwards), tokenizer)[1]
    assert one == other[::-1]
    assert one != rewritten(tmp_path, token_shard(tmp_path / "c", tokenizer, docs), tokenizer, seed=8)[1]


def test_parts_are_encoded_as_texts_of_their_own(tmp_path: Path, tokenizer: Path) -> None:
    shard = token_shard(tmp_path, tokenizer, documents(TEXTS))
    reader = Tokenizer.from_file(str(tokenizer))
    reader.encode_special_tokens = True
    _prefix, suffix, middle = (reader.token_to_id(mark) for mark in MARKS)
    for ids in rewritten(tmp_path, shard, tokenizer, rate=1.0, spm_rate=0.0)[1]:
        at, behind = ids.index(suffix), ids.index(middle)
        for part in (ids[1:at], ids[at + 1 : behind], ids[behind + 1 : -1]):
            assert reader.encode(reader.decode(part, skip_special_tokens=False)).ids == part


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"rate": 0.0}, {}),
        ({"rate": 1.0}, {"one": 6, "two": 6}),
        ({"rate": 1.0, "only": {"source": ["two"]}}, {"two": 6}),
        ({"rate": 1.0, "only": {"source": ["two"], "language": "en"}}, {}),
        ({"rate": 1.0, "only": {"language": ["py", "en"]}}, {"one": 6}),
    ],
    ids=str,
)
def test_which_documents(tmp_path: Path, tokenizer: Path, options: dict[str, Any], expected: dict[str, int]) -> None:
    tables = documents(TEXTS, source="one", language="py"), documents(TEXTS, source="two", language="zh")
    shard = token_shard(tmp_path, tokenizer, *tables)
    new = rewritten(tmp_path, shard, tokenizer, **options)[0].rewritten.tolist()
    assert {name: sum(part) for name, part in (("one", new[:6]), ("two", new[6:])) if any(part)} == expected


@pytest.mark.parametrize("spm_rate", [0.0, 1.0])
def test_one_order_alone(tmp_path: Path, tokenizer: Path, spm_rate: float) -> None:
    shard = token_shard(tmp_path, tokenizer, documents(TEXTS))
    reader = Tokenizer.from_file(str(tokenizer))
    found = [put_back(reader, ids) for ids in rewritten(tmp_path, shard, tokenizer, rate=1.0, spm_rate=spm_rate)[1]]
    assert [text for text, _ in found] == list(TEXTS)
    if spm_rate == 1:
        assert all(suffix_first for _, suffix_first in found)


def test_a_text_that_tokens_do_not_give_back_stays_as_it_is(tmp_path: Path) -> None:
    tokenizer = byte_level(tmp_path / "tokenizer.json", composed=True)
    shard = token_shard(tmp_path, tokenizer, documents(["e\u0301t\u00e9", "été"]))
    found, ids, num_left = rewritten(tmp_path, shard, tokenizer, rate=1.0)
    assert (found.rewritten.tolist(), num_left) == ([False, True], 1)
    assert ids[0] == TokenShard.of(shard).document(0).tolist()


def test_what_is_refused(tmp_path: Path, tokenizer: Path) -> None:
    shard = token_shard(tmp_path, tokenizer, documents(TEXTS))
    with pytest.raises(UserError, match="'<fim>' is no special token"):
        rewritten(tmp_path, shard, tokenizer, prefix="<fim>")
    with pytest.raises(UserError, match="'the' is no special token"):
        rewritten(tmp_path, shard, tokenizer, prefix="the")
    other = byte_level(tmp_path / "other.json", special=("<|pad|>", *MARKS))
    with pytest.raises(UserError, match="name the tokenizer of the step that made them"):
        rewritten(tmp_path, shard, other)
    blank = byte_level(tmp_path / "blank.json", blank=True)
    with pytest.raises(UserError, match="puts a blank before"):
        rewritten(tmp_path, token_shard(tmp_path / "blank", blank, documents(TEXTS)), blank)
    words = numbered(tmp_path / "words.json", 300)
    with pytest.raises(UserError, match=r"no special token"):
        rewritten(tmp_path, token_shard(tmp_path / "words", words, documents(TEXTS)), words)


@pytest.mark.parametrize(
    "options",
    [{"only": {"url": ["x"]}}, {"prefix": "<|x|>", "suffix": "<|x|>"}, {"rate": 1.5}, {"rates": 0.5}],
    ids=str,
)
def test_parameters(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Fim(tokenizer=Artifact(file="x.json"), **options)
