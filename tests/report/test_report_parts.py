"""The parts of the page: words, geometry, ages, evidence."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from tasks.report import charts, words
from tasks.report.collect import AGES, ages
from tasks.report.evidence import cards

D = Decimal


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (D("0"), "$0.00"),
        (D("1234567.8"), "$1,234,567.80"),
        (D("-5.13"), "−$5.13"),
        (D("9999999999999999.99"), "$9,999,999,999,999,999.99"),
        (None, "–"),
    ],
)
def test_money(amount: Decimal | None, text: str) -> None:
    assert words.money(amount) == text


def test_a_hundred_percent_is_said_only_of_everything() -> None:
    assert words.share(D("999999.99"), D("1000000.00")) == "99.9 %"
    assert words.share(D("7"), D("7")) == "100.0 %"
    assert words.share(D("0"), D("0")) == "–"


def test_a_loss_of_nothing_is_said_only_of_nothing() -> None:
    assert words.rate(D("0")) == "0.00 %"
    assert words.rate(D(1) / 1_000_000) == "0.01 %"
    assert words.rate(D(11) / 2991) == "0.37 %"


def test_words_of_time_and_number() -> None:
    at = datetime(2026, 11, 1, 6, 30, tzinfo=UTC)  # an hour before the clocks go back
    assert words.instant(at, "America/Chicago") == "2026-11-01 01:30 CDT"
    assert words.instant(at + timedelta(hours=1), "America/Chicago") == "2026-11-01 01:30 CST"
    assert words.clock(at, "America/Chicago") == "2026-11-01 01:30"
    assert (words.plural(1, "payment"), words.plural(2000, "payment")) == ("1 payment", "2,000 payments")
    assert [words.short_money(D(n)) for n in (950, 12500, 40000, 3_200_000)] == [
        "$950",
        "$12.5k",
        "$40k",
        "$3.2M",
    ]


@pytest.mark.parametrize(
    ("most", "top"),
    [("0", "1"), ("1", "1"), ("39440.10", "40000"), ("40000.01", "80000"), ("80001", "100000")],
)
def test_axis_ends_on_a_round_number(most: str, top: str) -> None:
    assert charts.nice(D(most)) == D(top)


def test_bars_are_on_one_scale_and_small_ones_are_seen() -> None:
    made = charts.bars(
        [
            ("a", "", D("1000"), "high"),
            ("b", "", D("250"), "med"),
            ("c", "", D("0.01"), "low"),
            ("d", "", D(0), "low"),
        ]
    )
    assert [bar.width for bar in made] == [100.0, 25.0, 0.4, 0.0]


def test_parts_fill_the_bar_and_no_more() -> None:
    made = charts.parts([("a", D("999999")), ("b", D("1")), ("c", D(0)), ("d", D("-1"))])
    assert [kind for kind, _, width in made if width] == ["a", "b", "d"]
    assert sum(width for _, _, width in made) == pytest.approx(100, abs=0.01)
    assert [x for _, x, _ in made] == sorted(x for _, x, _ in made)
    assert charts.parts([("a", D(0))]) == [("a", 0.0, 0.0)]


def cash(days: int) -> list[dict[str, Any]]:
    start = date(2026, 8, 1)
    return [
        {"day": start + timedelta(days=n), "reported_amount": D(100 + n), "settled_amount": D(2 * n)}
        for n in range(days)
    ]


@pytest.mark.parametrize("days", [1, 6, 30, 45, 400])
def test_columns_stay_on_the_plot(days: int) -> None:
    made = charts.cash_columns(cash(days))
    assert len(made.columns) == min(days, charts.MOST_DAYS)
    assert made.columns[-1].day == date(2026, 8, 1) + timedelta(days=days - 1)
    assert made.columns[-1].x + 2 * made.width <= 100
    assert all(0 <= height <= charts.PLOT_HEIGHT for column in made.columns for height in column.heights)
    labelled = [column for column in made.columns if column.label]
    assert 1 <= len(labelled) <= 6


def test_no_days_no_columns() -> None:
    assert charts.cash_columns([]).columns == []


def test_ages_count_banking_days() -> None:
    as_of = datetime(2026, 11, 30, 15, tzinfo=UTC)  # a Monday; 26 November is Thanksgiving
    happened = [
        datetime(2026, 11, 30, 7, tzinfo=UTC),  # the same day: 0
        datetime(2026, 11, 28, 12, tzinfo=UTC),  # Saturday: Monday is the first banking day after it: 1
        datetime(2026, 11, 25, 18, tzinfo=UTC),  # Wednesday: Friday, Monday: 2
        datetime(2026, 11, 24, 5, 30, tzinfo=UTC),  # Monday evening in Chicago: Tue, Wed, Fri, Mon: 4
        datetime(2026, 1, 2, 12, tzinfo=UTC),  # 61+
        datetime(2026, 12, 4, 12, tzinfo=UTC),  # later than now counts as new
        None,
    ]
    breaks = pl.DataFrame(
        {
            "amount": [D("10.00"), D("-2.00"), D("3.00"), D("4.00"), D("5.00"), D("6.00"), D("0.00")],
            "occurred_at": happened,
        },
        schema={"amount": pl.Decimal(18, 2), "occurred_at": pl.Datetime("us", "UTC")},
    )
    found = ages(breaks, as_of, pl.DataFrame({"time_zone": ["America/Chicago"]}))
    assert [(row["low"], row["high"]) for row in found] == list(AGES)
    assert [row["count"] for row in found] == [4, 1, 1, 0, 0, 1]
    assert [row["amount"] for row in found] == [D("18.00"), D("3.00"), D("4.00"), D(0), D(0), D("5.00")]


PAYMENT = {
    "payment_guid": "g",
    "account_number": "0001",
    "payment_amount": "10.00",
    "approved": True,
    "status": None,
}


def test_cards_show_both_sides_and_mark_what_differs() -> None:
    posting = {
        "posting_id": "P1",
        "account_number": "0002",
        "amount": "10.00",
        "posted_at": "2026-10-30T23:00:00+00:00",
    }
    left, right = cards("B08", json.dumps({"payment": PAYMENT, "postings": [posting]}), "America/Chicago")
    assert (left.title, right.title) == ("InvoiceCloud: payment", "IMT: posting")
    assert ("approved", "yes", False) in left.fields
    assert "status" not in [name for name, _, _ in left.fields]
    assert right.fields == [
        ("posting id", "P1", False), ("account number", "0002", True), ("amount", "$10.00", False),
        ("posted at", "2026-10-30 18:00 CDT", False),
    ]  # fmt: skip


def test_a_missing_side_is_shown_as_missing() -> None:
    shown = cards("B01", json.dumps({"payment": PAYMENT, "postings": None}), "UTC")
    assert [(card.title, card.note) for card in shown] == [
        ("InvoiceCloud: payment", ""),
        ("IMT: posting", "none"),
    ]


def test_many_rows_are_cut_and_said() -> None:
    posting = {"posting_id": "P", "amount": "9.99"}
    shown = cards("B03", json.dumps({"payment": PAYMENT, "postings": [posting] * 9}), "UTC")
    assert len(shown) == 6
    assert shown[-1].note == "and 5 more"
    assert ("amount", "$9.99", True) in shown[1].fields


def test_amounts_keep_their_cents_and_evidence_may_be_missing() -> None:
    found = cards(
        "B12", '{"batch": {"batch_total": 123456789012.10}, "detail": {"rows": 3, "found": "1.00"}}', "UTC"
    )
    assert found[0].fields == [("batch total", "$123,456,789,012.10", False)]
    assert cards("B37", None, "UTC") == []
