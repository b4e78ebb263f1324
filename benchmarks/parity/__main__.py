"""Peers' own rules and ours on the same documents: ``python -m benchmarks.parity documents.jsonl.zst [--limit 5000]``.

Prints a table a rule (numbers equal bit for bit, within 1e-9, verdicts, causes of the rest) and writes every document on
which the two sides differ to ``<out>/<peer>-<job>-<operator>.jsonl``. Each row needs a ``text``; ``lang`` says which are
English (all, where it is missing). What is not installed is skipped, and said to be.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from benchmarks.labelled_rows import read_rows
from benchmarks.parity import report
from benchmarks.parity.causes import Explain, dolma_lines, explain_c4, explain_nemo, unexplained, words_differ
from benchmarks.parity.compare import compare_number, compare_texts, compare_verdicts
from benchmarks.parity.ours import Answer, our_words, ours
from benchmarks.parity.pairs import CHAINS, Pair, chain, pairs
from benchmarks.parity.theirs import Peers
from benchmarks.peers.process import has_punkt, installed
from benchmarks.peers.sources import python_sources, write_bad_word_lists
from operators.kernels.segmentation import WordRule
from pipeline.operator import Map

Documents = Sequence[dict[str, str]]

WORDS: dict[str, WordRule] = {"nltk": "unicode", "spacy": "spacy"}
"""Their tokenizer, and our rule in its place."""


def explain(pair: Pair, peers: Peers, texts: Sequence[str], theirs: Answer, mine: Answer) -> Explain:
    """What can make the two sides of a comparison differ."""
    if "sentences" in pair.numbers.values():
        return explain_c4(pair, theirs.numbers, mine.numbers)
    if pair.words:
        return words_differ(peers.rows(pair.peer, f"words {pair.words}", texts, "words"), our_words(texts))
    if pair.peer == "nemo":
        return explain_nemo(pair.job)
    return dolma_lines if pair.job == "c4_v2" else unexplained


def compare(pair: Pair, peers: Peers, documents: Documents) -> report.Compared:
    """Ask both sides and count."""
    texts = [row["text"] for row in documents]
    theirs, mine = peers.answer(pair.peer, pair.job, texts), ours([pair.ours], texts)
    counts = [compare_number(pair, name, theirs, mine) for name in pair.numbers]
    verdicts = compare_verdicts(theirs, mine)
    if verdicts is not None:
        counts += verdicts[: 1 if pair.peer == "nemo" else 2]  # a single filter has no first reason
    left = compare_texts(theirs, mine) if isinstance(pair.ours, Map) else None
    counts += [left] if left is not None else []
    return report.Compared(pair, theirs, mine, counts, explain(pair, peers, texts, theirs, mine))


def skip(peer: str, words: str) -> str:
    """Why a comparison cannot be made; empty where it can."""
    if not installed(peer):
        return f"{peer}: not installed (benchmarks/peers/install.py)"
    return f"{peer} with NLTK: no tokenizers/punkt_tab under NLTK_DATA" if words == "nltk" and not has_punkt() else ""


def select(documents: Documents, which: str, limit: int) -> Documents:
    """All documents, those in a language, or Python sources instead."""
    if which == "code":
        return [{"id": str(k), "text": text} for k, text in enumerate(islice(python_sources(), limit))]
    return [row for row in documents if which in {"all", row["lang"]}]


def compare_all(peers: Peers, documents: Documents, arguments: argparse.Namespace) -> set[str]:
    """All rules; returns what was skipped."""
    skipped, single = set[str](), list[tuple[report.Compared, list[str]]]()
    for pair in pairs():
        if arguments.only not in f"{pair.peer}: {pair.job}":
            continue
        if reason := skip(pair.peer, pair.words):
            skipped.add(reason)
            continue
        chosen = select(documents, pair.documents, arguments.limit)
        if not chosen:
            skipped.add(f"{pair.peer} {pair.job}: no documents in {pair.documents}")
            continue
        done, texts = compare(pair, peers, chosen), [row["text"] for row in chosen]
        report.write_disagreements(arguments.out, done, [row["id"] for row in chosen])
        if pair.peer == "nemo":
            single.append((done, texts))
        else:
            report.table(done, texts)
    if single:
        report.table_of_single_rules(single)
    return skipped


def compare_chains(peers: Peers, texts: list[str], only: str) -> None:
    """Kept sets of whole chains over English documents."""
    jobs = [one for one in CHAINS if only in f"{one[0]}: {one[1]}" and not skip(one[0], one[1].split()[-1])]
    if jobs:
        names = [f"{peer} {job}" for peer, job, _ in jobs]
        theirs = [peers.answer(peer, job, texts).reasons or [] for peer, job, _ in jobs]
        mine = [ours(chain(words), texts).reasons or [] for _, _, words in jobs]
        report.table_of_chains(names, theirs, mine)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--limit", type=int, default=5000)
    parser.add_argument("--only", default="", help="part of 'peer: job'")
    parser.add_argument("--out", type=Path, default=Path("runs/parity"))
    arguments = parser.parse_args()
    found = islice(read_rows(arguments.path), arguments.limit)
    documents = [{"id": str(k), "lang": "en", **row} for k, row in enumerate(found)]
    texts = [row["text"] for row in documents if row["lang"] == "en"]
    print(f"{len(documents):,} documents of {arguments.path.name}, {len(texts):,} of them English")
    lists = arguments.out / "lists"
    write_bad_word_lists(lists)
    os.environ["SLUICE_WORD_LISTS"] = str(lists.resolve())
    with Peers(arguments.out / "cache") as peers:
        skipped = compare_all(peers, documents, arguments)
        compare_chains(peers, texts, arguments.only)
        for words, rule in WORDS.items():
            if arguments.only in f"datatrove: words {words}" and not skip("datatrove", words):
                theirs = peers.rows("datatrove", f"words {words}", texts, "words")
                report.table_of_words(words, theirs, our_words(texts, rule))
    print("\nSkipped: " + ("; ".join(sorted(skipped)) or "nothing"))


if __name__ == "__main__":
    main()
