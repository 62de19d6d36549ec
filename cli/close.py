"""`icflows close`: a month or a day is over and judged; what comes later is shown as late."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from cli.options import AsOf, Config, Json, business_time
from cli.show import OK, console, emit_json, table
from tasks.errors import SettingsError
from tasks.settings import load_settings


def close(
    period: Annotated[
        str | None,
        typer.Argument(help="A month (2026-10) or a day (2026-10-30); without it: what is closed."),
    ] = None,
    by: Annotated[str, typer.Option("--by", help="Who closes it: first and last name.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="In spite of HIGH breaks that nobody signed off; with --note.")
    ] = False,
    note: Annotated[str, typer.Option("--note", help="Why; kept with the period.")] = "",
    biller: Annotated[
        str | None, typer.Option("--biller", "-b", help="May be left out if there is only one.")
    ] = None,
    as_of: AsOf = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """Close a period: freeze its snapshot for good. Later items are shown as late and never change it."""
    from tasks.work.catching_up import in_step
    from tasks.work.periods import close_period, closed_periods

    settings = load_settings(config)
    name = biller or settings.only_biller()
    settings.biller(name)
    if period is None:
        if by or force or note:
            raise SettingsError("say which period: icflows close 2026-10 --by 'First Last'")
        in_step(settings, name)
        closed = closed_periods(settings, name)
        if as_json:
            emit_json([_told(row) for row in closed])
        else:
            _show(name, closed)
        return OK
    if not by:
        raise SettingsError("say who closes it: --by 'First Last'")
    line = close_period(settings, name, period, by, business_time(as_of), force=force, note=note)
    if as_json:
        emit_json(_told(line))
    else:
        console.print(
            f"{name}: {line['period']} is closed with {line['payments_rows']:,} payments of "
            f"{line['payments_amount']:,.2f} USD; {line['snapshot']} is frozen",
            markup=False, soft_wrap=True,
        )  # fmt: skip
    return OK


def _told(line: dict[str, Any]) -> dict[str, Any]:
    return {**line, "states": json.loads(line["states"])}


def _show(name: str, closed: list[dict[str, Any]]) -> None:
    names = (
        "period",
        "closed_at",
        "closed_by",
        "payments_rows",
        "payments_amount",
        "high_unsigned",
        "state",
        "snapshot",
    )
    headings = ["period", "closed", "by", "payments", "amount", "unsigned", "file is", "snapshot"]
    rows = [[line[column] for column in names] for line in closed]
    table(f"{len(closed)} closed periods of {name}", headings, rows, right=(3, 4, 5))


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command()(close)
