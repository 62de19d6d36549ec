"""The service's rows in staging: each once, changed ones as new versions, unreadable ones in quarantine."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from tasks.errors import StagingBusy
from tasks.inbound import collect as module
from tasks.inbound import tables
from tasks.inbound.collect import CollectResult, collect
from tasks.inbound.handover import hand_over, read_acks
from tasks.inbound.values import microseconds


def gather(desk: Any, minutes: float = 1) -> CollectResult:
    return collect(desk.settings, "acme", desk.now + timedelta(minutes=minutes))


def called(desk: Any, number: int, **changes: Any) -> None:
    row = {
        "biller": "acme", "called_at": microseconds(desk.now) + number, "subject": "INVOICE", "form": "soap11",
        "account_number": "0007", "invoice_number": f"00{number}", "result": "answered", "balance_answered": 1005,
        "payable": True, "known_as_of": microseconds(desk.now), "latency_us": 812,
    }  # fmt: skip
    with desk.store.writing() as connection:
        connection.execute(insert(tables.calls), row | changes)


def test_rows_arrive_as_they_were_stored(any_desk: Any) -> None:
    desk = any_desk
    desk.owes("001", "0000007", -5)
    extra = {"PaymentDescription": 'Zeile "1"; =x', "BillerReference": "R", "CardType": "", "AgentCode": "A"}
    desk.take(desk.push(1, form="json", **extra), desk.push(2, Approved="N", PaymentAmount="0"))
    desk.take(desk.event(OccurredAt="2026-11-10T03:00:00Z"))
    called(desk, 1)
    called(
        desk, 2, subject="ACCOUNT", invoice_number=None, result="stale", balance_answered=None, payable=None
    )
    result = gather(desk)
    assert (result.pushes, result.enrolment_pushes, result.unread, result.rtdr_calls) == (2, 1, 0, 2)
    assert len(result.loads) == 3
    first, second = desk.staged("SELECT * FROM imt.pushes ORDER BY push_id")
    assert first["account_number"] == "0000007"
    assert first["received_at"] == desk.now
    assert (first["payment_amount"], first["convenience_fee"]) == (Decimal("12.30"), Decimal("2.95"))
    assert (first["open_balance"], first["above_balance"]) == (Decimal("-0.05"), True)
    assert (first["payment_description"], first["card_type"], first["form"]) == (
        'Zeile "1"; =x',
        None,
        "json",
    )
    assert (first["customer_name"], first["zip"]) == ("Canary Jane Doe", "99881")
    assert (second["approved"], second["payment_amount"], second["account_known"]) == (
        False,
        Decimal("0.00"),
        False,
    )
    (event,) = desk.staged("SELECT * FROM imt.enrolment_pushes")
    assert (event["account_number"], event["enrolled"], event["list"]) == ("0007", True, "AUTOPAY")
    calls = desk.staged("SELECT * FROM imt.rtdr_calls ORDER BY called_at")
    assert calls[0]["call_id"] == "2026-11-10T12:00:00.000001Z-1"
    assert (calls[0]["balance_answered"], calls[0]["payable"], calls[0]["latency_us"]) == (
        Decimal("10.05"),
        True,
        812,
    )
    assert (calls[1]["result"], calls[1]["balance_answered"], calls[1]["payable"]) == ("stale", None, None)
    assert desk.staged("SELECT * FROM quarantine.pushes") == []


def test_collecting_again_changes_nothing(desk: Any) -> None:
    desk.take(desk.push(1), desk.event(), desk.unread(2, Approved=""))
    called(desk, 1)
    assert gather(desk) != CollectResult()
    before = desk.staged("SELECT * FROM imt.pushes_versions")
    desk.take(desk.push(1), desk.unread(2, Approved=""), desk.event())  # seen again is no change
    assert gather(desk, 2) == CollectResult()
    assert desk.staged("SELECT * FROM imt.pushes_versions") == before


def test_hand_over_and_acknowledgement_reach_staging(any_desk: Any) -> None:
    desk = any_desk
    desk.take(desk.push(1), desk.push(2, Approved="False"))
    gather(desk)
    hand_over(desk.settings, "acme", desk.now)
    assert gather(desk, 2).pushes == 1
    desk.acknowledge("postings-acme-00000001.csv")
    read_acks(desk.settings, "acme", desk.now + timedelta(minutes=3))
    assert gather(desk, 4).pushes == 1
    one, two = desk.staged("SELECT * FROM imt.pushes ORDER BY push_id")
    assert (one["handover_sequence"], one["acknowledged_at"]) == (1, desk.now + timedelta(minutes=3))
    assert (two["handover_sequence"], two["acknowledged_at"]) == (None, None)
    assert desk.staged("SELECT max(version) AS v FROM imt.pushes_versions") == [{"v": 3}]


def test_a_push_that_could_not_be_read_is_set_aside_and_released_when_it_comes_right(desk: Any) -> None:
    desk.take(desk.unread(1, PaymentAmount="1,00"), desk.unread(2, BillerGUID=desk.fields()["PaymentGUID"]))
    result = gather(desk)
    assert (result.unread, result.pushes) == (2, 0)
    assert desk.staged("SELECT * FROM imt.pushes") == []
    rows = desk.staged("SELECT * FROM quarantine.pushes ORDER BY key_text")
    assert [row["reasons"] for row in rows] == [
        ["payment_amount is no amount with at most two decimals"],
        ["variant is missing", "account_known is missing", "above_balance is missing"],
    ]
    assert '"payment_amount":"1,00"' in rows[0]["raw"]
    assert '"received_at":"2026-11-10T12:00:00.000000Z"' in rows[0]["raw"]
    desk.take(desk.push(1))
    gather(desk, 2)
    rows = desk.staged("SELECT * FROM quarantine.pushes ORDER BY key_text")
    assert [row["released_at"] is not None for row in rows] == [True, False]


@pytest.mark.parametrize("guid", ["", "not-a-guid", "AAAAAAAA-0000-0000-0000-000000000001"])
def test_no_unread_push_passes_for_a_push_whatever_is_in_it(desk: Any, guid: str) -> None:
    ours = {
        "push_id": "x", "variant": "1", "account_known": "true", "above_balance": "false", "received_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    desk.take(
        desk.unread(
            1, PaymentGUID=guid, BillerGUID="", PaymentAmount="1.00", Half="\ud800", Nul="\x00", **ours
        )
    )
    assert gather(desk).unread == 1
    assert desk.staged("SELECT * FROM imt.pushes") == []
    (row,) = desk.staged("SELECT * FROM quarantine.pushes")
    assert row["key_text"].startswith("unread-") == (len(guid) < 36)


def test_unread_enrolments_are_set_aside(desk: Any) -> None:
    from tasks.inbound.enrolments import read_enrolment

    told = {"AccountNumber": "7", "Paperless": "1", "BillerGUID": desk.fields()["PaymentGUID"]}
    desk.take(
        read_enrolment(desk.settings, "acme", "form", "PAPERLESS", told),
        read_enrolment(desk.settings, "acme", "form", "AUTOPAY", {"AccountNumber": "=7"}),
    )
    assert gather(desk).unread == 2
    rows = desk.staged("SELECT * FROM quarantine.enrolment_pushes ORDER BY raw")
    assert len(rows) == 2
    assert '"list":"PAPERLESS"' in rows[0]["raw"] + rows[1]["raw"]
    assert desk.staged("SELECT * FROM imt.enrolment_pushes") == []


def test_a_call_that_breaks_its_contract_is_set_aside(desk: Any) -> None:
    called(desk, 1, invoice_number="=evil")
    called(desk, 2)
    assert gather(desk).rtdr_calls == 2
    assert desk.staged("SELECT count(*) AS n FROM imt.rtdr_calls") == [{"n": 1}]
    assert desk.staged("SELECT count(*) AS n FROM quarantine.rtdr_calls") == [{"n": 1}]


def test_a_row_that_changes_while_it_is_loaded_comes_again(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.take(desk.push(1))
    load = module.load_file

    def change(*arguments: Any) -> Any:
        with desk.store.writing() as connection:
            connection.execute(
                update(tables.pushes).values(handover_sequence=3, revision=tables.pushes.c.revision + 1)
            )
        return load(*arguments)

    monkeypatch.setattr(module, "load_file", change)
    assert gather(desk).pushes == 1
    monkeypatch.setattr(module, "load_file", load)
    assert gather(desk, 2).pushes == 1
    assert desk.staged("SELECT handover_sequence FROM imt.pushes") == [{"handover_sequence": 3}]


def test_many_rows_come_in_several_files(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 10)
    desk.take(*(desk.push(number) for number in range(20)), desk.unread(21, Approved=""))
    result = gather(desk)
    assert (result.pushes, result.unread, len(result.loads)) == (20, 1, 3)
    assert desk.staged("SELECT count(*) AS n FROM imt.pushes") == [{"n": 20}]


def test_nothing_is_left_lying_and_nobody_else_may_look(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = desk.folder / "var/service/acme.collecting"
    folder.mkdir(parents=True)
    (folder / "pushes.parquet").write_text("what a killed run left")
    modes: list[int] = []
    load = module.load_file

    def look(settings: Any, biller: str, kind: str, path: Path, at: Any) -> Any:
        modes.append(path.parent.stat().st_mode & 0o777)
        return load(settings, biller, kind, path, at)

    monkeypatch.setattr(module, "load_file", look)
    desk.take(desk.push(1))
    gather(desk)
    assert modes == [0o700]
    assert not folder.exists()


def test_one_run_at_a_time(desk: Any) -> None:
    file = desk.folder / "icflows.toml"
    file.write_text(file.read_text("utf-8") + "\n[storage]\nlock_timeout_seconds = 0.1\n", "utf-8")
    from tasks.settings import load_settings

    settings = load_settings(file)
    with module._alone(settings, "acme"), pytest.raises(StagingBusy):
        collect(settings, "acme", desk.now)
    assert collect(settings, "acme", desk.now) == CollectResult()
