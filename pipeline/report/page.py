"""The report of a run: one HTML page that stands alone, readable without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files as package_files
from typing import Any

from pipeline.dataset import Run
from pipeline.ledger import Ledger
from pipeline.report import svg
from pipeline.report.account import Account, StepAccount
from pipeline.report.duplicates import duplicates
from pipeline.report.examples import examples, quarantine
from pipeline.report.funnel import Amount, FunnelRow, Tokens, funnel
from pipeline.report.markup import Markup, element, folded, markup, section, table
from pipeline.report.measures import measures
from pipeline.report.splits import splits
from pipeline.report.timing import timing
from pipeline.report.training import training, trainings
from pipeline.report.units import count, share, size

REPORT_FILE = "report.html"
_GROUPS = 200


def write_report(run: Run) -> str:
    """Write ``report.html`` into the run's folder; returns where it lies."""
    run.storage.write_bytes(REPORT_FILE, render(run).encode())
    return f"{run.storage.uri}/{REPORT_FILE}"


def render(run: Run) -> str:
    """The page."""
    account = Account.of(run)
    parts = [
        part
        for part in (
            _funnel(account),
            _ledgers(account),
            _groups(account),
            duplicates(account),
            splits(account),
            measures(account),
            examples(account),
            quarantine(account),
            training(account),
            timing(account),
            _reproduce(account),
        )
        if part is not None
    ]
    # A policy of its own, in case a page is shown from a server: whatever a quoted text may hold, nothing is fetched.
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{run.facts['name']}: Sluice report"),
        element("style", _asset("style.css")),
    )
    body = element("body", _header(account), element("main", parts), element("script", _asset("page.js")))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _asset(name: str) -> Markup:
    return Markup((package_files("pipeline.report") / name).read_text(encoding="utf-8"))


def _header(account: Account) -> Markup:
    run = account.run
    waiting = [name for name in run.steps if name not in {step.name for step in account.steps}]
    unfinished = [step.name for step in account.steps if not step.dataset.complete]
    open_steps = [*unfinished, *waiting]
    state = (
        element("span", f"not finished: {', '.join(open_steps)}", class_="bad")
        if open_steps
        else element("span", "complete", class_="ok")
    )
    first, last = _ends(account)
    return markup(
        [
            element("h1", run.facts["name"]),
            element(
                "p",
                state,
                f" · {run.storage.uri} · seed {run.facts['seed']} · sluice {run.facts['versions'].get('sluice', '')}",
            ),
            element(
                "p",
                f"{count(first.docs)} documents ({size(first.bytes)}) read, {count(last.docs)} ({size(last.bytes)}) kept",
                f", {last.tokens} tokens" if last.tokens else None,
                ".",
            )
            if first and last
            else None,
            [element("p", one.summary) for one in trainings(account) if one.summary],
            element(
                "nav",
                [
                    element("a", name, href=f"#{name.lower()}")
                    for name in ("Funnel", "Accounts", "Examples", "Timing", "Reproduce")
                ],
            ),
        ]
    )


def _ends(account: Account) -> tuple[Amount | None, Amount | None]:
    """What was read, and what the largest of the tokenized (else last document) steps holds: no held-out set."""
    read = [step.ledger.kept for step in account.steps if step.dataset.kind == "source"]
    ends = [step for step in account.steps if step.dataset.kind == "tokens"] or account.leaves()
    if not read or not ends:
        return None, None
    kept = max((end.ledger.kept for end in reversed(ends)), key=lambda amount: amount.docs)
    first = Amount(sum(c.docs for c in read), sum(c.bytes for c in read), None)
    return first, Amount(kept.docs, kept.bytes, Tokens(kept.tokens, exact=True) if kept.tokens else None)


def _funnel(account: Account) -> Markup:
    rows = funnel(account)
    most = max((row.into.docs for row in rows), default=1) or 1
    with_tokens = any(row.out.tokens for row in rows)
    head = ["step", "operator", "documents in", "out", "", "dropped", "bytes in", "out"]
    head += ["tokens in", "out"] if with_tokens else []
    note = "Tokens: ~ is an estimate from bytes, at the tokens per byte that the tokenizing step counted for each language."
    return section(
        "Funnel",
        table([*head, "why"], [_funnel_row(row, most, with_tokens=with_tokens) for row in rows], text_columns=2),
        element("p", note, class_="note") if with_tokens else None,
    )


def _funnel_row(row: FunnelRow, most: int, *, with_tokens: bool) -> list[Markup | str]:
    gone = row.into.docs - row.out.docs
    cells: list[Markup | str] = [
        row.step,
        row.operator,
        count(row.into.docs),
        count(row.out.docs),
        svg.bar(row.out.docs / most, gone / most),
        row.gone,
        size(row.into.bytes),
        size(row.out.bytes),
    ]
    if with_tokens:
        cells += [str(amount.tokens) if amount.tokens else "-" for amount in (row.into, row.out)]
    return [*cells, element("span", row.why, class_="soft")]


def _ledgers(account: Account) -> Markup:
    return section("Accounts", [_ledger(step) for step in account.steps if step.ledger.into.docs])


def _ledger(step: StepAccount) -> Markup:
    ledger = step.ledger
    rows = [("dropped", key, c) for key, c in ledger.dropped.items()]
    rows += [("duplicate", key, c) for key, c in ledger.duplicates.items()]
    rows += [("quarantined", key, c) for key, c in ledger.quarantined.items()]
    rows += [("taken down", "", ledger.taken_down)] if ledger.taken_down.docs else []
    rows.sort(key=lambda row: (-row[2].docs, row[1]))
    cells = [(kind, key, count(c.docs), share(c.docs, ledger.into.docs), size(c.bytes)) for kind, key, c in rows]
    return markup(
        [
            element("h3", step.name),
            element("p", balance(ledger)),
            table(("fate", "reason", "documents", "of the step's", "bytes"), cells, text_columns=2) if cells else None,
        ]
    )


def balance(ledger: Ledger) -> Markup:
    """``in = kept + dropped + duplicates + quarantined + taken down``, with its numbers, and whether it holds."""
    dropped, duplicate, failed = (
        sum(c.docs for c in side.values()) for side in (ledger.dropped, ledger.duplicates, ledger.quarantined)
    )
    gone = ledger.taken_down.docs
    holds = ledger.into.docs == ledger.kept.docs + dropped + duplicate + failed + gone
    line = (
        f"{ledger.into.docs:,} in = {ledger.kept.docs:,} kept + {dropped:,} dropped + {duplicate:,} duplicates + "
        f"{failed:,} quarantined {f'+ {gone:,} taken down ' if gone else ''}"
    )
    return markup(
        [line, element("span", "balances", class_="ok") if holds else element("span", "DOES NOT BALANCE", class_="bad")]
    )


def _groups(account: Account) -> Markup:
    parts = []
    for step in account.steps:
        ledger = step.ledger
        keys = sorted(ledger.group_into, key=lambda key: (-ledger.group_into[key].docs, key))
        if not keys or (step.dataset.kind == "source" and account.consumers(step.name)):
            continue  # nothing has told languages apart yet; the next step says what came in
        rows = []
        for key in keys[:_GROUPS]:
            source, _, language = key.rpartition("|")
            into, kept = ledger.group_into[key], ledger.group_kept.get(key)
            docs, num_bytes = (kept.docs, kept.bytes) if kept else (0, 0)
            rows.append(
                (
                    source,
                    language,
                    count(into.docs),
                    count(docs),
                    share(docs, into.docs),
                    size(into.bytes),
                    size(num_bytes),
                )
            )
        head = ("source", "language", "documents in", "kept", "share", "bytes in", "kept")
        more = element("p", f"The {_GROUPS} largest of {len(keys):,}.", class_="note") if len(keys) > _GROUPS else None
        groups = f"{len(keys):,} group{'s' if len(keys) > 1 else ''}"
        parts.append(folded(f"{step.name} ({groups})", table(head, rows, text_columns=2), more))
    return section("Sources and languages", *parts)


def _places(asked: Mapping[str, Any]) -> list[str]:
    """What a read step names: paths, and those of each epoch."""
    epochs = [f"{label}: {' '.join(paths)}" for label, *paths in asked.get("epochs", [])]
    return [path for path in asked["patterns"][:-1] if path] + epochs


def _reproduce(account: Account) -> Markup:
    run = account.run
    datasets = [
        (name, run.facts["datasets"][name] or "waits for a recorded step", run.facts["fingerprints"][name] or "")
        for name in run.steps
    ]
    inputs = [(name, asked["patterns"][-1], ", ".join(_places(asked))) for name, asked in run.facts["inputs"].items()]
    versions = ", ".join(f"{name} {version}" for name, version in run.facts["versions"].items())
    again = (
        "The recipe below, with the inputs as frozen in run.json (each with size and hash) and the same versions, gives the "
        "same fingerprints. `sluice run RECIPE --out THIS_FOLDER` goes on with this run, or finds it done."
    )
    return section(
        "Reproduce",
        element("p", again),
        element("p", f"Versions: {versions}."),
        table(("step", "dataset", "fingerprint"), datasets, text_columns=3),
        table(("reads", "format", "from"), inputs, text_columns=3),
        folded(
            "Recipe as resolved, every default spelled out",
            element("pre", json.dumps(run.facts["recipe"], indent=2, ensure_ascii=False)),
        ),
    )
