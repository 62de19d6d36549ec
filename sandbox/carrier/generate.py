"""Make a carrier from a seed: what IC serves, what IMT exports, and the answer sheet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from sandbox.carrier import enrolments, invoices, people, plants, postings, returns, settlements, truth
from sandbox.carrier import payments as attempts
from sandbox.carrier.draws import Draws
from sandbox.carrier.span import Span
from sandbox.clock import iso, parse_moment

CSV_STAMP = "%Y-%m-%dT%H:%M:%SZ"
_ABOUT = "carrier.json"


@dataclass(frozen=True)
class Carrier:
    """A generated carrier: its folder and how it was made. Times are aware UTC."""

    folder: Path
    seed: int
    accounts: int
    days: int
    payments: int
    start: datetime
    close: datetime

    def table(self, name: str) -> pl.DataFrame:
        """One of its Parquet tables, e.g. `payments`, `imt_postings`, `truth`."""
        return pl.read_parquet(self.folder / f"{name}.parquet")

    def truth(self) -> pl.DataFrame:
        """The answer sheet: code, subject, amount, account_number, invoice_number, note."""
        return self.table("truth")

    def imt_until(self, as_of: datetime, out: Path) -> tuple[Path, Path]:
        """IMT's two exports as they were at `as_of`: (postings CSV, invoices CSV) in `out`."""
        out.mkdir(parents=True, exist_ok=True)
        booked = self.table("imt_postings").filter(pl.col("posted_at") <= as_of)
        billed = self.table("imt_invoices").filter(pl.col("invoice_date") <= as_of.astimezone(UTC).date())
        booked.write_csv(out / "imt_postings.csv", datetime_format=CSV_STAMP)
        billed.write_csv(out / "imt_invoices.csv", datetime_format=CSV_STAMP)
        return out / "imt_postings.csv", out / "imt_invoices.csv"

    @classmethod
    def open(cls, folder: Path) -> Carrier:
        """A carrier that was generated before."""
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        start, close = (parse_moment(about.pop(name)) for name in ("start", "close"))
        return cls(folder=folder, start=start, close=close, **about)


def generate(
    seed: int,
    accounts: int,
    days: int,
    close: datetime,
    out: Path,
    *,
    payments: int | None = None,
    plant: Mapping[str, int] | None = None,
    feed_faults: Mapping[str, Iterable[str]] | None = None,
) -> Carrier:
    """Write a carrier into `out`. The same arguments give the same bytes.

    `close` (aware) ends the span of `days` days. `payments` defaults to one per account and
    twenty days. `plant` sets the number of breaks per class (plants.DEFAULT_PLANT);
    `feed_faults` adds answer rows for feeds that the caller will make fail, e.g. {"B36": ["autopay"]}.
    """
    if close.tzinfo is None:
        raise ValueError("close needs a time zone")
    if accounts < 2 or days < 1:
        raise ValueError("a carrier needs at least 2 accounts and 1 day")
    end = close.astimezone(UTC)
    span = Span(end - timedelta(days=days), end)
    rows = payments if payments is not None else max(accounts * days // 20, 1)
    out.mkdir(parents=True, exist_ok=True)
    carrier = Carrier(out, seed, accounts, days, rows, span.start, end)
    for name, frame in _tables(
        Draws(seed), span, accounts, rows, plants.counts(plant), feed_faults or {}
    ).items():
        frame.write_parquet(out / f"{name}.parquet", row_group_size=100_000)
        if name.startswith("imt_"):
            frame.write_csv(out / f"{name}.csv", datetime_format=CSV_STAMP)
    about = asdict(carrier) | {"start": iso(span.start), "close": iso(end)}
    del about["folder"]
    (out / _ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return carrier


def _tables(
    draws: Draws,
    span: Span,
    accounts: int,
    rows: int,
    wanted: Mapping[str, int],
    feed_faults: Mapping[str, Iterable[str]],
) -> dict[str, pl.DataFrame]:
    """All tables by name. Order matters: each step sees only what it needs of the one before."""
    insured = people.accounts(draws, accounts)
    book = attempts.book(draws, span, insured, rows)
    book = plants.assign(returns.mark(draws, span, book, wanted), span, wanted)
    rejects = returns.rejects(draws, span, book, wanted)
    sales = settlements.cloudstore(draws, span, book, wanted)
    settled = settlements.rows(draws, span, book, rejects, sales, wanted)
    batched = settlements.batched(draws, span, settled, wanted)
    booked = postings.build(draws, span, insured, book, rejects, sales, wanted)
    bills = invoices.build(span, insured, book)
    drawn = enrolments.autopay(draws, span, insured)
    mailed = enrolments.paperless(draws, span, insured)
    return {
        "payments": attempts.feed(book),
        "settlements": settlements.feed(batched),
        "ach_rejects": returns.feed(rejects),
        "autopay": drawn,
        "paperless": mailed,
        "customers": enrolments.customers(span, insured, drawn, mailed),
        "ic_invoices": invoices.shown(bills),
        "imt_postings": postings.imt(booked),
        "imt_invoices": invoices.imt(span, bills),
        "truth": truth.sheet(book, booked, rejects, batched, feed_faults),
    }
