"""The shipped Unicode table is what its script writes."""

from __future__ import annotations

import hashlib
import unicodedata

import numpy as np
import pytest

from operators.kernels import make_unicode_table
from operators.kernels import unicode_table as flag
from pipeline.errors import RunFailedError


@pytest.mark.skipif(unicodedata.unidata_version != flag.VERSION, reason="another Unicode version writes another table")
def test_shipped_table_is_what_the_script_writes():
    """Every code point up to U+1FFFF, where nearly all is assigned, and one in 61 beyond."""
    flags = flag.unicode_flags()
    codes = [*range(0x20000), *range(0x20000, 0x110000, 61), *range(0xE0000, 0xE0200)]
    wrong = [code for code in codes if flags[code] != make_unicode_table.code_point_flags(code)]
    assert wrong == []


@pytest.mark.skipif(unicodedata.unidata_version != flag.VERSION, reason="another Unicode version writes another table")
def test_script_writes_the_shipped_file(tmp_path, monkeypatch):
    """Runs are cut and stored so that reading them gives the table back; only the slow look-up is replaced by the table."""
    flags = flag.unicode_flags()
    monkeypatch.setattr(make_unicode_table, "code_point_flags", lambda code: int(flags[code]))
    path = make_unicode_table.main(tmp_path)
    with np.load(path) as written:
        assert np.array_equal(np.repeat(written["values"], np.diff(np.append(written["starts"], 0x110000))), flags)
    assert path.stat().st_size <= 30_000


@pytest.mark.parametrize(
    ("char", "expected"),
    [
        ("a", flag.ALPHA | flag.LOWER),
        ("Z", flag.ALPHA | flag.UPPER),
        ("7", flag.NUMERIC | flag.DECIMAL),
        ("½", flag.NUMERIC),
        ("三", flag.ALPHA | flag.NUMERIC | flag.HAN),
        ("か", flag.ALPHA | flag.KANA),
        ("한", flag.ALPHA | flag.HANGUL),
        ("ก", flag.ALPHA | flag.SCRIPTIO_CONTINUA),
        ("။", flag.PUNCTUATION | flag.SENTENCE_END),
        ("。", flag.PUNCTUATION | flag.SENTENCE_END),
        ("\u0301", flag.MARK | flag.NFC_CHECK),
        ("\u2028", flag.SPACE | flag.LINE_BREAK),
        ("\x1f", flag.SPACE),
        ("\u3000", flag.SPACE),
        ("\u200b", 0),
        ("\u0378", flag.UNASSIGNED),
        ("ᅡ", flag.ALPHA | flag.HANGUL | flag.NFC_CHECK),
    ],
)
def test_flags_of(char, expected):
    assert flag.unicode_flags()[ord(char)] == expected


def test_no_text_without_a_flag_changes_under_nfc():
    """The quick check is complete: characters without the flag stay as they are, alone and after any other."""
    flags = flag.unicode_flags()
    safe = [chr(code) for code in range(0x30000) if not flags[code] & flag.NFC_CHECK and not 0xD800 <= code < 0xE000]
    text = "".join(safe)
    assert unicodedata.is_normalized("NFC", text)
    seconds = {unicodedata.decomposition(chr(code)).split()[-1] for code in range(0x30000) if " " in unicodedata.decomposition(chr(code))
               and "<" not in unicodedata.decomposition(chr(code))}  # fmt: skip
    assert all(flags[int(code, 16)] & flag.NFC_CHECK for code in seconds)


def test_the_hash_in_the_source_is_that_of_the_shipped_table():
    assert hashlib.sha256(flag._path().read_bytes()).hexdigest() == flag.TABLE_SHA256


def test_a_changed_table_is_refused(tmp_path, monkeypatch):
    changed = tmp_path / "unicode.npz"
    changed.write_bytes(flag._path().read_bytes() + b"\0")
    monkeypatch.setattr(flag, "_path", lambda: changed)
    with pytest.raises(RunFailedError, match=r"unicode\.npz has sha256 .*expected 02f8.*install the package again"):
        flag.unicode_flags.__wrapped__()
