"""The funnel of the small run, against numbers worked out from its rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.dataset import Run
from pipeline.ledger import Count, Ledger
from pipeline.report.account import Account
from pipeline.report.funnel import Amount, FunnelRow, TokenRates, funnel, token_rates
from tests.pipeline.report.conftest import run_tiny

FOUR = len("four words make tokens")  # 22 bytes, 4 tokens
LAST = len("one more 1234567 text <script>alert(2)</script>")  # 47 bytes, 5 tokens
HAN = len("甲乙丙 丁".encode())  # 13 bytes, 2 tokens


def test_rates_come_from_the_tokenizing_step_by_language(tiny: Run) -> None:
    rates = token_rates(Account.of(tiny))
    assert rates == TokenRates(11 / (FOUR + LAST + HAN), {"en": 9 / (FOUR + LAST), "zh": 2 / HAN})


def test_rows_follow_the_documents(tiny: Run) -> None:
    rows = {(row.step, row.operator): row for row in funnel(Account.of(tiny))}
    assert list(rows) == [
        ("crawl", "read"),
        ("pages", "extract_body"),
        ("pages", "length"),
        ("clean", "hide_digits"),
        ("unique", "first_of_each_text"),
        ("tokens", "words"),
    ]
    assert [(row.into.docs, row.out.docs) for row in rows.values()] == [(8, 8), (8, 7), (7, 5), (5, 5), (5, 3), (3, 3)]
    assert rows["pages", "extract_body"].reasons == (("nothing_left", Count(1, len("<html>empty"))),)
    boom = len("boom 1234 <b>x</b> & y")
    assert rows["pages", "length"].reasons == (("quarantined", Count(1, boom)), ("short", Count(1, 2)))
    assert rows["unique", "first_of_each_text"].reasons == (("exact duplicate", Count(2, 2 * FOUR)),)


def test_tokens_are_exact_estimated_or_unknown(tiny: Run) -> None:
    """Counted at the tokenizer, estimated from bytes by language before it, not told of HTML."""
    rows = {row.operator: row for row in funnel(Account.of(tiny))}
    assert (rows["words"].into.tokens, str(rows["words"].out.tokens)) == (rows["words"].out.tokens, "11")
    assert rows["read"].into.tokens is None
    assert rows["read"].out.tokens is None
    assert rows["extract_body"].into.tokens is None
    # Both copies are as long as the first: 3 * 22 + 47 English bytes at 9 / 69 tokens each, and 2 Chinese tokens.
    assert str(rows["hide_digits"].out.tokens) == f"~{round((3 * FOUR + LAST) * 9 / (FOUR + LAST) + 2)}"


def test_without_a_tokenizer_no_tokens_are_told(tmp_path: Path) -> None:
    rows = funnel(Account.of(run_tiny(tmp_path, out_steps=3)))
    assert len(rows) == 4
    assert all(row.into.tokens is None and row.out.tokens is None for row in rows)


def test_leaves_are_the_last_steps_with_documents(tiny: Run) -> None:
    assert [step.name for step in Account.of(tiny).leaves()] == ["unique"]


def without(ledger: Ledger, bytes_kept: int, gone: Count) -> Ledger:
    """The account once one kept document and some others, ``gone`` in all, were taken down."""
    found = Ledger.from_json(ledger.to_json())
    found.kept.add(-1, -bytes_kept)
    found.taken_down = gone
    return found


def test_what_was_taken_down_stands_among_the_reasons(tiny: Run) -> None:
    account = Account.of(tiny)
    pages, unique = (next(step for step in account.steps if step.name == name) for name in ("pages", "unique"))
    rejected, bare = without(pages.ledger, FOUR, Count(2, FOUR + 2)), without(unique.ledger, FOUR, Count(2, 2 * FOUR))
    del rejected.dropped["length:short"]
    bare.duplicates["exact"] = Count(1, FOUR)
    for ledger in (rejected, bare):
        ledger.check("by hand")
    steps = (replace(pages, ledger=rejected), replace(unique, ledger=bare))
    rows = {(row.step, row.operator): row for row in funnel(replace(account, steps=steps))}
    boom = len("boom 1234 <b>x</b> & y")
    assert list(rows) == [
        ("pages", "extract_body"),
        ("pages", "length"),
        ("pages", "takedown"),
        ("unique", "first_of_each_text"),
    ]
    assert rows["pages", "length"].reasons == (("quarantined", Count(1, boom)), ("taken down", Count(1)))
    last = rows["pages", "takedown"]
    assert (last.into.docs, last.out.docs, last.out.bytes) == (5, 4, rejected.kept.bytes)
    assert last.reasons == (("taken down", Count(1, FOUR)),)
    assert rows["unique", "first_of_each_text"].reasons == (
        ("taken down", Count(2, 2 * FOUR)),
        ("exact duplicate", Count(1, FOUR)),
    )
    for row in rows.values():
        assert row.into.docs - row.out.docs == sum(counted.docs for _, counted in row.reasons)


def test_a_row_names_three_reasons_and_counts_the_others() -> None:
    none = Amount(0, 0, None)
    reasons = [
        ("short", Count(1200)),
        ("long", Count(4)),
        ("symbols", Count(3)),
        ("bullets", Count(2)),
        ("words", Count(1)),
    ]
    row = FunnelRow("clean", "gopher_quality", none, none, reasons, 0.0)
    assert row.why == "short 1,200, long 4, symbols 3, others 3"
    assert replace(row, reasons=reasons[:3]).why == "short 1,200, long 4, symbols 3"
    assert replace(row, reasons=[]).why == ""
