"""`icflows pushes` and `icflows collect`: what InvoiceCloud pushed, what waits for IMT, and the run that moves it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import typer

from cli.engine import run_flow
from cli.options import AsOf, Biller, Config, Json, OneBiller, business_time, of_group
from cli.show import OK, WRONG, cell, console, emit_json, say, table
from tasks.archive import safe_text
from tasks.errors import SettingsError
from tasks.settings import Settings, load_settings

app = typer.Typer(
    name="pushes",
    help="What InvoiceCloud's Data Pump pushed, what is flagged, and the files that hand it to IMT.",
    invoke_without_command=True,
    add_completion=False,
)
_COUNTS = {
    "received": "payments pushed", "approved": "approved", "declined": "declined (kept, not handed over)",
    "repeated": "pushed more than once, same content", "conflicts": "pushed again with other content",
    "suspense": "for an account that IMT does not know", "above_balance": "of more than was owed",
    "posted": "seen posted by IMT",
}  # fmt: skip


@app.callback()
def pushes(ctx: typer.Context, biller: OneBiller = None, config: Config = None, as_json: Json = False) -> int:
    """Counts, flags, and the files for IMT."""
    if ctx.invoked_subcommand:
        ctx.obj = (biller, config)
        return OK
    settings, name = _biller(ctx, biller, config)
    from tasks.inbound.overview import overview

    found = overview(settings, name)
    if as_json:
        emit_json(found)
    else:
        _show(name, found)
    return OK


def _biller(ctx: typer.Context, biller: str | None, config: Any) -> tuple[Settings, str]:
    settings, name = of_group(ctx, biller, config)
    if settings.biller(name).inbound is None:
        raise SettingsError(f"{name} takes no calls: there is no [billers.{name}.inbound] in {settings.file}")
    return settings, name


def _show(name: str, found: dict[str, Any]) -> None:
    payments = found["payments"]
    rows: list[list[Any]] = [[words, payments[key]] for key, words in _COUNTS.items()]
    rows += [["not readable, not acknowledged", found["unread"]["count"]]]
    rows += [[f"{which} events", count] for which, count in found["enrolments"].items()]
    rows += [[f"{which} events refused", count] for which, count in found["refused_enrolments"].items()]
    table(f"{name}: pushes of the Data Pump", ["what", "count"], rows, right=(1,))
    for words, count in found["unread"]["reasons"].items():
        say(f"  not readable: {count} × {words}")
    waiting = found["waiting_for_imt"]
    say(f"last push {cell(payments['last_received'])}; IMT last heard {cell(found['known_as_of'])} (UTC)")
    say(
        f"{waiting['payments']:,} payments over {waiting['amount']} USD are not acknowledged by IMT yet"
        + (f", the oldest of {cell(waiting['oldest'])}" if waiting["oldest"] else "")
    )
    if found["files"]:
        headings = ["no.", "kind", "rows", "amount", "state", "offered", "made", "answered"]
        lines = [
            [f["sequence"], f["kind"], f["rows"], Decimal(f["amount"]), f["state"], f["times_offered"],
             _moment(f["made_at"]), _moment(f["acknowledged_at"])]
            for f in found["files"]
        ]  # fmt: skip
        table("Files for IMT, newest first (UTC)", headings, lines, right=(0, 2, 3, 5))
    for file in found["files"]:
        if file["message"]:
            say(f"  {file['file']}: {safe_text(file['message'])}")
    if any(f["state"] == "refused" for f in found["files"]):
        say(f"  when its cause is cured: icflows pushes offer SEQUENCE --biller {name}")


def _moment(at: datetime | None) -> str | None:
    return f"{at:%m-%d %H:%M}" if at else None


@app.command("offer")
def offer(
    ctx: typer.Context,
    sequence: Annotated[int, typer.Argument(min=1, help="Number of the file that IMT refused.")],
    biller: OneBiller = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """Offer a refused file again, as it was, with the next run; its cause must be cured at IMT."""
    from tasks.inbound.handover import offer_again

    settings, name = _biller(ctx, biller, config)
    file = offer_again(settings, name, sequence)
    if as_json:
        emit_json({"biller": name, "sequence": sequence, "file": file})
    else:
        console.print(f"{file} is offered again by the next icflows collect", markup=False)
    return OK


def collect(biller: Biller, as_of: AsOf = None, config: Config = None, as_json: Json = False) -> int:
    """Hand pushes to IMT, take pushes and calls into staging, bring what is owed to the service."""
    settings = load_settings(config)
    if settings.biller(biller).inbound is None:
        raise SettingsError(
            f"{biller} takes no calls: there is no [billers.{biller}.inbound] in {settings.file}"
        )
    result = run_flow(
        "collect_pushes", "collect_pushes", biller=biller, as_of=business_time(as_of), settings_file=str(settings.file)
    )  # fmt: skip
    if as_json:
        emit_json(result)
    else:
        _show_collected(biller, result)
    bad = result["handed"]["refused"] or result["handed"]["strange"] or result["taken"]["unread"]
    return WRONG if bad else OK


def _show_collected(biller: str, result: dict[str, Any]) -> None:
    handed, taken, owed = result["handed"], result["taken"], result["balances"]
    rows = [
        ["pushes into staging", taken["pushes"]], ["enrolment events into staging", taken["enrolment_pushes"]],
        ["balance calls into staging", taken["rtdr_calls"]], ["not readable, into quarantine", taken["unread"]],
        ["files made for IMT", len(handed["made"])], ["payments in them", handed["rows"]],
        ["files offered again", len(handed["again"])], ["files acknowledged", len(handed["acknowledged"])],
        ["balances brought to the service", owed["invoices"]],
    ]  # fmt: skip
    table(f"{biller}: pushes and calls", ["what", "count"], rows, right=(1,))
    for file in handed["refused"]:
        say(f"  IMT refused {file}: icflows pushes --biller {biller}")
    for file in handed["strange"]:
        say(f"  {file} in acks/ names no file of ours, or cannot be read")


def register(main: typer.Typer) -> None:
    """Adds this module's commands."""
    main.add_typer(app, name="pushes")
    main.command()(collect)
