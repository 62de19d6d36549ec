"""reliability.md 2d over real HTTP: a bad value sets its row aside, with reason and raw text, and no other row."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from sandbox import Sandbox

BAD_MONEY = [
    "NaN", "Infinity", "-Infinity", "INF", "1.005", "12.345", "1e3", "1E+2", " 1.10 ", "1.10 ", "\u00a01.10", "1_000",
    "1,000.10", "(1.10)", "$1.10", "1.10-", "+1.10", ".5", "1.", "", "-", "abc", "0x10", "٣٫٥٠", "١٢٣", "１２.３４",
    "12345678901234567.89", "1.1.1", "--1", "1 000", "1.10\u202e", "1\t", "=1+1", "<b>1</b>",
]  # fmt: skip
GOOD_MONEY = [
    ("0.00", "0.00"), ("1", "1.00"), ("1.1", "1.10"), ("007.50", "7.50"), ("9999999999999999.99", "9999999999999999.99")
]  # fmt: skip
BAD_VALUES = [
    ("PaymentGUID", "not-a-guid"),
    ("PaymentGUID", None),
    ("PaymentDateGMT", "2026-02-30T00:00:00"),
    ("PaymentDateGMT", "2026-11-01T24:00:00"),
    ("PaymentDateGMT", "2026-11-01T23:59:60"),
    ("PaymentDateGMT", "01/11/2026"),
    ("PaymentDateGMT", "2026-11-01T00:00:00+5"),
    ("PaymentDateGMT", "0001-01-01T00:00:00"),
    ("PaymentDateGMT", None),
    ("Approved", "maybe"),
    ("Approved", "TRUE"),
    ("Approved", None),
    ("ConvenienceFee", "-2.95"),
    ("ConvenienceFee", "2.955"),
    ("PaymentAmount", "-5.00"),
    ("PaymentAmount", None),
    ("AccountNumber", None),
    ("AccountNumber", "../../etc/passwd"),
    ("AccountNumber", "=1+1"),
    ("AccountNumber", "+123"),
    ("AccountNumber", "@SUM(A1)"),
    ("AccountNumber", "12\n34"),
    ("AccountNumber", "12\u202e34"),
    ("AccountNumber", "12\u200b34"),
    ("AccountNumber", " 0012345"),
    ("AccountNumber", "1" * 260),
    ("AccountNumber", "a\\b"),
    ("InvoiceNumber", "<script>"),
    ("CustomerName", "A" * 65_537),
    ("AgentCode", "A" * 65_537),
    ("CardType", "A" * 65_537),
]
FINE_VALUES = [
    ("AccountNumber", "00123\u201345", "account_number"),
    ("AccountNumber", "KTO-Ä-1", "account_number"),
    ("AccountNumber", "1" * 64, "account_number"),
    ("CustomerName", "A" * 65_536, "customer_name"),
    ("CustomerName", "=HYPERLINK(1) <b>\u202eabc</b>", "customer_name"),
    ("PaymentMessage", "line 1\nline 2\ttab", "payment_message"),
    ("PaymentSource", "HOLOGRAM", "payment_source"),
    ("PaymentTypeID", "99", "tender"),
    ("PaymentTypeID", "DROP TABLE feed.payments; --", "payment_type_id"),
]


@pytest.mark.parametrize(
    ("value", "form"), [(value, ("dataset", "soap")[n % 2]) for n, value in enumerate(BAD_MONEY)], ids=ascii
)
def test_bad_money_is_set_aside_and_the_rest_is_staged(
    value: str, form: str, office: Any, ic: Sandbox
) -> None:
    office.configure(feeds={"payments": {"form": form}})
    ic.fault("bad_value", column="PaymentAmount", value=value, row=1)
    result = office.pull()
    assert (result.status, result.rows_in, result.rows_new, result.rows_quarantined) == ("ok", 4, 3, 1)
    assert result.sum_in == Decimal("1165.59")
    (held,) = office.rows("SELECT raw, reasons, row_no, poll_id FROM quarantine.payments")
    assert json.loads(held["raw"]).get("PaymentAmount") == (value or None)
    assert json.loads(held["raw"])["PaymentGUID"].endswith("abc002")
    assert (held["row_no"], held["poll_id"]) == (2, result.poll_id)
    assert held["reasons"]
    assert "120.50" not in str(held["reasons"])
    amounts = [row["payment_amount"] for row in office.current()]
    assert sorted(amounts) == [Decimal("45.10"), Decimal("120.50"), Decimal("999.99")]


@pytest.mark.parametrize(("text", "exact"), GOOD_MONEY)
def test_exact_money_is_kept_exactly(text: str, exact: str, office: Any, ic: Sandbox) -> None:
    ic.fault("bad_money", value=text, row=3)
    result = office.pull()
    assert (result.rows_new, result.rows_quarantined) == (4, 0)
    assert Decimal(exact) in [row["payment_amount"] for row in office.current()]
    assert result.sum_in == Decimal("253.60") + Decimal(exact)


@pytest.mark.parametrize(("column", "value"), BAD_VALUES, ids=lambda value: ascii(value)[:30])
def test_a_bad_value_sets_its_row_aside(column: str, value: str | None, office: Any, ic: Sandbox) -> None:
    ic.fault("bad_value", column=column, value=value, row=0)
    result = office.pull()
    assert (result.status, result.rows_new, result.rows_quarantined) == ("ok", 3, 1)
    (held,) = office.rows("SELECT raw, reasons FROM quarantine.payments")
    raw = json.loads(held["raw"])
    assert raw.get(column) == value
    assert (raw["CustomerName"] == "Ana Díaz") is (column != "CustomerName")
    assert held["reasons"]
    assert sum(result.reasons.values()) >= 1
    line = office.rows("SELECT status, rows, detail FROM \"check\".results WHERE check_name = 'contract'")
    assert (line[0]["status"], line[0]["rows"]) == ("fail", 1)
    assert "Ana" not in line[0]["detail"]


@pytest.mark.parametrize(("column", "value", "name"), FINE_VALUES, ids=lambda value: ascii(value)[:30])
def test_odd_but_harmless_text_is_kept_as_sent(
    column: str, value: str, name: str, office: Any, ic: Sandbox
) -> None:
    ic.fault("bad_value", column=column, value=value, row=0)
    result = office.pull()
    assert (result.rows_new, result.rows_quarantined) == (4, 0)
    assert value in [row[name] for row in office.current()]
    if column in ("PaymentSource", "PaymentTypeID"):
        assert any("unknown code" in warning for warning in result.warnings)


@pytest.mark.parametrize("form", ["dataset", "soap"])
def test_a_text_of_eleven_megabytes_sets_its_row_aside(form: str, office: Any, ic: Sandbox) -> None:
    office.configure(feeds={"payments": {"form": form}})
    ic.fault("huge_text", times=-1)
    result = office.pull()
    assert (result.rows_new, result.rows_quarantined, result.form) == (3, 1, form)


@pytest.mark.parametrize(
    ("feed", "column", "value"),
    [
        ("settlements", "SettledAmount", "1.005"),
        ("settlements", "BatchItemCount", "two"),
        ("settlements", "SettledBatchID", None),
        ("settlements", "SettledAmount", "-1.00"),
        ("settlements", "TransactionType", None),
        ("ach-rejects", "RejectAmount", "0.00"),
        ("ach-rejects", "ReturnCode", "X1"),
        ("autopay", "DrawOffsetDays", "61"),
        ("autopay", "EnrolledDate", "yesterday"),
        ("paperless", "Registered", "yes"),
        ("paperless", "RegistrationDate", "2025-06-31T00:00:00"),
    ],
)
def test_bad_values_of_the_other_feeds(
    feed: str, column: str, value: str | None, office: Any, ic: Sandbox
) -> None:
    ic.fault("bad_value", column=column, value=value, row=0)
    result = office.pull(feed)
    assert (result.rows_quarantined, result.rows_new) == (1, result.rows_in - 1)


def test_a_quarantined_row_is_released_when_it_comes_right(office: Any, ic: Sandbox) -> None:
    ic.fault("bad_money", value="12.345", row=0)
    office.pull()
    result = office.pull()
    assert (result.rows_new, result.rows_unchanged) == (1, 3)
    (held,) = office.rows("SELECT * FROM quarantine.payments")
    assert held["released_at"] == office.at
    assert json.loads(held["raw"])["PaymentAmount"] == "12.345"


def test_the_same_bad_row_seen_again_is_counted_not_doubled(office: Any, ic: Sandbox) -> None:
    ic.fault("bad_money", times=-1, value="12.345", row=0)
    for _ in range(3):
        office.pull()
    (held,) = office.rows("SELECT times_seen, released_at FROM quarantine.payments")
    assert (held["times_seen"], held["released_at"]) == (3, None)


def test_a_row_that_turns_bad_again_is_open_again(office: Any, ic: Sandbox) -> None:
    ic.fault("bad_money", value="12.345", row=0)
    office.pull()
    office.pull()
    ic.fault("bad_money", value="12.345", row=0)
    office.pull()
    assert office.rows("SELECT count(*) AS n FROM quarantine.payments WHERE released_at IS NULL") == [
        {"n": 1}
    ]


def test_a_known_row_that_comes_back_unreadable_is_not_called_missing(office: Any, ic: Sandbox) -> None:
    office.pull()
    ic.fault("bad_money", value="12.345", row=0)
    result = office.pull()
    assert (result.status, result.rows_quarantined, result.rows_unchanged) == ("ok", 1, 3)
    assert len(office.current()) == 4


@pytest.mark.parametrize("feed", ["ach-rejects", "settlements"])
def test_a_row_quarantined_in_one_wire_form_is_released_by_the_other(
    feed: str, office: Any, ic: Sandbox
) -> None:
    table = feed.replace("-", "_")
    office.configure(feeds={table: {"form": "dataset"}})
    ic.fault("bad_money", value="12.345", row=0)
    assert office.pull(feed).rows_quarantined == 1
    office.configure(feeds={table: {"form": "soap"}})
    assert office.pull(feed).rows_new == 1
    assert office.rows(f"SELECT count(*) AS n FROM quarantine.{table} WHERE released_at IS NULL") == [
        {"n": 0}
    ]


def test_control_totals_are_on_record(office: Any, ic: Sandbox) -> None:
    ic.fault("conflicting_rows", rows=1)
    result = office.pull()
    (run,) = office.runs()
    fates = ("rows_new", "rows_unchanged", "rows_amended", "rows_duplicate", "rows_quarantined")
    assert run["rows_in"] == sum(run[name] for name in fates) == 5
    assert run["sum_in"] == result.sum_in == Decimal("1375.09")
    lines = office.rows('SELECT check_name, status FROM "check".results ORDER BY 1')
    assert {line["check_name"]: line["status"] for line in lines} == {
        "believable": "pass", "contract": "fail", "control_totals": "pass"
    }  # fmt: skip
