"""B26: records and files that InvoiceCloud refused. B29: what the guards stopped."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest


def codes(w: Any, code: str) -> list[tuple[str, Decimal]]:
    return [(subject, amount) for found, subject, amount in w.found() if found == code]


def test_a_rejected_line(world: Any) -> None:
    w = world()
    w.invoice()
    w.record(state="rejected", reason="Due date lies before invoice date.", line_no=7)
    assert w.found() == [("B26", "INV-1", Decimal("100.00"))]
    row = w.run().breaks.row(0, named=True)
    assert row["sentence"] == (
        "InvoiceCloud refused the A record of invoice INV-1, account …5678 (line 7 of file F1), 100.00 USD: "
        "Due date lies before invoice date. Correct it in IMT: its next event sends it again."
    )
    assert (row["severity"], row["account_number"]) == ("HIGH", "0012345678")
    evidence = json.loads(row["evidence"])
    assert evidence["invoice"]["balance_due"] == "80.00"
    assert [record["line_no"] for record in evidence["records"]] == [7]


@pytest.mark.parametrize("kind", ["R", "D"])
def test_a_rejected_recall_asks_for_nothing(world: Any, kind: str) -> None:
    w = world()
    w.record(state="rejected", kind=kind, total_amount_due="0.00")
    assert w.found() == [("B26", "INV-1", Decimal("0.00"))]


def test_two_rejected_records_of_one_invoice_are_one_break(world: Any, moment: Any) -> None:
    w = world()
    w.record(at=moment(6), state="rejected", total_amount_due="70.01")
    w.record(at=moment(5), state="rejected", total_amount_due="100.00")
    assert w.found() == [("B26", "INV-1", Decimal("70.01"))]  # the newer one
    evidence = json.loads(w.run().breaks["evidence"][0])
    assert [record["file_id"] for record in evidence["records"]] == ["F2", "F1"]


def test_a_later_accepted_record_makes_it_good_and_an_earlier_does_not(world: Any, moment: Any) -> None:
    w = world()
    w.record(at=moment(4))
    w.record(at=moment(5), state="rejected")
    w.record(at=moment(6), state="in_file", file_state="unknown")
    w.record("INV-2", at=moment(6))
    assert codes(w, "B26") == [("INV-1", Decimal("100.00"))]
    w.record(at=moment(7))
    assert w.found() == []


def test_lines_of_one_file_count_in_their_order(world: Any, moment: Any) -> None:
    w = world()
    w.record(at=moment(5), file_id="F", line_no=3)
    w.record(at=moment(5), file_id="F", line_no=2, state="rejected")
    assert w.found() == []
    w.rows["records"][1]["line_no"] = 4
    assert codes(w, "B26") == [("INV-1", Decimal("100.00"))]


def test_what_died_before_ic_ever_had_it_needs_no_correction(world: Any, moment: Any) -> None:
    w = world()
    w.invoice(status="CANCELLED", at=moment(6))
    w.record(at=moment(5), state="rejected")
    assert w.found() == []
    w.record(at=moment(4))  # IC had an earlier one: then it is to be recalled, and the reject stands
    assert [code for code, _, _ in w.found()] == ["B26", "B28"]


def test_a_reject_without_words_and_an_invoice_unknown_to_imt(world: Any) -> None:
    w = world()
    w.record("Ü-0007", state="rejected", reason=" ", account_number="77")
    assert "invoice Ü-0007, account **** (line 2 of file F1), 100.00 USD: no reason given." in w.told("B26")


def test_a_refused_file_is_one_break(world: Any, moment: Any) -> None:
    w = world()
    for n in (1, 2):
        w.invoice(f"INV-{n}")
        w.record(f"INV-{n}", file_id="F9", state="refused", file_state="refused")
    w.add("files", file_id="F9", state="refused", records=2, amount="200.00", answered_at=moment(5, 17),
          message="Header is missing.", reason="refused")  # fmt: skip
    assert w.found() == [("B26", "F9", Decimal("200.00"))]
    assert w.told("B26") == (
        "InvoiceCloud refused file F9 with 2 records, 200.00 USD: Header is missing. "
        "Decide in icflows outbox whether it is sent again."
    )


@pytest.mark.parametrize("state", ["composed", "sending", "accepted", "unknown", "undecided", "dropped"])
def test_no_other_state_of_a_file_is_a_reject(world: Any, state: str) -> None:
    w = world()
    w.add("files", file_id="F9", state=state, records=2, amount="200.00")
    assert w.found() == []


def guard(w: Any, kind: str, number: str, name: str, amount: str | None = None) -> None:
    w.add("guards", found_at=w.as_of, guard=name, record_type=kind, invoice_number=number, amount=amount,
          account_number=None if number == "*" else "0012345678", event_id=f"E-{name}",
          sentence=f"{kind} for {number} fails {name}.")  # fmt: skip


def test_guards_of_the_last_run(world: Any) -> None:
    w = world()
    guard(w, "D", "INV-1", "live_invoice", "0.00")
    guard(w, "R", "INV-2", "amount", "12.34")
    guard(w, "D", "*", "delete_share")
    assert w.found() == [
        ("B29", "D/*", Decimal("0.00")),
        ("B29", "D/INV-1", Decimal("0.00")),
        ("B29", "R/INV-2", Decimal("12.34")),
    ]
    assert w.run().breaks["severity"].unique().to_list() == ["HIGH"]
    assert w.run().breaks["sentence"][2] == (
        "Nothing was sent. R for INV-2 fails amount. Correct it in IMT, or withhold the event in icflows outbox."
    )


def test_two_guards_on_one_record_count_its_amount_once(world: Any) -> None:
    w = world()
    guard(w, "R", "INV-2", "never_sent", "12.34")
    guard(w, "R", "INV-2", "amount", "12.34")
    assert w.found() == [("B29", "R/INV-2", Decimal("12.34"))]
    row = w.run().breaks.row(0, named=True)
    assert "fails amount. R for INV-2 fails never_sent." in row["sentence"]
    assert len(json.loads(row["evidence"])["guards"]) == 2
