"""What a step was expected to keep, held against its ledger."""

from __future__ import annotations

from pipeline.errors import RunFailedError
from pipeline.ledger import Count, Ledger, merge_counts
from pipeline.workflow import Expect


def check(step: str, ledger: Ledger, expect: Expect) -> None:
    """Compare a complete step with what was expected of it.

    Raises:
        RunFailedError: too many documents failed, or the share kept lies outside the expected one, for the step, one
            of its sources, or a language of a source. The message gives the group, its numbers and the remedy.
    """
    ledger.check(f"step {step}")
    failed = sum(count.docs for count in ledger.quarantined.values())
    into = ledger.into.docs
    if into >= expect.min_docs and failed > expect.quarantined * into:
        worst = max(ledger.quarantined, key=lambda name: ledger.quarantined[name].docs)
        msg = (
            f"step {step!r}: {failed} of {into} documents are in quarantine ({failed / into:.1%}, expected at most "
            f"{expect.quarantined:.1%}), most of them from {worst!r}; look at the errors in its quarantine/ folder, "
            f"or raise expect.quarantined"
        )
        raise RunFailedError(msg)
    low, high = expect.kept
    for group, (come, kept) in _groups(ledger, expect).items():
        # How many of a group were taken down is not told; of none that may have kept enough of the others is it said.
        fewest = come.docs - min(ledger.taken_down.docs, come.docs - kept.docs)
        if fewest and come.docs >= expect.min_docs and (kept.docs / fewest < low or kept.docs / come.docs > high):
            msg = (
                f"step {step!r} kept {kept.docs} of {come.docs} documents of {group} ({kept.docs / come.docs:.1%}), "
                f"expected {low:.1%} to {high:.1%}; look at what it dropped with `sluice report`, or change expect.kept"
            )
            raise RunFailedError(msg)


def _groups(ledger: Ledger, expect: Expect) -> dict[str, tuple[Count, Count]]:
    groups = {"the whole step": (ledger.into, ledger.kept)}
    by_source: dict[str, dict[str, Count]] = {"in": {}, "kept": {}}
    for side, counts in (("in", ledger.group_into), ("kept", ledger.group_kept)):
        for key, count in counts.items():
            source = key.rpartition("|")[0]
            merge_counts(by_source[side], {source: Count(count.docs, count.bytes, count.tokens)})
    for source, come in by_source["in"].items():
        groups[f"source {source!r}"] = (come, by_source["kept"].get(source, Count()))
    for key, come in ledger.group_into.items():
        source, _, language = key.rpartition("|")
        if not expect.languages or language in expect.languages:
            groups[f"source {source!r}, language {language!r}"] = (come, ledger.group_kept.get(key, Count()))
    return groups
