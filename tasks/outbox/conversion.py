"""A conversion as a plan: what would be sent, what was sent already, what is held, what stops it. Nothing is sent here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from tasks.errors import SettingsError
from tasks.outbox import guards, pictures, prepare
from tasks.outbox.conversion_lists import Lists, read_lists
from tasks.outbox.convert import Conversion, compose_conversion, totals
from tasks.outbox.publish import outbox_of
from tasks.settings import Settings
from tasks.staging import conversion as told_sql
from tasks.staging import outbox as sql
from tasks.staging.outbox_images import images_of
from tasks.staging.query import Connection

# Two records that ask for the same.
SAME = ("invoice_number", "record_type", "account_number", "total_amount_due", "balance_due", "due_date")


@dataclass(frozen=True)
class Plan:
    """One conversion, looked at from all sides.

    going: records to be sent now (PLANNED columns) · held: outbox.held rows, with their reason · done: plan records
    that need nothing more (progress) · findings: outbox.guards rows · shown: their bill images · lines: totals.
    """

    biller: str
    at: datetime
    lists: Lists
    conversion: Conversion
    desk: prepare.Desk
    done: pl.DataFrame
    going: pl.DataFrame
    held: pl.DataFrame
    findings: pl.DataFrame
    shown: pictures.Pictures
    images: pl.DataFrame
    lines: list[dict[str, Any]]

    @property
    def deletes(self) -> int:
        """D records among those to be sent."""
        return self.going.filter(pl.col("record_type") == "D").height

    def stopped_by(self, confirm_deletes: int | None) -> pl.DataFrame:
        """The findings that still stand when a person has named the exact number of deletes."""
        if confirm_deletes != self.deletes:
            return self.findings
        return self.findings.filter(pl.col("guard") != "delete_share")


def plan(
    settings: Settings,
    biller: str,
    open_at_ic: Path,
    spectrum: Path,
    at: datetime,
    listed_at: datetime | None = None,
) -> Plan:
    """Loads both lists and composes. `listed_at`: when Spectrum's list was made, else `at`. Raises Stop errors."""
    lists = read_lists(settings, biller, open_at_ic, spectrum, at)
    return planned(settings, biller, lists, at, listed_at or at)


def planned(settings: Settings, biller: str, lists: Lists, at: datetime, listed_at: datetime) -> Plan:
    """The plan for lists that are read already, from the outbox as it is now."""
    own = settings.biller(biller)
    try:
        desk = prepare.desk(own, settings.file.parent)
    except SettingsError as error:
        raise SettingsError(f"{biller}: {error}") from None
    made = compose_conversion(lists.open_at_ic, lists.spectrum, desk.how, listed_at)
    with outbox_of(settings, biller).staging.open() as connection:
        done = progress(connection, made.records).filter("done")
        known = sql.state(connection, made.records["invoice_number"])[1]
        images = images_of(connection, made.records["invoice_number"])
    left = made.records.join(done, on="invoice_number", how="anti", maintain_order="left")
    shown = pictures.look(own, left, images, lambda strays: strays["image_name"], at)
    # The folder holds the bills of all invoices: what nobody asks for here is the hourly run's to tell.
    ours = pl.col("invoice_number").is_in(left["invoice_number"].implode())
    shown = replace(shown, seen=shown.seen.filter(ours))
    troubles = [prepare.unwritable(desk, shown.records)]
    troubles += [shown.troubled] if own.outbound.when_image_missing == "hold" else []
    going, held = prepare.hold(shown.records, pl.concat(troubles), at)
    findings = guards.findings(going, _ground(desk, lists, known), at)
    lines = totals(made, done, held)
    return Plan(biller, at, lists, made, desk, done, going, held, findings, shown, images, lines)


def progress(connection: Connection, records: pl.DataFrame) -> pl.DataFrame:
    """For each record of the plan what became of it: invoice_number, told (accepted, rejected or null), told_why,

    record_id (the last accepted record that stands for it), same (it asks for the same), done.
    A record that was sent before is done if IC accepted it, or a later record of that invoice. Asked again with
    other amounts (new lists), it is not.
    """
    told = told_sql.told(connection).select(*SAME, told="state", told_why="reason", told_place="place")
    last = told_sql.last_accepted(connection).select(
        "invoice_number", "record_id", "place", **{f"last_{name}": name for name in SAME[1:]}
    )
    asked = records.select(SAME).join(told, on=SAME, how="left", nulls_equal=True, maintain_order="left")
    found = asked.join(last, on="invoice_number", how="left", maintain_order="left")
    since = (pl.col("place") >= pl.col("told_place")).fill_null(False)
    same = pl.all_horizontal(pl.col(f"last_{name}").eq_missing(pl.col(name)) for name in SAME[1:])
    return found.select(
        "invoice_number", "told", "told_why", pl.when(since).then("record_id"), same=since & same, done=since
    )


def _ground(desk: prepare.Desk, lists: Lists, known: pl.DataFrame) -> guards.Ground:
    """What the guards compare with: Spectrum's list is IMT, InvoiceCloud's list (and the outbox) is what IC has."""
    listed = lists.spectrum.select("invoice_number", "status", still_in_imt=pl.lit(True))
    gone = lists.open_at_ic.join(listed, on="invoice_number", how="anti").select(
        "invoice_number", status=pl.lit("CANCELLED"), still_in_imt=pl.lit(False)
    )
    at_ic = lists.open_at_ic.select("invoice_number", on_list=pl.lit(True), account_listed="account_number")
    both = known.join(at_ic, on="invoice_number", how="left").select(
        "invoice_number",
        known_at_ic=pl.col("known_at_ic").fill_null(False) | pl.col("on_list").fill_null(False),
        account_sent=pl.coalesce("account_sent", "account_listed"),
    )
    limits = desk.own.outbound
    state = pl.concat([listed, gone])
    return guards.Ground(state, both, at_ic.height, limits.max_delete_share, limits.max_deletes_always)


def listing(made: Plan) -> pl.DataFrame:
    """Every record of the plan without personal data: kind, record_type, invoice and account number, group_id, before,

    total_amount_due, balance_due, due_date, replaces_invoice_number, fate (to send, sent, held), reason.
    """
    kinds = made.conversion.fates.select("invoice_number", "kind", "before")
    held = made.held.select("invoice_number", held_why="reason")
    rows = made.conversion.records.drop("reason").join(
        kinds, on="invoice_number", how="left", maintain_order="left"
    )
    rows = rows.join(held, on="invoice_number", how="left", maintain_order="left").with_columns(
        fate=pl.when(pl.col("held_why").is_not_null())
        .then(pl.lit("held"))
        .when(pl.col("invoice_number").is_in(made.done["invoice_number"].implode()))
        .then(pl.lit("sent"))
        .otherwise(pl.lit("to send"))
    )
    return rows.select(
        "kind", "record_type", "invoice_number", "account_number", "group_id", "before", "total_amount_due",
        "balance_due", "due_date", "replaces_invoice_number", "fate", reason="held_why",
    )  # fmt: skip
