"""`icflows diff`: which breaks opened, closed and changed between two snapshots, and which feed row did it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import Json
from cli.show import OK, cell, console, emit_json, table

_MOST_ROWS = 3


def diff(
    before: Annotated[Path, typer.Argument(help="The earlier snapshot file.", show_default=False)],
    after: Annotated[Path, typer.Argument(help="The later one.", show_default=False)],
    limit: Annotated[int, typer.Option(min=1, help="Breaks shown; --json shows all.")] = 50,
    as_json: Json = False,
) -> int:
    """What happened to breaks between two snapshots, and the feed rows that did it."""
    from tasks.work.diff import diff as compare

    told = compare(before, after)
    if as_json:
        emit_json(told)
    else:
        _show(told, limit)
    return OK


def _show(told: dict[str, Any], limit: int) -> None:
    found = told["breaks"]
    span = " to ".join(f"{told[side]['as_of']:%Y-%m-%d %H:%MZ}" for side in ("before", "after"))
    counts: dict[str, int] = {}
    for row in found:
        counts[row["change"]] = counts.get(row["change"], 0) + 1
    summary = ", ".join(f"{count} {change}" for change, count in counts.items()) or "no break differs"
    console.print(f"{told['after']['biller']}, {span}: {summary}", style="bold")
    lines = [
        (row["change"], row["code"], cell(row["amount_before"]), cell(row["amount_now"]), _cause(row))
        for row in found[:limit]
    ]
    if lines:
        table("Breaks", ["change", "class", "before", "now", "what, and by which row"], lines, right=(2, 3))
    if len(found) > limit:
        console.print(f"… and {len(found) - limit} more (--limit, --json)")


def _cause(row: dict[str, Any]) -> str:
    rows = [
        f"{part['table']} {part['change']}" + (f" {cell(part['amount'])}" if part["amount"] is not None else "")
        + f" (by {part['link']}; {part['poll_id']}, row {part['row_no']})"
        for part in row["rows"][:_MOST_ROWS]
    ]  # fmt: skip
    rest = len(row["rows"]) - _MOST_ROWS
    rows += [f"and {rest} more rows"] * (rest > 0)
    return "\n".join([str(row["sentence"]), *(rows or ["by no row: time passed"])])


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command()(diff)
