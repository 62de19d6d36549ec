"""Who claims what, where several payments stand beside each other: postings, settled rows, lines, twins."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

D = Decimal
BACK = {"kind": "REVERSAL"}


def codes(w: Any) -> list[str]:
    return [code for code, _, _ in w.found()]


def test_all_that_an_item_says_of_its_money(world: Any, moment: Any, guid_of: Any) -> None:
    w = world()
    w.payment(tender="EFT", payment_source="IVR", agent_code="A-1")
    w.posting(1, "100.00", moment(5, 18))
    w.posting(1, "-100.00", moment(9, 18), reverses_posting_id="P1", reason="NSF", **BACK)
    w.settled(1, settled_batch_id="B-7")
    w.returned(1, "100.00", moment(9))
    told = {
        "payment_guid": guid_of(1), "payment_line_no": None, "account_number": "0012345678",
        "invoice_number": "INV-1", "payment_amount": D("100.00"), "convenience_fee": D("2.50"), "approved": True,
        "tender": "EFT", "payment_source": "IVR", "agent_code": "A-1", "payment_date": moment(5),
        "posted_amount": D("100.00"), "reversed_amount": D("100.00"), "settled_amount": D("100.00"),
        "settled_date": date(2026, 10, 7), "settled_batch_id": "B-7", "returned_amount": D("100.00"),
        "reject_date": moment(9), "match_rule": "key1", "state": "EXPLAINED",
        "state_reason": "returned R01, reversed", "due_by": None, "break_codes": None,
    }  # fmt: skip
    item = w.item()
    assert {name: item[name] for name in told} == told


@pytest.mark.parametrize(
    ("link", "rule"),
    [
        ({}, "key1"),
        ({"payment_guid": None, "processor_reference": " pr1"}, "key2"),
        ({"payment_guid": None, "processor_reference": "PR1", "amount": "90.00"}, "key2"),
        ({"payment_guid": None}, "key3"),
        ({"payment_guid": None, "invoice_number": "inv\u20131 "}, "key3"),
        ({"payment_guid": None, "invoice_number": "INV-2"}, None),
        ({"payment_guid": None, "account_number": "12345678"}, None),
        ({"payment_guid": None, "origin": "LOCKBOX"}, None),
        ({"payment_guid": None, "processor_reference": "PR2"}, None),
    ],
)
def test_the_rule_by_which_a_posting_is_claimed(world: Any, link: dict[str, Any], rule: str | None) -> None:
    w = world()
    w.payment()
    w.settled()
    w.posting(1, **link)
    item = w.item()
    assert item["match_rule"] == rule
    assert item["posted_amount"] == (D(link.get("amount", "100.00")) if rule else D("0.00"))


def test_a_reversal_is_of_the_posting_that_it_takes_back(world: Any, moment: Any, guid_of: Any) -> None:
    """It names payment 2 and takes back the posting of payment 1."""
    w = world()
    w.chain(1)
    w.chain(2)
    w.posting(2, "-100.00", moment(6), reverses_posting_id="P1", **BACK)
    assert [w.item(n)["reversed_amount"] for n in (1, 2)] == [D("100.00"), D("0.00")]
    assert w.found() == [("B05", guid_of(1), D("-100.00"))]


def test_reversals_of_two_payments_stand_apart(world: Any, moment: Any) -> None:
    w = world()
    for n in (1, 2):
        w.chain(n)
    w.posting(1, "-30.00", moment(6), payment_guid=None, processor_reference="PR1", **BACK)
    w.posting(2, "-45.00", moment(6), **BACK)
    assert [w.item(n)["reversed_amount"] for n in (1, 2)] == [D("30.00"), D("45.00")]


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([("100.00", {"account_number": None})], []),
        ([("100.00", {"invoice_number": None})], []),
        ([("100.00", {"invoice_number": "INV-2"})], ["B08"]),
        ([("100.00", {"account_number": "0099999999"})], ["B08"]),
        # a wrong one that was taken back, without a word of which
        ([("100.00", {"invoice_number": "INV-2"}), ("-100.00", BACK), ("100.00", {})], []),
        ([("50.00", {"invoice_number": "INV-2"}), ("-0.01", BACK), ("50.01", {"invoice_number": "INV-3"})], ["B08"]),
        ([("50.00", {"invoice_number": "INV-2"}), ("50.00", {})], ["B08"]),
        # taken back by name, and nothing in its place: missing money, but on no wrong invoice
        ([("100.00", {"invoice_number": "INV-2"}), ("-100.00", BACK | {"reverses_posting_id": "P1"})], ["B05"]),
    ],
)  # fmt: skip
def test_b08_looks_at_what_still_stands(
    world: Any, moment: Any, steps: list[tuple[str, dict[str, Any]]], found: list[str]
) -> None:
    w = world()
    w.payment()
    w.settled()
    for hour, (amount, more) in enumerate(steps):
        w.posting(1, amount, moment(6, hour), **more)
    assert codes(w) == found


def test_a_split_payment_found_by_its_reference(world: Any, moment: Any) -> None:
    """Two postings without a guid make the sum of its lines; a third of the reference is then too much."""
    w = world()
    w.split("60.00", "40.00", convenience_fee=None)
    for number, amount in (("INV-11", "60.00"), ("INV-12", "40.00")):
        w.posting(1, amount, payment_guid=None, processor_reference="PR1", invoice_number=number)
        w.settled(1, amount, payment_guid=None, invoice_number=number)
    w.chain(2)
    assert w.found() == []
    rows = w.run().items.select(
        "payment_amount", "posted_amount", "settled_amount", "match_rule", "convenience_fee"
    )
    assert rows.rows() == [
        (D("60.00"), D("60.00"), D("60.00"), "key2", None),
        (D("40.00"), D("40.00"), D("40.00"), "key2", None),
        (D("100.00"), D("100.00"), D("100.00"), "key1", D("2.50")),
    ]


@pytest.mark.parametrize(
    ("settled", "shares"),
    [
        ([(None, "100.00")], ["60.00", "40.00"]),
        ([(None, "70.00")], ["60.00", "10.00"]),
        ([(None, "130.00")], ["60.00", "70.00"]),
        ([("INV-12", "40.00")], ["0.00", "40.00"]),
        ([("INV-12", "40.00"), (None, "60.00")], ["60.00", "40.00"]),
        ([("INV-11", "25.00"), ("INV-12", "75.00")], ["25.00", "75.00"]),
        ([("INV-11", "25.00"), ("INV-99", "35.00")], ["60.00", "0.00"]),
    ],
)
def test_the_money_of_a_split_payment_is_shared_out_to_its_lines(
    world: Any, settled: list[tuple[str | None, str]], shares: list[str]
) -> None:
    w = world()
    w.chain(2)
    w.split("60.00", "40.00")
    w.split("30.00", "20.00", n=3)
    for number, amount in settled:
        w.settled(1, amount, invoice_number=number)
    w.settled(3, "20.00", invoice_number="INV-12")
    w.settled(3, "30.00", invoice_number="INV-11")
    items = w.run().items
    assert items["settled_amount"].to_list() == [D("100.00"), *map(D, shares), D("30.00"), D("20.00")]
    assert items["payment_line_no"].to_list() == [None, 1, 2, 1, 2]


def test_two_lines_of_one_invoice_are_filled_in_their_order(world: Any) -> None:
    w = world()
    w.payment(1, "60.00", payment_line_no=1)
    w.payment(1, "40.00", payment_line_no=2)
    w.posting(1, "90.00")
    w.settled(1, "100.00")
    items = w.run().items
    assert items["posted_amount"].to_list() == [D("60.00"), D("30.00")]
    assert items["settled_amount"].to_list() == [D("60.00"), D("40.00")]


def test_lines_of_many_payments_in_any_order(world: Any, moment: Any) -> None:
    """Rows of payments with a line number and without a guid are no lines of one another."""
    w = world()
    for n, line in ((2, 2), (1, 2), (2, 1), (1, 1)):
        w.payment(n, f"{n}{line}.00", invoice_number=f"INV-{n}{line}", payment_line_no=line)
        w.posting(n, f"{n}{line}.00", invoice_number=f"INV-{n}{line}")
        w.settled(n, f"{n}{line}.00", invoice_number=f"INV-{n}{line}")
    for n in (7, 8):
        w.payment(n, "5.00", payment_guid=None, payment_line_no=1)
        w.posting(n, "5.00", payment_guid=None, processor_reference=f"PR{n}")
        w.settled(n, "5.00", payment_guid=None)
    assert w.found() == []
    items = w.run().items.select("invoice_number", "payment_amount", "posted_amount", "settled_amount")
    assert items.rows() == [
        (f"INV-{end}", *(D(f"{amount}.00"),) * 3)
        for end, amount in (("22", 22), ("12", 12), ("21", 21), ("11", 11), ("7", 5), ("8", 5))
    ]


@pytest.mark.parametrize(
    ("back", "posted"),
    [
        ({"reverses_posting_id": "OLD"}, []),  # the posting is not known: of the invoice that it names
        ({"reverses_posting_id": None}, []),
        ({"reverses_posting_id": "WRONG", "invoice_number": "INV-12"}, []),
    ],
)
def test_b07_a_reversal_counts_where_its_posting_stood(
    world: Any, moment: Any, back: dict[str, Any], posted: list[str]
) -> None:
    w = world()
    w.split("60.00", "40.00")
    w.posting(1, "40.00", invoice_number="INV-12")
    w.posting(1, "60.00", moment(5, 17), invoice_number="INV-11", posting_id="WRONG")
    w.posting(1, "-60.00", moment(5, 18), **BACK | {"invoice_number": "INV-11"} | back)
    w.posting(1, "60.00", moment(5, 19), invoice_number="INV-11")
    for number, amount in (("INV-11", "60.00"), ("INV-12", "40.00")):
        w.settled(1, amount, invoice_number=number)
    assert codes(w) == posted


def test_settled_rows_are_claimed_once_and_by_the_guid_first(world: Any, guid_of: Any) -> None:
    """Payment 1 is settled by guid; a row with its reference and no guid is nobody's."""
    w = world()
    w.chain(1)
    w.settled(1, payment_guid=None, settled_batch_id="SECOND")
    assert w.item()["settled_amount"] == D("100.00")
    assert codes(w) == ["B11"]


@pytest.mark.parametrize("kind", ["PAYMENT", "SUSPENSE"])
def test_an_excluded_row_is_supported_by_money_in(world: Any, kind: str) -> None:
    for amount, found in (("25.00", []), ("25.01", ["B42"])):
        w = world()
        w.settled(0, "25.00", payment_guid=None, processor_reference="CS1")
        link = {"payment_guid": None, "processor_reference": "CS1", "origin": "CLOUDSTORE"}
        w.posting(0, amount, kind=kind, **link)
        assert [code for code in codes(w) if code != "B41"] == found


def test_money_that_went_back_in_a_batch(world: Any, guid_of: Any) -> None:
    """Taken off as a positive amount; a positive row of that kind takes nothing."""
    for amount, state in (("-100.00", "IN_FLIGHT"), ("100.00", "MATCHED_PROVISIONAL")):
        w = world()
        w.chain()
        w.chain(2)
        w.settled(1, amount, date(2026, 10, 9), transaction_type="REJECT", settled_batch_id="BACK")
        assert [w.item(n)["state"] for n in (1, 2)] == [state, "MATCHED_PROVISIONAL"]
        assert w.item()["settled_amount"] == D("100.00")
        assert (w.item()["settled_batch_id"], w.item()["settled_date"]) == ("B2026-10-07", date(2026, 10, 7))


def test_three_lines_are_filled_in_their_order_whatever_the_rows_order(world: Any) -> None:
    w = world()
    for line, amount in ((3, "30.00"), (1, "60.00"), (2, "40.00")):
        w.payment(1, amount, payment_line_no=line, invoice_number=f"INV-1{line}")
    w.settled(1, "70.00", invoice_number=None)
    items = w.run().items.select("payment_line_no", "settled_amount").rows()
    assert items == [(3, D("0.00")), (1, D("60.00")), (2, D("10.00"))]


@pytest.mark.parametrize(("posted", "found"), [("96.00", ["B06"]), ("97.50", ["B05"]), ("104.00", ["B06"])])
def test_the_fee_of_a_split_payment_is_that_of_all_its_lines(
    world: Any, posted: str, found: list[str]
) -> None:
    w = world()
    for line, amount, fee in ((1, "60.00", "2.50"), (2, "40.00", "1.50")):
        w.payment(1, amount, payment_line_no=line, invoice_number=f"INV-1{line}", convenience_fee=fee)
    w.posting(1, posted, invoice_number="INV-11")
    w.settled(1, "100.00", invoice_number=None)
    assert codes(w) == found


def test_b08_names_all_invoices_and_a_dash_for_none(world: Any) -> None:
    w = world()
    w.payment(1, "60.00", payment_line_no=1, invoice_number="INV-11")
    w.payment(1, "40.00", payment_line_no=2, invoice_number=None)
    w.posting(1, "100.00", invoice_number="INV-99")
    w.settled(1, "100.00", invoice_number=None)
    assert codes(w) == ["B08"]
    assert "account …5678, invoice INV-11, -, and is posted to account …5678, invoice INV-99." in w.told(
        "B08"
    )
