"""`icflows outbox`: what went to InvoiceCloud, what waits, and a person's word on what no run may decide."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from cli.options import AsOf, Config, Json, OneBiller, business_time, of_group
from cli.outbox_screen import consequence, show_file, show_list
from cli.show import OK, WRONG, console, emit_json, say
from tasks.errors import SettingsError
from tasks.outbox.model import FILES
from tasks.outbox.overview import missing_lines, overview, waiting_event
from tasks.outbox.states import ALLOWED

app = typer.Typer(
    name="outbox",
    help="Files that went to InvoiceCloud, what waits, and a person's word on what no run may decide.",
    invoke_without_command=True,
    add_completion=False,
)
By = Annotated[str, typer.Option("--by", help="Whose word it is: first and last name.")]
Note = Annotated[str, typer.Option("--note", help="Why; kept with the move.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
File = Annotated[str, typer.Argument(help="A file id, or the end of one.")]


@app.callback()
def outbox(
    ctx: typer.Context,
    biller: OneBiller = None,
    state: Annotated[
        str | None, typer.Option(help=f"Only files in this state: {', '.join(ALLOWED)}.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Files shown; --json shows all.")] = 20,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """List files, newest first, and what waits."""
    if ctx.invoked_subcommand:
        ctx.obj = (
            biller,
            config,
        )  # `icflows outbox --biller B show FILE` is the same as with --biller at the end
        return OK
    if state and state not in ALLOWED:
        raise SettingsError(f"there is no state '{state}'; known: {', '.join(ALLOWED)}")
    settings, name = of_group(ctx, biller, config)
    found = overview(settings, name, state, None if as_json else limit)
    if as_json:
        emit_json(asdict(found))
    else:
        show_list(name, found, limit)
    return OK


@app.command("show")
def show_one(
    ctx: typer.Context,
    file: File,
    limit: Annotated[int, typer.Option(min=1, help="Refused lines shown; --json shows all.")] = 50,
    biller: OneBiller = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """One file: its moves, its records by state, lines that InvoiceCloud refused, looks."""
    from tasks.outbox.people import show  # zeep and all that is sent with: 0.3 s that the list does not need

    settings, name = of_group(ctx, biller, config)
    told = show(settings, name, file)
    if as_json:
        emit_json(told)
    else:
        show_file(told, limit)
    return OK


@app.command("decide")
def decide_one(
    ctx: typer.Context,
    file: File,
    decision: Annotated[str, typer.Argument(help="accept, resend, requeue or drop.")],
    by: By,
    note: Note,
    yes: Yes = False,
    biller: OneBiller = None,
    as_of: AsOf = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """A person's word on a file that is undecided or refused. Says what it does, and asks."""
    from tasks.outbox.people import DECISIONS, decide, show

    if decision not in DECISIONS:
        raise SettingsError(f"there is no decision '{decision}'; known: {', '.join(DECISIONS)}")
    settings, name = of_group(ctx, biller, config)
    held = show(settings, name, file)["file"]
    words = consequence(held, decision, missing_lines(settings, name, held))
    if not _agreed(words, yes, as_json):
        return WRONG
    after = decide(settings, name, held["file_id"], decision, by, note, business_time(as_of))
    if as_json:
        emit_json({name: after[name] for name in FILES if name in after})
    else:
        console.print(f"{after['file_id']} is now {after['state']}", markup=False)
    return OK


@app.command("withhold")
def withhold_one(
    ctx: typer.Context,
    event: Annotated[str, typer.Argument(help="IMT's id of the event.")],
    by: By,
    note: Note,
    yes: Yes = False,
    biller: OneBiller = None,
    as_of: AsOf = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """An event that must never go out, because a guard stopped on it and it is wrong in IMT."""
    from tasks.outbox.people import withhold

    settings, name = of_group(ctx, biller, config)
    for found in waiting_event(settings, name, event):
        replaced = (
            f", which replaces {found['replaces_invoice_number']}" if found["replaces_invoice_number"] else ""
        )
        what = f"{event}: {found['event']} of invoice {found['invoice_number']}{replaced}"
        words = f"{what}: nothing of it is sent, now or later; a later event of the same invoice is."
        if not _agreed(words, yes, as_json):
            return WRONG
    count = withhold(settings, name, event, by, note, business_time(as_of))
    if as_json:
        emit_json({"event_id": event, "withheld": count})
    else:
        console.print(f"{event} is withheld", markup=False)
    return OK


def _agreed(words: str, yes: bool, as_json: bool) -> bool:
    """True if it may be done. Without a terminal somebody must have said so before: --yes."""
    if yes:
        return True
    if as_json or not sys.stdin.isatty():
        raise SettingsError(f"{words} Nothing was done: repeat with --yes")
    say(words)
    return typer.confirm("Do it?")


def register(main: typer.Typer) -> None:
    """Adds this module's commands."""
    main.add_typer(app, name="outbox")
