"""Write the Unicode table of the running Python: ``python -m operators.kernels.make_unicode_table [folder]``."""

from __future__ import annotations

import sys
import unicodedata
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from operators.kernels import unicode_table as flag

_HAN_EXTRA = frozenset("々〆〇〻")
_SENTENCE_END = frozenset(".!?…‼‽⁇⁈⁉。！？．｡﹒﹖﹗؟۔؞؝܀܁܂߹।॥၊။።፧፨᙮᜵᜶។៕᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᰻᰼᱾᱿⸮⸼꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫")


def code_point_flags(code: int) -> int:
    """Flags of one code point, from ``unicodedata`` and the string methods of the running Python."""
    char = chr(code)
    category = unicodedata.category(char)
    name = unicodedata.name(char, "")
    tests = (
        (flag.SPACE, char.isspace()),
        (flag.LINE_BREAK, len(f"a{char}b".splitlines()) > 1),
        (flag.ALPHA, char.isalpha()),
        (flag.NUMERIC, char.isnumeric()),
        (flag.DECIMAL, char.isdecimal()),
        (flag.UPPER, char.isupper()),
        (flag.LOWER, char.islower()),
        (flag.PUNCTUATION, category.startswith("P")),
        (flag.MARK, category.startswith("M")),
        (flag.UNASSIGNED, category == "Cn"),
        (
            flag.HAN,
            name.startswith(
                ("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "CJK RADICAL", "KANGXI RADICAL", "HANGZHOU NUMERAL")
            )
            or char in _HAN_EXTRA,
        ),
        (flag.KANA, category[0] == "L" and any(word in name for word in ("HIRAGANA", "KATAKANA"))),
        (flag.HANGUL, category[0] == "L" and "HANGUL" in name),
        (flag.SCRIPTIO_CONTINUA, category == "Lo" and name.startswith(("THAI ", "LAO ", "KHMER ", "MYANMAR "))),
        (flag.SENTENCE_END, char in _SENTENCE_END),
        (flag.NFC_CHECK, _nfc_may_change(char)),
    )
    return sum(bit for bit, true in tests if true)


def code_point_runs() -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint16]]:
    """(first code point, flags) of each run of equal flags over all 0x110000 code points."""
    every = np.array([code_point_flags(code) for code in range(flag.CODE_POINTS)], np.uint16)
    starts = np.flatnonzero(np.r_[True, every[1:] != every[:-1]])
    return starts.astype(np.int32), every[starts]


def main(folder: str | Path = Path(__file__).parent.parent / "data") -> Path:
    """Write ``unicode-<version>.npz`` into a folder; the same Python always writes the same arrays."""
    starts, values = code_point_runs()
    path = Path(folder) / f"unicode-{unicodedata.unidata_version}.npz"
    np.savez_compressed(path, starts=starts, values=values)
    return path


def _nfc_may_change(char: str) -> bool:
    """Quick_Check is not Yes: it decomposes under NFC, or it may join the character before it; or it may be reordered.

    Hangul vowels and final consonants have combining class 0 and join by rule, the other joiners as the second half of
    some canonical decomposition: all of the latter are marks with a class other than 0, or are listed here.
    """
    return (
        unicodedata.combining(char) != 0
        or unicodedata.normalize("NFC", char) != char
        or "ᅡ" <= char <= "ᅵ"
        or "ᆨ" <= char <= "ᇂ"
        or char in _joining_starters()
    )


@cache
def _joining_starters() -> frozenset[str]:
    pairs = (unicodedata.decomposition(chr(code)).split() for code in range(flag.CODE_POINTS))
    return frozenset(chr(int(parts[1], 16)) for parts in pairs if len(parts) == 2 and not parts[0].startswith("<"))


if __name__ == "__main__":
    print(main(*sys.argv[1:2]))
