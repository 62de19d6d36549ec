"""The demo's last screen: what came in, what was set aside, what is broken, whether it is all that was planted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cli.demo_answers import show_answers
from cli.show import console, table
from tasks.overview import read_breaks, read_tables, read_totals
from tasks.settings import Settings, load_settings

if TYPE_CHECKING:
    from cli.demo_days import Day


def screen(day: Day, answers: dict[str, Any], hooks: list[Any], seconds: float) -> None:
    """Prints it all."""
    settings = load_settings(day.settings_file)
    console.print()
    _tables(settings)
    _sent(day)
    _called(day, settings)
    _states(settings)
    show_answers(settings, answers)
    _alerts(hooks)
    _closing(day, settings, answers, seconds)


def _tables(settings: Settings) -> None:
    found = read_tables(settings, "acme")
    rows = [[t.name, t.rows, t.amount, t.quarantined, t.last_poll] for t in found]
    table(
        "What was pulled and loaded",
        ["table", "rows", "sum", "set aside", "last poll"],
        rows,
        right=(1, 2, 3),
    )
    for item in found:
        for reason, count in item.reasons.items():
            console.print(f"  set aside in {item.name}: {count} × {reason}", markup=False)
    console.print()


def _sent(day: Day) -> None:
    """Runs of the outbox: what each one sent, or why not."""
    rows = []
    for run in day.sent:
        images = run.get("images", {}).get("sent", 0)
        files = run["files"] or [{}]
        rows += [
            [f"{run['at']:%m-%d %H:%M}", f.get("state", run["status"]), f.get("records"), f.get("records_rejected"), f.get("amount"),
             images, run["what"]]
            for f in files
        ]  # fmt: skip
    headings = ["run (UTC)", "file", "records", "refused", "balance", "images", "what"]
    table("Invoices and bill images sent", headings, rows, right=range(2, 6))
    held = {line["reason"]: line["records"] for run in day.sent for line in run.get("held", [])}
    for reason, count in held.items():
        console.print(f"  held to the end: {count} × {reason}", markup=False)
    for run in day.sent:
        if run.get("error"):
            console.print(f"  {run['at']:%m-%d %H:%M} {run['error']}", markup=False)
    console.print()


def _called(day: Day, settings: Settings) -> None:
    """What InvoiceCloud called: pushes and their way to IMT, questions and their answers."""
    told, totals = day.called, read_totals(settings, "acme")
    rates = dict(totals.filter(pl.col("kind") == "pushed").select("name", "rows").rows())
    pushed, handed = told["pushed"], told["handed"]
    rows: list[list[Any]] = [
        ["pushes acknowledged (a tenth of the payments more than once)", pushed["sent"]],
        ["pushes that got another receipt the second time", pushed["unlike"]],
        ["payments handed to IMT, each once", handed["rows"]],
        ["files that IMT acknowledged", handed["acknowledged"]],
        ["payments that IMT was handed twice", told["booked_twice"]],
        ["payments reported since the Data Pump was on", rates["reported"]],
        ["  of them never pushed (lost)", rates["lost"]],
    ]
    rows += [[f"balances asked for: {result}", count] for result, count in sorted(told["asked"].items())]
    table("What InvoiceCloud called", ["what", "count"], rows, right=(1,))
    console.print()


def _states(settings: Settings) -> None:
    totals = read_totals(settings, "acme")
    states = (
        totals.filter((pl.col("kind") == "state") & (pl.col("rows") > 0))
        .select("name", "rows", "amount")
        .rows()
    )
    feed = totals.filter(pl.col("kind") == "feed").select("rows", "amount").row(0)
    left_out = (
        totals.filter((pl.col("kind") == "excluded") & (pl.col("rows") > 0))
        .select("name", "rows", "amount")
        .rows()
    )
    rows = [
        *states,
        ("all payments of the feed", *feed),
        *((f"left out: {name}", n, money) for name, n, money in left_out),
    ]
    table("Every payment is in exactly one state", ["state", "payments", "money"], rows, right=(1, 2))


def _alerts(hooks: list[Any]) -> None:
    rows = [[hook.get("type"), hook.get("title")] for hook in hooks if isinstance(hook, dict)]
    table(f"{len(rows)} alerts, received by a webhook on loopback", ["kind", "title"], rows)
    console.print()


def _closing(day: Day, settings: Settings, answers: dict[str, Any], seconds: float) -> None:
    snapshot, report = day.published.get("snapshot"), day.published.get("report")
    console.print("What happened", style="bold")
    console.print(
        f"""  A made-up insurer's payments were pulled from a stand-in of InvoiceCloud
  over SOAP, checked, and compared with the insurer's books, the settlements,
  the returned debits, the bank's statement, disputes, refunds and AutoPay's
  flags, through a real Prefect server, at two moments. In between, a day was
  signed off. Its bills and their images went out in files, each of them once.
  Payments that InvoiceCloud pushed meanwhile were stored before they were
  answered, and handed to the insurer once; its questions were answered.
  {answers["planted"]} broken things were planted; {answers["found"]} of them are in the list above,
  and {len(answers["besides"])} that were not planted.
""",
        markup=False,
    )
    for name, value in {
        "report": report,
        "snapshot": snapshot,
        "settings": day.settings_file,
        "took": f"{seconds:.0f} s",
    }.items():
        console.print(f"  {name:<9} {value}", markup=False, soft_wrap=True)
    console.print()
    _try(day, settings, str(snapshot))


def _try(day: Day, settings: Settings, snapshot: str) -> None:
    """What a newcomer would look at next; each line runs as it stands."""
    late = read_breaks(settings, "acme").filter(pl.col("code") == "B21")["subject"].to_list()
    config, query = f"--config {day.settings_file}", "FROM v_open_breaks"
    lines = {
        "a payment's whole chain": [f"explain {guid} {config}" for guid in late[:1]],
        "the break list; what was signed off": [f"breaks {config}", f"close {config}"],
        "what the days since brought": [f"diff {frozen} {snapshot}" for frozen in _frozen(day, snapshot)],
        "bills sent, payments pushed": [f"outbox {config}", f"pushes {config}"],
    }
    console.print("Try", style="bold")
    for words, calls in lines.items():
        console.print(f"  # {words}", markup=False)
        for call in calls:
            console.print(f"  .venv/bin/icflows {call}", markup=False, soft_wrap=True)
    sql = f"import duckdb; duckdb.connect('{snapshot}', read_only=True).sql('{query}').show()"
    console.print(
        f'  # the snapshot, by any DuckDB client\n  .venv/bin/python -c "{sql}"', markup=False, soft_wrap=True
    )


def _frozen(day: Day, snapshot: str) -> list[Path]:
    return [Path(snapshot).with_name(f"close-{text}.duckdb") for text in day.signed_off[:1]]
