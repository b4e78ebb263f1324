"""The decoders of the WHATWG Encoding Standard, where Python's own differ from what the web means by a label."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from functools import cache

from resiliparse.parse.encoding import map_encoding_to_html5

UTF8 = "utf-8"
MULTI_BYTE = frozenset(
    {"utf-8", "gb18030", "big5", "shift_jis", "euc-jp", "iso-2022-jp", "euc-kr", "utf-16le", "utf-16be"}
)
"""Encodings in which wrong bytes are noticed: most byte sequences are not text in them."""

_LABEL_CHARS = 40
_HIGH = 0x80
_ABOVE_C1 = 0xA0
# resiliparse answers with Python's names; these are the standard's.
_NAMES = {
    "gbk": "gb18030",
    "euc_jp": "euc-jp",
    "euc_kr": "euc-kr",
    "iso2022_jp": "iso-2022-jp",
    "utf-16-le": "utf-16le",
    "utf-16-be": "utf-16be",
    "iso8859-11": "windows-874",
    "cp866": "ibm866",
    "mac-roman": "macintosh",
}
# Labels of the standard that resiliparse leaves out. Those of its "replacement" encoding (iso-2022-kr,
# hz-gb-2312 ...) count as no label: a page of one U+FFFD serves nobody, and detection knows some of them.
_MORE_LABELS = {
    "x-mac-cyrillic": "x-mac-cyrillic",
    "x-mac-ukrainian": "x-mac-cyrillic",
    "x-user-defined": "x-user-defined",
}
_PYTHON = {
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc-jp": "euc_jp",
    "iso-2022-jp": "iso2022_jp_ext",
    "euc-kr": "cp949",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
}
# GB18030-2022 gave these code points of its own to 19 characters that Python (2005) keeps in the private use area.
_GB18030 = {
    0xE7C7: 0x1E3F, 0xE78D: 0xFE10, 0xE78E: 0xFE12, 0xE78F: 0xFE11, 0xE790: 0xFE13, 0xE791: 0xFE14, 0xE792: 0xFE15,
    0xE793: 0xFE16, 0xE794: 0xFE17, 0xE795: 0xFE18, 0xE796: 0xFE19, 0xE81E: 0x9FB4, 0xE826: 0x9FB5, 0xE82B: 0x9FB6,
    0xE82C: 0x9FB7, 0xE832: 0x9FB8, 0xE843: 0x9FB9, 0xE854: 0x9FBA, 0xE864: 0x9FBB,
}  # fmt: skip
# JIS X 0208 as Windows reads it (the standard's index), where Python's euc_jp follows the JIS tables.
_JIS = {0x301C: 0xFF5E, 0x2016: 0x2225, 0x2212: 0xFF0D, 0x00A2: 0xFFE0, 0x00A3: 0xFFE1, 0x00AC: 0xFFE2}
# Bytes FD-FF and A0 mean nothing in the standard's Shift_JIS; Python gives them private code points.
_SHIFT_JIS = {0xF8F0: 0xFFFD, 0xF8F1: 0xFFFD, 0xF8F2: 0xFFFD, 0xF8F3: 0xFFFD}
_TRANSLATE = {"gb18030": _GB18030, "euc-jp": _JIS, "iso-2022-jp": _JIS, "shift_jis": _SHIFT_JIS}
# Bytes the standard defines and Python does not, or not so.
_SINGLE = {
    "windows-1255": {0xCA: 0x05BA},
    "koi8-u": {0xAE: 0x045E, 0xBE: 0x040E},
}


def encoding_of(label: str | None) -> str | None:
    """The standard's name, in lower case, of the encoding a label means; None where it means none.

    ``gb2312`` and ``gbk`` give ``gb18030``, ``latin1`` and ``ascii`` give ``windows-1252``.
    """
    if label is None:
        return None
    label = label.strip("\t\n\f\r \"'").lower()
    if not label or len(label) > _LABEL_CHARS or not label.isascii():
        return None
    if label in _MORE_LABELS:
        return _MORE_LABELS[label]
    name = map_encoding_to_html5(label, fallback_utf8=False)
    if name is None:
        return None
    name = _NAMES.get(name, name)
    return name.replace("cp125", "windows-125").replace("iso8859", "iso-8859")


def decode(data: bytes, encoding: str) -> tuple[str, int]:
    """Text of bytes in an encoding of the standard, and how many undecodable places became U+FFFD.

    A byte-order mark is text here; strip it before. The text never holds a lone surrogate.
    """
    if encoding == UTF8:
        try:
            return data.decode(), 0
        except UnicodeDecodeError:
            text = data.decode("utf-8", "replace")
            return text, text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
    if encoding in MULTI_BYTE:
        text = _decode_multi_byte(data, encoding)
    else:
        # A string of 256 characters is the decoder's fast form of a map; the stubs know only the slow one.
        text = codecs.charmap_decode(data, "replace", _table(encoding))[0]  # pyrefly: ignore[bad-argument-type]
    return text, text.count("\ufffd")


def _decode_multi_byte(data: bytes, encoding: str) -> str:
    handler = _HANDLERS.get(encoding)
    name = "replace"
    if handler is not None:
        name = f"sluice-{encoding}"
        _register(name, handler)
    text = data.decode(_PYTHON.get(encoding, encoding), name)
    table = _TRANSLATE.get(encoding)
    # translate() costs as much as decoding; most texts hold none of the characters.
    if table is not None and any(chr(code) in text for code in table):
        text = text.translate(table)
    return text


@cache
def _table(encoding: str) -> str:
    """The 256 characters of a single-byte encoding, U+FFFE (Python's "undefined") where there is none."""
    if encoding == "x-user-defined":
        return "".join(chr(byte if byte < _HIGH else 0xF780 + byte - _HIGH) for byte in range(256))
    python = {"x-mac-cyrillic": "mac-cyrillic", "windows-874": "cp874"}.get(encoding, encoding)
    # The standard fills the gaps of the Windows code pages below A0 with the C1 controls.
    fills = encoding.startswith("windows-")
    more = _SINGLE.get(encoding, {})
    table = []
    for byte in range(256):
        try:
            char = bytes([byte]).decode(python)
        except UnicodeDecodeError:
            char = chr(byte) if fills and byte < _ABOVE_C1 else "\ufffe"
        table.append(chr(more[byte]) if byte in more else char)
    return "".join(table)


@cache
def _register(name: str, handler: Callable[[UnicodeError], tuple[str, int]]) -> None:
    codecs.register_error(name, handler)


def _gb18030_error(error: UnicodeError) -> tuple[str, int]:
    """0x80 is the euro sign of code page 936."""
    assert isinstance(error, UnicodeDecodeError)  # only decoders call it
    if error.object[error.start] == _HIGH:
        return "\u20ac", error.start + 1
    return "\ufffd", error.end


def _euc_jp_error(error: UnicodeError) -> tuple[str, int]:
    """Rows of NEC and IBM characters that Python's euc_jp lacks, through the same cells of Shift_JIS."""
    assert isinstance(error, UnicodeDecodeError)  # only decoders call it
    pair = error.object[error.start : error.start + 2]
    if len(pair) == 2 and min(pair) >= 0xA1 and max(pair) <= 0xFE:  # a two-byte sequence of EUC
        text = _shift_jis_of(pair[0] - 0xA1, pair[1] - 0xA1).decode("cp932", "replace")
        if len(text) == 1 and text != "\ufffd":
            return text, error.start + 2
    return "\ufffd", error.end


def _shift_jis_of(row: int, cell: int) -> bytes:
    """Bytes of a JIS X 0208 cell in Shift_JIS; row and cell from 0."""
    lead = row // 2 + (0x81 if row < 62 else 0xC1)  # the lead bytes A0-DF are half-width katakana
    trail = cell + 0x9F if row % 2 else cell + (0x40 if cell < 63 else 0x41)  # 0x7F is left out
    return bytes([lead, trail])


_HANDLERS: dict[str, Callable[[UnicodeError], tuple[str, int]]] = {
    "gb18030": _gb18030_error,
    "euc-jp": _euc_jp_error,
}
