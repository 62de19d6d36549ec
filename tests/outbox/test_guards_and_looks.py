"""Guards find every wrong recall and nothing else; looks prove what they can and no more."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from tasks.invoicecloud.answers import ERRORS, UploadAnswer
from tasks.outbox.guards import Ground, findings
from tasks.outbox.looks import file_verdict, judge
from tasks.outbox.model import LOOKS, RECORDS, empty
from tasks.outbox.sender import rejected_lines
from tasks.outbox.states import ALLOWED, Move

AT = datetime(2026, 11, 2, tzinfo=UTC)
MONEY = pl.Decimal(18, 2)
D = Decimal


def record(number: str, kind: str = "A", amount: str = "0.00", line: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "record_id": f"F:{line}", "file_id": "F", "line_no": line, "invoice_number": number, "record_type": kind,
        "account_number": "0012345", "total_amount_due": D(amount), "balance_due": D(amount),
        "due_date": date(2026, 12, 1) if kind == "A" else None,
    } | more  # fmt: skip


def records(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{n: r.get(n) for n in RECORDS} for r in rows], schema=dict(RECORDS))


def ground(state: Any = (), known: Any = (), live: int = 100, share: float = 0.1, always: int = 5) -> Ground:
    return Ground(
        pl.DataFrame(list(state), schema={"invoice_number": pl.String, "status": pl.String, "still_in_imt": pl.Boolean}, orient="row"),
        pl.DataFrame(list(known), schema={"invoice_number": pl.String, "known_at_ic": pl.Boolean, "account_sent": pl.String}, orient="row"),
        live, share, always,
    )  # fmt: skip


def found(rows: pl.DataFrame, where: Ground) -> list[tuple[str, str, str]]:
    return findings(rows, where, AT).select("guard", "record_type", "invoice_number").rows()


@pytest.mark.parametrize("kind", ["R", "D"])
@pytest.mark.parametrize("status", ["OPEN", "PAID"])
def test_a_live_invoice_is_not_recalled(kind: str, status: str) -> None:
    where = ground([("I-1", status, True)], [("I-1", True, "0012345")])
    assert found(records(record("I-1", kind)), where) == [("live_invoice", kind, "I-1")]


@pytest.mark.parametrize("kind", ["R", "D"])
def test_a_recall_asks_for_nothing(kind: str) -> None:
    where = ground([("I-1", "SUPERSEDED", kind == "R")], [("I-1", True, "0012345")])
    assert found(records(record("I-1", kind, "0.01")), where) == [("amount", kind, "I-1")]
    assert found(records(record("I-1", kind)), where) == []


@pytest.mark.parametrize("kind", ["R", "D"])
def test_a_recall_needs_an_invoice_that_was_sent(kind: str) -> None:
    state = [("I-1", "SUPERSEDED", kind == "R")]
    assert found(records(record("I-1", kind)), ground(state)) == [("never_sent", kind, "I-1")]
    assert found(records(record("I-1", kind)), ground(state, [("I-1", False, None)])) == [
        ("never_sent", kind, "I-1")
    ]


@pytest.mark.parametrize(("kind", "exists"), [("R", False), ("D", True)])
def test_r_and_d_are_not_mistaken_for_one_another(kind: str, exists: bool) -> None:
    where = ground([("I-1", "CANCELLED", exists)], [("I-1", True, "0012345")])
    assert found(records(record("I-1", kind)), where) == [("wrong_kind", kind, "I-1")]
    sentence = findings(records(record("I-1", kind)), where, AT)["sentence"][0]
    assert ("has to be R at 0.00" in sentence) == exists


@pytest.mark.parametrize("kind", ["A", "R"])
def test_an_account_number_does_not_change(kind: str) -> None:
    where = ground([("I-1", "SUPERSEDED", True)], [("I-1", True, "012345")])
    assert found(records(record("I-1", kind)), where) == [("account", kind, "I-1")]


def test_a_run_may_delete_a_share_only() -> None:
    rows = [record(f"I-{n}", "D", line=n) for n in range(11)]
    state = [(r["invoice_number"], "SUPERSEDED", False) for r in rows]
    known = [(r["invoice_number"], True, "0012345") for r in rows]
    assert found(records(*rows), ground(state, known, live=100)) == [("delete_share", "D", "*")]
    assert found(records(*rows[:10]), ground(state, known, live=100)) == []
    assert found(records(*rows[:5]), ground(state, known, live=0)) == []
    assert found(records(*rows[:6]), ground(state, known, live=0)) == [("delete_share", "D", "*")]


def test_good_records_pass_and_no_records_pass() -> None:
    where = ground([("I-1", "SUPERSEDED", True), ("I-2", "OPEN", True)], [("I-1", True, "0012345")])
    assert found(records(record("I-1", "R"), record("I-2", "A", "5.00", line=2)), where) == []
    assert found(empty(RECORDS), where) == []


def view(
    number: str, there: bool | None, total: str = "0", balance: str = "0", line: int = 1, **more: Any
) -> dict[str, Any]:
    return {
        "record_id": f"F:{line}", "invoice_number": number, "found": there, "account_number": "0012345" if there else None,
        "total_amount_due": D(total) if there else None, "balance_due": D(balance) if there else None,
        "due_date": date(2026, 12, 1) if there else None,
    } | more  # fmt: skip


def verdict(sent: dict[str, Any], shown: dict[str, Any], before: dict[str, Any] | None = None) -> str:
    columns = ["invoice_number", "record_type", "total_amount_due", "balance_due", "due_date"]
    views = pl.DataFrame([{n: shown.get(n) for n in LOOKS}], schema=dict(LOOKS))
    old = records(*([before] if before else [])).select(columns)
    return str(judge(records(sent), old, views)["verdict"][0])


NEW, OLD = record("I-1", "A", "50.00"), record("I-1", "A", "40.00")


@pytest.mark.parametrize(
    ("sent", "shown", "before", "expected"),
    [
        (NEW, view("I-1", False), None, "no"),
        (NEW, view("I-1", True, "50.00", "50.00"), None, "yes"),
        (NEW, view("I-1", True, "50.00", "0.00"), None, "yes"),  # paid meanwhile
        (NEW, view("I-1", True, "49.99", "49.99"), None, "unclear"),
        (NEW, view("I-1", True, "50.00", "50.00", account_number="9"), None, "unclear"),
        (NEW, view("I-1", None), None, "unclear"),
        (NEW, view("I-1", True, "50.00", "50.00"), OLD, "yes"),
        (NEW, view("I-1", True, "40.00", "40.00"), OLD, "no"),
        (NEW, view("I-1", True, "40.00", "10.00"), OLD, "no"),
        (NEW, view("I-1", True, "50.00", "20.00"), OLD, "yes"),
        (NEW, view("I-1", True, "45.00", "45.00"), OLD, "unclear"),
        (NEW, view("I-1", True, "50.00", "50.00"), NEW, "same"),
        (record("I-1", "A", "50.00", balance_due=D("30.00")), view("I-1", True, "50.00", "30.00"), NEW, "yes"),
        (record("I-1", "A", "50.00", balance_due=D("30.00")), view("I-1", True, "50.00", "50.00"), NEW, "no"),
        (NEW, view("I-1", False), OLD, "no"),
        (NEW, view("I-1", True, "50.00", "50.00"), record("I-1", "D"), "yes"),
        (record("I-1", "R"), view("I-1", True, "0.00", "0.00"), NEW, "yes"),
        (record("I-1", "R"), view("I-1", True, "50.00", "0.01"), NEW, "no"),
        (record("I-1", "R"), view("I-1", True, "50.00", "0.00"), record("I-1", "A", "0.00"), "same"),
        (record("I-1", "R"), view("I-1", False), NEW, "unclear"),
        (record("I-1", "D"), view("I-1", False), NEW, "yes"),
        (record("I-1", "D"), view("I-1", True, "50.00", "50.00"), NEW, "no"),
    ],
)  # fmt: skip
def test_a_look_says_what_it_proves(sent: Any, shown: Any, before: Any, expected: str) -> None:
    assert verdict(sent, shown, before) == expected


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["yes", "yes", "same"], "taken"), (["no", "same"], "not_taken"), (["yes", "no"], "mixed"),
        (["yes", "unclear"], "mixed"), (["no", "unclear"], "mixed"), (["same"], "mixed"), (["unclear"], "mixed"),
    ],
)  # fmt: skip
def test_a_file_is_taken_only_if_nothing_speaks_against_it(verdicts: list[str], expected: str) -> None:
    assert file_verdict(pl.Series(verdicts)) == expected


def answer(
    accepted: int, *errors: tuple[int | None, str | None, str | None], rejected: int | None = None
) -> UploadAnswer:
    frame = pl.DataFrame(list(errors), schema=ERRORS, orient="row")
    return UploadAnswer(True, "R", accepted, len(errors) if rejected is None else rejected, frame, None, "a")


THREE = records(record("I-1", line=2), record("I-2", line=3), record("I-3", line=4))


def test_refused_lines_are_found_by_line_and_by_number() -> None:
    assert rejected_lines(THREE, answer(3)) == []
    assert rejected_lines(THREE, answer(2, (3, "I-2", "no account"))) == [(3, "no account")]
    assert rejected_lines(THREE, answer(2, (3, None, None))) == [(3, "refused without words")]
    assert rejected_lines(THREE, answer(2, (2, "I-2", "counted otherwise"))) == [(3, "counted otherwise")]


@pytest.mark.parametrize(
    "said",
    [
        answer(2), answer(3, rejected=1), answer(2, rejected=1), answer(2, (9, None, "x")), answer(2, (9, "I-9", "x")),
        answer(1, (3, "I-2", "x"), (3, "I-2", "y")), answer(3, (3, "I-2", "x")),
    ],
)  # fmt: skip
def test_an_answer_that_does_not_account_for_every_record_proves_nothing(said: UploadAnswer) -> None:
    assert rejected_lines(THREE, said) is None


def test_only_the_drawn_moves_exist_and_they_survive_json() -> None:
    with pytest.raises(ValueError, match="no move from accepted to composed"):
        Move("F", 1, AT, "accepted", "composed", "run")
    move = Move(
        "F", 1, AT, "sending", "accepted", "run", file={"settled_at": AT, "looks": 2}, rejected=[(3, "x")]
    )
    again = Move.from_json(
        {**move.as_dict(), "at": AT.isoformat(), "file": {"settled_at": AT.isoformat(), "looks": 2}}
    )
    assert again == move
    assert set(ALLOWED) == {state for states in ALLOWED.values() for state in states} | {"composed"}
