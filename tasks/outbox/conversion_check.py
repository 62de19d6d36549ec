"""Looks at every record of a conversion at InvoiceCloud, and says of each whether IC shows it as it was asked.

A record counts as verified if a look after the settle delay says so; nothing else does, not even an accepted upload.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from tasks.archive import new_poll_id
from tasks.errors import Retry, Stop
from tasks.outbox.conversion import SAME, Plan, listing, plan, progress
from tasks.outbox.conversion_sending import KIND, Progress, refuse_incomplete, refuse_open
from tasks.outbox.model import MONEY, TIME, Schema
from tasks.outbox.publish import sender_of
from tasks.outbox.sender import File, InvoiceCloud, Sender
from tasks.settings import Settings
from tasks.staging import conversion as told_sql

_SEEN: Schema = {
    "looked_at": TIME, "found": pl.Boolean, "seen_account": pl.String, "seen_total": MONEY,
    "seen_balance": MONEY, "seen_due": pl.Date,
}  # fmt: skip
ROWS = (
    "kind", "record_type", "invoice_number", "account_number", "group_id", "before", "total_amount_due",
    "balance_due", "due_date", "file_id", "line_no", "verdict", "why", *_SEEN,
)  # fmt: skip


@dataclass(frozen=True)
class Verified:
    """What the looks showed. rows: one per record of the plan, with verdict and why · files: lines of outbox.files.

    verdict: verified, no, unclear, rejected, not_sent.
    """

    biller: str
    at: datetime
    by: str
    plan: Plan
    rows: pl.DataFrame
    files: list[File]

    @property
    def counts(self) -> dict[str, int]:
        """Records by verdict, most first."""
        found: dict[str, int] = dict(self.rows["verdict"].value_counts(sort=True).iter_rows())
        return found

    @property
    def missing(self) -> int:
        """Records that are not verified."""
        return self.rows.height - self.counts.get("verified", 0)

    @property
    def statement(self) -> str:
        """The plain statement of the report."""
        count = self.rows.height
        if not count:
            return "nothing had to be sent: InvoiceCloud's list shows every open invoice as Spectrum holds it"
        if not self.missing:
            return f"all {count:,} records verified"
        return f"{self.missing:,} of {count:,} records not verified; not signed off"


def verify(
    settings: Settings, biller: str, open_at_ic: Path, spectrum: Path, by: str, at: datetime, *,
    listed_at: datetime | None = None, ic: InvoiceCloud | None = None, told: Progress | None = None,
) -> Verified:  # fmt: skip
    """Asks IC about each record. Raises Stop (nothing sent, files not settled, no name), Retry (too early)."""
    signed_by(by)
    made = plan(settings, biller, open_at_ic, spectrum, at, listed_at)
    refuse_incomplete(made)
    sender = sender_of(settings, biller, ic)
    if told:
        sender.progress = lambda done, of: told("records looked at", done, of)
    asked, records, files = _sent(sender, made)
    _refuse_too_early(settings, made, files)
    rows = _judged(made, asked, records, _looked(sender, made, records, at))
    return Verified(biller, at, by, made, rows, files)


def signed_by(name: str) -> None:
    """Raises Stop unless `name` may stand under a report."""
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise Stop("a report is signed by a person: --by 'First Last'", reason="no_name")


def _sent(sender: Sender, made: Plan) -> tuple[pl.DataFrame, pl.DataFrame, list[File]]:
    """(progress of each record; the records that stand for them; the conversion's files). Raises Stop."""
    files = [file for file in sender.outbox.files() if file["kind"] == KIND]
    refuse_open(made.biller, files)
    with sender.outbox.staging.open() as connection:
        asked = progress(connection, made.conversion.records)
        last = told_sql.last_accepted(connection).drop("place")
    if asked.height and asked["told"].null_count() == asked.height:
        raise Stop(
            f"{made.biller}: nothing of this conversion was sent yet; icflows convert with --send does it",
            reason="not_sent",
        )
    return asked, last.join(asked, on="record_id", how="semi"), files


def _refuse_too_early(settings: Settings, made: Plan, files: list[File]) -> None:
    """IC imports after it has answered: before the settle delay a look proves nothing."""
    delay = timedelta(minutes=settings.biller(made.biller).outbound.settle_minutes)
    settled = [file["answered_at"] or file["settled_at"] for file in files if file["state"] == "accepted"]
    ready = max(settled) + delay if settled else made.at
    if made.at < ready:
        wait = -(-(ready - made.at) // timedelta(minutes=1))
        raise Retry(
            f"{made.biller}: InvoiceCloud may still be importing; verify from {ready:%Y-%m-%d %H:%M} UTC on, "
            f"in {wait} minutes (outbound.settle_minutes)",
            reason="too_early",
        )


def _looked(sender: Sender, made: Plan, records: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """What IC shows of each record that was sent: record_id, look (yes, same, no, unclear) and _SEEN."""
    if records.is_empty():
        return pl.DataFrame(schema={"record_id": pl.String, "look": pl.String, **_SEEN})
    before = made.lists.open_at_ic.select(
        "invoice_number", "total_amount_due", "balance_due", "due_date", record_type=pl.lit("A")
    )
    batch = new_poll_id(KIND, at)  # two verifications of one second are two batches
    looked = sender.look(batch, records, before, at).select("record_id", look="verdict")
    with sender.outbox.staging.open() as connection:
        seen = told_sql.seen(connection, batch)
    return looked.join(seen.select("record_id", *_SEEN), on="record_id", how="left")


def _judged(made: Plan, asked: pl.DataFrame, records: pl.DataFrame, looked: pl.DataFrame) -> pl.DataFrame:
    """ROWS, in the order of the plan. Amounts and dates are those of the record that stands for it."""
    plan_rows = listing(made).select(
        "kind", "invoice_number", "group_id", "before", plan_type="record_type", plan_account="account_number",
        plan_total="total_amount_due", plan_balance="balance_due", plan_due="due_date", held="reason",
    )  # fmt: skip
    sent = records.select("record_id", "file_id", "line_no", *SAME[1:])
    work = plan_rows.join(asked, on="invoice_number", maintain_order="left")
    work = work.join(sent, on="record_id", how="left", maintain_order="left")
    work = work.join(looked, on="record_id", how="left", maintain_order="left").with_columns(
        record_type=pl.coalesce("record_type", "plan_type"),
        account_number=pl.coalesce("account_number", "plan_account"),
        total_amount_due=pl.coalesce("total_amount_due", "plan_total"),
        balance_due=pl.coalesce("balance_due", "plan_balance"),
        due_date=pl.when(pl.col("file_id").is_null()).then("plan_due").otherwise("due_date"),
    )
    verdict = (
        pl.when(pl.col("look").is_in(["yes", "same"])).then(pl.lit("verified"))
        .when(pl.col("look").is_not_null()).then("look")
        .when(pl.col("told") == "rejected").then(pl.lit("rejected"))
        .otherwise(pl.lit("not_sent"))
    )  # fmt: skip
    return work.with_columns(verdict=verdict).with_columns(why=_why()).select(ROWS)


def _why() -> pl.Expr:
    """The verdict in words; nothing where a record is verified as it was sent."""
    shown = pl.format(
        "{} of {}, due {}", *(pl.col(name).cast(pl.String).fill_null("nothing") for name in ("seen_balance", "seen_total", "seen_due"))
    )  # fmt: skip
    kind, found = pl.col("record_type"), pl.col("found").fill_null(False)
    other = (pl.col("seen_account") != pl.col("account_number")).fill_null(False)
    return (
        pl.when((pl.col("verdict") == "verified") & ~pl.col("same"))
        .then(pl.lit("a later file asked for something else, and InvoiceCloud shows that"))
        .when(pl.col("verdict") == "verified").then(pl.lit(None, pl.String))
        .when(pl.col("verdict") == "rejected")
        .then(pl.format("InvoiceCloud refused it: {}", pl.col("told_why").fill_null("without words")))
        .when(pl.col("verdict") == "not_sent").then(pl.coalesce("held", pl.lit("it was not sent")))
        .when(pl.col("found").is_null()).then(pl.lit("the answer was neither yes nor no"))
        .when((kind == "A") & ~found).then(pl.lit("InvoiceCloud does not have it"))
        .when((kind == "R") & ~found).then(pl.lit("InvoiceCloud does not have it any more"))
        .when(kind == "D").then(pl.format("InvoiceCloud still has it: {}", shown))
        .when(kind == "R").then(pl.format("InvoiceCloud still asks for it: {}", shown))
        .when(other).then(pl.lit("InvoiceCloud shows it under another account"))
        .when(pl.col("verdict") == "no").then(pl.format("InvoiceCloud still shows what was there before: {}", shown))
        .otherwise(pl.format("neither what was sent nor what was there before: {}", shown))
    )  # fmt: skip
