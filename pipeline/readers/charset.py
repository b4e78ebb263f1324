"""Which encoding the bytes of a page are in: what it declares, checked against what it holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from resiliparse.parse.encoding import detect_encoding

from pipeline.readers.codecs import MULTI_BYTE, UTF8, decode, encoding_of

CharsetFrom = Literal["http", "bom", "meta", "detected", "default"]

PRESCAN_BYTES = 1024
_FALLBACK = "windows-1252"
_BOMS = ((b"\xef\xbb\xbf", UTF8), (b"\xfe\xff", "utf-16be"), (b"\xff\xfe", "utf-16le"))
# A declared encoding stands when at most this share of its non-ASCII characters is undecodable: pages with one bad
# comment or a cut-off end are common, while bytes of another encoding fail in more than half of the places.
_MAX_DAMAGE = 0.1
# UTF-8 with some sound characters stays UTF-8 to this share: foreign bytes come out sound in one case in five at most.
_MAX_DAMAGE_UTF8 = 0.5
# So many well-formed multi-byte characters do not happen by chance. A GBK character looks like UTF-8 in about one
# case in five, so 8 in a row in one of 400,000; in a single-byte encoding one sequence needs an unlikely pair such as
# "Ã©", and a page in the wrong one has more than one.
_SURE_OVER_MULTI = 8
_SURE_OVER_SINGLE = 2
_DETECT_BYTES = 64 * 1024
_DETECT_FROM_BYTES = 1 << 20
# What the detector calls encodings of the standard that have another label there.
_DETECTED = {"cp949": "euc-kr", "uhc": "euc-kr", "mac-cyrillic": "x-mac-cyrillic"}
_TAG = re.compile(rb"<[^<>]{0,2000}>")

_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_META = re.compile(rb"<meta[\s/]([^>]*)", re.IGNORECASE)
_ATTRIBUTE = re.compile(rb"""([^\s=/"'>]+)\s*(?:=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?""")
_CHARSET = re.compile(rb"""charset\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s;"']+))""", re.IGNORECASE)
_XML = re.compile(rb"""\A<\?xml[^>]*?\bencoding\s*=\s*["']([^"']+)["']""", re.IGNORECASE)


@dataclass(frozen=True)
class Decoded:
    """A text, the encoding that gave it, who named that, and how many undecodable places became U+FFFD."""

    text: str
    charset: str
    charset_from: CharsetFrom
    replaced: int


def decode_page(data: bytes, http_label: str | None, *, html: bool = True) -> Decoded:
    """Decode a page: byte-order mark, HTTP charset, meta prescan, detection, in that order (WHATWG).

    Beyond the standard, since servers lie: a declared encoding in which the bytes are not text gives way to one in
    which they are, and bytes that are plainly UTF-8 are read as that. html: look for meta elements.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            text, replaced = decode(data[len(mark) :], encoding)
            return Decoded(text, encoding, "bom", replaced)
    declared = _declared(data, http_label, html=html)
    if data.isascii() and b"\x1b" not in data:
        readable = [named for named in declared if not named[0].startswith("utf-16")]
        charset, charset_from = readable[0] if readable else (UTF8, "default")
        return Decoded(data.decode("ascii"), charset, charset_from, 0)
    first = _Candidate.of(data, *declared[0]) if declared else None
    if first is not None and first.trusted and not _outdone(first, data, declared):
        return first.decoded
    return _best(first, data, declared).decoded


def _declared(data: bytes, http_label: str | None, *, html: bool) -> list[tuple[str, CharsetFrom]]:
    """Encodings the server and the page name, the stronger first."""
    named: list[tuple[str | None, CharsetFrom]] = [(encoding_of(http_label), "http")]
    if html:
        named.append((meta_encoding(data), "meta"))
    return [(name, origin) for name, origin in named if name is not None]


def meta_encoding(data: bytes) -> str | None:
    """The encoding that a page names in its first 1024 bytes, in a meta element or an XML declaration."""
    head = _COMMENT.sub(b"", data[:PRESCAN_BYTES])
    for meta in _META.finditer(head):
        attributes = {}
        for name, *values in _ATTRIBUTE.findall(meta[1]):
            attributes.setdefault(name.lower(), b"".join(values))
        label = attributes.get(b"charset")
        if label is None and attributes.get(b"http-equiv", b"").lower() == b"content-type":
            found = _CHARSET.search(attributes.get(b"content", b""))
            label = b"".join(part or b"" for part in found.groups()) if found else None
        encoding = _ascii_readable(label)
        if encoding is not None:
            return encoding
    xml = _XML.match(head)
    return _ascii_readable(xml[1]) if xml else None


def _ascii_readable(label: bytes | None) -> str | None:
    """The encoding of a label that could be read as ASCII, so cannot be UTF-16 whatever it says."""
    encoding = encoding_of(label.decode("latin-1")) if label is not None else None
    if encoding in ("utf-16le", "utf-16be"):
        return UTF8
    return _FALLBACK if encoding == "x-user-defined" else encoding


@dataclass(frozen=True)
class _Candidate:
    decoded: Decoded

    @classmethod
    def of(cls, data: bytes, encoding: str, origin: CharsetFrom) -> _Candidate:
        text, replaced = decode(data, encoding)
        return cls(Decoded(text, encoding, origin, replaced))

    @cached_property
    def num_special(self) -> int:
        """Non-ASCII characters of the text, U+FFFD included."""
        text = self.decoded.text
        return 0 if text.isascii() else len(text) - len(text.encode("ascii", "ignore"))

    @property
    def damage(self) -> float:
        return self.decoded.replaced / self.num_special if self.decoded.replaced else 0.0

    @property
    def trusted(self) -> bool:
        if not self.decoded.replaced:
            return True
        is_utf8 = self.decoded.charset == UTF8 and self.num_special - self.decoded.replaced >= _SURE_OVER_MULTI
        return self.damage <= (_MAX_DAMAGE_UTF8 if is_utf8 else _MAX_DAMAGE)

    def sure_over(self, other: str) -> bool:
        """True where so much well-formed multi-byte text cannot be the other encoding by chance."""
        needed = _SURE_OVER_MULTI if other in MULTI_BYTE else _SURE_OVER_SINGLE
        return self.decoded.charset in MULTI_BYTE and not self.decoded.replaced and self.num_special >= needed


def _outdone(first: _Candidate, data: bytes, declared: list[tuple[str, CharsetFrom]]) -> bool:
    """True where another encoding explains the bytes so much better that the declared one must be a mistake."""
    charset = first.decoded.charset
    if _is_iso_2022_jp(data):
        return charset != "iso-2022-jp"
    if charset == UTF8:
        return False
    if _is_utf8(data) and _Candidate.of(data, UTF8, "detected").sure_over(charset):
        return True
    rivals: list[tuple[str, CharsetFrom]] = []
    if charset == _FALLBACK:
        # windows-1252 never fails, so as a server's default it proves nothing against a meta that names more.
        rivals = declared[1:]
    elif first.decoded.replaced:
        rivals = _guesses(data)
    return any(_Candidate.of(data, *rival).sure_over(charset) for rival in rivals if rival[0] in MULTI_BYTE)


def _best(first: _Candidate | None, data: bytes, declared: list[tuple[str, CharsetFrom]]) -> _Candidate:
    """The encoding that explains the bytes, once the first declared one does not."""
    others: dict[str, _Candidate] = {}
    for name, origin in [*declared[1:], *_guesses(data)]:
        if name not in others and (first is None or name != first.decoded.charset):
            others[name] = _Candidate.of(data, name, origin)
    against = first.decoded.charset if first is not None else UTF8
    sure = [candidate for candidate in others.values() if candidate.sure_over(against)]
    if sure:
        # Being well-formed says most in UTF-8; Chinese and Japanese encodings accept a good part of each other.
        return next((candidate for candidate in sure if candidate.decoded.charset == UTF8), sure[0])
    for candidate in others.values():
        if candidate.trusted:
            return candidate
    left = [candidate for candidate in (first, *others.values()) if candidate is not None]
    best = min(left, key=lambda candidate: candidate.damage)
    return best if best.damage <= _MAX_DAMAGE_UTF8 else _Candidate.of(data, _FALLBACK, "default")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_iso_2022_jp(data: bytes) -> bool:
    """ASCII bytes that switch to JIS X 0208: they are text in every encoding, and sense in this one only."""
    return data.isascii() and (b"\x1b$B" in data or b"\x1b$@" in data)


def _guesses(data: bytes) -> list[tuple[str, CharsetFrom]]:
    """What the bytes look like: UTF-8 first, whose sequences hardly happen by chance, then the detector's word."""
    if _is_iso_2022_jp(data):
        return [("iso-2022-jp", "detected")]
    # Tags say nothing of the encoding, and the detector looks at the two ends only.
    visible = _TAG.sub(b" ", data[:_DETECT_FROM_BYTES])
    label = detect_encoding(visible, max_len=_DETECT_BYTES, html5_compatible=False)
    found = encoding_of(_DETECTED.get(label, label) if label else None)
    if found is None or found.startswith("utf-"):
        return [(UTF8, "detected")]
    return [(UTF8, "detected"), (found, "detected")]
