"""Commands that only look: breaks, doctor."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import polars as pl
import typer

from cli.doctor import examine
from cli.finding import show
from cli.options import AsOf, Biller, Config, Json, business_time
from cli.show import OK, WRONG, console, emit_json, table
from tasks.errors import SettingsError
from tasks.invoicecloud.catalogue import duration
from tasks.settings import Settings, load_settings


def breaks(
    biller: Biller,
    code: Annotated[
        list[str] | None, typer.Option("--class", help="Only this class, e.g. B01; may be repeated.")
    ] = None,
    severity: Annotated[str | None, typer.Option(help="HIGH, MED or LOW.")] = None,
    older_than: Annotated[str | None, typer.Option(help="Open for longer than, e.g. 3d or 12h.")] = None,
    closed: Annotated[bool, typer.Option("--closed", help="Closed breaks instead of open ones.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows shown; --json shows all.")] = 50,
    as_of: AsOf = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """List breaks, the most severe and oldest first."""
    from tasks.overview import read_breaks

    settings = load_settings(config)
    now = business_time(as_of)
    found = read_breaks(settings, biller).filter(pl.col("state") == ("closed" if closed else "open"))
    if code:
        found = found.filter(pl.col("code").is_in([text.upper() for text in code]))
    if severity:
        found = found.filter(pl.col("severity") == severity.upper())
    if older_than:
        found = found.filter(pl.col("opened_at") < now - _age(older_than))
    rank = pl.col("severity").replace_strict({"HIGH": 0, "MED": 1, "LOW": 2}, default=3)
    found = found.sort(rank, "opened_at", "code", "subject")
    if as_json:
        emit_json(found.to_dicts())
    else:
        _show(found, limit)
    return OK


def _age(text: str) -> timedelta:
    try:
        age = duration(text)
    except ValueError as error:
        raise SettingsError(f"--older-than: {error}") from None
    assert isinstance(age, timedelta)
    return age


def _show(found: pl.DataFrame, limit: int) -> None:
    names = ["code", "severity", "amount", pl.col("opened_at").dt.date(), "sentence"]
    rows = found.head(limit).select(names).rows()
    table(f"{found.height} breaks", ["class", "sev.", "amount", "open since", "what"], rows, right=(2,))
    if found.height > limit:
        console.print(f"… and {found.height - limit} more (--limit, --json)")
    if found.height:
        totals = found.group_by("code", "name").agg(pl.len(), pl.col("amount").sum()).sort("code")
        table("By class", ["class", "name", "count", "amount"], totals.rows(), right=(2, 3))


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
    for command in (breaks, doctor):
        app.command()(command)
