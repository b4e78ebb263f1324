"""Encodings as the web means them: labels, decoders, and the choice between what is declared and what is there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.readers.charset import decode_page, meta_encoding
from pipeline.readers.codecs import MULTI_BYTE, decode, encoding_of

CHINESE = "数据处理是一件需要耐心的工作，清洗网页文本尤其如此。" * 3
TRADITIONAL = "資料處理是一件需要耐心的工作，清洗網頁文字尤其如此。" * 3
JAPANESE = "データの整備は根気のいる仕事です。ウェブの文章は特にそうです。" * 3
KOREAN = "데이터를 다루는 일에는 인내가 필요합니다. 웹 문서는 더욱 그렇습니다. " * 3
RUSSIAN = "Обработка данных требует терпения, и очистка страниц особенно. " * 3
FRENCH = "Le traitement des données demande de la patience, à plus forte raison après la récolte. " * 3


def page(text: str, meta: str = "") -> str:
    return f"<html><head>{meta}<title>page</title></head><body><p>{text}</p></body></html>"


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("gb2312", "gb18030"),
        ("GBK", "gb18030"),
        ("x-gbk", "gb18030"),
        ("big5-hkscs", "big5"),
        ("x-sjis", "shift_jis"),
        ("windows-31j", "shift_jis"),
        ("ks_c_5601-1987", "euc-kr"),
        ("iso-8859-1", "windows-1252"),
        ("us-ascii", "windows-1252"),
        ("iso-8859-9", "windows-1254"),
        ("tis-620", "windows-874"),
        ("unicode", "utf-16le"),
        (' "UTF-8" ', "utf-8"),
        ("cp866", "ibm866"),
        ("utf-7", None),
        ("hz-gb-2312", None),
        ("utf8mb4", None),
        ("", None),
        (None, None),
        ("x" * 10_000, None),
    ],
)
def test_labels_mean_what_the_standard_says(label: str | None, name: str | None) -> None:
    assert encoding_of(label) == name


@pytest.mark.parametrize(
    ("encoding", "data", "text"),
    [
        ("gb18030", b"\x80\xb5", "€\ufffd"),
        ("gb18030", b"\xa8\xbc\xa6\xd9\xfe\x59", "\u1e3f\ufe10\u9fb4"),
        ("gb18030", b"\x94\x39\xda\x33", "\U0001f4a9"),
        ("windows-1252", b"\x80\x81\x92\xe9", "€\x81’é"),
        ("windows-1253", b"\x81\xaa", "\x81\ufffd"),
        ("windows-1255", b"\xca", "\u05ba"),
        ("windows-874", b"\x80\x81\xa1", "€\x81ก"),
        ("koi8-u", b"\xae\xbe\xc1", "ўЎа"),
        ("x-mac-cyrillic", b"\xa2\xff", "Ґ€"),
        ("x-user-defined", b"a\x80\xff", "a\uf780\uf7ff"),
        ("shift_jis", b"\x87\x40\x5c\xfd", "①\\\ufffd"),
        ("euc-jp", b"\xad\xa1\xa1\xc1\xa1\xdd\xb4\xc1", "①～－漢"),
        ("euc-jp", b"\xfc\xe2\xff", "髙\ufffd"),
        ("iso-2022-jp", b"\x1b$B4A;z\x1b(B.", "漢字."),
        ("euc-kr", b"\x8c\x63\xb0\xa1", "똠가"),
        ("big5", b"\x88\x62\xa4\xa4", "Ê̄中"),
        ("utf-16le", b"a\x00\x00\xd8b\x00", "a\ufffdb"),
        ("utf-8", b"\xed\xa0\x80!", "\ufffd\ufffd\ufffd!"),
    ],
)
def test_decoders_follow_the_standard(encoding: str, data: bytes, text: str) -> None:
    assert decode(data, encoding) == (text, text.count("\ufffd"))


def test_a_replacement_character_of_the_page_itself_is_not_counted() -> None:
    assert decode("a\ufffdb".encode() + b"\xff", "utf-8") == ("a\ufffdb\ufffd", 1)


EVERY = [*sorted(MULTI_BYTE), "windows-1250", "windows-1251", "windows-874", "koi8-u", "iso-8859-7", "macintosh"]


@given(data=st.binary(max_size=200), encoding=st.sampled_from(EVERY))
def test_no_bytes_raise_and_no_surrogate_comes_out(data: bytes, encoding: str) -> None:
    text, replaced = decode(data, encoding)
    text.encode("utf-8")
    assert 0 <= replaced <= text.count("\ufffd")


@given(data=st.binary(max_size=300), label=st.sampled_from([None, "utf-8", "gb2312", "shift_jis", "latin1", "utf-16"]))
def test_no_page_raises(data: bytes, label: str | None) -> None:
    decoded = decode_page(data, label)
    decoded.text.encode("utf-8")
    assert encoding_of(decoded.charset) == decoded.charset


@pytest.mark.parametrize(
    ("text", "python", "label", "name"),
    [
        (CHINESE, "gb18030", "gb2312", "gb18030"),
        (TRADITIONAL, "big5", "big5", "big5"),
        (JAPANESE, "cp932", "Shift_JIS", "shift_jis"),
        (JAPANESE, "euc_jp", "EUC-JP", "euc-jp"),
        (JAPANESE, "iso2022_jp", "ISO-2022-JP", "iso-2022-jp"),
        (KOREAN, "cp949", "euc-kr", "euc-kr"),
        (RUSSIAN, "cp1251", "windows-1251", "windows-1251"),
        (RUSSIAN, "koi8-r", "koi8-r", "koi8-r"),
        (FRENCH + "“…”", "cp1252", "iso-8859-1", "windows-1252"),
        (FRENCH, "utf-8", "utf-8", "utf-8"),
    ],
)
class TestEachWayToNameAnEncoding:
    def test_http_header(self, text: str, python: str, label: str, name: str) -> None:
        decoded = decode_page(page(text).encode(python), label)
        assert (decoded.text, decoded.charset, decoded.charset_from) == (page(text), name, "http")
        assert decoded.replaced == 0

    def test_meta_charset(self, text: str, python: str, label: str, name: str) -> None:
        whole = page(text, f'<meta charset="{label}">')
        decoded = decode_page(whole.encode(python), None)
        assert (decoded.text, decoded.charset, decoded.charset_from) == (whole, name, "meta")

    def test_meta_http_equiv_after_a_nonsense_header(self, text: str, python: str, label: str, name: str) -> None:
        whole = page(text, f'<META content="text/html; charset={label}" http-equiv="Content-Type">')
        decoded = decode_page(whole.encode(python), "nonsense")
        assert (decoded.text, decoded.charset, decoded.charset_from) == (whole, name, "meta")

    def test_a_header_that_says_utf_8_wrongly(self, text: str, python: str, label: str, name: str) -> None:
        decoded = decode_page(page(text, f"<meta charset={label}>").encode(python), "utf-8")
        assert decoded.charset == name
        assert decoded.replaced == 0
        assert decoded.charset_from == ("http" if name == "utf-8" else "meta")

    def test_nothing_but_the_bytes(self, text: str, python: str, label: str, name: str) -> None:
        decoded = decode_page(page(text).encode(python), None)
        assert decoded.text == page(text), label
        # ISO-8859-1 and windows-1252 are one to the standard, koi8-r and koi8-u differ in letters not used here.
        assert decoded.charset == name
        assert decoded.charset_from == "detected"


@pytest.mark.parametrize(
    ("text", "python", "label"),
    [
        (CHINESE, "gb18030", "utf-8"),
        (TRADITIONAL, "big5", "utf-8"),
        (JAPANESE, "cp932", "utf-8"),
        (RUSSIAN, "cp1251", "utf-8"),
        (CHINESE, "utf-8", "iso-8859-1"),
        (CHINESE, "utf-8", "gb2312"),
        (JAPANESE, "utf-8", "shift_jis"),
        (RUSSIAN, "utf-8", "windows-1251"),
        (JAPANESE, "euc_jp", "shift_jis"),
    ],
)
def test_a_wrong_header_without_meta_is_found_out(text: str, python: str, label: str) -> None:
    decoded = decode_page(page(text).encode(python), label)
    assert (decoded.text, decoded.charset_from, decoded.replaced) == (page(text), "detected", 0)


def test_latin_1_as_a_server_default_yields_to_a_meta_that_fits() -> None:
    whole = page(CHINESE, "<meta charset=gb2312>")
    decoded = decode_page(whole.encode("gb18030"), "ISO-8859-1")
    assert (decoded.text, decoded.charset, decoded.charset_from) == (whole, "gb18030", "meta")


def test_a_byte_order_mark_beats_the_header_and_leaves_the_text() -> None:
    for mark, python, name in ((b"\xef\xbb\xbf", "utf-8", "utf-8"), (b"\xff\xfe", "utf-16-le", "utf-16le"),
                               (b"\xfe\xff", "utf-16-be", "utf-16be")):  # fmt: skip
        decoded = decode_page(mark + page(CHINESE).encode(python), "windows-1251")
        assert (decoded.text, decoded.charset, decoded.charset_from) == (page(CHINESE), name, "bom")


def test_a_few_bad_bytes_do_not_change_the_encoding() -> None:
    data = page(CHINESE).encode() + b"<p>caf\xe9</p>"
    decoded = decode_page(data, "utf-8")
    assert decoded.text == page(CHINESE) + "<p>caf\ufffd</p>"
    assert (decoded.charset, decoded.charset_from, decoded.replaced) == ("utf-8", "http", 1)


def test_a_page_cut_in_the_middle_of_a_character() -> None:
    decoded = decode_page(page(JAPANESE).partition("</p>")[0].encode()[:-1], None)
    assert (decoded.charset, decoded.replaced) == ("utf-8", 1)
    assert decoded.text == page(JAPANESE).partition("</p>")[0][:-1] + "\ufffd"


def test_ascii_needs_no_guess() -> None:
    decoded = decode_page(b"plain", None)
    assert (decoded.text, decoded.charset, decoded.charset_from) == ("plain", "utf-8", "default")
    assert decode_page(b"plain", "gbk").charset == "gb18030"
    assert decode_page(b"", None).text == ""


@pytest.mark.parametrize(
    ("html", "name"),
    [
        (b"<meta charset=big5>", "big5"),
        (b"<META CHARSET = 'Big5' >", "big5"),
        (b"<!-- <meta charset=big5> --><meta charset=gbk>", "gb18030"),
        (b'<meta name=x content="charset=big5">', None),
        (b'<meta http-equiv=content-type content="text/html;charset=koi8-r">', "koi8-r"),
        (b"<meta charset=utf-16>", "utf-8"),
        (b"<meta charset=x-user-defined>", "windows-1252"),
        (b"<meta charset=nonsense><meta charset=gbk>", "gb18030"),
        (b"<metadata charset=gbk>", None),
        (b'<?xml version="1.0" encoding="shift_jis"?>', "shift_jis"),
        (b" " * 1024 + b"<meta charset=gbk>", None),
        (b"", None),
    ],
)
def test_meta_prescan(html: bytes, name: str | None) -> None:
    assert meta_encoding(html) == name
