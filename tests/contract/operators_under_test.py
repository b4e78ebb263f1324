"""One instance of every operator in the catalogue, and the texts that break things."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pyarrow as pa
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from operators.catalogue import NAMES, load_operator
from pipeline.documents import ID_TYPE, document_id
from pipeline.fingerprint import file_sha256
from pipeline.operator import Filter, Map
from pipeline.value import Artifact

EXTRA = {
    "language": {"keep": ["en", "zh"]},
    "toxicity": {"lists": ["en", "zh"]},
    "keywords": {
        "lists": (("common", ("the", "cat and", "中文", "in")), ("code", ("def f", "return"))),
        "min_hits": (("code", 1),),
        "max_hits": (("common", 3),),
        "min_distinct_hits": (("common", 1),),
        "max_distinct_hits": (("common", 2),),
        "min_hits_per_1000_words": (("common", 1.0),),
        "max_hits_per_1000_words": (("common", 90.0),),
    },
    "code_quality": {"language": "python"},
}


def operator(name: str, model: Path) -> Map | Filter:
    """The operator with its defaults, and the little it cannot do without."""
    parameters = dict(EXTRA.get(name, {}))
    if name == "quality_classifier":
        parameters["model"] = _artifact(model)
    if name == "code_quality":
        parameters["tokenizer"] = _artifact(tokenizer_beside(model))
    made = _made(name, tuple(sorted((k, tuple(v) if isinstance(v, list) else v) for k, v in parameters.items())))
    made.prepare()
    return made


@cache
def _artifact(path: Path) -> Artifact:
    """A file as the engine hands it to an operator."""
    return Artifact(file=str(path), sha256=file_sha256(path))


@cache
def tokenizer_beside(model: Path) -> Path:
    """A tokenizer whose tokens are the words between blanks."""
    words = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = WhitespaceSplit()
    words.save(str(model.with_name("tokenizer.json")))
    return model.with_name("tokenizer.json")


@cache
def _made(name: str, parameters: tuple) -> Map | Filter:
    return load_operator(name)(**dict(parameters))


ALL = sorted(NAMES)

ALPHABET = st.one_of(
    st.sampled_from("abcdefgh XYZ.,!?-#{}…•\n\n\t0123456789@<>&;"),
    st.sampled_from("的一是不了人我在有他这中大来。！？；“”、，　"),
    st.sampled_from("\u0301\u200d\ufeff\u2028\u0085\x00\u202e\u0e01\u0627\u3042\uac00\U0001f600\ufffd"),
    st.characters(exclude_categories=["Cs"]),
)
TEXTS = st.lists(
    st.one_of(
        st.text(ALPHABET, max_size=120),
        st.sampled_from(
            [
                "",
                " ",
                "\n",
                "\u0301",
                "\x00",
                "<p>a</p>",
                "mail a.b@example.org now",
                "ip 8.8.8.8 and ::1",
                "the cat and the dog have to be with that of the house. " * 4,
                "中文网页的内容在这里。" * 12,
            ]
        ),
    ),
    max_size=6,
)


def table(texts: list[str | None], language: str = "en") -> pa.Table:
    """Documents with every fixed column."""
    number = len(texts)
    ids = [document_id("law", str(k), (text or "").encode()) for k, text in enumerate(texts)]
    return pa.table(
        {
            "id": pa.array(ids, ID_TYPE),
            "text": pa.array(texts, pa.large_string()),
            "url": pa.array([f"https://example.org/{k}" for k in range(number)], pa.string()),
            "source": pa.array(["law"] * number, pa.string()),
            "date": pa.nulls(number, pa.string()),
            "license": pa.nulls(number, pa.string()),
            "origin": pa.array([f"memory#{k}" for k in range(number)], pa.string()),
            "language": pa.array([language] * number, pa.string()),
        }
    )
