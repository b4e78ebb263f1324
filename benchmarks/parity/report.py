"""Tables of the parity check, in Markdown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.parity.causes import Explain, identical_share, places
from benchmarks.parity.compare import Count
from benchmarks.parity.ours import Answer
from benchmarks.parity.pairs import Pair
from pipeline.operator import Operator

EXAMPLES = 3


class Compared(NamedTuple):
    """One comparison done: its pair, both answers, the counts, and what explains a difference."""

    pair: Pair
    theirs: Answer
    mine: Answer
    counts: list[Count]
    explain: Explain


def written(operator: Operator) -> str:
    """An operator by what is set in it, limits of a single rule aside."""
    chosen = {
        name: getattr(operator, name)
        for name in type(operator).model_fields
        if not name.startswith(("min_", "max_"))
        and getattr(operator, name) != type(operator).model_fields[name].default
    }
    return f"{type(operator).__name__}({', '.join(f'{name}={value!r}' for name, value in chosen.items())})"


def share(part: int, whole: int) -> str:
    """Per cent, cut and not rounded, so that only a full count reads as 100."""
    return f"{int(10_000 * part / max(whole, 1)) / 100:.2f} %"


def rows(done: Compared, texts: Sequence[str], first: str = "") -> None:
    """The lines of one comparison."""
    for count in done.counts:
        causes = Counter(done.explain(row, texts[row]) for row in count.off)
        listed = "; ".join(f"{name}: {number}" for name, number in causes.most_common())
        print(
            f"| {first}{count.rule} | {count.documents:,} | {count.equal:,} | {count.within:,} "
            f"| {share(count.within, count.documents)} | {listed} |"
        )


HEADER = (
    "| number | documents | equal | within 1e-9 | share | causes of the rest |\n| --- | --- | --- | --- | --- | --- |"
)


def changed_verdicts(done: Compared) -> str:
    """Pairs of reasons of the documents that one side only keeps."""
    reasons, mine = done.theirs.reasons or [], done.mine.reasons or []
    verdict = next((count for count in done.counts if count.rule == "verdict"), None)
    changed = Counter((reasons[row] or "kept", mine[row] or "kept") for row in (verdict.off if verdict else ()))
    return "; ".join(f"they {a}, we {b}: {number}" for (a, b), number in changed.most_common())


def table(done: Compared, texts: Sequence[str]) -> None:
    """One comparison."""
    print(f"\n### {done.pair.peer}: {done.pair.job} / {written(done.pair.ours)}\n")
    if done.pair.definition:
        print(f"Definitions differ: {done.pair.definition}.\n")
    print(HEADER)
    rows(done, texts)
    if changes := changed_verdicts(done):
        print(f"\nVerdicts: {changes}.")


def table_of_single_rules(many: Sequence[tuple[Compared, Sequence[str]]]) -> None:
    """Peers whose rules are filters of their own, with definitions of their own."""
    print(f"\n### {many[0][0].pair.peer}: single filters / our nearest measures\n")
    print(HEADER)
    for done, texts in many:
        rows(done, texts, f"{done.pair.job}: ")
    print("\n| filter | our operator | how the definitions differ | verdicts that differ |\n| --- | --- | --- | --- |")
    for done, _ in many:
        definition = done.pair.definition or "they do not"
        print(f"| {done.pair.job} | {written(done.pair.ours)} | {definition} | {changed_verdicts(done)} |")


def table_of_chains(names: Sequence[str], theirs: Sequence[list[str | None]], ours: Sequence[list[str | None]]) -> None:
    """Whole chains: which documents are kept."""
    print("\n### Whole chains: documents kept\n")
    print("| chain | documents | both keep | both drop | only they keep | only we keep | agree |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, other, mine in zip(names, theirs, ours, strict=True):
        counts = Counter((a is None, b is None) for a, b in zip(other, mine, strict=True))
        agree = counts[True, True] + counts[False, False]
        print(
            f"| {name} | {len(mine):,} | {counts[True, True]:,} | {counts[False, False]:,} | {counts[True, False]:,} "
            f"| {counts[False, True]:,} | {share(agree, len(mine))} |"
        )


def table_of_words(name: str, theirs: list[list[str]], mine: list[list[str]], top: int = 25) -> None:
    """Where datatrove's words and ours have other borders, by the characters around them."""
    kinds, examples = Counter[str](), dict[str, list[str]]()
    for left, right in zip(theirs, mine, strict=True):
        for kind, excerpt in places(left, right):
            kinds[kind] += 1
            examples.setdefault(kind, []).append(excerpt)
    print(f"\n### datatrove's {name} words and ours\n")
    print(
        f"{len(mine):,} documents, {sum(map(len, theirs)):,} words by them, {sum(map(len, mine)):,} by us; the same in"
    )
    print(
        f"{100 * identical_share(theirs, mine):.1f} % of documents; {sum(kinds.values()):,} borders on one side only.\n"
    )
    print("| border (+ theirs, - ours) | number | examples |\n| --- | --- | --- |")
    for kind, number in kinds.most_common(top):
        shown = " ".join(f"`{excerpt}`" for excerpt in dict.fromkeys(examples[kind][:EXAMPLES])).replace("|", "\\|")
        print(f"| `{kind.replace('|', chr(92) + '|')}` | {number:,} | {shown} |")


def write_disagreements(folder: Path, done: Compared, ids: Sequence[str]) -> None:
    """All documents off in any count, with both sides' numbers and verdicts, as JSON lines."""
    name = f"{done.pair.peer} {done.pair.job} {done.pair.ours.name}.jsonl".replace(" ", "-")
    with (folder / name).open("w") as lines:
        for row in sorted({row for count in done.counts for row in count.off}):
            entry = {
                "id": ids[row],
                "rules": [count.rule for count in done.counts if row in count.off],
                "theirs": done.theirs.numbers[row],
                "ours": done.mine.numbers[row],
                "their_reason": done.theirs.reasons and done.theirs.reasons[row],
                "our_reason": done.mine.reasons and done.mine.reasons[row],
            }
            lines.write(json.dumps(entry, ensure_ascii=False) + "\n")
