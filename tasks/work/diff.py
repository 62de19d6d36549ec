"""What happened between two snapshots: breaks opened, closed, changed, and the feed rows that did it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from tasks.errors import SettingsError
from tasks.staging import diff as sql
from tasks.staging.reading import reading

Row = dict[str, Any]


def diff(before: Path, after: Path) -> Row:
    """before, after: what each is · breaks: one per break that differs, with `rows`, the feed rows that touch it.

    A break without rows came or went with time alone (it fell due, a window became complete, a rule changed).
    Raises SettingsError if a file is no snapshot, they are of two billers, or the later one stands first.
    """
    with reading(after, **{sql.BEFORE: before}) as connection:
        old, new = sql.info(connection, sql.BEFORE), sql.info(connection, "snapshot")
        _comparable(before, after, old, new)
        breaks, causes = sql.compared(connection)
    rows = causes.group_by("break_id", maintain_order=True).agg(
        pl.struct(pl.exclude("break_id")).alias("rows")
    )
    told = breaks.join(rows, on="break_id", how="left", maintain_order="left").to_dicts()
    return {
        "before": {"file": str(before), **old}, "after": {"file": str(after), **new},
        "breaks": [{**row, "rows": row["rows"] or []} for row in told],
    }  # fmt: skip


def _comparable(before: Path, after: Path, old: Row, new: Row) -> None:
    if old["biller"] != new["biller"]:
        raise SettingsError(f"{before.name} is of {old['biller']}, {after.name} of {new['biller']}")
    if old["as_of"] > new["as_of"]:
        raise SettingsError(
            f"{before.name} is as of {old['as_of']:%Y-%m-%dT%H:%M:%SZ}, after {after.name}; put the earlier one first"
        )
