"""Make a carrier from a seed: what IC serves, what IMT exports, and the answer sheet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from sandbox.carrier import (
    adjustments,
    autopays,
    contacts,
    deposits,
    disputes,
    doubles,
    enrolments,
    events,
    flags,
    further,
    gaps,
    images,
    invoices,
    people,
    plants,
    postings,
    pushes,
    recalls,
    restated,
    returns,
    settlements,
    truth,
)
from sandbox.carrier import payments as attempts
from sandbox.carrier.carrier import CSV_STAMP, Carrier
from sandbox.carrier.draws import Draws
from sandbox.carrier.span import Span

# Tables that IMT or the portal hand out as CSV too, and the name of that file.
_CSV = {
    "imt_postings": "imt_postings",
    "imt_invoices": "imt_invoices",
    "imt_adjustments": "imt_adjustments",
    "ic_open": "open_at_ic",
}


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
    images: int | None = None,
    bid: str = "1234",
) -> Carrier:
    """Write a carrier into `out`. The same arguments give the same bytes.

    `close` (aware) ends the span of `days` days. `payments` defaults to one per account and
    twenty days. `plant` sets the number of breaks per class (plants.DEFAULT_PLANT);
    `feed_faults` adds answer rows for feeds that the caller will make fail, e.g. {"B36": ["autopay"]}.
    `images`: so many of the newest invoice events get a PDF in `out`/images, named with `bid`; None: none,
    and no break of images (B31) and of what they hold up (B25).
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
    wanted = recalls.within(span, plants.counts(plant), images is not None)
    made = _Making(Draws(seed), span, wanted, images, bid)
    for name, frame in made.tables(accounts, rows, feed_faults or {}).items():
        frame.write_parquet(out / f"{name}.parquet", row_group_size=100_000)
        if name in _CSV:
            told = frame.drop("visible_at", strict=False)
            told.write_csv(out / f"{_CSV[name]}.csv", datetime_format=CSV_STAMP)
    if images is not None:
        made.write_images(carrier.images)
    carrier.write_about()
    return carrier


class _Making:
    """The steps of one carrier. Order matters: each sees only what it needs of the one before."""

    def __init__(
        self, draws: Draws, span: Span, wanted: Mapping[str, int], images: int | None, bid: str
    ) -> None:
        self.draws, self.span, self.wanted, self.images, self.bid = draws, span, wanted, images, bid
        self.events, self.orphans, self.adjusted = pl.DataFrame(), pl.DataFrame(), pl.DataFrame()

    def tables(
        self, accounts: int, rows: int, feed_faults: Mapping[str, Iterable[str]]
    ) -> dict[str, pl.DataFrame]:
        """All tables by name."""
        draws, span, wanted = self.draws, self.span, self.wanted
        insured = people.accounts(draws, accounts, alike=wanted["B40"] > 0)
        book = gaps.mark(span, attempts.book(draws, span, insured, rows), wanted)
        book = doubles.add(draws, span, book, wanted)
        book = plants.assign(returns.mark(draws, span, book, wanted), span, wanted)
        book, pays = autopays.settle(span, insured, returns.late(span, book), wanted)
        book = restated.mark(span, pushes.lose(span, book), wanted)
        rejects = returns.rejects(draws, span, book, wanted)
        sales = settlements.cloudstore(draws, span, book, wanted)
        settled = settlements.rows(draws, span, book, rejects, sales, wanted)
        batched = settlements.batched(draws, span, settled, wanted)
        booked = postings.build(draws, span, insured, book, rejects, sales, wanted)
        disputed, refunded = disputes.chargebacks(span, book), disputes.refunds(span, book)
        credited = deposits.lines(draws, span, settled, disputes.netted(disputed, refunded), wanted)
        drawn = autopays.listed(enrolments.autopay(draws, span, insured), insured, pays)
        mailed = enrolments.paperless(draws, span, insured)
        mailed = flags.delivered(mailed, wanted)
        kept = flags.build(draws, span, insured, drawn, mailed, pays, wanted)
        reachable, reported = contacts.contacts(draws, insured), attempts.feed(book)
        return {
            "payments": restated.told(span, book, reported),
            "settlements": settlements.feed(batched, book),
            "ach_rejects": returns.feed(rejects),
            "autopay": drawn,
            "paperless": mailed,
            "customers": enrolments.customers(span, insured, drawn, mailed),
            "imt_postings": postings.imt(booked, dashed=wanted["B40"] > 0),
            "pushes": pushes.build(draws, span, book, reported, reachable),
            **self._invoices(insured, reachable, book, booked, pays),
            "bank_lines": deposits.statement(credited),
            "enrolment_flags": flags.imt(kept),
            **{name: table for name, table in disputes.exports(disputed, refunded).items() if table.height},
            "truth": pl.concat(
                [
                    truth.sheet(
                        book, booked, rejects, batched, self.events, self.orphans, self.adjusted, feed_faults
                    ),
                    further.sheet(span, book, disputed, refunded, credited, kept, pays, wanted),
                ]
            ).sort("code", "subject"),
        }

    def _invoices(
        self,
        insured: pl.DataFrame,
        reachable: pl.DataFrame,
        book: pl.DataFrame,
        booked: pl.DataFrame,
        pays: autopays.AutoPays | None,
    ) -> dict[str, pl.DataFrame]:
        """The tables of the invoices: IMT's events and adjustments, and what InvoiceCloud has, does and asks."""
        draws, span, wanted = self.draws, self.span, self.wanted
        bills = invoices.build(span, insured, book)
        free_bills = (
            bills
            if pays is None
            else bills.join(pays.missed, on="invoice_number", how="anti", maintain_order="left")
        )
        fates = recalls.fates(draws, span, free_bills, book, wanted)
        told = events.build(draws, span, bills, fates, booked, wanted["B29"])
        self.events = images.named(told, self.images, self.bid)
        owner = draws.below("orphan_image", recalls.held(wanted)[2], insured.height)
        self.orphans = images.orphans(insured["account_number"].gather(owner), self.bid)
        self.adjusted = adjustments.build(draws, span, free_bills, book, fates, wanted)
        free = adjustments.untouched(draws, span, free_bills, book, fates)
        return {
            "ic_invoices": invoices.shown(bills),
            "ic_open": invoices.open_at_ic(bills),
            "ic_quirks": events.quirks(fates),
            "imt_invoices": events.imt(self.events, reachable),
            "imt_adjustments": adjustments.imt(self.adjusted),
            "asks": adjustments.asks(span, self.adjusted, free, fates),
        }

    def write_images(self, folder: Path) -> None:
        """The PDFs, after `tables`."""
        images.write(folder, self.events, self.orphans)
