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

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from token_fakes import TEXTS, documents, trained
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

from operators.tokenize import engines
from operators.tokenize.training import counts
from operators.tokenize.training.local import train
from operators.tokenize.training.splitting import encoding_split, training_split
from operators.tokenize.training.train import TrainTokenizer
from pipeline.errors import RunFailedError, UserError
from pipeline.work import Extent

SMALL = TrainTokenizer(vocab_size=512, min_frequency=1)


def files(work: TrainTokenizer, scratch: Path, *shards: list[pa.Table]) -> dict[str, bytes]:
    result = train(work, shards, scratch)
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


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(24)), cuts=st.lists(st.integers(1, 23), max_size=4), partitions=st.integers(1, 5))
def test_order_and_shards_do_not_show(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], cuts: list[int], partitions: int
) -> None:
    docs = documents([f"{TEXTS[k % 6][k:]} {k}" for k in range(24)], language="en")
    options = {"vocab_size": 512, "min_frequency": 1, "sample_bytes": 900, "seed": 3}  # half of the text
    folder = tmp_path_factory.mktemp("train")
    whole = files(TrainTokenizer(**options), folder / "whole", [docs])
    mixed = docs.take(order)
    bounds = sorted({0, *cuts, 24})
    parts = [mixed.slice(a, b - a) for a, b in pairwise(bounds)]
    work = TrainTokenizer(**options, partitions=partitions)
    assert files(work, folder / "mixed", *([part] for part in parts)) == whole
    assert files(work, folder / "batched", parts) == whole


def test_pieces_that_do_not_fit_lie_in_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = [[documents([f"{TEXTS[k % 6]} {k}", "other words"], source=str(k))] for k in range(6)]
    whole = files(SMALL, tmp_path / "whole", *shards)
    monkeypatch.setattr(counts, "_MOST_PIECES", 5)
    monkeypatch.setattr(engines, "_SLICE_BYTES", 20)
    assert files(SMALL, tmp_path / "spilled", *shards) == whole
    assert list((tmp_path / "spilled" / "tokenizer.counts.0").glob("run1.arrow"))


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
    card = json.loads(files(TrainTokenizer(vocab_size=1024), tmp_path / "task", [documents(["abab"])])[".card.json"])
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
        train(SMALL, [[documents(["", None])], []], tmp_path / "task")


def test_the_card_counts(tmp_path: Path) -> None:
    english, chinese = documents([TEXTS[0], TEXTS[3]], language="en"), documents([TEXTS[1], ""], language="zh")
    made = files(SMALL, tmp_path / "task", [english], [chinese])
    card, tokenizer = json.loads(made[".card.json"]), Tokenizer.from_buffer(made[".json"])
    size = {k: len(TEXTS[k].encode()) for k in (0, 1, 3)}
    ids = {k: tokenizer.encode(TEXTS[k]).ids for k in (0, 1, 3)}
    assert card["sha256"] == hashlib.sha256(made[".json"]).hexdigest()
    assert (card["sample"]["docs"], card["sample"]["bytes"], card["sample"]["seed"]) == (3, sum(size.values()), 0)
    assert card["sample"]["strata"]["demo|zh"] == {
        "docs": 1,
        "bytes": size[1],
        "sample_docs": 1,
        "sample_bytes": size[1],
    }
    assert card["special_tokens"] == {"<|endoftext|>": 0}
    compression, tokens = card["compression"], {k: len(ids[k]) for k in ids}
    assert compression["bytes_per_token"] == round(sum(size.values()) / sum(tokens.values()), 4)
    assert compression["unused_ids"] == tokenizer.get_vocab_size() - len({number for k in ids for number in ids[k]})
    assert compression["by_language"]["zh"] == {
        "docs": 1, "bytes": size[1], "tokens": tokens[1], "bytes_per_token": round(size[1] / tokens[1], 4),
    }  # fmt: skip
    assert compression["by_language"]["en"]["docs"] == 2
    assert compression["by_source"]["demo"]["docs"] == 3


def test_long_documents_are_cut(tmp_path: Path) -> None:
    cut = TrainTokenizer(vocab_size=384, min_frequency=1, max_chars_per_document=3)
    made = files(cut, tmp_path / "task", [documents(["中文" * 50, "abc"])])
    assert json.loads(made[".card.json"])["sample"]["bytes"] == 12


@pytest.mark.parametrize("algorithm", ["bpe", "unigram"])
def test_characters_the_sample_lacks_are_spelt_in_bytes(tmp_path: Path, algorithm: str) -> None:
    path = trained(tmp_path / "task", documents([text * 3 for text in TEXTS]), algorithm=algorithm)
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    for text in (*TEXTS, "unseen 한국 \x00 <0x41> <unk>  \n\n \U0001f40d"):
        ids = tokenizer.encode(text).ids
        assert tokenizer.decode(ids) == text
        assert tokenizer.token_to_id("<unk>") not in ids
    assert tokenizer.token_to_id("<|endoftext|>") == 0
    assert 300 < tokenizer.get_vocab_size() <= 512


def test_wordpiece(tmp_path: Path) -> None:
    docs = documents(["low lower lowest low, new newer newest"] * 5)
    path = trained(tmp_path / "task", docs, algorithm="wordpiece", vocab_size=384)
    tokenizer = Tokenizer.from_file(str(path))
    assert tokenizer.encode("lowest lower, zlow").tokens == ["lowest", "lower", ",", "[UNK]"]
    assert tokenizer.encode("newlow").tokens == ["new", "##l", "##o", "##w"]


def test_rare_characters_are_left_to_bytes(tmp_path: Path) -> None:
    docs = documents(["abc " * 5000 + "é"])
    for algorithm in ("bpe", "unigram"):
        few = trained(tmp_path / f"{algorithm}-few", docs, algorithm=algorithm, character_coverage=0.999)
        everything = trained(tmp_path / f"{algorithm}-all", docs, algorithm=algorithm, character_coverage=1.0)
        assert Tokenizer.from_file(str(few)).token_to_id("é") is None
        assert Tokenizer.from_file(str(everything)).token_to_id("é") is not None


@pytest.mark.parametrize("algorithm", ["bpe", "unigram"])
def test_more_characters_than_tokens(tmp_path: Path, algorithm: str) -> None:
    docs = documents(["".join(chr(0x4E00 + k) for k in range(400))])
    with pytest.raises(UserError, match="vocab_size 384 is less than"):
        trained(tmp_path / "task", docs, algorithm=algorithm, vocab_size=384, character_coverage=1.0)


def test_digits_and_han_by_choice(tmp_path: Path) -> None:
    docs = documents(["2024 2024 公园公园 公园 "] * 9)
    whole = Tokenizer.from_file(str(trained(tmp_path / "whole", docs)))
    single = Tokenizer.from_file(str(trained(tmp_path / "single", docs, digits=1, han="character")))
    assert {"202", "å\u0127¬åĽŃ"} & set(whole.get_vocab()) == {"202"} | ({"å\u0127¬åĽŃ"} & set(whole.get_vocab()))
    assert [len(tokenizer.encode("2024公园").ids) for tokenizer in (whole, single)] == [3, 6]


def test_rare_pieces_can_be_left_out(tmp_path: Path) -> None:
    docs = documents(["abcabc xyzxyz", "abcabc"])
    path = trained(tmp_path / "task", docs, min_count=2, vocab_size=384)
    spelt = {"".join(pair) for pair in json.loads(path.read_bytes())["model"]["merges"]}
    assert "abcabc" in spelt
    assert not any("x" in token for token in spelt)


def test_as_a_step() -> None:
    verb = TrainTokenizer.model_validate(
        {"algorithm": "byte_bpe", "vocab_size": 8191, "sample": {"weights": {"zh": 1}}}
    )
    nodes = {node.name: node for node in verb.nodes("bpe", "unique", 7)}
    assert list(nodes) == ["bpe.strata", "bpe.limits", "bpe.counts", "bpe.merged", "bpe"]
    assert [node.work.kind for node in nodes.values()] == ["work"] * 4 + ["artifact"]
    assert not any(node.work.recorded for node in nodes.values())
    assert nodes["bpe.counts"].inputs == {"documents": "unique", "limits": "bpe.limits"}
    assert (nodes["bpe"].work.vocab_size, nodes["bpe"].work.seed) == (8192, 7)
    assert TrainTokenizer(seed=5).nodes("bpe", "unique", 7)[0].work.seed == 5
    assert len(nodes["bpe.merged"].work.tasks({"counts": Extent(9)})) == 4


def test_unigram_is_recorded() -> None:
    nodes = TrainTokenizer(algorithm="unigram").nodes("uni", "unique", 7)
    assert [(node.name, node.work.recorded) for node in nodes] == [
        ("uni.strata", False), ("uni.limits", False), ("uni", True),
    ]  # fmt: skip
    with pytest.raises(UserError, match="'from'"):
        TrainTokenizer().nodes("uni", None, 7)
