"""What becomes of pushes in the store: each content once, flags by IMT's balances. On SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tasks.inbound import tables
from tasks.inbound.stored import beat, refuse_enrolment, take
from tasks.inbound.values import microseconds


def verdicts(taken: Any) -> list[str]:
    return [one.verdict for one in taken]


def test_the_same_push_again_gets_the_same_receipt_and_changes_nothing(any_desk: Any) -> None:
    desk = any_desk
    (first,) = desk.take(desk.push())
    before = desk.rows()
    later = desk.now + timedelta(hours=1)
    (again,) = desk.take(desk.push(form="soap", Approved="1"), at=later)
    assert (first.verdict, again.verdict) == ("new", "known")
    assert first.receipt == again.receipt == "aaaaaaaa-0000-0000-0000-000000000001-1"
    (row,) = desk.rows()
    counted = {"times_seen": 2, "last_seen_at": microseconds(later)}
    assert row == before[0] | counted
    assert (row["revision"], row["staged_revision"], row["form"]) == (1, 0, "form")


def test_other_content_under_a_known_guid_is_kept_as_a_variant(any_desk: Any) -> None:
    desk = any_desk
    desk.take(desk.push())
    first = desk.rows()[0]
    (conflict,) = desk.take(desk.push(PaymentAmount="99.00"))
    assert (conflict.verdict, conflict.receipt[-2:]) == ("conflict", "-2")
    (third,) = desk.take(desk.push(Approved="False"))
    assert third.receipt[-2:] == "-3"
    assert verdicts(desk.take(desk.push(PaymentAmount="99.00"), desk.push())) == ["known", "known"]
    assert desk.rows("pushes", "variant", "payment_amount", "times_seen") == [
        (1, 1230, 2),
        (2, 9900, 2),
        (3, 1230, 1),
    ]
    assert desk.rows()[0] == first | {"times_seen": 2}


def test_one_batch_may_hold_the_same_push_twice_and_a_conflict(any_desk: Any) -> None:
    desk = any_desk
    one, other = desk.push(), desk.push(PaymentAmount="1")
    taken = desk.take(
        one, other, one, desk.push(2), other, desk.unread(3, Approved="?"), desk.unread(3, Approved="?")
    )
    assert verdicts(taken) == ["new", "conflict", "known", "new", "known", "unread", "unread"]
    assert taken[0].receipt == taken[2].receipt
    assert taken[1].receipt == taken[4].receipt
    assert [row[1] for row in desk.rows("pushes", "push_id", "times_seen")] == [2, 2, 1]
    assert desk.rows("unread", "times_seen") == [(2,)]


def test_billers_do_not_see_each_other(any_desk: Any) -> None:
    desk = any_desk
    taken = desk.take(desk.push(), desk.push(biller="other"), desk.push(biller="other", PaymentAmount="5"))
    assert verdicts(taken) == ["new", "new", "conflict"]
    assert desk.rows("pushes", "biller", "variant") == [("acme", 1), ("other", 1), ("other", 2)]


def test_the_account_comes_by_the_invoice_and_the_balance_with_it(any_desk: Any) -> None:
    desk = any_desk
    desk.owes("001", "0000007", 1230)
    desk.take(desk.push(1))
    (row,) = desk.rows()
    assert (row["account_number"], row["account_known"]) == ("0000007", True)
    assert (row["open_balance"], row["above_balance"]) == (1230, False)


@pytest.mark.parametrize(
    ("account", "invoice", "known", "kept"),
    [
        ("0007", "unheard-of", True, "0007"), ("0008", "unheard-of", True, "0008"), ("0009", "unheard-of", False, "0009"),
        ("", "unheard-of", False, None), ("", "", False, None), ("0007", "", True, "0007"), ("7", "", False, "7"),
        ("0009", "001", True, "0009"), ("", "001", True, "0007"),
    ],
)  # fmt: skip
def test_suspense_is_what_neither_account_nor_invoice_places(
    desk: Any, account: str, invoice: str, known: bool, kept: str | None
) -> None:
    desk.owes("001", "0007", 100)
    with desk.store.writing() as connection:
        connection.execute(
            tables.accounts.insert(), {"biller": "acme", "account_number": "0008", "account_amount": 0}
        )
    desk.take(desk.push(1, InvoiceNumber=invoice, AccountNumber=account))
    assert desk.rows("pushes", "account_known", "account_number") == [(known, kept)]


def test_what_was_pushed_and_is_not_posted_yet_is_off_the_balance(any_desk: Any) -> None:
    desk = any_desk
    desk.owes("001", "0007", 3000)
    same = {"InvoiceNumber": "001"}
    desk.take(desk.push(1, **same), desk.push(2, **same), desk.push(3, **same))
    desk.take(
        desk.push(4, **same), desk.push(5, Approved="False", **same), desk.push(1, PaymentAmount="20", **same)
    )
    got = desk.rows("pushes", "push_id", "open_balance", "above_balance")
    assert [(push_id[-3:], left, above) for push_id, left, above in got] == [
        ("1-1", 3000, False), ("1-2", -1920, True), ("2-1", 1770, False), ("3-1", 540, True), ("4-1", -690, True),
        ("5-1", -1920, False),
    ]  # fmt: skip
    with desk.store.writing() as connection:  # IMT has posted them: its balance holds them now
        connection.execute(update(tables.pushes).values(posted_at=1))
        connection.execute(update(tables.balances).values(balance=1230))
    desk.take(desk.push(6, **same))
    assert desk.rows()[-1]["open_balance"] == 1230
    assert desk.rows()[-1]["above_balance"] is False


@pytest.mark.parametrize(
    ("balance", "amount", "above"),
    [
        (1230, "12.30", False),
        (1229, "12.30", True),
        (0, "0.01", True),
        (0, "0.00", False),
        (-500, "0.01", True),
    ],
)
def test_above_the_balance_is_taken_and_flagged(desk: Any, balance: int, amount: str, above: bool) -> None:
    desk.owes("001", "0007", balance)
    assert verdicts(desk.take(desk.push(1, PaymentAmount=amount))) == ["new"]
    assert desk.rows("pushes", "above_balance", "open_balance") == [(above, balance)]


def test_declines_are_kept(any_desk: Any) -> None:
    desk = any_desk
    desk.owes("001", "0007", 0)
    assert verdicts(desk.take(desk.push(1, Approved="False"))) == ["new"]
    (row,) = desk.rows()
    assert (row["approved"], row["above_balance"], row["payment_amount"]) == (False, False, 1230)


def test_an_unread_push_is_kept_once_with_its_reasons(any_desk: Any) -> None:
    desk = any_desk
    bad = desk.unread(PaymentAmount="1,00", CustomerName="Canary \u2028 Ünï\U0001f600")
    (taken,) = desk.take(bad)
    (again,) = desk.take(bad, at=desk.now + timedelta(minutes=1))
    assert taken == again
    assert taken.reasons == ("PaymentAmount is no amount with at most two decimals",)
    (row,) = desk.rows("unread")
    assert row["sha256"].startswith(taken.receipt)
    assert (row["times_seen"], row["last_seen_at"] - row["received_at"]) == (2, 60_000_000)
    assert json.loads(row["fields"])["customer_name"] == "Canary \u2028 Ünï\U0001f600"
    assert json.loads(row["reasons"]) == list(taken.reasons)
    assert desk.rows() == []


def test_an_enrolment_is_known_if_the_list_says_so_already(any_desk: Any) -> None:
    desk = any_desk
    on, off = desk.event(), desk.event(AutoPay="false")
    taken = desk.take(on, on, off, on)
    assert verdicts(taken) == ["new", "known", "new", "new"]
    assert len({one.receipt for one in taken}) == 3
    assert verdicts(desk.take(on, desk.event("PAPERLESS"), desk.event(AccountNumber="8"))) == [
        "known",
        "new",
        "new",
    ]
    assert verdicts(desk.take(desk.event(InvoiceTypeID="2"), off)) == ["new", "new"]
    assert verdicts(desk.take(off, desk.event("PAPERLESS"))) == ["known", "known"]
    assert sorted(desk.rows("enrolment_pushes", "list", "account_number", "enrolled", "times_seen")) == [
        ("AUTOPAY", "0007", False, 1), ("AUTOPAY", "0007", False, 2), ("AUTOPAY", "0007", True, 1),
        ("AUTOPAY", "0007", True, 2), ("AUTOPAY", "0007", True, 2), ("AUTOPAY", "8", True, 1),
        ("PAPERLESS", "0007", True, 2),
    ]  # fmt: skip


def test_more_than_nine_events_keep_their_order(desk: Any) -> None:
    events = [desk.event(AutoPay=str(number % 2)) for number in range(25)]
    assert verdicts(desk.take(*events)) == ["new"] * 25
    assert verdicts(desk.take(events[-1], events[-2])) == ["known", "new"]


def test_an_event_with_its_time_is_known_whenever_it_comes(any_desk: Any) -> None:
    desk = any_desk
    on = desk.event(OccurredAt="2026-11-10T03:00:00Z")
    off = desk.event(OccurredAt="2026-11-10T04:00:00Z", AutoPay="0")
    assert verdicts(desk.take(on, off)) == ["new", "new"]
    assert verdicts(desk.take(on, off)) == ["known", "known"]


def test_refused_enrolments_and_heartbeats_are_counted(any_desk: Any) -> None:
    desk = any_desk
    for minutes in (0, 5):
        refuse_enrolment(desk.store, "other", "AUTOPAY", desk.now + timedelta(minutes=minutes))
        beat(desk.store, ["other", "acme"], desk.now + timedelta(minutes=minutes))
    beat(desk.store, [], desk.now)
    (row,) = desk.rows("refusals")
    assert (row["biller"], row["list"], row["times"], row["last_at"] - row["first_at"]) == (
        "other", "AUTOPAY", 2, 300_000_000,
    )  # fmt: skip
    assert desk.rows("freshness", "biller", "alive_at") == [
        (name, microseconds(desk.now + timedelta(minutes=5))) for name in ("acme", "other")
    ]
    assert take(desk.store, [], desk.now) == []


def test_a_batch_of_hundreds_is_one_transaction(any_desk: Any) -> None:
    desk = any_desk
    commits: list[int] = []
    from sqlalchemy import event

    event.listen(desk.store.engine, "commit", lambda connection: commits.append(1))
    pushes = [desk.push(number) for number in range(400)]
    assert verdicts(desk.take(*pushes, *pushes)) == ["new"] * 400 + ["known"] * 400
    assert len(commits) == 1
    with desk.store.reading() as connection:
        assert len(connection.execute(select(tables.pushes.c.push_id)).all()) == 400


@pytest.mark.parametrize(
    ("index", "sql"),
    [
        (
            "pushes_of_invoice",
            "SELECT 1 FROM pushes WHERE biller = ? AND posted_at IS NULL AND approved AND variant = 1 AND invoice_number IN (?)",
        ),
        ("pushes_loose", f"SELECT 1 FROM pushes WHERE biller = ? AND {tables.LOOSE} AND 1 = ?"),
        ("pushes_unstaged", f"SELECT 1 FROM pushes WHERE biller = ? AND {tables.UNSTAGED} AND 1 = ?"),
        (
            "pushes_flagged",
            f"SELECT 1 FROM pushes WHERE biller = ? AND received_at >= ? AND {tables.FLAGGED} AND variant > 1",
        ),
        ("pushes_handed", "UPDATE pushes SET revision = 2 WHERE biller = ? AND handover_sequence = ?"),
        ("calls_unstaged", f"SELECT 1 FROM calls WHERE biller = ? AND {tables.UNSTAGED_CALLS} AND 1 = ?"),
    ],
)
def test_sqlite_uses_the_partial_indexes(desk: Any, index: str, sql: str) -> None:
    with desk.store.reading() as connection:
        lines = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", ("acme", 1)).all()
    assert index in str(lines)
