"""IMT's answers: what agrees to the cent acknowledges, all else refuses or is told."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tasks.errors import Stop
from tasks.inbound.handover import HandoverResult, hand_over, offer_again, read_acks

FIRST = "postings-acme-00000001.csv"


def give(desk: Any, minutes: float = 0) -> HandoverResult:
    return hand_over(desk.settings, "acme", desk.now + timedelta(minutes=minutes))


def hear(desk: Any, minutes: float = 0) -> Any:
    return read_acks(desk.settings, "acme", desk.now + timedelta(minutes=minutes))


def test_an_equal_answer_acknowledges_and_all_three_files_are_put_away(any_desk: Any) -> None:
    desk = any_desk
    desk.take(desk.push(1), desk.push(2))
    give(desk)
    desk.acknowledge(FIRST)
    result = hear(desk, 3)
    assert (result.acknowledged, result.refused, result.strange) == ([FIRST], [], [])
    assert [row["revision"] for row in desk.rows()] == [3, 3]
    assert {row["acknowledged_at"] for row in desk.rows()} == {desk.rows("handovers")[0]["acknowledged_at"]}
    assert sorted(path.name for path in (desk.handover / "done").iterdir()) == [
        FIRST, f"{FIRST}.ack.json", f"{FIRST}.control.json",
    ]  # fmt: skip
    assert [path.name for path in desk.handover.iterdir() if path.is_file()] == []
    assert give(desk, 500) == HandoverResult()
    assert hear(desk, 501).acknowledged == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows": 3}, "rows differ"), ({"amount": "24.61"}, "amount differ"), ({"sha256": "0" * 64}, "sha256 differ"),
        ({"rows": 1, "amount": "12.30"}, "rows, amount differ"), ({"amount": "NaN"}, "amount differ"),
        ({"status": "refused", "message": "account 123456789 of jane@example.com is locked"}, "IMT refused it: account"),
        ({"status": "refused"}, "no reason given"),
    ],
)  # fmt: skip
def test_a_differing_answer_refuses_the_file(desk: Any, changes: dict[str, Any], words: str) -> None:
    desk.take(desk.push(1), desk.push(2))
    give(desk)
    desk.acknowledge(FIRST, **changes)
    assert hear(desk, 3).refused == [FIRST]
    (line,) = desk.rows("handovers")
    assert words in line["message"]
    assert "123456789" not in line["message"]
    assert "jane@" not in line["message"]
    assert line["acknowledged_at"] is None
    assert {row["acknowledged_at"] for row in desk.rows()} == {None}
    assert give(desk, 500) == HandoverResult()  # a person looks first
    assert (desk.handover / FIRST).exists()
    assert not list((desk.handover / "acks").iterdir())


def test_a_refused_file_is_offered_again_when_a_person_says_so(any_desk: Any) -> None:
    desk = any_desk
    desk.take(desk.push(1))
    give(desk)
    before = (desk.handover / FIRST).read_bytes()
    desk.acknowledge(FIRST, status="refused")
    hear(desk)
    with pytest.raises(Stop):
        offer_again(desk.settings, "acme", 2)
    assert offer_again(desk.settings, "acme", 1) == FIRST
    with pytest.raises(Stop):
        offer_again(desk.settings, "acme", 1)
    assert give(desk, 1).again == [FIRST]
    assert (desk.handover / FIRST).read_bytes() == before
    desk.acknowledge(FIRST)
    assert hear(desk, 2).acknowledged == [FIRST]


def test_a_refusal_that_imt_takes_back_and_the_other_way_round(desk: Any) -> None:
    desk.take(desk.push(1))
    give(desk)
    answers = desk.handover / "acks"
    desk.acknowledge(FIRST, status="refused")
    hear(desk)
    desk.acknowledge(FIRST)
    assert hear(desk, 1).acknowledged == [FIRST]
    (line,) = desk.rows("handovers")
    assert (line["refused_at"], line["message"]) == (None, None)
    totals = {"sequence": 1, "rows": 1, "amount": "12.30"}
    (answers / f"{FIRST}.ack.json").write_text(json.dumps(totals | {"status": "refused"}), "utf-8")
    assert hear(desk, 2).refused == [FIRST]
    assert desk.rows("handovers")[0]["refused_at"] is not None


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '"x"', '{"sequence": 1}', '{"sequence": true, "rows": 1, "amount": "1", "status": "taken"}',
        '{"sequence": 99, "rows": 1, "amount": "12.30", "status": "taken"}', "[" * 100_000, "x" * 70_000,
        '{"sequence": 1, "rows": 1.0, "amount": "12.30", "status": "taken"}',
        '{"sequence": 1, "rows": 1, "amount": "12.30", "status": "maybe"}',
        '{"sequence": %s, "rows": 1, "amount": "12.30", "status": "taken"}' % ("9" * 30),
        '{"sequence": %s, "rows": 1, "amount": "12.30", "status": "taken"}' % ("9" * 5000),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_stays_and_is_told(desk: Any, text: str) -> None:
    desk.take(desk.push(1))
    give(desk)
    (desk.handover / "acks").mkdir()
    (desk.handover / "acks" / "half.ack.json").write_text(text, "utf-8")
    result = hear(desk)
    assert (result.acknowledged, result.refused, result.strange) == ([], [], ["half.ack.json"])
    assert (desk.handover / "acks" / "half.ack.json").exists()
    assert desk.rows("handovers")[0]["acknowledged_at"] is None


@pytest.mark.parametrize("amount", ["12.3", 12.3, "12.30", "0012.30"])
def test_an_amount_counts_by_its_value(desk: Any, amount: Any) -> None:
    desk.take(desk.push(1))
    give(desk)
    desk.acknowledge(FIRST, amount=amount, sha256=None)
    assert hear(desk).acknowledged == [FIRST]
