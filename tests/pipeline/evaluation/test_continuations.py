"""Continuation sets, and BLEU and ROUGE against the libraries' own entry points and by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from pipeline.evaluation.continuations import continue_all, told
from pipeline.evaluation.items import Prompt
from pipeline.evaluation.likeness import ROUGES, Words, bleu, is_han, rouge
from pipeline.evaluation.spans import Span, SpanScore

ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


@settings(max_examples=25, deadline=None)
@given(written=ASCII, right=ASCII)
def test_rouge_of_ascii_is_rouge_scores_own(written: str, right: str) -> None:
    """Without sentence ends: the library takes lines as sentences for rougeLsum, we find them."""
    written, right = (text.translate(str.maketrans("", "", ".!?")) for text in (written, right))
    theirs = RougeScorer([*ROUGES]).score(right, written)
    ours = rouge([written], [[right]])
    assert ours == pytest.approx({name: theirs[name].fmeasure for name in ROUGES}, abs=1e-12)


def test_rouge_of_chinese_by_hand() -> None:
    """4 of 5 letters agree, 2 of the 4 pairs; in order 4. The library alone would find no word at all."""
    found = rouge(["今天天气好"], [["今天很天气"]])
    assert found["rouge1"] == pytest.approx(4 / 5)
    assert found["rouge2"] == pytest.approx(2 / 4)
    assert found["rougeL"] == pytest.approx(4 / 5)
    assert RougeScorer(["rouge1"]).score("今天", "今天")["rouge1"].fmeasure == 0


def test_rouge_lsum_takes_sentences_one_by_one() -> None:
    """Two sentences in another order: as one sequence half of the words agree, sentence by sentence all."""
    found = rouge(["a b. c d."], [["c d. a b."]])
    assert (found["rougeL"], found["rougeLsum"]) == (pytest.approx(0.5), pytest.approx(1.0))
    found = rouge(["天好。人多。"], [["人多。天好。"]])
    assert (found["rougeL"], found["rougeLsum"]) == (pytest.approx(0.5), pytest.approx(1.0))


def test_the_likest_of_several_references_counts() -> None:
    assert rouge(["a b", "c"], [["x", "a b"], ["d"]])["rouge1"] == 0.5


def test_words() -> None:
    assert Words().tokenize("Zoë's 3 数据base, がんばれ snake_case") == [
        "zoë", "s", "3", "数", "据", "base", "が", "ん", "ば", "れ", "snake", "case",
    ]  # fmt: skip


def test_bleu_by_hand() -> None:
    """Precisions 5/6, 3/5, 2/4 and 1/3 of 6 words, as long as the reference: their geometric mean."""
    found = bleu(["the cat sat on the mat"], [["the cat is on the mat"]], "en")["bleu"]
    # n-grams that agree: 5 of 6, 3 of 5, 1 of 4, 0 of 3 (exponential smoothing makes the last one 1/2 of 1/3).
    wanted = 100 * (5 / 6 * 3 / 5 * 1 / 4 * (1 / 2) / 3) ** 0.25
    assert found["value"] == pytest.approx(wanted, abs=1e-9)
    assert "tok:13a" in found["signature"]


def test_bleu_is_sacrebleus_with_the_languages_tokenizer() -> None:
    written, right = ["我们今天去公园玩。", "天气很好"], [["我们今天去公园。"], ["天气很好", "今天天气好"]]
    found = bleu(written, right, "zh")
    # Of the first there is no second reference.
    theirs = sacrebleu.corpus_bleu(written, [["我们今天去公园。", "天气很好"], [None, "今天天气好"]], tokenize="zh")
    assert found["bleu"]["value"] == pytest.approx(theirs.score, abs=1e-9)
    assert "tok:zh" in found["bleu"]["signature"]
    assert 0 < found["chrf"]["value"] < 100
    assert bleu(["a b c d e"], [["a b c d e"]], "en")["bleu"]["value"] == pytest.approx(100)


def encode(texts: Sequence[str]) -> list[list[int]]:
    return [[ord(letter) for letter in text] for text in texts]


def test_all_measures_of_a_set_by_hand() -> None:
    items = [
        Prompt(prompt="ab", references=("cd", " xy ")),
        Prompt(prompt="q", references=("今天",), task="t"),
        Prompt(prompt="", references=("hello",), language="en", task="u"),
    ]
    seen: list[Span] = []

    def score(spans: Sequence[Span]) -> list[SpanScore]:
        seen.extend(spans)
        return [SpanScore(2 * math.log(2), len(span.ids) - span.first, len(span.ids) - 3, cut=False) for span in spans]

    written = {"ab": "xy", "q": "今天", "": "helium"}
    names = {tuple(map(ord, prompt)): text for prompt, text in written.items()}
    found = told(continue_all(items, encode, score, 0, lambda prompts: [names[tuple(one)] for one in prompts]))
    assert [(span.ids, span.first) for span in seen] == [
        ((0, 97, 98, 99, 100), 3), ((0, 113, 20170, 22825), 2), ((0, 104, 101, 108, 108, 111), 1),
    ]  # fmt: skip
    assert found["exact_match"] == pytest.approx(2 / 3)  # blanks at the ends do not count
    assert found["accuracy"] == pytest.approx(1 / 3)  # right are 2 of 2, 1 of 2 and 3 of 5
    assert found["token_accuracy"] == pytest.approx(6 / 9)
    assert found["reference_bits_per_byte"] == pytest.approx(6 / 13)
    assert {name: one["prompts"] for name, one in found["by_language"].items()} == {"en": 1, "und": 1, "zh": 1}
    assert "tok:zh" in found["by_language"]["zh"]["bleu"]["signature"]
    assert found["by_task"]["t"]["exact_match"] == 1.0


@pytest.mark.parametrize(
    ("text", "han"), [("今天", True), ("abc", False), ("今天a", True), ("今ab", False), ("", False)]
)
def test_is_han(text: str, han: bool) -> None:
    assert is_han(text) == han
