"""The demo's last screen: what came in, what was set aside, what is broken, whether it is all that was planted."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.panel import Panel

from cli.show import console, table
from tasks.overview import read_breaks, read_tables, read_totals
from tasks.settings import Settings, load_settings

if TYPE_CHECKING:
    from cli.demo import Day

_KEY = ["code", "subject", "amount"]


def compare_answers(settings: Settings, truth: pl.DataFrame) -> dict[str, Any]:
    """Open breaks against the answer sheet by class, subject and amount; both differences must be empty."""
    money = pl.col("amount").cast(pl.Decimal(18, 2))
    planted = truth.select("code", "subject", money)
    found = read_breaks(settings, "acme").filter(pl.col("state") == "open").select("code", "subject", money)
    return {
        "planted": planted.height,
        "found": planted.join(found, on=_KEY, how="semi").height,
        "missed": planted.join(found, on=_KEY, how="anti").rows(),
        "besides": found.join(planted, on=_KEY, how="anti").rows(),
    }


def screen(day: Day, answers: dict[str, Any], hooks: list[Any], seconds: float) -> None:
    """Prints it all."""
    settings = load_settings(day.settings_file)
    console.print()
    _tables(settings)
    _states(settings)
    _breaks(settings, answers)
    _alerts(hooks)
    _closing(day, answers, seconds)


def _tables(settings: Settings) -> None:
    headings = ["table", "rows now", "sum", "versions kept", "set aside", "released", "last poll"]
    found = read_tables(settings, "acme")
    rows = [[t.name, t.rows, t.amount, t.versions, t.quarantined, t.released, t.last_poll] for t in found]
    table("What was pulled and loaded", headings, rows, right=(1, 2, 3, 4, 5))
    for item in found:
        for reason, count in item.reasons.items():
            console.print(f"  set aside in {item.name}: {count} × {reason}", markup=False)
    console.print()


def _states(settings: Settings) -> None:
    totals = read_totals(settings, "acme")
    names = totals.columns[:3]
    table(
        "Every payment is in exactly one state; the sums are the feed's sum",
        names,
        totals.select(names).rows(),
        right=(1, 2),
    )
    console.print()


def _breaks(settings: Settings, answers: dict[str, Any]) -> None:
    found = read_breaks(settings, "acme").filter(pl.col("state") == "open")
    grouped = found.group_by("code", "name", "severity").agg(
        pl.len(), pl.col("amount").cast(pl.Decimal(18, 2)).sum()
    )
    table(
        "Breaks, by class",
        ["class", "name", "severity", "count", "money"],
        grouped.sort("code").rows(),
        right=(3, 4),
    )
    words = f"planted {answers['planted']}, found {answers['found']} with class and amount"
    good = not answers["missed"] and not answers["besides"]
    style = "green" if good else "bold red"
    console.print(f"  answer sheet: {words}; besides these: {len(answers['besides'])}", style=style)
    for what in ("missed", "besides"):
        for code, subject, amount in answers[what][:10]:
            console.print(f"    {what}: {code} {subject} {Decimal(amount):,.2f}", style="red", markup=False)
    console.print()


def _alerts(hooks: list[Any]) -> None:
    rows = [[hook.get("type"), hook.get("title")] for hook in hooks if isinstance(hook, dict)]
    table(f"{len(rows)} alerts, received by a webhook on loopback", ["kind", "title"], rows)
    console.print()


def _closing(day: Day, answers: dict[str, Any], seconds: float) -> None:
    snapshot, report = day.published.get("snapshot"), day.published.get("report")
    words = f"""A made-up insurer's payments were pulled from a stand-in of InvoiceCloud over SOAP, checked, and compared
with the insurer's own books, with the bank settlements and with the returned debits. {answers["planted"]} faults were
planted before; {answers["found"]} of them are in the list above, and {len(answers["besides"])} things that are none.

snapshot  {snapshot}
report    {report}
query it  .venv/bin/python -c "import duckdb; duckdb.connect('{snapshot}', read_only=True).sql('FROM v_open_breaks').show()"
settings  {day.settings_file}
look      .venv/bin/icflows breaks --biller acme --config {day.settings_file}
took      {seconds:.0f} s"""
    console.print(
        Panel(words, title="What happened", title_align="left", expand=False), markup=False, soft_wrap=True
    )
