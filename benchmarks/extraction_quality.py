"""Word F1 of ExtractHtml against gold main texts: ``python -m benchmarks.extraction_quality FILE.jsonl.zst ...``.

Rows: ``html``, ``gold_text`` and, if any, ``page_type``. F1 of the multisets of words, where each Han, kana or Thai
character is one; a page without text scores 0.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from statistics import mean
from time import process_time

from benchmarks.labelled_rows import as_table, read_rows
from operators.extract.html import ExtractHtml

WORD = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]|[^\W\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]+")


def main(paths: list[Path]) -> None:
    """Print a line per file and page type, with and without the choice of main content."""
    for path in paths:
        rows = [row for row in read_rows(path) if row["gold_text"]]
        for main_content in (True, False):
            operator = ExtractHtml(main_content=main_content)
            operator.prepare()
            start = process_time()
            docs = operator.map(as_table([row["html"] for row in rows]))
            seconds = process_time() - start
            by_type: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
            for row, text in zip(rows, docs["text"].to_pylist(), strict=True):
                scores = compare(text or "", row["gold_text"])
                by_type["all"].append(scores)
                by_type[row.get("page_type", "page")].append(scores)
            failures = Counter(docs["extract_html.failure"].drop_null().to_pylist())
            print(
                f"{path.name}, main_content={main_content}: {1000 * seconds / len(rows):.1f} ms per page, failures {dict(failures)}"
            )
            for name, values in sorted(by_type.items()):
                precision, recall, f1 = (mean(value) for value in zip(*values, strict=True))
                print(f"  {name}: {len(values)} pages, precision {precision:.3f}, recall {recall:.3f}, F1 {f1:.3f}")


def compare(text: str, gold: str) -> tuple[float, float, float]:
    """Precision, recall and F1 of words."""
    found, wanted = (Counter(WORD.findall(side.lower())) for side in (text, gold))
    common = (found & wanted).total()
    if not common:
        return 0.0, 0.0, 0.0
    precision, recall = common / found.total(), common / wanted.total()
    return precision, recall, 2 * precision * recall / (precision + recall)


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
