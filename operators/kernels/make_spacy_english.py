"""Write ``operators/data/spacy-english.json`` from an installed spaCy: ``python -m operators.kernels.make_spacy_english``.

Only for who brings the table to another version of spaCy, which is no requirement of ours.
"""

from __future__ import annotations

import json
import re
import sys
from importlib import import_module
from pathlib import Path

TARGET = Path(__file__).parent.parent / "data" / "spacy-english.json"
_ORTH = 65


def _ranges(pattern: str) -> list[list[int]]:
    """First and last code point of each run that a character class takes."""
    one = re.compile(pattern)
    taken = [code for code in range(sys.maxunicode + 1) if one.fullmatch(chr(code))]
    runs: list[list[int]] = []
    for code in taken:
        if runs and runs[-1][1] == code - 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return runs


def _words(listed: list[str]) -> list[str]:
    return sorted({re.sub(r"\\(.)", r"\1", one) for one in listed if one})


def main() -> None:
    """Write the table."""
    spacy = import_module("spacy")
    classes = import_module("spacy.lang.char_classes")
    rules = spacy.blank("en").tokenizer.rules
    table = {
        "spacy": spacy.__version__,
        "specials": [[part[_ORTH] for part in rules[key]] for key in sorted(rules) if not key.isspace()],
        "units": _words(classes.LIST_UNITS),
        "currency": _words(classes.LIST_CURRENCY),
        "punctuation": _words(classes.LIST_PUNCT),
        "quotes": _words(classes.LIST_QUOTES),
        "icons": _ranges(f"[{classes.CONCAT_ICONS}]"),
        "letters": _ranges(f"[{classes.ALPHA}]"),
        "not_upper": _ranges(f"[{classes.ALPHA_LOWER}]"),
        "not_lower": _ranges(f"[{classes.ALPHA_UPPER}]"),
    }
    TARGET.write_text(json.dumps(table, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
