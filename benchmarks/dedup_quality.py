"""What deduplication finds, and whether it is right: ours, datatrove, text-dedup and datasketch at the same parameters.

    python -m benchmarks.dedup_quality DATA [--sets small natural] [--systems ours datatrove] [--kept FOLDER]

DATA is laid out as ``dedup_sets`` says. The peers need ``python benchmarks/peers/install.py datatrove textdedup``; what
is not installed is left out. ``--kept`` keeps the verdicts, so that a second call only prints (datatrove takes minutes).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.dedup_sets import SETS, DocumentSet, Similarity, load_set
from benchmarks.dedup_systems import SYSTEMS, Verdicts, verdicts

BORDERS = (0.3, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
BELOW = (0.5, 0.65, 0.7)

Found = Mapping[str, Verdicts]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print("\n| " + " | ".join(head) + " |\n" + "| --- " * len(head) + "|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")


def share(part: float, whole: float) -> str:
    """As a fraction of three places."""
    return f"{part / whole:.3f}" if whole else "-"


def stand_for(verdict: Verdicts, key: str) -> set[str]:
    """The documents that stay for it: itself, or those it went for; none where it was lost."""
    if key in verdict.survivors:
        return set(verdict.survivors[key])
    return set() if key in verdict.lost else {key}


def one_gone(verdict: Verdicts, pair: Mapping[str, Any]) -> bool:
    """Not both documents of a pair are left."""
    return bool({pair["id_a"], pair["id_b"]} & verdict.gone)


def joined(verdict: Verdicts, pair: Mapping[str, Any]) -> bool:
    """Both documents have the same survivor, or one is the other's."""
    return bool(stand_for(verdict, pair["id_a"]) & stand_for(verdict, pair["id_b"]))


def best(verdict: Verdicts, measure: Similarity) -> dict[str, tuple[float, float]]:
    """Removed document -> its largest Jaccard value with one it went for, by the definition of the pairs and by ours."""
    return {
        key: tuple(max(values) for values in zip(*(measure.jaccard(key, rep) for rep in reps), strict=True))
        for key, reps in verdict.survivors.items()
    }  # fmt: skip


def print_removed(docs: DocumentSet, found: Found, measure: Similarity) -> None:
    """How many go, and how similar they are to what stays for them."""
    rows = []
    for system, verdict in found.items():
        similar = list(best(verdict, measure).values())
        ends = []
        for definition in (0, 1):
            values = [pair[definition] for pair in similar]
            ends += [f"{100 * sum(value < below for value in values) / max(1, len(values)):.2f} %" for below in BELOW]
            ends.append(f"{min(values, default=1):.3f}")
        rows.append([system, len(verdict.gone), len(verdict.lost), *ends])
    print(f"\n### {docs.name}: {len(docs.docs):,} documents, {docs.megabytes:.1f} MB")
    print("\nTrue Jaccard of a removed document with its survivor, in words and over our shingles")
    head = [*(f"< {below}" for below in BELOW), "least"]
    table(["system", "removed", "lost", *head, *(f"ours {name}" for name in head)], rows)


def print_recall(docs: DocumentSet, found: Found) -> None:
    """By Jaccard: one of the two gone / both behind one survivor."""
    bands: dict[float, list[Mapping[str, Any]]] = defaultdict(list)
    for pair in docs.truth:
        if pair["jaccard_w5"] >= BORDERS[0]:
            bands[max(border for border in BORDERS if border <= pair["jaccard_w5"])].append(pair)
    rows = []
    for border, pairs in sorted(bands.items()):
        rows.append([f"{border:.2f}", len(pairs), *(both_ways(verdict, pairs) for verdict in found.values())])
    for lang in ("en", "zh", "other"):
        alike = [pair for pair in docs.truth if pair["jaccard_w5"] >= 0.8 and language(docs, pair) == lang]
        if alike:
            rows.append([f".8 to 1, {lang}", len(alike), *(both_ways(verdict, alike) for verdict in found.values())])
    print("\nRecall: pairs of which one is gone / that stand behind one survivor")
    table(["Jaccard from", "pairs", *found], rows)


def both_ways(verdict: Verdicts, pairs: Sequence[Mapping[str, Any]]) -> str:
    """Shares of pairs of which one is gone, and that are joined."""
    gone, together = (sum(test(verdict, pair) for pair in pairs) for test in (one_gone, joined))
    return f"{share(gone, len(pairs))} / {share(together, len(pairs))}"


def language(docs: DocumentSet, pair: Mapping[str, Any]) -> str:
    """``en``, ``zh`` or ``other``."""
    lang = docs.docs[pair["id_a"]].get("lang")
    return lang if lang in ("en", "zh") else "other"


def print_planted(docs: DocumentSet, found: Found) -> None:
    """By planted kind: pairs behind one survivor; and which removals were planted at all."""
    kinds: dict[tuple[str, float], list[Mapping[str, Any]]] = defaultdict(list)
    for pair in docs.pairs:
        kinds[pair["kind"], pair["rate"]].append(pair)
    rows = []
    for (kind, rate), pairs in kinds.items():
        middle = sorted(pair["jaccard_w5"] for pair in pairs)[len(pairs) // 2]
        counts = [sum(joined(verdict, pair) for pair in pairs) for verdict in found.values()]
        rows.append([f"{kind} {rate}" if rate else kind, len(pairs), f"{middle:.2f}", *counts])
    print("\nPlanted pairs that stand behind one survivor; shared-boilerplate pairs are no duplicates")
    table(["kind and rate", "planted", "median Jaccard", *found], rows)
    copies = Copies(docs.pairs)
    rows = []
    for system, verdict in found.items():
        right = sum(any(copies.planted(key, rep) for rep in reps) for key, reps in verdict.survivors.items())
        rows.append([system, len(verdict.survivors), right, share(right, len(verdict.survivors))])
    print("\nPrecision: removed documents whose survivor is planted from them, or they from it, or both from one")
    table(["system", "removed", "right", "precision"], rows)


class Copies:
    """Which documents descend from one original by planting."""

    def __init__(self, pairs: Iterable[Mapping[str, Any]]) -> None:
        self._root: dict[str, str] = {}
        for pair in pairs:
            if pair["kind"] != "shared-boilerplate":
                self._root[self._find(pair["id_a"])] = self._find(pair["id_b"])

    def _find(self, key: str) -> str:
        while self._root.setdefault(key, key) != key:
            key = self._root[key]
        return key

    def planted(self, left: str, right: str) -> bool:
        """Both have one origin."""
        return self._find(left) == self._find(right)


def print_versions(docs: DocumentSet, found: Found) -> None:
    """Pairs of versions of one page, whatever their Jaccard value; and what was removed for another page."""
    pages: dict[str, list[str]] = defaultdict(list)
    for key, doc in docs.docs.items():
        pages[doc["page"]].append(key)
    pairs = [{"id_a": a, "id_b": b} for keys in pages.values() for k, a in enumerate(keys) for b in keys[k + 1 :]]
    page = {key: doc["page"] for key, doc in docs.docs.items()}
    wrong = [
        sum(all(page[key] != page[rep] for rep in reps) for key, reps in verdict.survivors.items())
        for verdict in found.values()
    ]
    print(f"\nSame page in two versions: {len(pairs)} pairs of {len(pages)} pages, whatever their similarity")
    table(
        ["", *found],
        [
            ["one is gone / behind one survivor", *(both_ways(verdict, pairs) for verdict in found.values())],
            ["removed for another page", *wrong],
        ],
    )


def print_sentences(docs: DocumentSet, found: Found) -> None:
    """Pairs of sentences of the same words."""
    rows = []
    for label, name in ((0, "another meaning"), (1, "the same meaning")):
        for low, high in ((0.0, 0.5), (0.5, 0.7), (0.7, 1.01)):
            pairs = [p for p in docs.pairs if p["label"] == label and low <= p["jaccard_w5"] < high]
            counts = [sum(joined(verdict, pair) for pair in pairs) for verdict in found.values()]
            rows.append([name, f"{low} to {min(high, 1.0)}", len(pairs), *counts])
    print("\nPairs of sentences of the same words that stand behind one survivor")
    table(["", "Jaccard", "pairs", *found], rows)


def main() -> None:
    """All tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--systems", nargs="*", default=list(SYSTEMS))
    parser.add_argument("--kept", type=Path, help="folder for the verdicts")
    options = parser.parse_args()
    for name in options.sets:
        docs = load_set(options.data, name)
        asked = {system: verdicts(system, docs, options.kept) for system in options.systems}
        found = {system: verdict for system, verdict in asked.items() if verdict is not None}
        print_removed(docs, found, Similarity(docs))
        print_recall(docs, found)
        if docs.pairs and "kind" in docs.pairs[0]:
            print_planted(docs, found)
        if name == "versions":
            print_versions(docs, found)
        if name == "paws":
            print_sentences(docs, found)
        for system, verdict in found.items():
            if verdict.note:
                print(f"\n{system}: {verdict.note}")


if __name__ == "__main__":
    main()
