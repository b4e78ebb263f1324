"""Rules for source code."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from operators.code_files import REDPAJAMA, kinds
from operators.kernels import code, code_comments
from operators.kernels.buffers import text_buffers
from operators.kernels.code_languages import language_named, language_names
from pipeline.operator import Bound, Filter
from pipeline.value import Artifact, Strings

Flavour = Literal["starcoder", "redpajama", "nemo"]
ByFlavour = Literal["flavour"]
Count = Annotated[int, Field(ge=0)] | ByFlavour | None
Ratio = Annotated[float, Field(ge=0)] | ByFlavour | None

_LIMITS: dict[Flavour, dict[str, float | None]] = {
    "starcoder": {"max_line_chars": 1000, "max_chars_per_line": 100.0, "min_alnum_fraction": 0.25,
                  "min_comment_fraction": 0.01, "max_comment_fraction": 0.8, "min_chars_per_token": 2.5,
                  "max_xml_headers": 0, "min_visible_fraction": 0.2},
    "redpajama": {"max_line_chars": 1000, "max_chars_per_line": 100.0, "min_alnum_fraction": 0.25,
                  "min_alpha_chars_per_token": 1.5},
    "nemo": {"min_alpha_fraction": 0.25, "min_comment_fraction": 0.01, "max_comment_fraction": 0.85,
             "min_chars_per_token": 2.5, "max_xml_headers": 0, "min_visible_fraction": 0.2,
             "min_lines": 10, "max_lines": 20_000},
}  # fmt: skip
_PER_TOKEN = ("min_chars_per_token", "min_alpha_chars_per_token")


class CodeQuality(Filter):
    """Keep a source file whose lines, letters and comments look written by hand, not generated and no data.

    The kind of each file is ``language``, or comes from ``file_column`` (None: ``path``, else ``url``), which may hold language
    names, extensions, paths or URLs. Comments are told by a table of 93 languages; strings are none, but those at the head
    of a Python body are. ``only`` and ``as`` give each language its own limits; the reference asks 2.5 characters per
    token of Python, 2.6 of JavaScript, 2.9 of Java. ``tokenizer`` makes the measures per token, which cost more than all
    others together; without it they are null and their limits of the flavour off.

    flavour ``starcoder``: lines of ``str.splitlines()``, their mean without breaks; comments and visible text strictly
    within their limits. ``redpajama``: the mean with breaks; a list of extensions. ``nemo``: lines end at line feeds, one
    more than those.

    Measures: ``file``: the extension with its dot, ``Dockerfile`` or ``Makefile`` where the path ends so, the name of a
    file without extension, or the language that the column names; null without any. ``language``: null if not known.
    ``num_lines``, ``longest_line_chars``: code points; 0 for an empty text. ``chars_per_line``; null without lines.
    ``alnum_fraction``, ``alpha_fraction``: of the characters, [0, 1]; null for an empty text, as all further fractions.
    ``comment_fraction``: characters of comments with their marks, [0, 1]; 0 in JSON and the like, which have none; null
    where the language is not known. ``chars_per_token``, ``alpha_chars_per_token``: letters per token; null without
    tokens. ``xml_headers``: 1 where ``<?xml version=`` stands in the first 100 characters, else 0.
    ``visible_fraction``: of HTML, characters outside of tags, comments, scripts and styles, [0, 1], and 0 where they are no
    more than ``html_chars`` (``nemo``: fewer); 1 of other files.

    Source: Kocetkov et al. 2022 (The Stack), arXiv:2211.15533; Li et al. 2023 (StarCoder), arXiv:2305.06161, section 3;
    code of bigcode-dataset, of RedPajama-Data (rp_v1) and of NeMo Curator's code filters.
    """

    reads: ClassVar[tuple[str, ...]] = ("text", "path", "url")

    flavour: Flavour = "starcoder"
    language: str | None = None
    file_column: str | None = None
    tokenizer: Artifact | None = None
    html_chars: int = Field(default=100, ge=0)
    keep: Strings | ByFlavour | None = "flavour"
    """What ``file`` may be; None or empty: anything."""
    max_line_chars: Count = "flavour"
    max_chars_per_line: Ratio = "flavour"
    min_alnum_fraction: Ratio = "flavour"
    min_alpha_fraction: Ratio = "flavour"
    min_comment_fraction: Ratio = "flavour"
    max_comment_fraction: Ratio = "flavour"
    min_chars_per_token: Ratio = "flavour"  # noqa: S105  # no password
    min_alpha_chars_per_token: Ratio = "flavour"  # noqa: S105
    max_xml_headers: Count = "flavour"
    min_visible_fraction: Ratio = "flavour"
    min_lines: Count = "flavour"
    max_lines: Count = "flavour"

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.language is not None and language_named(self.language) is None:
            near = difflib.get_close_matches(self.language.lower(), language_names(), 3, 0.4) or language_names()
            msg = f"language {self.language!r} is not known; near: {', '.join(near)}"
            raise ValueError(msg)
        for name in _PER_TOKEN:
            if self.tokenizer is None and isinstance(getattr(self, name), float):
                msg = f"{name} needs a tokenizer"
                raise ValueError(msg)
        return self

    def _limit(self, name: str) -> float | None:
        value = getattr(self, name)
        if value != "flavour":
            return value
        return None if name in _PER_TOKEN and self.tokenizer is None else _LIMITS[self.flavour].get(name)

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """The file's kind, then inclusive limits (``starcoder``: exclusive of comments and visible text)."""
        of_flavour = REDPAJAMA if self.flavour == "redpajama" else ()
        kept = of_flavour if self.keep == "flavour" else tuple(self.keep or ())
        found = [Bound("file", among=kept, reason="file")] if kept else []
        for measure, parameter, reason in (
            ("longest_line_chars", "max_line_chars", "long_line"),
            ("chars_per_line", "max_chars_per_line", "long_lines"),
            ("alnum_fraction", "min_alnum_fraction", "few_alphanumerics"),
            ("alpha_fraction", "min_alpha_fraction", "few_letters"),
            ("comment_fraction", "min_comment_fraction", "few_comments"),
            ("comment_fraction", "max_comment_fraction", "many_comments"),
            ("chars_per_token", "min_chars_per_token", "many_tokens"),
            ("alpha_chars_per_token", "min_alpha_chars_per_token", "few_letters_per_token"),
            ("xml_headers", "max_xml_headers", "xml"),
            ("visible_fraction", "min_visible_fraction", "html_boilerplate"),
            ("num_lines", "min_lines", "few_lines"),
            ("num_lines", "max_lines", "many_lines"),
        ):
            if (limit := self._limit(parameter)) is not None:
                strict = self.flavour == "starcoder" and measure in ("comment_fraction", "visible_fraction")
                sides: Any = {parameter[:3]: limit}
                found.append(Bound(measure, reason=reason, exclusive=strict, **sides))
        return tuple(found)

    def prepare(self) -> None:
        """Compile the kernels, read the tokenizer."""
        code.warm()
        code_comments.warm()
        if self.tokenizer is not None:
            _num_tokens(self.tokenizer, pa.array(["a"], pa.large_string()))

    def measure(self, docs: pa.Table) -> Mapping[str, pa.Array]:
        """Two names (string), four counts (int64), seven quotients (float64)."""
        texts, (files, languages) = text_buffers(docs["text"]), kinds(docs, self.file_column, self.language)
        rows = code.code_measures(texts, "newline" if self.flavour == "nemo" else "splitlines")
        chars, lines, line_chars, longest, alnum, alpha, headers = rows
        numbers = pc.fill_null(pc.index_in(languages, pa.array(language_names())), -1).cast(pa.int64()).to_numpy()
        html = numbers == language_names().index("html")
        comments = code_comments.comment_chars(texts, numbers)
        visible = code.visible_chars(texts, html)
        visible[visible < self.html_chars + (self.flavour != "nemo")] = 0
        tokens = np.zeros_like(chars) if self.tokenizer is None else _num_tokens(self.tokenizer, docs["text"])
        counts = {"num_lines": lines, "longest_line_chars": longest, "xml_headers": headers}
        quotients = {
            "chars_per_line": _over(chars if self.flavour == "redpajama" else line_chars, lines),
            "alnum_fraction": _over(alnum, chars),
            "alpha_fraction": _over(alpha, chars),
            "comment_fraction": np.where(numbers < 0, np.nan, _over(comments, chars)),
            "chars_per_token": _over(chars, tokens),
            "alpha_chars_per_token": _over(alpha, tokens),
            "visible_fraction": np.where(html, _over(visible, chars), np.where(chars > 0, 1.0, np.nan)),
        }
        none = ~texts.valid
        return {
            "file": files,
            "language": languages,
            **{name: pa.array(values, pa.int64(), mask=none) for name, values in counts.items()},
            **{
                name: pa.array(values, pa.float64(), mask=none | np.isnan(values)) for name, values in quotients.items()
            },
        }


def _over(numbers: npt.NDArray[np.int64], others: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Quotients, NaN where there is nothing to divide by."""
    return np.divide(numbers, others, where=others > 0, out=np.full(len(numbers), np.nan))


def _num_tokens(tokenizer: Artifact, texts: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
    from operators.tokenize.encoder import Encoder  # loads a library that is needed only here

    filled: Any = pc.fill_null(texts, pa.scalar("", pa.large_string()))
    column = filled.combine_chunks() if isinstance(filled, pa.ChunkedArray) else filled
    _, ends = Encoder.of(tokenizer).encode(column)
    return np.diff(ends)
