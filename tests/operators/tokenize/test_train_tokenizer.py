"""TrainTokenizer: equal corpora give equal bytes, and the merges are those of plain BPE."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from token_fakes import TEXTS, MemoryShard, documents, task, trained
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

from operators.tokenize.training.sample import Sample, limits
from operators.tokenize.training.splitting import encoding_split, training_split
from operators.tokenize.training.train import TrainTokenizer
from pipeline.errors import RunFailedError
from pipeline.work import Extent, Node

SMALL = TrainTokenizer(vocab_size=512, min_frequency=1)


def files(work: TrainTokenizer, scratch: Path, *shards: MemoryShard) -> dict[str, bytes]:
    result = work.run(task(scratch, *shards))
    assert [output.suffix for output in result.outputs] == [".json", ".card.json"]
    return {output.suffix: output.path.read_bytes() for output in result.outputs}


def slow_merges(words: Counter[str], num_merges: int) -> list[tuple[str, str]]:
    """BPE as printed: merge the most frequent pair everywhere; of equally frequent ones that of the lowest ids."""
    ids = {letter: number for number, letter in enumerate(["<|endoftext|>", *sorted(ByteLevel.alphabet())])}
    split = {word: list(word) for word in words}
    merges = []
    for _ in range(num_merges):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in split.items():
            for pair in pairwise(parts):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], ids[pair[0]], ids[pair[1]]))
        merges.append(best)
        ids.setdefault(best[0] + best[1], len(ids))
        for word, parts in split.items():
            split[word] = merged(parts, best)
    return merges


def merged(parts: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for part in parts:
        # The left part must be whole, not itself just made by this merge, so that "aaa" gives "aa", "a".
        if out and (out[-1], part) == pair and not (len(out) > 1 and out[-1] == "".join(pair)):
            out[-1] += part
        else:
            out.append(part)
    return out


@pytest.mark.parametrize("seed", range(6))
def test_merges_are_those_of_plain_bpe(tmp_path: Path, seed: int) -> None:
    """Also where nearly every count is a tie."""
    draw = random.Random(seed)
    letters = ["ab", "abc", "aé中"][seed % 3]
    texts = [" ".join("".join(draw.choices(letters, k=draw.randint(1, 9))) for _ in range(12)) for _ in range(8)]
    path = trained(tmp_path / "task", documents(texts), vocab_size=384)
    words = Counter(word for text in texts for word, _ in training_split().pre_tokenize_str(text))
    merges = [tuple(pair) for pair in json.loads(path.read_bytes())["model"]["merges"]]
    assert merges == slow_merges(words, 384 - 257)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(24)), cuts=st.lists(st.integers(1, 23), max_size=4))
def test_order_and_shards_do_not_show(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], cuts: list[int]
) -> None:
    docs = documents([f"{TEXTS[k % 6][k:]} {k}" for k in range(24)], language="en")
    work = TrainTokenizer(vocab_size=512, min_frequency=1, sample_bytes=900, seed=3)  # half of the text
    folder = tmp_path_factory.mktemp("train")
    whole = files(work, folder / "whole", MemoryShard(docs))
    mixed = docs.take(order)
    bounds = sorted({0, *cuts, 24})
    parts = [mixed.slice(a, b - a) for a, b in pairwise(bounds)]
    assert files(work, folder / "mixed", *(MemoryShard(part) for part in parts)) == whole
    assert files(work, folder / "batched", MemoryShard(*parts)) == whole


def test_processes_and_threads_do_not_show(tmp_path: Path) -> None:
    """Other hash seeds and four threads in another process give the same file."""
    code = (
        "import sys; from pathlib import Path; from token_fakes import *; "
        "sys.stdout.write(trained(Path(sys.argv[1]), documents([t * 3 for t in TEXTS])).read_text('utf-8'))"
    )
    here = Path(__file__).resolve()
    environment = {
        **os.environ, "TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": "4", "PYTHONIOENCODING": "utf-8",
        "PYTHONPATH": os.pathsep.join([str(here.parent), str(here.parents[3])]),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "other")],
        env=environment,
        capture_output=True,
        check=True,
        timeout=60,
    )
    mine = trained(tmp_path / "mine", documents([text * 3 for text in TEXTS])).read_bytes()
    assert done.stdout == mine


def test_shape_of_the_tokenizer(tmp_path: Path) -> None:
    path = trained(tmp_path / "task", documents(TEXTS), vocab_size=385, special_tokens=("<|endoftext|>", "<|pad|>"))
    tokenizer = Tokenizer.from_file(str(path))
    assert tokenizer.get_vocab_size() == 512  # 385 rounded up to a multiple of 128
    assert (tokenizer.token_to_id("<|endoftext|>"), tokenizer.token_to_id("<|pad|>")) == (0, 1)
    assert set(ByteLevel.alphabet()) <= set(tokenizer.get_vocab())


def test_too_little_text_gives_fewer_tokens_and_says_so(tmp_path: Path) -> None:
    card = json.loads(
        files(TrainTokenizer(vocab_size=1024), tmp_path / "task", MemoryShard(documents(["abab"])))[".card.json"]
    )
    assert (card["vocab_size"], card["vocab_size_wanted"]) == (258, 1024)  # 256 bytes, the end mark, "ab"


def test_no_merge_makes_a_special_token(tmp_path: Path) -> None:
    path = trained(
        tmp_path / "task", documents(["<|endoftext|>" * 50, " <|endoftext|>\n" * 50, "x<|endoftext|>y" * 50])
    )
    model = json.loads(path.read_bytes())["model"]
    assert "endoftext" in model["vocab"]
    assert "<|endoftext|>" not in {left + right for left, right in model["merges"]}


@pytest.mark.parametrize(
    "specials", [(), ("EOS",), ("<|end of text|>",), ("<||>",), ("<|___|>",), ("<|a|>", "<|a|>"), ("<|中|>",)]
)
def test_special_tokens_that_a_text_could_give_are_refused(specials: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="special_tokens"):
        TrainTokenizer(special_tokens=specials)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("1234567", ["123", "456", "7"]),
        ("don't stop", ["don", "'t", "Ġstop"]),
        ("x  y\n\nz", ["x", "Ġ", "Ġy", "ĊĊ", "z"]),
        ("==> f(x)", ["==>", "Ġf", "(x", ")"]),
    ],
)
def test_pieces(text: str, pieces: list[str]) -> None:
    assert [piece for piece, _ in encoding_split().pre_tokenize_str(text)] == pieces


def test_long_runs_are_cut_in_training_only() -> None:
    han = "中" * 10
    assert [len(piece) for piece, _ in encoding_split().pre_tokenize_str(han)] == [30]  # three bytes a letter
    assert [len(piece) for piece, _ in training_split().pre_tokenize_str(han)] == [12, 12, 6]
    assert [len(piece) for piece, _ in training_split().pre_tokenize_str("a" * 40)] == [16, 16, 8]


def test_a_page_of_one_letter(tmp_path: Path) -> None:
    docs = documents(["a" * 1_000_000, "中" * 300_000, " " * 1_000_000])
    tokens = json.loads(trained(tmp_path / "task", docs).read_bytes())["model"]["vocab"]
    assert max(len(token) for token in tokens if token != "<|endoftext|>") == 16


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match="2 shards without any text"):
        SMALL.run(task(tmp_path / "task", MemoryShard(documents(["", None])), MemoryShard()))


def test_the_card_counts(tmp_path: Path) -> None:
    english, chinese = documents([TEXTS[0], TEXTS[3]], language="en"), documents([TEXTS[1], ""], language="zh")
    made = files(SMALL, tmp_path / "task", MemoryShard(english), MemoryShard(chinese))
    card, tokenizer = json.loads(made[".card.json"]), Tokenizer.from_buffer(made[".json"])
    size = {k: len(TEXTS[k].encode()) for k in (0, 1, 3)}
    tokens = {k: len(tokenizer.encode(TEXTS[k]).ids) for k in (0, 1, 3)}
    assert card["sha256"] == hashlib.sha256(made[".json"]).hexdigest()
    assert card["sample"] == {"docs": 3, "bytes": sum(size.values()), "seed": 0}
    assert card["special_tokens"] == {"<|endoftext|>": 0}
    compression = card["compression"]
    assert compression["bytes_per_token"] == round(sum(size.values()) / sum(tokens.values()), 4)
    assert compression["by_language"]["zh"] == {
        "docs": 1, "bytes": size[1], "tokens": tokens[1], "bytes_per_token": round(size[1] / tokens[1], 4),
    }  # fmt: skip
    assert compression["by_language"]["en"]["docs"] == 2


def test_a_sample_is_a_matter_of_ids() -> None:
    docs = documents([f"document {k:04d}" for k in range(2000)])  # 13 bytes each
    whole = Sample(seed=1, max_chars=100)
    half, least, everything = limits(lambda: [docs.slice(0, 700), docs.slice(700)], whole, [13_000, 1, 26_000])
    assert everything == whole.num_buckets
    chosen = pa.concat_tables(Sample(seed=1, max_chars=100, num_buckets=half).tables([docs]))
    assert 900 < chosen.num_rows <= 1000
    assert next(Sample(seed=1, max_chars=100, num_buckets=least).tables([docs])).num_rows == 1
    backwards = docs.take(np.arange(2000)[::-1])
    again = pa.concat_tables(Sample(seed=1, max_chars=100, num_buckets=half).tables([backwards]))
    assert set(again["id"].to_pylist()) == set(chosen["id"].to_pylist())
    (other,) = limits(lambda: [docs], Sample(seed=2, max_chars=100), [13_000])
    otherwise = pa.concat_tables(Sample(seed=2, max_chars=100, num_buckets=other).tables([docs]))
    assert 350 < len(set(otherwise["id"].to_pylist()) & set(chosen["id"].to_pylist())) < 650


def test_long_documents_are_cut(tmp_path: Path) -> None:
    docs = documents(["中文" * 50, "abc"])
    (table,) = Sample(seed=0, max_chars=3).tables([docs])
    assert table["text"].to_pylist() == ["中文中", "abc"]
    cut = TrainTokenizer(vocab_size=384, min_frequency=1, max_chars_per_document=3)
    assert json.loads(files(cut, tmp_path / "task", MemoryShard(docs))[".card.json"])["sample"]["bytes"] == 12


def test_as_a_step() -> None:
    work = TrainTokenizer.model_validate({"algorithm": "byte_bpe", "vocab_size": 8192})
    assert work.nodes("bpe", "unique", 7) == (
        Node("bpe", work.model_copy(update={"seed": 7}), {"documents": "unique"}),
    )
    assert TrainTokenizer(seed=5).nodes("bpe", "unique", 7)[0].work == TrainTokenizer(seed=5)
    (plan,) = work.tasks({"documents": Extent(3)})
    assert (plan.index, plan.needs) == (0, {"documents": None})
    with pytest.raises(ValidationError):
        TrainTokenizer(sample_bytes=1 << 31)  # counts of pairs could leave 32 bits
