"""Files for IMT: each posting in one file, offered until it is acknowledged to the cent. On both databases."""

from __future__ import annotations

import csv
import hashlib
import io
from datetime import UTC, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import update

from sandbox.imt import Imt
from tasks.errors import StagingBusy, StorageTrouble
from tasks.inbound import handover as module
from tasks.inbound import tables
from tasks.inbound.handover import HandoverResult, hand_over, offer_again, read_acks
from tasks.inbound.handover_lines import alone

FIRST = "postings-acme-00000001.csv"


def lines(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


def give(desk: Any, minutes: float = 0) -> HandoverResult:
    return hand_over(desk.settings, "acme", desk.now + timedelta(minutes=minutes))


def hear(desk: Any, minutes: float = 0) -> Any:
    return read_acks(desk.settings, "acme", desk.now + timedelta(minutes=minutes))


def test_approved_payments_go_into_one_file_with_its_control_totals(any_desk: Any) -> None:
    desk = any_desk
    desk.owes("001", "0000007", 5000)
    desk.take(desk.push(1, AgentCode="A-1", PaymentSource="VT"), desk.push(2, ConvenienceFee=""))
    desk.take(desk.push(3, Approved="False"), desk.push(1, PaymentAmount="99"), desk.unread(4, Approved=""))
    made = give(desk)
    assert made == HandoverResult([FIRST], [FIRST], [], 2, Decimal("24.60"))
    first, second = lines(desk.handover / FIRST)
    assert first == {
        "kind": "PAYMENT", "payment_guid": "aaaaaaaa-0000-0000-0000-000000000001", "account_number": "0000007",
        "invoice_number": "001", "amount": "12.30", "convenience_fee": "2.95", "tender": "CARD",
        "payment_source": "VIRTUAL_TERMINAL", "agent_code": "A-1", "payment_date": "2026-11-10T09:04:05.000000Z",
        "received_at": "2026-11-10T12:00:00.000000Z", "above_balance": "false",
        "receipt": "aaaaaaaa-0000-0000-0000-000000000001-1",
    }  # fmt: skip
    assert (second["kind"], second["account_number"], second["convenience_fee"]) == ("SUSPENSE", "", "")
    content = (desk.handover / FIRST).read_bytes()
    assert desk.control(FIRST) == {
        "sequence": 1, "kind": "postings", "file": FIRST, "rows": 2, "amount": "24.60",
        "sha256": hashlib.sha256(content).hexdigest(), "made_at": "2026-11-10T12:00:00Z",
    }  # fmt: skip
    for value in desk.personal.values():
        assert value.encode() not in content
    assert desk.rows("pushes", "handover_sequence", "revision") == [(1, 2), (None, 1), (1, 2), (None, 1)]


def test_nothing_new_makes_no_file(any_desk: Any) -> None:
    desk = any_desk
    assert give(desk) == HandoverResult()
    desk.take(desk.push(1), desk.push(2, Approved="False"))
    assert give(desk).made == [FIRST]
    desk.take(desk.push(1), desk.push(1, PaymentAmount="7"))
    assert give(desk) == HandoverResult()
    assert len(desk.rows("handovers")) == 1


def test_without_a_folder_nothing_is_handed_over(make_desk: Any) -> None:
    desk = make_desk()
    file = desk.folder / "icflows.toml"
    file.write_text(file.read_text("utf-8").replace('"handover" = "handover"', ""), "utf-8")
    from tasks.settings import load_settings

    settings = load_settings(file)
    desk.take(desk.push(1))
    assert hand_over(settings, "acme", desk.now) == HandoverResult()
    assert read_acks(settings, "acme", desk.now).acknowledged == []


def test_parquet_keeps_types(make_desk: Any) -> None:
    desk = make_desk(handover_format="parquet")
    desk.take(desk.push(1, PaymentAmount="9999999999999999.99", AgentCode="=1+1"))
    name = give(desk).made[0]
    assert name == "postings-acme-00000001.parquet"
    frame = pl.read_parquet(desk.handover / name)
    assert frame.schema["amount"] == pl.Decimal(18, 2)
    assert frame.schema["received_at"] == pl.Datetime("us", "UTC")
    row = frame.row(0, named=True)
    assert (row["amount"], row["agent_code"]) == (Decimal("9999999999999999.99"), "=1+1")
    assert row["payment_date"].astimezone(UTC).isoformat() == "2026-11-10T09:04:05+00:00"
    assert desk.control(name)["amount"] == "9999999999999999.99"


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_no_cell_of_a_csv_starts_a_formula(desk: Any, start: str) -> None:
    evil = f"{start}cmd|' /C calc'!A0"
    desk.take(desk.push(1, AgentCode=evil, PaymentSource=evil, PaymentTypeID=evil))
    give(desk)
    (line,) = lines(desk.handover / FIRST)
    assert {line[name] for name in ("agent_code", "payment_source", "tender")} == {"'" + evil}


def test_enrolments_have_files_of_their_own_in_the_same_run_of_numbers(any_desk: Any) -> None:
    desk = any_desk
    desk.take(
        desk.event(),
        desk.event("PAPERLESS", Paperless="false", OccurredAt="2026-11-10T03:00:00Z"),
        desk.push(1),
    )
    assert give(desk).made == [FIRST, "enrolments-acme-00000002.csv"]
    path = desk.handover / "enrolments-acme-00000002.csv"
    told = {(row["list"], row["account_number"], row["enrolled"], row["occurred_at"]) for row in lines(path)}
    assert told == {
        ("AUTOPAY", "0007", "true", ""),
        ("PAPERLESS", "0007", "false", "2026-11-10T03:00:00.000000Z"),
    }
    assert "canary" not in path.read_text("utf-8")
    desk.take(desk.push(2))
    assert give(desk).made == ["postings-acme-00000003.csv"]
    desk.acknowledge(path.name)
    hear(desk)
    assert {row["acknowledged_at"] is not None for row in desk.rows("enrolment_pushes")} == {True}
    assert {row["acknowledged_at"] for row in desk.rows()} == {None}


def test_what_is_not_acknowledged_in_time_or_is_gone_is_offered_again_the_same(any_desk: Any) -> None:
    desk = any_desk
    desk.take(desk.push(1))
    give(desk)
    before = (desk.handover / FIRST).read_bytes()
    assert give(desk, 59) == HandoverResult()
    (desk.handover / FIRST).write_bytes(b"spoilt")
    assert give(desk, 60).again == [FIRST]
    assert (desk.handover / FIRST).read_bytes() == before
    (desk.handover / FIRST).unlink()
    assert give(desk, 61).again == [FIRST]
    (desk.handover / f"{FIRST}.control.json").unlink()
    assert give(desk, 62).again == [FIRST]
    assert give(desk, 63) == HandoverResult()
    assert desk.rows("handovers")[0]["times_offered"] == 4
    assert (desk.handover / FIRST).read_bytes() == before


def test_a_file_that_cannot_be_put_down_is_put_down_later(desk: Any) -> None:
    desk.take(desk.push(1))
    desk.handover.write_text("no folder")
    with pytest.raises(StorageTrouble, match="handover folder cannot be written"):
        give(desk)
    assert desk.rows("handovers")[0]["offered_at"] is None
    desk.handover.unlink()
    assert give(desk) == HandoverResult([], [FIRST], [], 0, Decimal("0.00"))
    assert len(lines(desk.handover / FIRST)) == 1


def test_many_pushes_go_into_several_files(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 10)
    monkeypatch.setattr(module, "_NUMBERED_AT_ONCE", 4)
    desk.take(*(desk.push(number) for number in range(25)))
    made = give(desk)
    assert (len(made.made), made.rows, made.amount) == (3, 25, Decimal("307.50"))
    receipts = [row["receipt"] for name in made.made for row in lines(desk.handover / name)]
    assert len(set(receipts)) == len(receipts) == 25


def test_two_runs_at_once_are_one_after_the_other(make_desk: Any, to_toml: Any) -> None:
    desk = make_desk()
    file = desk.folder / "icflows.toml"
    file.write_text(file.read_text("utf-8") + "\n[storage]\nlock_timeout_seconds = 0.1\n", "utf-8")
    from tasks.settings import load_settings

    settings = load_settings(file)
    with alone(settings, "acme"), pytest.raises(StagingBusy):
        hand_over(settings, "acme", desk.now)
    assert hand_over(settings, "acme", desk.now) == HandoverResult()


def test_a_run_that_was_overtaken_keeps_nothing(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines on one PostgreSQL have no file lock in common: the number of rows tells."""
    desk.take(desk.push(1), desk.push(2))
    as_bytes = module.as_bytes

    def overtake(frame: Any, form: Any) -> bytes:
        with desk.store.writing() as connection:
            connection.execute(
                update(tables.pushes).where(tables.pushes.c.push_id.like("%1-1")).values(handover_sequence=7)
            )
        return as_bytes(frame, form)

    monkeypatch.setattr(module, "as_bytes", overtake)
    with pytest.raises(StorageTrouble, match="another run files the pushes"):
        give(desk)
    assert desk.rows("handovers") == []
    assert desk.rows("pushes", "handover_sequence") == [(7,), (None,)]


def test_imt_books_each_receipt_once_whatever_happens_to_files_and_answers(desk: Any) -> None:
    imt = Imt(desk.handover)
    minutes = 0.0
    for number, fault in enumerate([None, "lose", "silent", "delay", "refuse", "short", None], 1):
        desk.take(desk.push(number), desk.push(number + 100))
        if fault:
            imt.fault(fault)  # type: ignore[arg-type]
        for _ in range(3):
            give(desk, minutes)
            imt.run()
            for name in hear(desk, minutes).refused:
                offer_again(desk.settings, "acme", desk.control(name)["sequence"])
            minutes += 61
    give(desk, minutes)
    imt.run()
    hear(desk, minutes)
    assert imt.doubles == 0
    assert sorted(imt.booked["receipt"]) == sorted(row["push_id"] for row in desk.rows())
    assert all(row["acknowledged_at"] for row in desk.rows())
    assert len(desk.rows("handovers")) == 7


def test_a_lost_store_goes_on_after_the_highest_number(desk: Any) -> None:
    desk.take(desk.push(1))
    hand_over(desk.settings, "acme", desk.now)
    desk.acknowledge(FIRST)
    read_acks(desk.settings, "acme", desk.now)
    desk.close()
    for path in desk.settings.folder("service").glob("service.db*"):
        path.unlink()
    desk.take(desk.push(2))
    assert hand_over(desk.settings, "acme", desk.now).made == ["postings-acme-00000002.csv"]
