"""BLEU, chrF and ROUGE of written texts, by the libraries that the field compares with.

Source: Papineni et al. 2002 (BLEU) and Post 2018, arXiv:1804.08771, through sacrebleu; Popovic 2015 (chrF), likewise;
Lin 2004 (ROUGE) through rouge-score, without stemming.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pipeline.errors import UserError

_MISSING = "sacrebleu and rouge-score are not both installed: pip install 'sluice[evaluation]'"
ROUGES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
_HAN = "\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNSPACED = f"{_HAN}\u3040-\u30ff"
"""Letters that stand without blanks between words: Han, and Japan's two syllabaries."""
_WORDS = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_HAN_LETTER = re.compile(f"[{_HAN}]")
_SENTENCE_END = re.compile("(?<=[\u3002\uff01\uff1f])|(?<=[.!?])\\s+")
_BLEU_TOKENIZERS = {"zh": "zh", "ja": "char", "ko": "char", "th": "char"}
"""sacrebleu's, by language; ``13a`` for all others. Japanese and Korean are cut into characters, since its tokenizers of
words for these call for a dictionary that must be installed."""


class Words:
    """What ROUGE counts: letters and digits in lower case, each letter of an unspaced script by itself.

    On ASCII text the same as rouge-score's own, which finds nothing at all in other scripts.
    """

    def tokenize(self, text: str) -> list[str]:
        """Words, in order."""
        return _WORDS.findall(text.lower())


def is_han(text: str) -> bool:
    """Most of its letters are Han."""
    letters = sum(letter.isalpha() for letter in text)
    return 2 * len(_HAN_LETTER.findall(text)) > letters


def bleu(written: Sequence[str], references: Sequence[Sequence[str]], language: str) -> dict[str, Any]:
    """BLEU and chrF of a whole set, in [0, 100], each with the signature that says how it was counted.

    Raises:
        UserError: sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        raise UserError(_MISSING) from error
    most = max(len(one) for one in references)
    # sacrebleu wants the first reference of all, then the second of all; None where there is none.
    streams: list[Any] = [[one[number] if number < len(one) else None for one in references] for number in range(most)]
    found: dict[str, Any] = {}
    for name, metric in (("bleu", BLEU(tokenize=_BLEU_TOKENIZERS.get(language, "13a"))), ("chrf", CHRF())):
        value = metric.corpus_score(list(written), streams).score
        found[name] = {"value": value, "signature": str(metric.get_signature())}
    return found


def rouge(written: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Mean F1 of each of ``ROUGES`` in [0, 1]; of several references the likest one counts.

    Raises:
        UserError: rouge-score is not installed.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise UserError(_MISSING) from error
    scorer = RougeScorer(list(ROUGES), tokenizer=Words())
    sums = dict.fromkeys(ROUGES, 0.0)
    for text, right in zip(written, references, strict=True):
        scores = scorer.score_multi([_by_sentence(one) for one in right], _by_sentence(text))
        for name in ROUGES:
            sums[name] += scores[name].fmeasure
    return {name: total / len(written) for name, total in sums.items()}


def _by_sentence(text: str) -> str:
    """A sentence a line, as ROUGE-Lsum wants them."""
    return "\n".join(part for part in _SENTENCE_END.split(text) if part.strip())
