"""How `icflows breaks` shows breaks and the work on them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from cli.show import cell, console, table

Row = dict[str, Any]


def show_list(found: pl.DataFrame, limit: int) -> None:
    """The list; who has a break and how far it is only where anybody ever said a word."""
    worked = found["version"].is_not_null().any()
    work = pl.col("work_state").str.replace("_", " ") + pl.format(", {}", "owner").fill_null("")
    names = [
        "code",
        "severity",
        "amount",
        pl.col("opened_at").dt.date(),
        *([work] if worked else []),
        "sentence",
    ]
    headings = ["class", "sev.", "amount", "open since", *(["work"] if worked else []), "what"]
    table(f"{found.height} breaks", headings, found.head(limit).select(names).rows(), right=(2,))
    if found.height > limit:
        console.print(f"… and {found.height - limit} more (--limit, --json)")
    if found.height:
        totals = found.group_by("code", "name").agg(pl.len(), pl.col("amount").sum()).sort("code")
        table("By class", ["class", "name", "count", "amount"], totals.rows(), right=(2, 3))


def show_break(told: Row, zone: str) -> None:
    """One break: sentence, standing, evidence, and one line per word of program and people, oldest first."""
    found, work = told["break"], told["work"]
    console.print(
        f"{found['code']} {found['name']} · {found['severity']} · {cell(found['amount'])}", style="bold"
    )
    console.print(str(found["sentence"]), markup=False)
    state = str(work["work_state"]).replace("_", " ")
    owner = f", with {work['owner']}" if work["owner"] else ""
    version = f", version {work['version']}" if work["version"] > 1 else ""
    console.print(
        f"break {found['break_id']} · the program: {found['state']} · work: {state}{owner}{version}",
        markup=False,
    )
    table("History", ["when", "who", "what"], _lines(told, ZoneInfo(zone)))
    table("Evidence", ["of", "what"], _evidence(found["evidence"]))


def _lines(told: Row, zone: ZoneInfo) -> list[tuple[str, str, str]]:
    program = [(row["at"], 0, row["run_id"], _event(row)) for row in told["program"]]
    people = [(row["at"], 1, row["by"], _word(row)) for row in told["people"]]
    ordered = sorted([*program, *people], key=lambda line: line[:2])
    return [(_local(at, zone), str(who), what) for at, _, who, what in ordered]


def _event(row: Row) -> str:
    amounts = {"opened": row["to_amount"], "closed": row["from_amount"]}.get(row["kind"])
    text = f" {cell(amounts)}" if amounts is not None else ""
    if row["kind"] in ("changed", "reopened") and row["from_amount"] != row["to_amount"]:
        text = f" from {cell(row['from_amount'])} to {cell(row['to_amount'])}"
    return f"{row['kind']}{text}" + (f" ({row['note']})" if row["note"] else "")


def _word(row: Row) -> str:
    to = f" to {row['owner']}" if row["action"] == "assigned" else ""
    return f"{row['action']}{to}" + (f": {row['note']}" if row["note"] else "")


def _evidence(text: str | None) -> Iterator[tuple[str, str]]:
    for name, part in (json.loads(text) if text else {}).items():
        fields = part if isinstance(part, dict) else {"": part}
        words = [f"{key} {value}".strip() for key, value in fields.items() if value is not None]
        yield name, ", ".join(words) or "-"


def _local(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M}"
