"""What `icflows outbox` prints: the list, one file, and what a decision would do."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cli.show import cell, console, table
from tasks.archive import safe_text
from tasks.outbox.overview import WAITS_FOR_A_PERSON, Overview

_GUARDS_SHOWN = 20
_WIDE, _TAIL = 150, 8  # on a narrower screen only the end of a file id is shown; commands take it as well


def show_list(biller: str, found: Overview, limit: int) -> None:
    """Files, then all that waits."""
    if console.width >= _WIDE:
        headings = ["file", "kind", "state", "records", "amount", "refused", "sent", "receipt", "reason"]
        rows = [
            [f["file_id"], f["kind"], f["state"], f["records"], f["amount"], f["records_rejected"], f["sent_at"],
             f["receipt_id"], _words(f["reason"])]
            for f in found.files
        ]  # fmt: skip
    else:  # the kind stands where it is not the usual one; `show` has the rest
        headings = ["file", "state", "records", "amount", "refused", "sent", "receipt"]
        rows = [
            [_name(f["file_id"]), f["state"] if f["kind"] == "hourly" else f"{f['state']} {f['kind']}", f["records"],
             f["amount"], f["records_rejected"], _moment(f["sent_at"]), f["receipt_id"]]
            for f in found.files
        ]  # fmt: skip
    table(
        f"{biller}: files to InvoiceCloud",
        headings,
        rows,
        right=(headings.index("records"), headings.index("amount"), headings.index("refused")),
    )
    if len(found.files) == limit:
        console.print(f"The newest {limit} (--limit, --state, --json).", markup=False)
    _waiting(biller, found)


def _name(file_id: str) -> str:
    return file_id if console.width >= _WIDE else file_id[-_TAIL:]


def _moment(at: datetime | None) -> Any:
    """On a narrow screen without its year."""
    return at if at is None or console.width >= _WIDE else f"{at:%m-%d %H:%M}"


def _waiting(biller: str, found: Overview) -> None:
    for state, count in found.open.items():
        word = " waits for your word" if state in WAITS_FOR_A_PERSON else ""
        console.print(f"{count} {state}{word}", markup=False)
    if any(state in WAITS_FOR_A_PERSON for state in found.open):
        console.print(
            f"  icflows outbox decide FILE accept|resend|requeue|drop --biller {biller} --by NAME --note TEXT",
            markup=False,
        )
    if found.guards:
        shown = found.guards[:_GUARDS_SHOWN]
        rows = [
            [g["guard"], g["record_type"], g["invoice_number"], g["event_id"], g["amount"], g["sentence"]]
            for g in shown
        ]
        title = "The last run was stopped: nothing of it was sent"
        table(title, ["guard", "type", "invoice", "event", "amount", "why"], rows, right=(4,))
        if len(found.guards) > len(shown):
            console.print(f"… and {len(found.guards) - len(shown)} more (--json)", markup=False)
        console.print(
            f"  correct it in IMT, or: icflows outbox withhold EVENT --biller {biller} --by NAME --note TEXT",
            markup=False,
        )
    if found.held:
        rows = [
            [line["events"], line["records"], line["held_at"], _words(line["reason"])] for line in found.held
        ]
        table("Held by the last run", ["events", "records", "since", "why"], rows, right=(0, 1))
    console.print(f"{found.events:,} events are not yet in a file", markup=False)


def show_file(told: dict[str, Any], limit: int) -> None:
    """One file: what it is, its time line, its records, refusals, looks."""
    file = told["file"]
    amount = cell(file["amount"])
    console.print(f"{file['file_id']}  {file['state']}", style="bold", markup=False)
    console.print(
        f"{file['kind']}, {file['records']:,} records, {amount} in balances, {file['bytes']:,} bytes, "
        f"as {file['file_name']}, receipt {file['receipt_id'] or '-'}",
        markup=False,
    )
    if file["message"]:
        console.print(f"last word: {safe_text(file['message'])}", markup=False)
    moves = [
        [f"{move['at']:%Y-%m-%d %H:%M:%S}", f"{move['from_state']} → {move['to_state']}", move["by"], move["reason"],
         _words(move["note"])]
        for move in told["moves"]
    ]  # fmt: skip
    first = [[f"{file['composed_at']:%Y-%m-%d %H:%M:%S}", "composed", "run", None, None]]
    table("Moves (UTC)", ["at", "move", "by", "reason", "note"], first + moves)
    records = [list(line.values()) for line in told["records"]]
    table("Records", ["type", "state", "records", "amount"], records, right=(2, 3))
    if told["rejected"]:
        shown = [
            [line["line_no"], line["invoice_number"], _words(line["reason"])]
            for line in told["rejected"][:limit]
        ]
        table(
            f"{len(told['rejected'])} lines refused",
            ["line", "invoice", "InvoiceCloud's words"],
            shown,
            right=(0,),
        )
        if len(told["rejected"]) > limit:
            console.print(f"… and {len(told['rejected']) - limit} more (--limit, --json)", markup=False)
    if told["looks"]:
        looks = [[line["at"], line["verdict"], line["looks"]] for line in told["looks"]]
        table("Looks at InvoiceCloud", ["at", "IC has it", "invoices"], looks, right=(2,))


def consequence(file: dict[str, Any], decision: str, missing: int) -> str:
    """What a decision does to this file, in words for the person who decides. `missing`: lines not at IC."""
    count = int(file["records"])
    head = f"{file['file_id']} ({file['state']}, {count:,} records, {cell(file['amount'])}): "
    rest = count - missing
    effects = {
        "accept": "InvoiceCloud has all of it: every record counts as sent. Nothing goes out.",
        "resend": "the same bytes go out again with the next run. What InvoiceCloud has already, it gets twice.",
        "requeue": f"{missing:,} records that are not at InvoiceCloud wait for the next file; "
        + (f"the other {rest:,} count as sent." if rest else "this file never goes out again."),
        "drop": "it never goes out, and neither does any of its records. InvoiceCloud learns of these invoices "
        "only with their next event.",
    }
    return head + effects[decision]


def _words(text: str | None) -> str | None:
    """What IC or a person wrote, fit for a terminal."""
    return safe_text(text) if text else None
