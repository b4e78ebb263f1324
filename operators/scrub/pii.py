"""E-mail and IP addresses replaced by placeholders."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
from pydantic import model_validator

from operators.kernels import pii_spans, replace_spans
from operators.kernels.buffers import text_buffers
from operators.kernels.pii_spans import EMAIL, IP, find_pii
from pipeline.documents import with_text
from pipeline.operator import Map
from pipeline.value import Strings

_KINDS = {"email": EMAIL, "ip": IP}

# No placeholder may look like an address, nor join its neighbours to one: then scrubbing twice changes nothing.
_PLACEHOLDER = re.compile(r"[<\[({|*#][A-Za-z_ |*#]*[>\])}|*#]")


class ScrubPii(Map):
    """Replaces e-mail addresses and public IP addresses by placeholders; everything else stays byte for byte.

    E-mail: local part of at most 64 bytes, a domain name whose last label has letters only; letters are Latin, Greek or
    Cyrillic, other scripts end an address, so that ``请联系me@example.cn谢谢`` is found. ``@2x`` image names stay. IP:
    IPv4 and IPv6 of the public net. What says nothing of a person stays: private, loopback, shared and example
    addresses, multicast; numbers of five parts, or of four after a word such as "version" or "section", or before a
    title at the start of a line while every part is below 32. Time is linear in the text.

    Measures: ``emails`` and ``ips``, how many were replaced; 0 for an empty text.
    Source: the types of FineWeb's PII step (Penedo et al. 2024, arXiv:2406.17557), with boundaries and IPv6, delimiters
    as in BigCode's (Ben Allal et al. 2023, arXiv:2301.03988). Our benchmark: docs/benchmarks/pii.md.
    """

    scrubs: ClassVar[bool] = True

    types: Strings = ("email", "ip")
    email_placeholder: str = "<EMAIL>"
    ip_placeholder: str = "<IP>"

    @model_validator(mode="after")
    def _sound(self) -> Self:
        unknown = [name for name in self.types if name not in _KINDS]
        if unknown or not self.types:
            msg = f"types must name some of {', '.join(_KINDS)}, got {list(self.types)}"
            raise ValueError(msg)
        for text in (self.email_placeholder, self.ip_placeholder):
            if not _PLACEHOLDER.fullmatch(text):
                msg = f"placeholder {text!r} could be part of an address; write letters between brackets, as <EMAIL>"
                raise ValueError(msg)
        return self

    def prepare(self) -> None:
        """Compile the kernels."""
        pii_spans.warm()
        replace_spans.warm()

    def map(self, docs: pa.Table) -> pa.Table:
        """Texts with placeholders, and how many."""
        column = docs["text"].combine_chunks()
        data, offsets, valid = text_buffers(column)
        marks = {EMAIL: self.email_placeholder, IP: self.ip_placeholder}
        counts = {EMAIL: np.zeros(len(column), np.int64), IP: np.zeros(len(column), np.int64)}
        wanted = sum({_KINDS[name] for name in self.types})
        rows = np.flatnonzero(valid)
        # A placeholder changes what its neighbours stand next to, so texts with one are read again until none is found.
        while len(rows):
            spans, kinds = find_pii(data, offsets, rows, wanted)
            for kind in counts:
                counts[kind] += np.bincount(spans[kinds == kind, 2], minlength=len(column))
            if len(kinds):
                data, offsets = replace_spans.replace_spans(
                    data, offsets, spans, kinds, [marks.get(kind, "").encode() for kind in range(IP + 1)]
                )
            rows = np.unique(spans[:, 2])
        if any(count.any() for count in counts.values()):
            written: list[Any] = [offsets, data]
            buffers = [pa.array(valid).buffers()[1], *map(pa.py_buffer, written)]
            replaced = pa.Array.from_buffers(pa.large_string(), len(column), buffers)
            docs = with_text(docs, replaced)
        docs = docs.append_column(self.column("emails"), pa.array(counts[EMAIL]))
        return docs.append_column(self.column("ips"), pa.array(counts[IP]))
