"""How `icflows explain` shows a chain: a table that fits 80 columns, each line with the place where it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from cli.show import cell, console, say, table

Row = dict[str, Any]


def show(found: Row, limit: int) -> None:
    """The payment's chain, or the account's or invoice's payments and balances and then the chains asked for."""
    zone = ZoneInfo(found["time_zone"])
    if found["kind"] != "payment":
        _overview(found, zone, limit)
    for chain in found["chains"]:
        _chain(chain, zone)
    if found["kind"] == "payment":
        _balances(found["invoices"], limit)
    say(f"times of {found['time_zone']}; as of {cell(_local(found['as_of'], zone))}")


def _overview(found: Row, zone: ZoneInfo, limit: int) -> None:
    console.print(f"{found['kind']} {found['key']} at {found['biller']}", style="bold", markup=False)
    for row in found["accounts"]:
        console.print(
            f"account {row['account_number']} owes {cell(row['balance'])} on {row['open_invoices']} open invoices",
            markup=False,
        )
    _balances(found["invoices"], limit)
    payments = found["payments"]
    headings = ["paid", "amount", "state", "payment"]
    rows = [
        [_local(p["payment_date"], zone), p["payment_amount"], _state(p), p["payment_guid"]]
        for p in payments[:limit]
    ]
    table(f"{len(payments)} payments", headings, rows, right=(1,))
    _more(payments, limit)
    told = found["told"]
    if told:
        rows = [
            [
                _local(c["called_at"], zone),
                c["balance_answered"],
                f"{c['invoice_number'] or c['account_number']}: {c['result']}",
            ]
            for c in told
        ]
        table("InvoiceCloud was told", ["asked", "balance", "of"], rows, right=(1,))
    _breaks(found["breaks"], zone)
    if len(found["chains"]) < len({p["payment_guid"] for p in payments}):
        say("one payment: icflows explain GUID; all of them: --all")


def _state(payment: Row) -> str:
    codes = f" {payment['break_codes']}" if payment["break_codes"] else ""
    return f"{payment['state'].lower().replace('_', ' ')}{codes}"


def _chain(chain: Row, zone: ZoneInfo) -> None:
    state = (chain["state"] or "NOT_COMPARED").replace("_", " ").lower()
    reason = f": {chain['state_reason']}" if chain["state_reason"] else ""
    kept = {place: number for number, place in enumerate(_places(chain["steps"]), 1)}
    rows = [
        [
            _when(step, zone),
            step["label"],
            step["amount"],
            f"{step['words']}\n· {_place(step['source'], kept)}",
        ]
        for step in chain["steps"]
    ]
    headings = ["when", "what", "amount", "how, and where it is kept"]
    table(f"Payment {chain['payment_guid']}", headings, rows, right=(2,))
    for place, number in kept.items():
        console.print(f"[{number}] {place}", markup=False)
    console.print(f"\nState: {state}{reason}", markup=False)
    for line in chain["next"]:
        due = f", due by {_local(line['due_by'], zone)}" if line["due_by"] else ""
        console.print(f"Next: {line['what']}{due}{' (overdue)' if line['overdue'] else ''}", markup=False)
    for row in chain["suggestions"]:
        console.print(f"Suggested: {row['reason']} Not matched by it: a person decides.", markup=False)
    _breaks(chain["breaks"], zone)
    if chain["breaks_beside"]:
        console.print("\nOf its day, its batch or its deposit:", markup=False)
    _breaks(chain["breaks_beside"], zone)


def _places(steps: Sequence[Row]) -> list[str]:
    """The polls and files that the steps come from, each once: their names are too long for every line."""
    found = (step["source"]["poll_id"] or step["source"]["file"] for step in steps)
    return list(dict.fromkeys(place for place in found if place))


def _place(source: Row, kept: dict[str, int]) -> str:
    """Table, row and version, and the number of the poll or file."""
    words = [source["source"]]
    words += [f"row {source['row_no']}"] if source["row_no"] is not None else []
    words += [f"version {source['version']}"] if (source["version"] or 1) > 1 else []
    number = kept.get(source["poll_id"] or source["file"] or "")
    return ", ".join(words) + (f" [{number}]" if number else "")


def _breaks(breaks: Sequence[Row], zone: ZoneInfo) -> None:
    for row in breaks:
        console.print(
            f"\n{row['code']} {row['name']} · {row['severity']} · {cell(row['amount'])} · {row['state']} · {row['break_id']}",
            style="bold", markup=False,
        )  # fmt: skip
        console.print(str(row["sentence"]), markup=False)
        for line in row["history"]:
            note = f": {line['note']}" if line["note"] else ""
            console.print(f"  {_local(line['at'], zone)} {line['what']} by {line['who']}{note}", markup=False)
        for side, part in row["evidence"].items():
            for given in part if isinstance(part, list) else [part]:
                console.print(f"  {side}: {_facts(given)}", markup=False)


def _facts(given: Any) -> str:
    if not isinstance(given, dict):
        return str(given)
    return ", ".join(f"{name} {value}" for name, value in given.items() if value not in (None, "")) or "none"


def _balances(invoices: Sequence[Row], limit: int) -> None:
    if not invoices:
        return
    rows = [
        [row["invoice_number"], row["total_amount_due"], row["balance"], row["due_date"], _invoice_state(row)]
        for row in invoices[:limit]
    ]
    table("What IMT says is owed", ["invoice", "billed", "balance", "due", "status"], rows, right=(1, 2))
    _more(invoices, limit)


def _invoice_state(row: Row) -> str:
    successor = f", now {row['successor']}" if row["successor"] else ""
    return f"{row['status'].lower()}{successor}"


def _more(rows: Sequence[Row], limit: int) -> None:
    if len(rows) > limit:
        console.print(f"… and {len(rows) - limit} more (--limit, --json)")


def _when(step: Row, zone: ZoneInfo) -> str:
    day: date | None = step["day"]
    return day.isoformat() if day else _local(step["at"], zone)


def _local(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M}"
