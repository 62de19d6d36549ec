"""From the two lists of a conversion to its records: every rule by itself, what is refused, and totals to the cent."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.contracts import IMT, BifRecords
from checks.describe import polars_schema
from tasks.outbox.compose import Presentment
from tasks.outbox.convert import KINDS, Conversion, compose_conversion, totals
from tasks.outbox.model import FACTS

AT = datetime(2026, 11, 10, 12, tzinfo=UTC)
OPEN = polars_schema(IMT["open_at_ic"])
LISTED = polars_schema(IMT["spectrum_invoices"])
HOW = Presentment("1234", "99999999-8888-7777-6666-555555555555", None)
NONE = pl.DataFrame(schema={"invoice_number": pl.String})


def owed(number: str, balance: str = "120.50", **change: Any) -> dict[str, Any]:
    """A row of InvoiceCloud's list."""
    return {
        "invoice_number": number, "account_number": "0012345", "total_amount_due": Decimal("120.50"),
        "balance_due": Decimal(balance), "due_date": date(2026, 12, 1),
    } | change  # fmt: skip


def held(number: str, status: str = "OPEN", balance: str = "120.50", **change: Any) -> dict[str, Any]:
    """A row of Spectrum's list."""
    return {
        **owed(number, balance), "status": status, "invoice_date": date(2026, 11, 1), "customer_name": "Ann Lee",
        "minimum_amount_due": Decimal("25.00"),
    } | change  # fmt: skip


def frames(at_ic: list[Any], spectrum: list[Any]) -> tuple[pl.DataFrame, pl.DataFrame]:
    return pl.DataFrame(at_ic, schema=OPEN), pl.DataFrame(
        [{name: row.get(name) for name in LISTED} for row in spectrum], schema=LISTED
    )


def made(at_ic: list[Any], spectrum: list[Any]) -> Conversion:
    return compose_conversion(*frames(at_ic, spectrum), HOW, AT)


def records(conversion: Conversion) -> list[tuple[str, str, str]]:
    """Type, invoice and what it asks for."""
    rows = conversion.records.select("record_type", "invoice_number", "balance_due").rows()
    return sorted((kind, number, str(amount)) for kind, number, amount in rows)


def rules(conversion: Conversion) -> list[tuple[str, str]]:
    return conversion.refusals.select("rule", "invoice_number").rows()


@pytest.mark.parametrize(
    ("status", "balance", "expected"),
    [
        ("OPEN", "120.50", []),
        ("OPEN", "80.00", [("A", "1", "80.00")]),
        ("OPEN", "-3.10", [("A", "1", "0.00")]),
        ("PAID", "0.00", [("A", "1", "0.00")]),
        ("PAID", "-3.10", [("A", "1", "0.00")]),
        ("SUPERSEDED", "120.50", [("R", "1", "0.00")]),
        ("CANCELLED", "120.50", [("R", "1", "0.00")]),
    ],
)
def test_an_invoice_that_both_have(status: str, balance: str, expected: list[Any]) -> None:
    found = made([owed("1")], [held("1", status, balance)])
    assert records(found) == expected
    assert rules(found) == []


def test_gone_from_spectrum_is_deleted_with_what_is_known_of_it() -> None:
    record = made([owed("1"), owed("2")], [held("2")]).records.row(0, named=True)
    assert (record["record_type"], record["invoice_number"], record["account_number"]) == (
        "D",
        "1",
        "0012345",
    )
    assert record["due_date"] == date(2026, 12, 1)
    assert {record[name] for name in ("total_amount_due", "balance_due", "minimum_amount_due")} == {
        Decimal(0)
    }
    assert (record["group_id"], record["event_id"], record["occurred_at"]) == ("1", None, AT)
    assert record["customer_name"] is record["invoice_date"] is record["invoice_format_guid"] is None


def test_only_what_is_open_in_spectrum_is_new_to_invoicecloud() -> None:
    rows = [held("1"), held("2", "PAID", "0.00"), held("3", "SUPERSEDED"), held("4", "CANCELLED"), held("9")]
    found = made([owed("9")], rows)
    assert records(found) == [("A", "1", "120.50")]
    record = found.records.row(0, named=True)
    assert record["invoice_format_guid"] == HOW.format_guid
    assert record["customer_name"] == "Ann Lee"
    assert found.fates.filter(pl.col("invoice_number") == "2").is_empty()


@pytest.mark.parametrize(
    "change",
    [
        {"total_amount_due": Decimal("120.51")},
        {"total_amount_due": None},
        {"due_date": date(2026, 12, 2)},
        {"due_date": None},
    ],
)
def test_anything_else_that_invoicecloud_shows_is_a_change(change: dict[str, Any]) -> None:
    found = made([owed("1", **change)], [held("1")])
    assert records(found) == [("A", "1", "120.50")]
    assert found.records["due_date"].to_list() == [date(2026, 12, 1)]
    assert found.fates["kind"].to_list() == ["changed"]


def test_a_minimum_is_never_more_than_the_balance() -> None:
    found = made([owed("1")], [held("1", balance="10.00"), held("2", minimum_amount_due=None)])
    least = dict(found.records.select("invoice_number", "minimum_amount_due").rows())
    assert least == {"1": Decimal("10.00"), "2": None}


def test_a_replaced_invoice_goes_with_its_successor_over_any_number_of_steps() -> None:
    """X → Y → Z, of which IC has X and Y; W replaces nothing."""
    rows = [
        held("Y", "SUPERSEDED", replaces_invoice_number="X"),
        held("Z", replaces_invoice_number="Y"),
        held("W"),
    ]
    found = made([owed("X"), owed("Y")], rows).records
    group = {
        number: (kind, home)
        for number, kind, home in found["invoice_number", "record_type", "group_id"].rows()
    }
    assert group == {"X": ("D", "Z"), "Y": ("R", "Z"), "Z": ("A", "Z"), "W": ("A", "W")}
    assert found["replaces_invoice_number"].drop_nulls().to_list() == ["Y"], (
        "a recall names nothing that it replaces"
    )


def test_a_fork_and_a_long_chain_are_one_group_each() -> None:
    chain = [held(f"C{n:04}", "SUPERSEDED", replaces_invoice_number=f"C{n - 1:04}") for n in range(1, 2000)]
    rows = [*chain, held("C2000", replaces_invoice_number="C1999")]
    rows += [held("F1", replaces_invoice_number="F0"), held("F2", replaces_invoice_number="F0")]
    found = made([owed("C0000"), owed("C1000"), owed("F0")], rows).records
    homes = dict(found.select("invoice_number", "group_id").rows())
    assert {homes[n] for n in ("C0000", "C1000", "C2000")} == {"C2000"}
    assert {homes[n] for n in ("F0", "F1", "F2")} == {"F1"}


def test_leading_zeros_are_part_of_a_number() -> None:
    same = made([owed("007", account_number="0001")], [held("007", account_number="0001")])
    assert same.records.is_empty()
    assert rules(same) == []
    two = made([owed("007"), owed("7")], [held("007"), held("7")])
    assert two.fates["kind"].to_list() == ["unchanged", "unchanged"]
    assert rules(two) == []


def test_a_list_that_lost_its_leading_zeros_is_refused() -> None:
    found = made([owed("7", account_number="1")], [held("007", account_number="0001")])
    assert rules(found) == [("leading_zeros", "7")]
    account = made([owed("1", account_number="12345")], [held("1", account_number="0012345")])
    assert rules(account) == [("account", "1")]
    assert "they differ in leading zeros only" in account.refusals["sentence"][0]


def test_account_numbers_do_not_change() -> None:
    found = made([owed("1"), owed("2")], [held("1", account_number="0099999"), held("2")])
    assert rules(found) == [("account", "1")]
    assert "0099999" not in found.refusals["sentence"][0], "no whole account number"
    assert "…2345" in found.refusals["sentence"][0]
    gone = made([owed("1")], [held("2", account_number="0099999", replaces_invoice_number="1")])
    assert rules(gone) == [("account", "2")]
    listed = [held("1", "SUPERSEDED"), held("2", account_number="0099999", replaces_invoice_number="1")]
    assert rules(made([owed("3")], [*listed, held("3")])) == [("account", "2")]


@pytest.mark.parametrize("status", ["OPEN", "PAID"])
def test_a_live_invoice_is_not_replaced(status: str) -> None:
    rows = [held("1", status, "0.00"), held("2", replaces_invoice_number="1")]
    assert rules(made([owed("1")], rows)) == [("live_and_replaced", "1")]


def test_contradictions_of_one_list() -> None:
    twice = made([owed("1"), owed("1", "5.00")], [held("1"), held("2"), held("2", balance="1.00")])
    assert rules(twice) == [("twice", "1"), ("twice", "2")]
    itself = made([owed("1")], [held("1", replaces_invoice_number="1")])
    assert rules(itself) == [("replaces_itself", "1")]
    paid = made([owed("1")], [held("1", "PAID", "5.00")])
    assert rules(paid) == [("paid_and_owed", "1")]
    assert "5.00 USD" in paid.refusals["sentence"][0]


def test_totals_say_what_is_done_held_and_left() -> None:
    at_ic = [owed("1"), owed("2", "100.00"), owed("3", "50.00"), owed("4", "7.77")]
    rows = [held("1"), held("2"), held("3", "SUPERSEDED"), held("5", replaces_invoice_number="3")]
    found = made(at_ic, rows)
    lines = {line["kind"]: line for line in totals(found, NONE, NONE)}
    assert list(lines) == [*KINDS, "open"]
    assert {kind: str(line["difference"]) for kind, line in lines.items()} == {
        "unchanged": "0.00", "changed": "20.50", "new": "120.50", "reissued": "-50.00", "deleted": "-7.77",
        "open": "83.23",
    }  # fmt: skip
    assert (lines["open"]["before"], lines["open"]["after"]) == (Decimal("278.27"), Decimal("361.50"))
    partly = totals(
        found, pl.DataFrame({"invoice_number": ["4"]}), pl.DataFrame({"invoice_number": ["3", "5"]})
    )
    whole = partly[-1]
    assert [whole[name] for name in ("invoices", "records", "done", "held", "to_send")] == [5, 4, 1, 2, 1]
    assert whole["after"] == Decimal("120.50") * 2 + Decimal("50.00"), "what is held stays as it is"


_number = st.sampled_from(["1", "2", "3", "4", "5", "6"])
_amount = st.sampled_from([Decimal("120.50"), Decimal("0.00"), Decimal("99.99")])
_owed = st.dictionaries(_number, st.builds(lambda balance: {"balance_due": balance}, _amount), max_size=6)
_held = st.dictionaries(
    _number,
    st.fixed_dictionaries(
        {
            "status": st.sampled_from(["OPEN", "PAID", "SUPERSEDED", "CANCELLED"]),
            "balance_due": st.one_of(_amount, st.just(Decimal("-5.00"))),
            "replaces_invoice_number": st.one_of(st.none(), _number),
        }
    ),
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(at_ic=_owed, spectrum=_held, order=st.randoms())
def test_every_open_invoice_has_one_fate_and_every_cent_is_explained(
    at_ic: Any, spectrum: Any, order: Any
) -> None:
    left = [owed(number, **change) for number, change in at_ic.items()]
    right = [held(number, **change) for number, change in spectrum.items()]
    found = made(left, right)
    fates = found.fates.filter(pl.col("invoice_number").is_in(list(at_ic)))
    assert sorted(fates["invoice_number"]) == sorted(at_ic)
    assert found.fates["invoice_number"].is_unique().all()
    assert found.records["invoice_number"].is_unique().all()
    assert found.records.height == found.fates["record_type"].drop_nulls().len()
    *parts, whole = totals(found, NONE, NONE)
    assert whole["before"] == sum(row["balance_due"] for row in at_ic.values())
    assert whole["after"] - whole["before"] == sum(part["difference"] for part in parts)
    asked = found.records["balance_due"].sum() or Decimal(0)
    assert whole["after"] == asked + parts[0]["after"]
    BifRecords.validate(found.records.select(FACTS.keys()).with_columns(state_code=pl.lit("IL")))
    order.shuffle(left)
    order.shuffle(right)
    again = made(left, right)
    assert again.records.equals(found.records)
    assert again.fates.equals(found.fates)


@settings(max_examples=100, deadline=None)
@given(spectrum=_held)
def test_what_replaces_and_what_is_replaced_are_in_one_group(spectrum: Any) -> None:
    found = made(
        [owed(str(n)) for n in range(1, 7)], [held(number, **row) for number, row in spectrum.items()]
    )
    home = dict(found.records.select("invoice_number", "group_id").rows())
    for number, row in spectrum.items():
        old = row["replaces_invoice_number"]
        if old in home and number in home:
            assert home[old] == home[number]


def test_a_bill_goes_out_with_its_whole_address() -> None:
    where = {
        "address1": "1 Main St",
        "address2": "Apt 2",
        "city": "Chicago",
        "state_code": "IL",
        "zip": "60601",
    }
    found = made([owed("9")], [held("1", **where), held("9")]).records
    assert found.select(where.keys()).row(0, named=True) == where
