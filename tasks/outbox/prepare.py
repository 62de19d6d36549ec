"""One run's records: composed, looked at, guarded, and made into files. Nothing is kept or sent here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from checks.control import must_balance, total
from tasks.archive import new_poll_id
from tasks.errors import ControlTotalError, SettingsError
from tasks.invoicecloud.bif import (
    FileFacts,
    Layout,
    as_parsed,
    line_numbers,
    load_layout,
    parse,
    render,
    trouble,
)
from tasks.outbox import guards
from tasks.outbox.compose import Composition, Presentment, compose
from tasks.outbox.model import FACTS, HELD, RECORDS, TIME, shaped
from tasks.outbox.store import Composed
from tasks.sections import Biller
from tasks.staging import outbox as sql
from tasks.staging.outbox_images import images_of
from tasks.staging.query import Connection

WITH_PATH = {**RECORDS, "pdf_path": pl.String}


@dataclass(frozen=True)
class Desk:
    """What a biller's files are made with."""

    own: Biller
    layout: Layout
    how: Presentment


@dataclass(frozen=True)
class Waiting:
    """records that could go (with pdf_path), events done with, the ground for guards, images known so far."""

    records: pl.DataFrame
    applied: pl.DataFrame
    ground: guards.Ground
    images: pl.DataFrame


def desk(own: Biller, folder: Path) -> Desk:
    """Layout and presentment of a biller; `folder` holds its settings file. Raises SettingsError."""
    spectrum = own.product == "spectrum"
    if spectrum and not own.invoice_format_guid:
        raise SettingsError("invoice_format_guid is not set: IC needs it to find the bill images")
    if not spectrum and not own.outbound.pdf_link:
        raise SettingsError("outbound.pdf_link is not set: MIPS/APPS bills are shown through a link")
    how = Presentment(
        own.bid, own.invoice_format_guid if spectrum else None, None if spectrum else own.outbound.pdf_link
    )
    return Desk(own, load_layout(own.outbound.layout, own.outbound.layout_overrides, folder), how)


def read(connection: Connection, at_desk: Desk) -> Waiting:
    """What waits in staging."""
    made: Composition = compose(sql.pending(connection), at_desk.how)
    return with_ground(connection, at_desk, made)


def with_ground(connection: Connection, at_desk: Desk, made: Composition) -> Waiting:
    """The composition with what the guards compare it with."""
    numbers = made.records["invoice_number"]
    ground = ground_of(connection, at_desk, numbers)
    return Waiting(made.records, made.applied, ground, images_of(connection, numbers))


def ground_of(connection: Connection, at_desk: Desk, numbers: pl.Series) -> guards.Ground:
    """What the guards compare records of these invoices with, as it is now."""
    state, known = sql.state(connection, numbers)
    limits = at_desk.own.outbound
    live = sql.live_at_ic(connection)
    return guards.Ground(state, known, live, limits.max_delete_share, limits.max_deletes_always)


def in_flight(waiting: Waiting) -> pl.DataFrame:
    """invoice_number, trouble: an earlier file with this invoice is not settled yet."""
    busy = waiting.ground.known.filter("in_flight")["invoice_number"]
    return (
        waiting.records.filter(pl.col("invoice_number").is_in(busy.implode()))
        .select("invoice_number")
        .with_columns(trouble=pl.lit("an earlier file with this invoice is not settled"))
    )


def unwritable(at_desk: Desk, records: pl.DataFrame) -> pl.DataFrame:
    """invoice_number, trouble: the layout cannot hold this record."""
    found = trouble(at_desk.layout, records.select(FACTS.keys()))
    return found.select("invoice_number", trouble="reason")


def hold(records: pl.DataFrame, troubles: pl.DataFrame, at: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(records that go, outbox.held rows): one troubled record holds its whole group."""
    why = troubles.group_by("invoice_number").agg(why=pl.col("trouble").unique().sort().str.join("; "))
    found = records.join(why, on="invoice_number", how="inner").select("group_id", "why")
    by_group = found.group_by("group_id").agg(pl.col("why").unique().sort().str.join("; "))
    joined = records.join(by_group, on="group_id", how="left", maintain_order="left")
    held = joined.filter(pl.col("why").is_not_null()).with_columns(reason="why", held_at=pl.lit(at, TIME))
    return joined.filter(pl.col("why").is_null()).drop("why"), shaped(held, HELD)


def files(at_desk: Desk, records: pl.DataFrame, at: datetime, kind: str | None = None) -> list[Composed]:
    """Spectrum (and a conversion): one file with everything. MIPS/APPS: a file for each record."""
    if records.is_empty():
        return []
    if at_desk.own.product == "spectrum" or kind:
        return [_file(at_desk, records, at, kind or "hourly")]
    return [_file(at_desk, one, at, "individual") for one in records.iter_slices(1)]


def _file(at_desk: Desk, records: pl.DataFrame, at: datetime, kind: str) -> Composed:
    own, file_id = at_desk.own, new_poll_id("bif", at)
    facts = FileFacts(own.bid, own.biller_guid, file_id, at, own.time_zone)
    rows = records.select(FACTS.keys())
    body = render(at_desk.layout, facts, rows)
    if len(body) > own.outbound.max_file_bytes:
        raise ControlTotalError(
            f"the file would have {len(body)} bytes; IC takes {own.outbound.max_file_bytes} (outbound.max_file_bytes)"
        )
    _reads_back(at_desk.layout, body, rows, own.time_zone)
    lines = records.with_columns(
        line_no=line_numbers(at_desk.layout, records.height),
        file_id=pl.lit(file_id),
        composed_at=pl.lit(at, TIME),
    ).with_columns(record_id=pl.format("{}:{}", "file_id", "line_no"))
    file = {
        "file_id": file_id, "kind": kind, "state": "composed", "file_name": f"{own.bid}_{file_id}.bif",
        "layout": at_desk.layout.name, "attempt": 0, "records": records.height,
        "amount": total(rows, "balance_due").amount, "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(), "composed_at": at, "looks": 0,
    }  # fmt: skip
    return Composed(file, body, shaped(lines, RECORDS))


def _reads_back(layout: Layout, body: bytes, rows: pl.DataFrame, zone: str) -> None:
    """What goes out is read again first: same records, same money. Raises ControlTotalError."""
    again, meant = parse(layout, body, zone).rows, as_parsed(layout, rows)
    if not again.select(meant.columns).equals(meant):
        wrong = [name for name in meant.columns if not again[name].equals(meant[name])]
        raise ControlTotalError(f"the rendered file does not read back: {', '.join(wrong) or 'other rows'}")
    if "balance_due" in meant.columns:
        must_balance("rendered", total(rows, "balance_due"), read=total(again, "balance_due"))
