"""What a recipe says of a source: where it lies, in which format, and which fields become which columns."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import BeforeValidator, Field, model_validator

from pipeline.documents import SCHEMA
from pipeline.readers.codecs import encoding_of
from pipeline.value import Artifact, Pairs, Strings, Value


def _as_artifact(value: object) -> object:
    return Artifact(file=value) if isinstance(value, str) else value


Format = Literal["warc", "wet", "jsonl", "parquet", "text"]
ExtraType = Literal["string", "int", "float", "bool"]

_IDENTITY = ("id", "text", "url", "date", "license")
_DEFAULTS = {**{name: (name,) for name in (*_IDENTITY, "label")}, "language": ("language", "lang")}
"""Target column to the fields it is taken from where ``columns`` does not name it."""

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_NOT_TARGETS = ("origin", "record_id")
_ARROW = {"string": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}


class Read(Value):
    """A source of documents.

    paths: files, folders (every file in them), globs or object-store URIs, relative to the recipe. paths_from: a file
    that lists more of them, one a line. source: the name that enters ids and reports; default the step's. epochs
    instead of paths: label to paths, oldest first, as in ``{2024-10: [a/*.warc.gz], 2024-18: [b/*.warc.gz]}``;
    deduplication decides an epoch against the earlier ones and not the later ones.

    columns (JSONL, Parquet): target column to field, dotted for nested ones, as in ``{text: content, url: meta.url}``.
    ``text``, ``url``, ``date``, ``license`` and ``source`` fill the fixed columns, ``id`` the record's own key, any
    other target becomes a further column. Of ``id``, ``text``, ``url``, ``date``, ``license``, ``label`` and
    ``language`` (else ``lang``), those that it does not name are taken from fields of their own names, where there are
    such; ``{url: null}`` takes none. column_types: how further columns of JSONL that ``columns`` names are stored,
    default string (what is no string is kept as JSON text). Those of Parquet that it names keep their type.

    documents, encoding (text): what is one document; how it is encoded (a WHATWG label, default: told from the bytes of
    each document). encoding does not apply to JSONL, which is UTF-8.

    split_bytes: plain JSONL, plain text by lines and Parquet are cut into shards of about this size. group_bytes: small
    files are put together up to this size; default 1/32 of the source, at most 64 MiB, so that a few files stay one
    shard each. max_document_bytes: larger texts are quarantined. html_types (WARC): content types that are documents.

    suppress: a file of what is not read: the ``suppressed.json`` of another run, or lines of URLs, domains and ids.
    What it holds, not its path, enters the fingerprint. The run's own takedowns need no mention.
    """

    # Which files an epoch has is in the frozen inputs of each shard: a new epoch leaves the shards of the others alone.
    runtime: ClassVar[tuple[str, ...]] = ("epochs",)

    format: Format
    paths: Strings = ()
    paths_from: str | None = None
    epochs: Pairs[Strings] = ()
    source: str | None = None
    columns: Pairs[str | None] = ()
    column_types: Pairs[ExtraType] = ()
    documents: Literal["file", "line", "paragraph"] = "file"
    encoding: str | None = None
    split_bytes: int = Field(default=256 << 20, ge=1)
    group_bytes: int | None = Field(default=None, ge=0)
    max_document_bytes: int = Field(default=50_000_000, ge=1)
    html_types: Strings = ("text/html", "application/xhtml+xml")
    suppress: Annotated[Artifact | None, BeforeValidator(_as_artifact)] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_places()
        if self.format not in ("jsonl", "parquet") and (self.columns or self.column_types):
            msg = f"columns are for jsonl and parquet; a {self.format} source has none"
            raise ValueError(msg)
        targets = [target for target, _ in self.columns]
        for target in targets:
            if targets.count(target) > 1 or target in _NOT_TARGETS or not target:
                msg = f"column {target!r} cannot be a target (given twice, empty, or filled by the reader itself)"
                raise ValueError(msg)
        if ("text", None) in self.columns:
            msg = "text cannot be null: it is what a document is; name its field, as in columns: {text: content}"
            raise ValueError(msg)
        own = {target for target, path in self.columns if path is not None} - {*_IDENTITY, "source"}
        stray = [target for target, _ in self.column_types if target not in own]
        if stray or (self.column_types and self.format != "jsonl"):
            msg = f"column_types are for further columns of jsonl that columns names, got {stray or self.format}"
            raise ValueError(msg)
        self._check_encoding()
        return self

    def _check_places(self) -> None:
        if not self.paths and self.paths_from is None and not self.epochs:
            msg = "needs paths, paths_from or epochs: nothing says where the documents are"
            raise ValueError(msg)
        if self.epochs and (self.paths or self.paths_from is not None):
            msg = "has both epochs and paths; give every path to one of the epochs"
            raise ValueError(msg)
        labels = [label for label, _ in self.epochs]
        for label, paths in self.epochs:
            wrong = "is not made of letters, digits, - and _" if not _LABEL.fullmatch(label) else ""
            wrong = wrong or ("is given twice" if labels.count(label) > 1 else "") or ("" if paths else "has no paths")
            if wrong:
                msg = f"epoch {label!r} {wrong}; write it as in epochs: {{2024-10: [crawl/*.warc.gz]}}"
                raise ValueError(msg)

    def _check_encoding(self) -> None:
        if self.format != "text" and (self.encoding is not None or self.documents != "file"):
            msg = f"documents and encoding are for text; a {self.format} source has one form"
            raise ValueError(msg)
        encoding = encoding_of(self.encoding)
        if self.encoding is not None and encoding is None:
            msg = f"encoding {self.encoding!r} is no label of the WHATWG Encoding Standard; try utf-8 or gb18030"
            raise ValueError(msg)
        if self.documents != "file" and encoding in ("utf-16le", "utf-16be"):
            msg = f"text in {self.encoding} cannot be cut into lines by bytes; use documents: file, or convert it"
            raise ValueError(msg)

    @property
    def fields(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Target column -> dotted fields to try, the first that is there."""
        named = {target: (path,) for target, path in self.columns if path is not None}
        off = {target for target, path in self.columns if path is None}
        unnamed = {target: paths for target, paths in _DEFAULTS.items() if target not in named and target not in off}
        return (*named.items(), *unnamed.items())

    @property
    def text_field(self) -> str:
        """The field that holds the text."""
        return dict(self.fields)["text"][0]

    @cached_property
    def further(self) -> tuple[pa.Field, ...]:
        """The columns of a JSONL source beyond the fixed ones."""
        types = dict(self.column_types)
        fixed = {*SCHEMA.names}
        targets = [target for target, _ in self.fields if target not in fixed]
        extra = [pa.field(target, _ARROW[types.get(target, "string")]) for target in targets]
        has_id = any(target == "id" for target, _ in self.fields)
        return (*extra, pa.field("record_id", pa.string())) if has_id else tuple(extra)
