"""Whatever IC sends, however often, in whatever order and grouping: each acknowledged push is there once."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from tasks.inbound import tables

FORMS = ("form", "soap", "json")
PUSH = st.tuples(st.integers(1, 4), st.sampled_from(["12.30", "12.31", "99.00"]), st.sampled_from(FORMS))
BATCHES = st.lists(st.lists(PUSH, max_size=5), max_size=8)
FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def clean(desk: Any) -> Callable[[], Any]:
    """clean(): the desk with an empty store, for each example."""

    def make() -> Any:
        with desk.store.writing() as connection:
            for table in (tables.pushes, tables.unread, tables.enrolment_pushes, tables.balances):
                connection.execute(delete(table))
        return desk

    return make


@FEW
@given(BATCHES)
def test_each_content_is_there_once_under_the_receipt_that_ic_got(clean: Any, batches: Any) -> None:
    desk = clean()
    contents: dict[int, list[str]] = {}
    seen: Counter[tuple[int, str]] = Counter()
    for batch in batches:
        taken = desk.take(*(desk.push(number, form, PaymentAmount=amount) for number, amount, form in batch))
        for (number, amount, _), one in zip(batch, taken, strict=True):
            known = contents.setdefault(number, [])
            expected = "known" if amount in known else "conflict" if known else "new"
            if amount not in known:
                known.append(amount)
            seen[number, amount] += 1
            assert one.verdict == expected
            assert one.receipt == f"aaaaaaaa-0000-0000-0000-{number:012d}-{known.index(amount) + 1}"
    stored = {
        (int(push_id[24:36]), f"{cents / 100:.2f}"): times
        for push_id, cents, times in desk.rows("pushes", "push_id", "payment_amount", "times_seen")
    }
    assert stored == dict(seen)
    assert len(desk.rows()) == len(seen)


@FEW
@given(st.permutations(range(1, 7)), st.integers(1, 6))
def test_the_order_of_different_payments_does_not_matter(clean: Any, order: list[int], size: int) -> None:
    desk = clean()
    desk.owes("001", "0007", 100)
    waiting = list(order)
    while waiting:
        desk.take(*(desk.push(number) for number in waiting[:size]))
        waiting = waiting[size:]
    assert [(row["push_id"][-3:], row["variant"], row["account_known"], row["above_balance"]) for row in desk.rows()] == [
        (f"{number}-1", 1, number == 1, number == 1) for number in range(1, 7)
    ]  # fmt: skip


def test_the_order_of_conflicts_decides_only_their_numbers(clean: Any) -> None:
    amounts = ["1.00", "2.00", "3.00"]
    stored = []
    for order in itertools.permutations(amounts):
        desk = clean()
        desk.take(*(desk.push(1, PaymentAmount=amount) for amount in order))
        stored.append(sorted(desk.rows("pushes", "payment_amount", "content_sha256")))
    assert stored == stored[:1] * 6


@FEW
@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(["AUTOPAY", "PAPERLESS"])), max_size=12),
    st.integers(1, 5),
)
def test_enrolments_end_as_they_were_said_last(clean: Any, said: list[tuple[bool, str]], size: int) -> None:
    desk = clean()
    names = {"AUTOPAY": "AutoPay", "PAPERLESS": "Paperless"}
    events = [desk.event(name, **{names[name]: str(int(on))}) for on, name in said]
    for start in range(0, len(events), size):
        desk.take(*events[start : start + size])
    for name in names:
        told = [on for on, of in said if of == name]
        changes = [on for on, _ in itertools.groupby(told)]
        rows = [row for row in desk.rows("enrolment_pushes") if row["list"] == name]
        rows.sort(key=lambda row: int(row["push_id"].split("-")[1]))
        assert [row["enrolled"] for row in rows] == changes
        assert sum(row["times_seen"] for row in rows) == len(told)


def test_a_store_that_is_opened_again_still_knows_them(desk: Any, tmp_path: Path) -> None:
    desk.take(desk.push(1), desk.unread(2, Approved=""))
    desk.close()
    taken = desk.take(desk.push(1), desk.unread(2, Approved=""), desk.push(1, PaymentAmount="1"))
    assert [one.verdict for one in taken] == ["known", "unread", "conflict"]
    assert len(desk.rows()) == 2
    assert len(desk.rows("unread")) == 1
