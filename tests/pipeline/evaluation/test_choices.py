"""Multiple choice: by hand, against single forward passes, and tokens that span the end of a prompt."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.evaluation.choices import answer, told
from pipeline.evaluation.items import Choices, Prompt, read_items
from pipeline.evaluation.spans import Span, SpanScore, span_scores
from pipeline.pretrain.model.transformer import Transformer
from tests.pipeline.pretrain.conftest import SMALL, VOCABULARY

CPU = torch.device("cpu")


def encode(texts: Sequence[str]) -> list[list[int]]:
    """A letter a token, a = 1; but "ab" is one token, 30."""
    found = []
    for text in texts:
        pieces = text.replace("ab", "~")
        found.append([30 if letter == "~" else ord(letter) - 96 for letter in pieces])
    return found


def by_id(spans: Sequence[Span]) -> list[SpanScore]:
    """Id k costs k nats."""
    return [SpanScore(float(sum(span.ids[span.first :])), len(span.ids) - span.first, 0, cut=False) for span in spans]


def test_three_ways_to_choose_worked_out_by_hand() -> None:
    """Choices d, bbb and aaaaaa cost 4, 6 and 6 nats: the first by the sum, the last by token and by byte."""
    item = Choices(prompt="x", choices=("d", "bbb", "aaaaaa"), answer=2)
    (one,) = answer([item], encode, by_id, 0)
    assert [score.nats for score in one.scores] == [4.0, 6.0, 6.0]
    assert [one.credit(rule) for rule in ("sum", "per_token", "per_byte")] == [0.0, 1.0, 1.0]
    found = told([one])
    assert (found["accuracy_sum"]["value"], found["accuracy_per_byte"]["value"]) == (0.0, 1.0)
    assert found["chance"] == pytest.approx(1 / 3)
    assert found["answer_bits_per_byte"] == pytest.approx(1 / math.log(2))


def test_likeliest_together_share_the_point() -> None:
    (one,) = answer([Choices(prompt="x", choices=("bb", "d", "e"), answer="d")], encode, by_id, 0)
    assert one.credit("sum") == 0.5


def test_a_token_over_the_end_of_the_prompt_counts_in_every_choice() -> None:
    """Of ca + b the ids are c, ab: so ca + c is scored from the a on too, and both predict the same text after c."""
    (one,) = answer([Choices(prompt="ca", choices=("b", "c"), answer=0)], encode, by_id, 0)
    assert [(score.nats, score.tokens) for score in one.scores] == [(30.0, 1), (1.0 + 3.0, 2)]


def test_by_task_and_language() -> None:
    items = [
        Choices(prompt="x", choices=("a", "b"), answer=0, task="t", language="en"),
        Choices(prompt="x", choices=("a", "b"), answer=1, task="u", language="en"),
        Choices(prompt="x", choices=("a", "b"), answer=0),
    ]
    found = told(answer(items, encode, by_id, 0))
    assert found["accuracy_sum"]["value"] == pytest.approx(2 / 3)
    assert found["accuracy_sum"]["standard_error"] == pytest.approx(math.sqrt(2 / 9 / 3))
    assert {name: one["accuracy_sum"]["value"] for name, one in found["by_task"].items()} == {"t": 1.0, "u": 0.0}
    assert "by_language" not in found


def test_spans_equal_forward_passes_of_their_own() -> None:
    """In one batch or alone, of whatever lengths; a beginning too long loses its first tokens."""
    model = Transformer(SMALL, VOCABULARY, max_length=12, seed=2).double()
    random = torch.Generator().manual_seed(0)
    ids = [torch.randint(0, VOCABULARY, (n,), generator=random).tolist() for n in (2, 5, 9, 13, 20)]
    spans = [Span(tuple(one), first) for one, first in zip(ids, (1, 2, 8, 1, 15), strict=True)]
    found = span_scores(model, spans, max_length=12, vocab_size=VOCABULARY, device=CPU)
    for span, score in zip(spans, found, strict=True):
        assert score is not None
        kept = torch.tensor(span.ids[-13:])
        logits = model(kept[None, :-1])[0].detach().log_softmax(-1)
        scored = range(len(kept) - (len(span.ids) - span.first) - 1, len(kept) - 1)
        assert score.nats == pytest.approx(-sum(float(logits[k, kept[k + 1]]) for k in scored), rel=1e-9)
        assert score.right == sum(int(logits[k].argmax() == kept[k + 1]) for k in scored)
        assert score.tokens == len(scored)
        assert score.cut == (len(span.ids) > 13)


def test_what_greedy_search_would_write() -> None:
    def logits(tokens: Tensor) -> Tensor:
        """The likeliest next id is always one more."""
        return torch.nn.functional.one_hot((tokens + 1) % 50, 50).float()

    spans = [Span((0, 1, 2, 3), 1), Span((7, 1, 2, 3), 1), Span((7, 1, 2, 3), 2)]
    found = span_scores(logits, spans, max_length=9, vocab_size=50, device=CPU)
    assert [(one.right, one.tokens, one.greedy) for one in found if one is not None] == [
        (3, 3, True),
        (2, 3, False),
        (2, 2, True),
    ]


def test_what_is_longer_than_the_model_has_no_score() -> None:
    """Four positions predict four tokens; a fifth leaves the span without a score, and not the others."""

    def logits(tokens: Tensor) -> Tensor:
        return torch.zeros((*tokens.shape, 50))

    spans = [Span((0,) * 6, 1), Span((0,) * 6, 2), Span((0,) * 5, 1)]
    found = span_scores(logits, spans, max_length=4, vocab_size=50, device=CPU)
    assert found[0] is None
    rest = [(score.nats, score.tokens, score.cut) for score in found[1:] if score is not None]
    assert rest == [(pytest.approx(4 * math.log(50)), 4, True), (pytest.approx(4 * math.log(50)), 4, False)]
    assert span_scores(logits, spans[:1], max_length=4, vocab_size=50, device=CPU) == [None]


def test_questions_with_a_choice_too_long_are_left_out() -> None:
    def score(spans: Sequence[Span]) -> list[SpanScore | None]:
        return [None if len(span.ids) > 6 else one for span, one in zip(spans, by_id(spans), strict=True)]

    items = [
        Choices(prompt="x", choices=("d", "e"), answer=0),
        Choices(prompt="x", choices=("d", "eeeeeeee"), answer=0),
        Choices(prompt="x", choices=("e", "d"), answer=0),
    ]
    found = answer(items, encode, score, 0)
    assert [one.item for one in found] == [items[0], items[2]]
    assert [one.credit("sum") for one in found] == [1.0, 0.0]


def test_one_question_has_no_standard_error() -> None:
    item = Choices(prompt="x", choices=("d", "e"), answer=0)
    assert told(answer([item], encode, by_id, 0))["accuracy_sum"] == {"value": 1.0, "standard_error": None}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: Invalid JSON"),
        ('{"prompt": "a", "choices": ["b"], "answer": 0}', "line 2: choices: "),
        ('{"prompt": "a", "choices": ["b", "c"], "answer": 2}', "answer 2, but choices are numbered 0 to 1"),
        ('{"prompt": "a", "choices": ["b", "c"], "answer": "d"}', "answer 'd' is none of the choices"),
        ('{"prompt": "a", "choices": ["b", ""], "answer": 0}', "choice 1 is empty"),
        ('{"prompt": "a", "choices": ["b", "c"]}', "line 2: answer"),
    ],
    ids=["json", "one", "number", "text", "empty", "none"],
)
def test_lines_that_are_refused(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "q.jsonl"
    good = json.dumps({"prompt": "a\u2028", "choices": ["b", "c"], "answer": 1, "extra": [1]}, ensure_ascii=False)
    path.write_text(f"{good}\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError) as error:
        read_items(path, Choices)
    assert f"{path}, " in str(error.value)
    assert words in str(error.value)


def test_files_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        read_items(tmp_path / "none.jsonl", Choices)
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(UserError, match="has no line"):
        read_items(tmp_path / "empty.jsonl", Prompt)


def test_a_prompt_takes_an_answer_or_references(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"prompt": "a", "answer": "b"}\n\n{"references": ["c", "d"]}\n')
    assert [(one.prompt, one.references) for one in read_items(path, Prompt)] == [("a", ("b",)), ("", ("c", "d"))]
    path.write_text('{"prompt": "a", "references": []}\n')
    with pytest.raises(UserError, match="needs 'answer' or 'references'"):
        read_items(path, Prompt)
