"""The language of a text."""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from operators.classify.fasttext_model import load, top_label
from operators.thresholds.language_profile import ByLanguage, Rule, bounds_of
from pipeline.errors import RunFailedError
from pipeline.fingerprint import file_sha256
from pipeline.operator import Bound, Filter
from pipeline.value import Strings

UNDETERMINED = "und"

MODEL_SHA256 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
"""Of the shipped model; it stands in the source, so that another model is another fingerprint."""

_CODES = """
    af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb co cs cv cy
    da de diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he hi hif hr hsb ht hu hy
    ia id ie ilo io is it ja jbo jv ka kk km kn ko krc ku kv kw ky la lb lez li lmo lo lrc lt lv mai mg mhr min
    mk ml mn mr mrj ms mt mwl my myv mzn nah nap nds ne new nl nn no oc or os pa pam pfl pl pms pnb ps pt qu rm
    ro ru rue sa sah sc scn sco sd sh si sk sl so sq sr su sv sw ta te tg th tk tl tr tt tyv ug uk ur uz vec vep
    vi vls vo wa war wuu xal xmf yi yo yue zh
"""
LABELS = tuple(_CODES.split())
"""What the model can answer: ISO 639-1 codes where there are any."""


class Language(Filter):
    """Names the language of a text and keeps the languages asked for; without ``keep`` and ``by_language`` it only measures.

    The first ``max_chars`` characters decide: on 6,305 documents 3,000 gave the whole text's language for all but one,
    in a fraction of the time. Texts below ``min_chars`` characters are too short to tell. ``by_language`` names a profile,
    shipped (``fineweb2``) or a file, with the least score for each of its languages; a text in another language is judged
    by ``min_score``, and without ``keep`` a text of ``und``, which has no score, goes unless that is None.

    Measures: ``label`` the language, ``und`` for a text too short; ``score`` the model's probability of it, in [0, 1],
    null for ``und``.
    Source: fastText lid.176.ftz (Joulin et al. 2016, arXiv:1612.03651; arXiv:1607.01759), thresholds
    as in RefinedWeb and FineWeb (arXiv:2306.01116, arXiv:2406.17557). The scores are those of this compressed file,
    not of lid.176.bin. Our benchmark: docs/benchmarks/language.md.
    """

    libraries: ClassVar[tuple[str, ...]] = ("fasttext-numpy2-wheel",)
    measuring: ClassVar[tuple[str, ...]] = ("min_chars", "max_chars")

    keep: Strings = ()
    min_score: float | None = Field(default=0.65, ge=0, le=1)
    min_chars: int = Field(default=50, ge=0)
    max_chars: int = Field(default=3000, ge=0)
    """0: the whole text."""
    by_language: ByLanguage = None

    @model_validator(mode="after")
    def _known(self) -> Self:
        for label in self.keep:
            if label not in LABELS and label != UNDETERMINED:
                near = difflib.get_close_matches(label, LABELS, 3, 0.4) or LABELS
                msg = f"keep names {label!r}, which the model does not know; near: {', '.join(near)}"
                raise ValueError(msg)
        if UNDETERMINED in self.keep and self.min_score is not None:
            msg = f"texts of {UNDETERMINED!r} have no score, so that min_score={self.min_score} would drop them; set it to null"
            raise ValueError(msg)
        if self.by_language is not None and self.as_ is not None:
            msg = f"by_language judges a text by the column language.label, which as: {self.as_} renames; leave one out"
            raise ValueError(msg)
        if 0 < self.max_chars < self.min_chars:
            msg = (
                f"max_chars={self.max_chars} is below min_chars={self.min_chars}, so that every text would be too short"
            )
            raise ValueError(msg)
        return self

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """The language first, then how sure it is."""
        language = (Bound("label", among=self.keep, reason="language"),) if self.keep else ()
        return (*language, *bounds_of(self, Language.rules))

    def rules(self) -> tuple[Rule, ...]:
        """The least score; off where nothing says which languages to keep."""
        on = bool(self.keep) or self.by_language is not None
        return (Rule("min_score", "score", "score", self.min_score if on else None),)

    def prepare(self) -> None:
        """Load the model."""
        load(_model_path())

    def measure(self, docs: pa.Table) -> dict[str, pa.Array]:
        """Language and score of each text."""
        texts: Any = pc.fill_null(docs["text"].combine_chunks(), pa.scalar("", pa.large_string()))
        if self.max_chars:
            texts = pc.utf8_slice_codeunits(texts, 0, self.max_chars)
        # Line breaks end fastText's line, and so does its own word for them.
        texts = pc.replace_substring(pc.replace_substring(texts, "\n", " "), "</s>", " ")
        texts = pc.utf8_trim_whitespace(texts)
        long_enough = np.flatnonzero(pc.utf8_length(texts).to_numpy() >= max(self.min_chars, 1))
        names, values = top_label(load(_model_path()), texts.take(pa.array(long_enough)).to_pylist())
        labels = np.full(len(texts), UNDETERMINED, object)
        scores = np.full(len(texts), np.nan)
        labels[long_enough] = [name or UNDETERMINED for name in names]
        scores[long_enough] = values
        return {"label": pa.array(labels, pa.string()), "score": pa.array(scores, pa.float64(), from_pandas=True)}


@cache
def _model_path() -> str:
    path = Path(__file__).parent.parent / "data" / "lid.176.ftz"
    found = file_sha256(path)
    if found != MODEL_SHA256:
        msg = f"{path} has sha256 {found}, expected {MODEL_SHA256}; install the package again"
        raise RunFailedError(msg)
    return str(path)
