"""datatrove's sentence dedup: ``datatrove_sentences.py FOLDER [--own-borders] [--own-folding]``.

FOLDER/docs.jsonl has ``text`` and ``borders``, (first, last) of each sentence in characters, which take the place of
datatrove's splitter unless ``--own-borders``. Sentences are compared as they stand unless ``--own-folding``. The three
stages run in this process; FOLDER/kept.jsonl gets the texts. Prints a line of JSON: CPU seconds of each stage, the
tokenizer's loading not included.
"""

from __future__ import annotations

import importlib.metadata  # noqa: F401  # datatrove uses it without importing it
import json
import sys
import time
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.dedup.sentence_dedup import (
    SentDedupConfig,
    SentenceDedupFilter,
    SentenceDedupSignature,
    SentenceFindDedups,
)
from datatrove.utils.text import TextNormConfig

AS_THEY_STAND = TextNormConfig(
    lowercase=False, norm_whitespace=False, remove_punctuation=False, norm_unicode_diacritics=False, norm_numbers=False
)


class Borders:
    """A tokenizer that knows the sentences already."""

    def __init__(self, borders: dict[str, list[tuple[int, int]]]) -> None:
        self._borders = borders

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """The borders."""
        return self._borders[text]

    def sent_tokenize(self, text: str) -> list[str]:
        """The sentences."""
        return [text[first:last] for first, last in self._borders[text]]


def main() -> None:
    folder = Path(sys.argv[1])
    records = [json.loads(line) for line in (folder / "docs.jsonl").open(encoding="utf-8")]
    folding = {} if "--own-folding" in sys.argv else {"norm_config": AS_THEY_STAND}
    config = SentDedupConfig(min_doc_words=0, min_num_sentences=0, **folding)
    first = SentenceDedupSignature(str(folder / "signatures"), config=config)
    second = SentenceFindDedups(str(folder / "signatures"), str(folder / "duplicates"), config=config)
    third = SentenceDedupFilter(str(folder / "duplicates"), config=config)
    if "--own-borders" in sys.argv:
        first.tokenizer.sent_tokenize("Load what is to be loaded. Now.")
    else:
        first.tokenizer = third.tokenizer = Borders({r["text"]: r["borders"] for r in records})
    documents = [Document(text=record["text"], id=str(number)) for number, record in enumerate(records)]
    spent = {}
    start = time.process_time()
    first.run(iter(documents))
    spent["signatures"] = time.process_time() - start
    start = time.process_time()
    second.run()
    spent["find"] = time.process_time() - start
    start = time.process_time()
    kept = {document.id: document.text for document in third.run(iter(documents))}
    spent["filter"] = time.process_time() - start
    with (folder / "kept.jsonl").open("w", encoding="utf-8") as file:
        for number in range(len(records)):
            file.write(json.dumps(kept.get(str(number))) + "\n")
    print(json.dumps(spent))


if __name__ == "__main__":
    main()
