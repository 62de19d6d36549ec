"""Commands that only look: doctor."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from cli.doctor import examine
from cli.finding import show
from cli.options import AsOf, Config, Json, business_time
from cli.show import OK, WRONG, console, emit_json
from tasks.settings import Settings, load_settings


def doctor(
    biller: Annotated[
        str | None, typer.Option("--biller", "-b", help="Only this biller.", show_default="all")
    ] = None,
    cutover: Annotated[
        bool, typer.Option("--cutover", help="Every conversion detail from MIPS/APPS to Spectrum.")
    ] = False,
    as_of: AsOf = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """Is everything there that a run needs? One line each, with the cure."""
    if cutover:
        return _cutover(load_settings(config), biller, business_time(as_of), as_json)
    findings = []
    for finding in examine(config, biller):
        findings.append(finding)
        if not as_json:
            show(finding)
    if as_json:
        emit_json(findings)
    return WRONG if any(finding.state == "fail" for finding in findings) else OK


def _cutover(settings: Settings, biller: str | None, at: datetime, as_json: bool) -> int:
    from cli.cutover import walk

    steps = []
    for step in walk(settings, biller or settings.only_biller(), at):
        steps.append(step)
        if not as_json:
            show(step.finding(), "look for" if step.where else "cure")
    if as_json:
        emit_json(steps)
    else:
        counts = {state: [step.state for step in steps].count(state) for state in ("ok", "fail", "person")}
        console.print(
            f"{counts['ok']} seen to be so, {counts['fail']} seen not to be so, "
            f"{counts['person']} for a person to see"
        )
    return WRONG if any(step.state == "fail" for step in steps) else OK


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(doctor)
