"""Encoder on other people's tokenizers: ids as their file writes them, and a text is never more than text."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from token_fakes import TEXTS, documents, published, stream
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from operators.tokenize.encoder import Encoder, EngineName
from operators.tokenize.tokens import Tokenize
from pipeline.dataset import Run
from pipeline.errors import UserError
from pipeline.session import Settings
from pipeline.value import Artifact
from workflows import load, run

SPECIAL = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
PLAIN = {**SPECIAL, "special": False}
LATE_MARK = "a\u1ac1\u0334b a\u0300\u1ac1"  # U+1AC1 came with Unicode 14, after the reference's table


def encoded(encoder: Encoder, texts: Sequence[str]) -> list[list[int]]:
    ids, offsets = encoder.encode(pa.array(texts, pa.large_string()))
    return [ids[start:end].tolist() for start, end in pairwise(offsets)]


def as_the_library_does(tokenizer_json: str, texts: Sequence[str]) -> list[list[int]]:
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.encode_special_tokens = True
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


def letters(**model: Any) -> dict[str, Any]:
    """A byte-level tokenizer.json of 256 bytes, without merges; byte ``a`` has id 64."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, [], **model))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return json.loads(tokenizer.to_str())


@pytest.fixture(params=["tokenizers", "auto", "gigatoken", "fastokens"])
def engine(request: pytest.FixtureRequest) -> EngineName:
    if request.param in ("gigatoken", "fastokens") and importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


def test_added_tokens_keep_their_ids_behind_special_ones(engine: EngineName) -> None:
    """As in Qwen's file: <tool_call> is no special token, and its id lies above those of the special ones."""
    data = letters()
    data["added_tokens"] = [
        {"id": 256, "content": "<|end|>", **SPECIAL},
        {"id": 257, "content": "<tool_call>", **PLAIN},
    ]
    encoder = Encoder(json.dumps(data), engine)
    assert encoder.vocab_size == 258
    assert encoder.special_tokens == {"<|end|>": 256}
    assert encoder.token_id("<tool_call>") == 257
    texts = ["a<tool_call>a", "<|end|>", "a<|end|><tool_call>"]
    found = encoded(encoder, texts)
    assert found[0] == [64, 257, 64]
    assert not {256, 257} & set(found[1])
    assert len(found[1]) == len("<|end|>")
    assert found == as_the_library_does(json.dumps(data), texts)


@pytest.mark.parametrize("model", ["WordLevel", "WordPiece", "Unigram", "BPE"])
def test_no_text_finds_a_special_token_in_the_vocabulary(model: str) -> None:
    """These look pieces of a text up in the vocabulary, where the special tokens stand too."""
    words = {"<unk>": 0, "</s>": 1, "a": 2, "<": 3, "/": 4, "s": 5, ">": 6}
    built = {
        "WordLevel": lambda: models.WordLevel(words, unk_token="<unk>"),
        "WordPiece": lambda: models.WordPiece(words, unk_token="<unk>"),
        "Unigram": lambda: models.Unigram([(word, -2.0 * (number > 1)) for word, number in words.items()], unk_id=0),
        "BPE": lambda: models.BPE(words, [], unk_token="<unk>", ignore_merges=True),
    }[model]()
    tokenizer = Tokenizer(built)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    tokenizer.add_tokens(["s>a"])
    encoder = Encoder(tokenizer.to_str())
    assert encoder.special_tokens == {"<unk>": 0, "</s>": 1}
    assert encoder.vocab_size == 8
    found = encoded(encoder, ["</s>", "a </s> a", "a s>a", "a"])
    assert not any(1 in ids for ids in found)
    assert found[2:] == [[2, 7], [2]]
    if model in ("Unigram", "BPE"):  # its letters are in the vocabulary
        assert found[0] == [3, 4, 5, 6]
    else:
        assert found[0] == [0]


def test_merges_are_not_dropped_by_chance(tokenizer_path: Path, engine: EngineName) -> None:
    """``dropout`` is for training: with it the ids of a text would differ from run to run."""
    data = json.loads(tokenizer_path.read_text(encoding="utf-8"))
    expected = as_the_library_does(json.dumps(data), TEXTS)
    data["model"]["dropout"] = 0.5
    encoder = Encoder(json.dumps(data), engine)
    assert encoded(encoder, TEXTS) == encoded(encoder, TEXTS) == expected


def test_ids_above_16_bits(engine: EngineName) -> None:
    """Two letters of a byte-level tokenizer have the ids 70,000 and 65,536, of 70,001."""
    data = letters()
    names = {number: letter for letter, number in data["model"]["vocab"].items()}
    filled = {f"\u0100{number}": number for number in range(256, 70_001) if number not in (65_536, 70_000)}
    data["model"]["vocab"] = {**data["model"]["vocab"], **filled, names[64]: 70_000, names[65]: 65_536}
    data["model"]["vocab"].update({"\u0100x": 64, "\u0100y": 65})
    encoder = Encoder(json.dumps(data), engine)
    assert (encoder.vocab_size, encoder.dtype) == (70_001, np.dtype("<u4"))
    ids, _ = encoder.encode(pa.array(["abc"], pa.large_string()))
    assert (ids.dtype, ids.tolist()) == (np.dtype("<u4"), [70_000, 65_536, 66])


def test_auto_normalizes_as_the_reference() -> None:
    """An engine whose Unicode table is newer puts some marks into another order; fixed texts find it out."""
    data = letters()
    data["normalizer"] = json.loads(normalizers.NFC().__getstate__())
    texts = [LATE_MARK, "e\u0301 \u1100\u1161", *TEXTS]
    assert encoded(Encoder(json.dumps(data)), texts) == as_the_library_does(json.dumps(data), texts)


def test_a_file_changed_since_planning_is_refused(tmp_path: Path, tokenizer_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(tokenizer_path.read_bytes())
    planned = Artifact(file=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    result = stream(Tokenize(tokenizer=planned), tmp_path / "first", documents(TEXTS))
    assert result.facts["tokenizer_sha256"] == planned.sha256
    path.write_text(json.dumps(letters()), encoding="utf-8")
    with pytest.raises(UserError, match=rf"{path}.*put the file back"):
        stream(Tokenize(tokenizer=planned), tmp_path / "second", documents(TEXTS))


def test_a_tokenizer_without_any_special_token(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(letters()), encoding="utf-8")
    with pytest.raises(UserError, match=r"no token '<\|endoftext\|>'; it has no special tokens; add one"):
        stream(Tokenize(tokenizer=Artifact(file=str(path))), tmp_path / "task", documents(["a"]))


def test_a_step_whose_tokenizer_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'bpe' is not made yet"):
        Encoder.of(Artifact(step="bpe"))
    with pytest.raises(UserError, match="cannot read a tokenizer"):
        Encoder.of(Artifact(file=str(tmp_path)))


RECIPE = """\
name: changed
steps:
  crawl:
    read: {format: jsonl, paths: ["in.jsonl"], source: web}
  tokens:
    from: crawl
    tokenize: {tokenizer: {file: tokenizer.json}}
"""


def tokens(folder: Path) -> list[int]:
    done = run(load(folder / "recipe.yaml"), folder / "run", settings=Settings(backend="inline", progress="none"))
    assert isinstance(done, Run)
    (payload,) = [shard.file(".bin") for shard in done["tokens"].shards()]
    return np.fromfile(payload, "<u2").tolist()


def test_another_tokenizer_between_runs_makes_another_dataset(tmp_path: Path) -> None:
    data = letters()
    data["added_tokens"] = [{"id": 256, "content": "<|endoftext|>", **SPECIAL}]
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    rows = [{"id": "1", "text": "ab"}, {"id": "2", "text": "<|endoftext|>"}, {"id": "3", "text": ""}]
    lines = [*map(json.dumps, rows), '{"id": "4", "text": "a\\ud800b"}', '{"id": "5", "text": "\\ud83d\\ude00"}']
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    first = tokens(tmp_path)
    written_out = [data["model"]["vocab"][letter] for letter in "<|endoftext|>"]
    smile = as_the_library_does(json.dumps(data), ["\U0001f600"])[0]
    # Half of a surrogate pair is no text: the reader puts line 4 aside. A whole pair is one letter.
    assert first == [64, 65, 256, *written_out, 256, *smile, 256]
    data["model"]["vocab"].update(a=65, b=64)
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    assert tokens(tmp_path)[:3] == [65, 64, 256]
    folders = sorted(folder.name for folder in (tmp_path / "run").glob("tokens-*"))
    assert len(folders) == 2


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ude00\ud83d"])
def test_half_a_surrogate_pair_cannot_be_in_a_column(text: str) -> None:
    with pytest.raises(UnicodeEncodeError):
        pa.array([text], pa.large_string())


def test_a_shard_of_texts_that_are_special_tokens(tmp_path: Path, tokenizer_path: Path) -> None:
    work = Tokenize(tokenizer=Artifact(file=str(tokenizer_path)))
    result = stream(work, tmp_path / "task", documents(["<|endoftext|>", "", "<|pad|><|endoftext|>", "\0"]))
    payload = np.fromfile(published(result, tmp_path / "published")[".bin"], "<u2")
    assert result.facts["docs"] == 3
    assert np.flatnonzero(payload == 0).tolist()[-1] == len(payload) - 1
    assert int((payload == 0).sum()) == 3
    assert not (payload == 1).any()
