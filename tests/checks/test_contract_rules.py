"""Contracts: each rule accepts and refuses; quarantine reasons; control totals; describe."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from checks.contracts import FEEDS, IMT
from checks.control import OutOfBalance, Total, must_balance, total
from checks.describe import columns, money_columns, pii_columns, polars_schema
from checks.quarantine import ShapeError, Split, split
from tasks import stage
from tasks.errors import ControlTotalError
from tasks.staging.merge import Merged

ALL = FEEDS | IMT
GUID = "00000000-0000-4000-8000-000000000001"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
FACTS = {
    "invoice_number": "I1", "account_number": "1", "invoice_date": date(2026, 11, 1),
    "total_amount_due": Decimal("1.00"), "balance_due": Decimal("0.00"),
}  # fmt: skip
GOOD: dict[str, dict[str, Any]] = {
    "payments": {"payment_guid": GUID, "payment_date": NOW, "account_number": "0012345", "payment_amount": Decimal("1.00"),
                 "approved": True},
    "settlements": {"settled_batch_id": "B1", "settled_date": date(2026, 11, 1), "payment_guid": GUID,
                    "settled_amount": Decimal("1.00"), "transaction_type": "PAYMENT", "batch_total": Decimal("1.00"),
                    "batch_item_count": 1},
    "ach_rejects": {"reject_date": NOW, "reject_amount": Decimal("1.00"), "return_code": "R01"},
    "autopay": {"account_number": "1", "autopay": True},
    "paperless": {"account_number": "1", "paperless": True},
    "postings": {"posting_id": "P1", "system": "SPECTRUM", "account_number": "1", "amount": Decimal("1.00"),
                 "kind": "PAYMENT", "origin": "IC", "status": "POSTED", "posted_at": NOW,
                 "effective_date": date(2026, 11, 1)},
    "invoice_events": {**FACTS, "event_id": "E1", "event": "NEW", "occurred_at": NOW},
    "spectrum_invoices": {**FACTS, "status": "OPEN"},
    "open_at_ic": {"invoice_number": "I1", "account_number": "1", "balance_due": Decimal("1.00")},
    "adjustments": {"adjustment_id": "A1", "account_number": "1", "kind": "ENDORSEMENT", "amount": Decimal("1.00"),
                    "occurred_at": NOW},
    "pushes": {"push_id": f"{GUID}-1", "payment_guid": GUID, "variant": 1, "received_at": NOW, "form": "soap",
               "payment_date": NOW, "account_number": "1", "payment_amount": Decimal("1.00"), "approved": True,
               "account_known": True, "above_balance": False},
    "enrolment_pushes": {"push_id": "E1", "list": "AUTOPAY", "account_number": "1", "enrolled": True, "received_at": NOW},
    "rtdr_calls": {"call_id": "1", "called_at": NOW, "subject": "INVOICE", "form": "json", "invoice_number": "1",
                   "result": "unknown", "latency_us": 40},
    "bank_lines": {"line_id": "L1", "value_date": date(2026, 11, 1), "amount": Decimal("1.00")},
    "chargebacks": {"chargeback_id": "C1-FIRST", "case_no": "C1", "stage": "FIRST", "chargeback_date": date(2026, 11, 1),
                    "payment_guid": GUID, "amount": Decimal("1.00")},
    "refunds": {"refund_id": "R1", "refund_date": date(2026, 11, 1), "amount": Decimal("1.00")},
    "enrolment_flags": {"account_number": "1", "list": "AUTOPAY", "enrolled": True},
}  # fmt: skip
REISSUED = {"event": "REISSUED", "replaces_invoice_number": "I0", "still_in_imt": True}
HOSTILE = [
    "../../x", "..", "a/b", "a\\b", "a\x00b", "a\nb", "a\rb", "a\tb\x0b", "\x7f", "1" * 260, "1" * 65, "a\u202eb", "a\u2066b",
    "\u200eab", "a\u200bb", "\ufeff1", "a\ufffdb", "=1+1", "+1", "@x", "'x", " 1", "\u00a01", "<b>", 'a"b', ".hidden", "", "a\x85b",
]  # fmt: skip
FRIENDLY = [
    "0012345",
    "00123\u201345",
    "12\u201434",
    "KTO-Ä-1",
    "a b",
    "1" * 64,
    "契約42",
    "A_1.2",
    "-5",
    "a'b",
    "#7",
    "é",
]
REFERENCES = [
    (t, c)
    for t in ALL
    for c in ("account_number", "invoice_number", "replaces_invoice_number")
    if c in polars_schema(ALL[t])
]


def _frame(table: str, *rows: dict[str, Any]) -> pl.DataFrame:
    schema = polars_schema(ALL[table])
    data = [
        {name: (GOOD[table] | row).get(name) for name in schema} | {"row_no": n}
        for n, row in enumerate(rows, 1)
    ]
    return pl.DataFrame(data, schema=schema | {"row_no": pl.Int64()})


def _reasons(table: str, **change: Any) -> list[str]:
    key = next(iter(polars_schema(ALL[table])))
    bad = split(_frame(table, change), ALL[table], [key]).bad
    return bad["reasons"].to_list()[0] if bad.height else []


@pytest.mark.parametrize("table", ALL)
def test_a_good_row_is_accepted(table: str) -> None:
    parts = split(_frame(table, {}), ALL[table], [next(iter(polars_schema(ALL[table])))])
    assert (parts.good.height, parts.bad.height, parts.duplicates) == (1, 0, 0)


@pytest.mark.parametrize("table", ALL)
def test_every_column_that_may_not_be_null_says_so(table: str) -> None:
    needed = [column.name for column in columns(ALL[table]) if not column.nullable]
    assert needed
    for name in needed:
        assert f"{name} is missing" in _reasons(table, **{name: None})


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_hostile_reference_is_set_aside(text: str) -> None:
    for table, column in REFERENCES:
        assert f"{column} has a form that is not allowed" in _reasons(table, **{column: text}), (
            table,
            column,
        )


@pytest.mark.parametrize("text", FRIENDLY, ids=ascii)
def test_a_reference_as_people_write_them_is_accepted(text: str) -> None:
    for table, column in REFERENCES:
        around = REISSUED if table == "invoice_events" and column == "replaces_invoice_number" else {}
        assert _reasons(table, **around | {column: text}) == []


RULES = [
    ("payments", {"payment_guid": "x"}, "payment_guid has a form that is not allowed"),
    ("payments", {"payment_guid": GUID + "\n"}, "payment_guid has a form that is not allowed"),
    ("payments", {"convenience_fee": Decimal("-0.01")}, "convenience_fee is below the least that is allowed"),
    ("payments", {"payment_amount": Decimal("-0.01")}, "breaks the rule: negative only as refund"),
    ("payments", {"payment_message": "x" * 65_537}, "breaks the rule: text within limit"),
    ("payments", {"payment_message": "ä" * 32_769}, "breaks the rule: text within limit"),
    ("settlements", {"payment_guid": "CS1"}, "payment_guid has a form that is not allowed"),
    ("settlements", {"settled_amount": Decimal("-1.00")}, "breaks the rule: payment not negative"),
    ("settlements", {"payment_guid": None}, "breaks the rule: one reference at least"),
    ("settlements", {"batch_item_count": -1}, "batch_item_count is below the least that is allowed"),
    ("settlements", {"settled_batch_id": ""}, "settled_batch_id is empty or too long"),
    ("settlements", {"settled_batch_id": "B" * 65}, "settled_batch_id is empty or too long"),
    ("ach_rejects", {"reject_amount": Decimal("0.00")}, "reject_amount is below the least that is allowed"),
    ("ach_rejects", {"return_code": "R1"}, "return_code has a form that is not allowed"),
    ("ach_rejects", {"return_code": "R٠١"}, "return_code has a form that is not allowed"),
    ("ach_rejects", {"reject_sequence": 0}, "reject_sequence is below the least that is allowed"),
    ("autopay", {"draw_offset_days": -1}, "draw_offset_days is below the least that is allowed"),
    ("autopay", {"draw_offset_days": 61}, "draw_offset_days is above the most that is allowed"),
    ("autopay", {"method_last4": "12345"}, "method_last4 has a form that is not allowed"),
    ("postings", {"kind": "GIFT"}, "kind is not one of the known values"),
    ("postings", {"system": "OTHER"}, "system is not one of the known values"),
    ("postings", {"status": "posted"}, "status is not one of the known values"),
    ("postings", {"amount": Decimal("-1.00")}, "breaks the rule: sign follows kind"),
    ("postings", {"kind": "REVERSAL"}, "breaks the rule: sign follows kind"),
    ("adjustments", {"kind": "FEE", "amount": Decimal("-0.01")}, "breaks the rule: sign follows kind"),
    ("adjustments", {"kind": "CREDIT"}, "breaks the rule: sign follows kind"),
    ("adjustments", {"kind": "GIFT"}, "kind is not one of the known values"),
    ("pushes", {"form": "fax"}, "form is not one of the known values"),
    ("enrolment_pushes", {"list": "VIP"}, "list is not one of the known values"),
    ("rtdr_calls", {"result": "maybe"}, "result is not one of the known values"),
    ("invoice_events", {"total_amount_due": Decimal("-1.00")}, "total_amount_due is below the least that is allowed"),
    ("invoice_events", {"event": "DONE"}, "event is not one of the known values"),
    ("invoice_events", {"event": "REISSUED", "still_in_imt": True}, "breaks the rule: reissued names the invoice it replaces"),
    ("invoice_events", REISSUED | {"replaces_invoice_number": "I1"}, "breaks the rule: reissued names the invoice it replaces"),
    ("invoice_events", {"replaces_invoice_number": "I0"}, "breaks the rule: reissued names the invoice it replaces"),
    ("invoice_events", REISSUED | {"still_in_imt": None}, "breaks the rule: recall says if the invoice still exists"),
    ("invoice_events", {"event": "CANCELLED"}, "breaks the rule: recall says if the invoice still exists"),
    ("invoice_events", {"customer_name": "Ann\r\nA|other"}, "breaks the rule: text has no control characters"),
    ("invoice_events", {"city": "a\u2028b"}, "breaks the rule: text has no control characters"),
    ("invoice_events", {"customer_name": "=cmd()"}, "breaks the rule: text starts no formula"),
    ("invoice_events", {"address1": " @SUM(A1)"}, "breaks the rule: text starts no formula"),
    ("invoice_events", {"phone": "call me"}, "phone has a form that is not allowed"),
    ("invoice_events", {"email": "=x@example.com"}, "email has a form that is not allowed"),
    ("spectrum_invoices", {"status": "DONE"}, "status is not one of the known values"),
    ("open_at_ic", {"balance_due": Decimal("-0.01")}, "balance_due is below the least that is allowed"),
]  # fmt: skip
ALLOWED = [
    ("payments", {"payment_amount": Decimal("-5.00"), "status": "REFUNDED"}),
    ("payments", {"payment_amount": Decimal("-5.00"), "refund_of_guid": GUID}),
    ("payments", {"payment_amount": Decimal("0.00")}),
    ("payments", {"payment_message": "x" * 65_536}),
    ("settlements", {"settled_amount": Decimal("-1.00"), "transaction_type": "REJECT"}),
    ("settlements", {"payment_guid": None, "processor_reference": "CS1"}),
    ("settlements", {"transaction_type": "SOMETHING_NEW"}),
    ("ach_rejects", {"return_code": "R99"}),
    ("postings", {"kind": "REVERSAL", "amount": Decimal("-1.00")}),
    ("postings", {"kind": "TRANSFER", "amount": Decimal("-1.00")}),
    ("adjustments", {"amount": Decimal("-1.00")}),
    ("adjustments", {"kind": "CREDIT", "amount": Decimal("-1.00")}),
    ("invoice_events", {"balance_due": Decimal("-1.00")}),
    ("invoice_events", REISSUED),
    ("invoice_events", {"event": "CANCELLED", "still_in_imt": False}),
    (
        "invoice_events",
        {"phone": "+1 (515) 555-0100 x7", "email": "ann@example.com", "customer_name": "O'Neil-Ünal"},
    ),
]


@pytest.mark.parametrize(("table", "change", "reason"), RULES, ids=lambda v: ascii(v)[:40])
def test_a_rule_refuses(table: str, change: dict[str, Any], reason: str) -> None:
    assert reason in _reasons(table, **change)


@pytest.mark.parametrize(("table", "change"), ALLOWED, ids=lambda v: ascii(v)[:40])
def test_a_rule_accepts(table: str, change: dict[str, Any]) -> None:
    assert _reasons(table, **change) == []


def test_a_row_lists_all_its_reasons_and_no_value() -> None:
    reasons = _reasons(
        "payments", account_number="../secret", convenience_fee=Decimal("-1.00"), approved=None
    )
    assert len(reasons) == 3
    assert "secret" not in str(reasons)


def test_only_the_broken_rows_are_set_aside() -> None:
    rows = [
        {"payment_guid": f"{GUID[:-1]}{n}", "account_number": "ok" if n % 3 else "../x"} for n in range(9)
    ]
    parts = split(_frame("payments", *rows), FEEDS["payments"], ["payment_guid"])
    assert parts.bad["row_no"].to_list() == [1, 4, 7]
    assert parts.good["row_no"].to_list() == [2, 3, 5, 6, 8, 9]


def test_identical_rows_count_once_and_clashing_ones_not_at_all() -> None:
    other = {"payment_guid": GUID[:-1] + "2"}
    parts = split(
        _frame("payments", {}, {}, {}, other, other | {"payment_amount": Decimal("2.00")}),
        FEEDS["payments"],
        ["payment_guid"],
    )
    assert (parts.good["row_no"].to_list(), parts.bad["row_no"].to_list(), parts.duplicates) == (
        [1],
        [4, 5],
        2,
    )


def test_clashing_rows_of_which_one_comes_twice_balance() -> None:
    rows = _frame("payments", {}, {}, {"payment_amount": Decimal("2.00")})
    parts = split(rows, FEEDS["payments"], ["payment_guid"])
    assert parts.good.height + parts.bad.height + parts.duplicates == 3


@pytest.mark.parametrize(
    "wrong",
    [
        lambda f: f.drop("approved"),
        lambda f: f.with_columns(x=1),
        lambda f: f.cast({"payment_amount": pl.Float64}),
    ],
)
def test_a_wrong_shape_stops_the_load(wrong: Any) -> None:
    with pytest.raises(ShapeError):
        split(wrong(_frame("payments", {})), FEEDS["payments"], ["payment_guid"])


def test_an_empty_frame_is_fine() -> None:
    assert split(_frame("payments").head(0), FEEDS["payments"], ["payment_guid"]).good.height == 0


def test_totals_are_exact() -> None:
    frame = pl.DataFrame({"a": [Decimal("0.10")] * 1_000_000}, schema={"a": pl.Decimal(18, 2)})
    assert total(frame, "a") == Total(1_000_000, Decimal("100000.00"))
    most = pl.DataFrame({"a": [Decimal("9999999999999999.99")] * 3}, schema={"a": pl.Decimal(18, 2)})
    assert total(most, "a").amount == Decimal("29999999999999999.97")
    assert total(frame, "") == Total(1_000_000)
    assert total(frame.head(0), "a") == Total(0)


def test_what_does_not_balance_is_named() -> None:
    must_balance("x", Total(2, Decimal("3.00")), one=Total(1, Decimal("1.00")), two=Total(1, Decimal("2.00")))
    with pytest.raises(OutOfBalance, match=r"x: 2 rows 3.00 came in, but one 1 rows 1.00"):
        must_balance("x", Total(2, Decimal("3.00")), one=Total(1, Decimal("1.00")))
    with pytest.raises(OutOfBalance):
        must_balance("x", Total(1, Decimal("3.00")), one=Total(1, Decimal("3.01")))


def test_money_that_changes_between_contract_and_merge_is_caught() -> None:
    """No duplicate is there to explain the cent that the accepted rows lack."""
    came = _frame("payments", {}, {"payment_guid": GUID[:-1] + "2"})
    less = came.with_columns(payment_amount=pl.lit(Decimal("0.99"), pl.Decimal(18, 2)))
    nothing = came.head(0).select("row_no")
    merged = Merged(2, 0, 0, 0, total(less, "payment_amount"))
    with pytest.raises(ControlTotalError, match="contract: 2 rows"):
        stage._balanced(came, Split(less, nothing, nothing), nothing, merged, "payment_amount")
    with pytest.raises(ControlTotalError, match="merge: 2 rows"):
        stage._balanced(came, Split(came, nothing, nothing), nothing, merged, "payment_amount")
    whole = Merged(2, 0, 0, 0, total(came, "payment_amount"))
    assert stage._balanced(came, Split(came, nothing, nothing), nothing, whole, "payment_amount").rows_in == 2


def test_describe_is_the_source_of_types() -> None:
    kinds = {column.name: column.sql_type for column in columns(FEEDS["settlements"])}
    assert (kinds["settled_amount"], kinds["settled_date"]) == ("DECIMAL(18,2)", "DATE")
    assert (kinds["batch_item_count"], kinds["tender"]) == ("INTEGER", "VARCHAR")
    assert {c.sql_type for c in columns(FEEDS["payments"]) if c.unit == "UTC"} == {"TIMESTAMPTZ"}
    assert money_columns(FEEDS["payments"]) == ["payment_amount", "convenience_fee"]
    assert money_columns(IMT["invoice_events"]) == ["total_amount_due", "balance_due", "minimum_amount_due"]
    personal = ["customer_name", "address", "city", "state_code", "zip", "remote_ip"]
    assert pii_columns(FEEDS["payments"]) == personal
    assert pii_columns(FEEDS["autopay"]) == pii_columns(FEEDS["paperless"]) == ["email"]


@pytest.mark.parametrize("table", ALL)
def test_every_column_is_described_and_money_is_never_a_float(table: str) -> None:
    for column in columns(ALL[table]):
        assert column.description, column.name
        assert not column.dtype.is_float()
        if isinstance(column.dtype, pl.Decimal):
            assert (column.dtype.precision, column.dtype.scale, column.unit) == (18, 2, "USD")
        if isinstance(column.dtype, pl.Datetime):
            assert (column.dtype.time_unit, column.dtype.time_zone) == ("us", "UTC")
