"""`icflows convert`: a biller's move from MIPS/APPS to Spectrum, as a plan, sent, and verified with a signed report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.engine import load_flow, run_flow
from cli.options import AsOf, Biller, Config, Json, business_time, instant
from cli.progress import counted
from cli.show import OK, WRONG, cell, console, emit_json, say, table
from tasks.errors import SettingsError
from tasks.settings import Settings, load_settings

LISTED = 50
_WORDS = {
    "unchanged": "as Spectrum holds it", "changed": "another total, balance or due date",
    "new": "open in Spectrum only", "reissued": "replaced or cancelled, still in Spectrum",
    "deleted": "no longer in Spectrum", "open": "",
}  # fmt: skip
_TYPES = {"changed": "A", "new": "A", "reissued": "R", "deleted": "D"}


def convert(
    biller: Biller,
    open_at_ic: Annotated[Path, typer.Option("--open-at-ic", help="InvoiceCloud's list of open invoices.")],
    spectrum: Annotated[Path, typer.Option("--spectrum", help="Spectrum's list of invoices.")],
    listed_at: Annotated[
        str | None, typer.Option("--listed-at", help="When Spectrum's list was made.", show_default="--as-of")
    ] = None,
    send: Annotated[
        bool, typer.Option("--send", help="Send what is missing; without it nothing is sent.")
    ] = False,
    confirm_deletes: Annotated[
        int | None,
        typer.Option(min=0, help="The exact number of D records, if they are more than a run may make."),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Look at every record; write the report.")] = False,
    by: Annotated[str | None, typer.Option("--by", help="Who signs: first and last name.")] = None,
    listing: Annotated[
        bool, typer.Option("--list", help=f"The first {LISTED} records; with --json all.")
    ] = False,
    as_of: AsOf = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """Move a biller to Spectrum: show the R, D and new records and totals; --send; then --verify --by NAME."""
    settings = load_settings(config)
    settings.biller(biller)
    _refuse_wrong_call(send, verify, by, confirm_deletes)
    given: dict[str, Any] = {
        "biller": biller, "open_at_ic": str(open_at_ic.resolve()), "spectrum": str(spectrum.resolve()),
        "as_of": business_time(as_of), "settings_file": str(settings.file),
    }  # fmt: skip
    if verify:
        return _verify(given | {"by": by}, as_json)
    given |= {"listed_at": instant(listed_at, "--listed-at"), "confirm_deletes": confirm_deletes}
    with _watched("bill images"):
        result = run_flow("convert_invoices", "convert_invoices", send=send or None, **given)
    rows = result.pop("listing")
    if as_json:
        emit_json(result | ({"records_listed": rows.to_dicts()} if listing else {}))
    else:
        _show(settings, result, sent=send)
        if listing:
            _show_rows(rows)
    refused = any(file["records_rejected"] for file in result["files"])
    return OK if result["status"] in ("planned", "sent", "nothing") and not refused else WRONG


def _refuse_wrong_call(send: bool, verify: bool, by: str | None, confirm_deletes: int | None) -> None:
    if send and verify:
        raise SettingsError("--send and --verify are two steps: InvoiceCloud imports in between")
    if verify and not by:
        raise SettingsError("a report is signed by a person: --by 'First Last'")
    if confirm_deletes is not None and not send:
        raise SettingsError("--confirm-deletes belongs to --send")


@contextmanager
def _watched(words: str) -> Iterator[None]:
    """A bar for what takes long, whichever engine runs the flow."""
    load_flow("convert_invoices", "convert_invoices")
    from flows.convert_invoices import PROGRESS

    with counted(words) as bar:
        token = PROGRESS.set(lambda _, done, of: bar(done, of))
        try:
            yield
        finally:
            PROGRESS.reset(token)


def _show(settings: Settings, result: dict[str, Any], sent: bool) -> None:
    biller = result["biller"]
    headings = [
        "invoices",
        "record",
        "count",
        "sent",
        "held",
        "to send",
        "open at IC",
        "after",
        "difference",
        "why",
    ]
    rows = [
        ["all" if line["kind"] == "open" else line["kind"], _TYPES.get(line["kind"], ""), line["invoices"], line["done"], line["held"], line["to_send"],
         line["before"], line["after"], line["difference"], _WORDS[line["kind"]]]
        for line in result["totals"]
    ]  # fmt: skip
    for line in result["lists"]:
        console.print(f"{line['kind']}: {line['rows']:,} invoices from {line['name']}", markup=False)
    table(f"Conversion of {biller}", headings, rows, right=range(2, 9))
    for line in result["held"]:
        say(f"  held {line['records']}: {line['reason']}")
    for words in result["set_aside"]:
        say(f"  {words}")
    if result["rows_aside"]:
        say(
            f"NOT COMPLETE: {result['rows_aside']} rows are set aside (rows count from 1, without the heading)"
        )
    for line in result["refusals"][:LISTED]:
        say(f"  {line['sentence']}")
    if result["refusals"]:
        say(f"REFUSED: {len(result['refusals'])} contradictions between the lists; nothing can be sent")
    if sent:
        _show_sent(result)
    else:
        _show_next(settings, result)


def _show_next(settings: Settings, result: dict[str, Any]) -> None:
    """What would stop --send, and that nothing was sent."""
    for guard in result["guards"][:LISTED]:
        say(f"  would stop it: {guard['sentence']}")
    if any(guard["guard"] == "delete_share" for guard in result["guards"]):
        say(f"  if that is right: --send --confirm-deletes {result['deletes']}")
    wait = settings.biller(result["biller"]).outbound.settle_minutes
    say(
        f"Nothing was sent. --send sends; {wait:g} minutes after it, --verify --by NAME looks at every record."
    )


def _show_sent(result: dict[str, Any]) -> None:
    headings = ["file", "state", "records", "refused", "amount", "receipt", "reason"]
    names = ["file_id", "state", "records", "records_rejected", "amount", "receipt_id", "reason"]
    if result["files"]:
        table("Sent", headings, [[file[name] for name in names] for file in result["files"]], right=(2, 3, 4))
    for state, count in result["images"].items():
        say(f"  bill images {state}: {count}")
    biller = result["biller"]
    for file in result["files"]:
        if file["state"] == "unknown":
            say(
                f"  no answer to {file['file_id']}: icflows publish --biller {biller} asks InvoiceCloud; then --send again"
            )
        if file["records_rejected"]:
            say(
                f"  icflows outbox show {file['file_id']} --biller {biller} lists lines and reasons; then --send again"
            )
    say(f"{result['status']}: {result['records']} records over {cell(result['amount'])} USD accepted")


def _show_rows(rows: Any) -> None:
    shown = rows.head(LISTED).select(
        "group_id", "record_type", "invoice_number", "before", "balance_due", "due_date", "fate", "reason"
    )
    headings = ["group", "record", "invoice", "open at IC", "after", "due", "fate", "held because"]
    table(f"Records ({rows.height:,})", headings, shown.rows(), right=(3, 4))
    if rows.height > LISTED:
        say(f"  and {rows.height - LISTED:,} more: --list --json shows all")


def _verify(given: dict[str, Any], as_json: bool) -> int:
    with _watched("records looked at"):
        result = run_flow("convert_invoices", "verify_conversion", **given)
    if as_json:
        emit_json(result)
    else:
        table("Verdicts", ["verdict", "records"], list(result["verdicts"].items()), right=(1,))
        if result["not_verified"]:
            rows = [list(line.values()) for line in result["not_verified"]]
            table("Not verified", ["record", "invoice", "balance", "verdict", "why"], rows, right=(2,))
        console.print(f"report: {result['report']}", markup=False, soft_wrap=True)
        console.print(f"every record: {result['csv']}", markup=False, soft_wrap=True)
        say(f"{given['biller']}: {result['statement']}")
    return OK if result["signed_off"] else WRONG


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command()(convert)
