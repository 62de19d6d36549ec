"""`icflows breaks`: the list, and the work on it: assign, note, resolve, accept, sign, reopen, show."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import polars as pl
import typer

from cli.options import AsOf, Config, Json, OneBiller, age, business_time, of_group
from cli.show import OK, console, emit_json
from cli.work_screen import show_break, show_list
from tasks.errors import SettingsError
from tasks.work.model import STATES

app = typer.Typer(
    name="breaks",
    help="List breaks, the most severe and oldest first; and the work on them.",
    invoke_without_command=True,
    add_completion=False,
)
Break = Annotated[str, typer.Argument(help="A break's id, or the end of one.", metavar="BREAK")]
By = Annotated[str, typer.Option("--by", help="Whose word it is: first and last name.")]
Note = Annotated[str, typer.Option("--note", help="Why; kept with the word.")]


@app.callback()
def breaks(
    ctx: typer.Context,
    biller: OneBiller = None,
    code: Annotated[
        list[str] | None, typer.Option("--class", help="Only this class, e.g. B01; may be repeated.")
    ] = None,
    severity: Annotated[str | None, typer.Option(help="HIGH, MED or LOW.")] = None,
    older_than: Annotated[str | None, typer.Option(help="Open for longer than, e.g. 3d or 12h.")] = None,
    closed: Annotated[bool, typer.Option("--closed", help="Closed breaks instead of open ones.")] = False,
    state: Annotated[
        str | None, typer.Option(help=f"Only with work in this state: {', '.join(STATES)}.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Only those of this person.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows shown; --json shows all.")] = 50,
    as_of: AsOf = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """List breaks, the most severe and oldest first; and the work on them."""
    if ctx.invoked_subcommand:
        ctx.obj = (
            biller,
            config,
        )  # `icflows breaks --biller B show BREAK` is the same as with --biller at the end
        return OK
    from tasks.overview import read_breaks

    if state and state not in STATES:
        raise SettingsError(f"there is no state '{state}'; known: {', '.join(STATES)}")
    from tasks.work.catching_up import in_step
    from tasks.work.people import same_person

    settings, name = of_group(ctx, biller, config)
    now = business_time(as_of)
    in_step(settings, name)
    found = read_breaks(settings, name).filter(pl.col("state") == ("closed" if closed else "open"))
    if code:
        found = found.filter(pl.col("code").is_in([text.upper() for text in code]))
    if severity:
        found = found.filter(pl.col("severity") == severity.upper())
    if older_than:
        found = found.filter(pl.col("opened_at") < now - age(older_than, "--older-than"))
    if state:
        found = found.filter(pl.col("work_state") == state)
    if owner:
        theirs = [who for who in found["owner"].unique().drop_nulls() if same_person(who, owner)]
        found = found.filter(pl.col("owner").is_in(theirs))
    rank = pl.col("severity").replace_strict({"HIGH": 0, "MED": 1, "LOW": 2}, default=3)
    found = found.sort(rank, "opened_at", "code", "subject")
    if as_json:
        emit_json(found.to_dicts())
    else:
        show_list(found, limit)
    return OK


@app.command("show")
def show_one(
    ctx: typer.Context, which: Break, biller: OneBiller = None, config: Config = None, as_json: Json = False
) -> int:
    """One break: its sentence, its evidence, and what the program and people said of it."""
    from tasks.work.catching_up import in_step
    from tasks.work.people import show

    settings, name = of_group(ctx, biller, config)
    in_step(settings, name)
    told = show(settings, name, which)
    if as_json:
        emit_json(told)
    else:
        show_break(told, settings.biller(name).time_zone)
    return OK


@app.command("assign")
def assign(
    ctx: typer.Context,
    which: Break,
    to: Annotated[str, typer.Option("--to", help="Who has it from now on: first and last name.")],
    by: By,
    note: Note = "",
    biller: OneBiller = None,
    as_of: AsOf = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """Give a break to somebody; it is in work then."""
    return _say(ctx, which, "assigned", by, note, biller, as_of, config, as_json, to)


@app.command("note")
def note_one(
    ctx: typer.Context,
    which: Break,
    text: Annotated[str, typer.Argument(help="What is to be known.", metavar="TEXT")],
    by: By,
    biller: OneBiller = None,
    as_of: AsOf = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """Keep a note with a break; its state stays."""
    return _say(ctx, which, "noted", by, text, biller, as_of, config, as_json)


@app.command("resolve")
def resolve(
    ctx: typer.Context,
    which: Break,
    by: By,
    note: Note,
    biller: OneBiller = None,
    as_of: AsOf = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """What was wrong has been put right. A run that finds it again, or finds another amount, opens it again."""
    return _say(ctx, which, "resolved", by, note, biller, as_of, config, as_json)


@app.command("accept")
def accept(
    ctx: typer.Context,
    which: Break,
    by: By,
    note: Note,
    biller: OneBiller = None,
    as_of: AsOf = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """It stays as it is: counted, and no longer open work."""
    return _say(ctx, which, "accepted", by, note, biller, as_of, config, as_json)


@app.command("sign")
def sign(
    ctx: typer.Context,
    which: Break,
    by: By,
    note: Note = "",
    biller: OneBiller = None,
    as_of: AsOf = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """Sign off what another person resolved or accepted (four eyes)."""
    return _say(ctx, which, "signed", by, note, biller, as_of, config, as_json)


@app.command("reopen")
def reopen(
    ctx: typer.Context,
    which: Break,
    by: By,
    note: Note,
    biller: OneBiller = None,
    as_of: AsOf = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """Take a decision back; after a sign-off the work begins as a new version."""
    return _say(ctx, which, "reopened", by, note, biller, as_of, config, as_json)


def _say(
    ctx: typer.Context, which: str, action: str, by: str, note: str, biller: str | None, as_of: str | None,
    config: Any, as_json: bool, owner: str = "",
) -> int:  # fmt: skip
    from tasks.work.people import say

    settings, name = of_group(ctx, biller, config)
    at: datetime = business_time(as_of)
    after = say(settings, name, which, action, by, at, note=note, owner=owner)
    if as_json:
        emit_json(after)
        return OK
    state = str(after["work_state"]).replace("_", " ")
    words = [f"{after['break_id']} ({after['code']}) is {state}"]
    words += [f"with {after['owner']}"] * bool(after["owner"])
    words += ["another person signs it off"] * (action in ("resolved", "accepted"))
    words += ["the last run still finds it"] * (action in ("resolved", "signed") and after["found"] == "open")
    console.print("; ".join(words), markup=False, soft_wrap=True)
    return OK


def register(main: typer.Typer) -> None:
    """Adds this module's commands."""
    main.add_typer(app, name="breaks")
