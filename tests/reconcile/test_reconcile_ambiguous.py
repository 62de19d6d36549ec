"""B40: what may belong together is listed, and never matched."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from tasks.reconcile import reconcile

D = Decimal


def nameless(w: Any, n: int, **more: Any) -> str:
    posted: str = w.posting(n, payment_guid=None, **more)
    return posted


def two_postings(w: Any, moment: Any) -> list[int]:
    w.payment()
    nameless(w, 1)
    nameless(w, 1)
    w.settled()
    return [1]


def two_payments(w: Any, moment: Any) -> list[int]:
    for n in (1, 2):
        w.payment(n, at=moment(4 + n), invoice_number="INV-9")
        w.settled(n)
    nameless(w, 9)
    return [1, 2]


def one_guid_twice(w: Any, moment: Any) -> list[int]:
    w.payment(amount="50.00")
    w.payment(amount="50.00")
    w.posting()
    w.settled()
    return [1]


def two_settled_items(w: Any, moment: Any) -> list[int]:
    w.payment()
    w.posting()
    w.settled(payment_guid=None)
    w.settled(payment_guid=None)
    return [1]


def two_returns(w: Any, moment: Any) -> list[int]:
    w.chain(tender="EFT")
    for n, day in enumerate((9, 12), 1):
        w.returned(original_payment_guid=None, reject_sequence=n, at=moment(day))
    return [1]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (two_postings, "2 postings: P1, P2"),
        (two_payments, "1 posting: P1; 1 other payment that fits as well: {other}"),
        (one_guid_twice, "1 posting: P1; 1 settled item: B2026-10-07/{own}; 2 rows of the report"),
        (two_settled_items, "2 settled items: B2026-10-07/PR1"),
        (two_returns, "2 returns: R01 of 2026-10-09, R01 of 2026-10-12"),
    ],
)
def test_each_way(world: Any, moment: Any, guid_of: Any, made: Any, words: str) -> None:
    w = world()
    expected = made(w, moment)
    assert w.found() == [("B40", guid_of(n), D("100.00")) for n in expected]
    sentence = w.run().breaks["sentence"][0]
    assert sentence.split("payment: ", 1)[1].startswith(words.format(own=guid_of(1), other=guid_of(2)))
    items = w.run().items
    assert set(items["state"]) == {"AMBIGUOUS"}
    assert items["break_codes"].null_count() == items.height


def test_the_candidates_are_evidence(world: Any, moment: Any, guid_of: Any) -> None:
    w = world()
    two_postings(w, moment)
    row = w.run().breaks.row(0, named=True)
    told = json.loads(row["evidence"])
    assert told["payment"]["payment_guid"] == guid_of(1)
    assert told["candidates"] == [{"kind": "posting", "ids": ["P1", "P2"], "count": 2}]
    assert (row["severity"], row["payment_guid"], row["account_number"]) == ("MED", guid_of(1), "0012345678")


def test_a_split_payment_is_one_break_of_its_whole_amount(world: Any, guid_of: Any) -> None:
    w = world()
    w.split("60.00", "40.00")
    for number in (1, 1, 2, 2):
        amount = "60.00" if number == 1 else "40.00"
        w.posting(1, amount, payment_guid=None, invoice_number=f"INV-1{number}")
    w.settled()
    assert w.found() == [("B40", guid_of(1), D("100.00"))]
    assert "4 postings: P1, P2, P3, P4" in w.told("B40")


def test_a_weaker_key_adds_nothing_to_a_stronger_one(world: Any) -> None:
    """Two postings of the reference and amount; one more of the account alone is no candidate."""
    w = world()
    w.payment(invoice_number="INV-3")
    for _ in range(2):
        nameless(w, 1, processor_reference="PR1")
    nameless(w, 3, processor_reference=None, posting_id="WEAK")
    w.settled()
    assert "2 postings: P1, P2." in w.told("B40")


def test_many_are_counted_and_few_are_named(world: Any, moment: Any) -> None:
    w = world()
    w.payment()
    for _ in range(8):
        nameless(w, 1)
    w.settled()
    assert "8 postings: P1, P2, P3, P4, P5, …" in w.told("B40")
    candidates = json.loads(w.run().breaks["evidence"][0])["candidates"]
    assert [len(candidates[0]["ids"]), candidates[0]["count"]] == [5, 8]


def test_what_is_clear_is_no_candidate(world: Any) -> None:
    """Another origin, another account, a date too far away, a refused posting: none of them counts."""
    w = world()
    w.payment()
    nameless(w, 1)
    nameless(w, 1, origin="LOCKBOX")
    nameless(w, 1, account_number="0099")
    nameless(w, 1, status="REFUSED")
    w.settled()
    assert "B40" not in [code for code, _, _ in w.found()]


def test_thousands_of_equal_rows_cost_no_quadratic_list(world: Any, moment: Any) -> None:
    w = world()
    two_payments(w, moment)
    inputs = w.inputs()
    size = 3_000
    many = [inputs.payments.head(1).with_columns(payment_guid=pl.lit(f"{n:036d}")) for n in range(3)]
    many_payments = pl.concat(many * (size // 3)).with_columns(
        payment_guid=pl.format("{}", pl.int_range(pl.len()).cast(pl.String).str.zfill(36)),
        processor_reference=pl.lit(None, pl.String),
    )
    postings = pl.concat([inputs.postings] * size).with_columns(
        posting_id=pl.format("P{}", pl.int_range(pl.len()))
    )
    crowd = replace(inputs, payments=many_payments, postings=postings)
    found = reconcile(crowd, w.rules, w.as_of, w.calendar).breaks.filter(pl.col("code") == "B40")
    assert found.height == size
    assert "3000 postings" in found["sentence"][0]
    assert found["sentence"].str.len_chars().max() < 900
