"""collect_pushes: pushes reach IMT and staging, what is owed reaches the service, and people hear what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.inbound.balances import Balances
from tasks.inbound.enrolments import read_enrolment
from tasks.inbound.pushes import read_push
from tasks.inbound.store import open_store
from tasks.inbound.stored import beat, refuse_enrolment, take

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")  # imported by apprise
AT = datetime(2026, 11, 10, 18, tzinfo=UTC)  # noon in Chicago
GUID = "11111111-2222-3333-4444-555555555555"
INVOICES = (
    "event_id,event,occurred_at,invoice_number,account_number,invoice_date,due_date,total_amount_due,balance_due,"
    "minimum_amount_due"
)


class Counter:
    """A biller whom IC calls: what it pushed is put into the store as the service would."""

    def __init__(self, branch: Any) -> None:
        self.branch, self.at = branch, AT
        self.handover: Path = branch.folder / "handover"
        inbound = {"keys": ["env:ACME_WEB_SERVICE_KEY"], "handover": str(self.handover)}
        branch.configure(alerts=branch.settings.alerts.urls, inbound=inbound)
        self.store = open_store(branch.settings)

    def push(self, number: int = 1, **changes: str) -> str:
        """One payment, and what became of it."""
        fields = {
            "BillerGUID": GUID, "PaymentGUID": f"aaaaaaaa-0000-0000-0000-{number:012d}", "InvoiceNumber": "INV-1",
            "PaymentDate": "2026-11-10T15:00:00Z", "PaymentAmount": "30.00", "Approved": "True",
            "CustomerName": "Canaryname",
        } | changes  # fmt: skip
        return take(self.store, [read_push(self.branch.settings, "acme", "form", fields)], self.at)[0].verdict

    def load(self, kind: str, *lines: str) -> dict[str, Any]:
        from flows.load_file import load_file

        path = self.branch.folder / f"{kind}.csv"
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return load_file("acme", kind, str(path), as_of=self.at, settings_file=self.branch.file)

    def bill(self, balance: str = "100.00") -> dict[str, Any]:
        line = f"E1,NEW,2026-11-01T12:00:00Z,INV-1,0012345,2026-11-01,2026-11-30,100.00,{balance},25.00"
        return self.load("invoices", INVOICES, line)

    def run(self, minutes: float = 0) -> dict[str, Any]:
        from flows.collect_pushes import collect_pushes

        self.at += timedelta(minutes=minutes)
        beat(self.store, ["acme"], self.at)
        return collect_pushes("acme", as_of=self.at, settings_file=self.branch.file)

    def owed(self, number: str = "INV-1") -> Any:
        with closing(Balances(self.store)) as answers:
            return answers.invoice("acme", number, self.at, pushed_minutes=240, stale_minutes=180)

    def open_alerts(self) -> set[tuple[str, str]]:
        rows = self.branch.rows('SELECT kind, subject FROM "check".alerts WHERE cleared_at IS NULL')
        return {(row["kind"], row["subject"]) for row in rows}

    def answer(self, **changes: Any) -> None:
        """IMT answers to the file that waits."""
        control = json.loads(next(self.handover.glob("*.control.json")).read_text("utf-8"))
        (self.handover / "acks").mkdir(exist_ok=True)
        told = {key: control[key] for key in ("sequence", "rows", "amount")} | {"status": "taken"} | changes
        (self.handover / "acks" / f"{control['file']}.ack.json").write_text(json.dumps(told), "utf-8")


@pytest.fixture
def counter(branch: Any) -> Iterator[Counter]:
    one = Counter(branch)
    yield one
    one.store.close()


def test_a_push_reaches_imt_and_staging_and_its_posting_takes_over(counter: Counter) -> None:
    assert counter.bill()["balances"]["invoices"] == 1
    assert counter.owed().of.balance_due == 100
    assert counter.push() == "new"
    assert counter.owed().of.balance_due == 70
    first = counter.run()
    assert (first["handed"]["rows"], str(first["handed"]["amount"])) == (1, "30.00")
    assert first["taken"]["pushes"] == 1
    row = counter.branch.rows("SELECT * FROM imt.pushes")[0]
    assert (row["account_number"], row["account_known"], row["handover_sequence"]) == ("0012345", True, 1)
    assert (row["acknowledged_at"], str(row["open_balance"])) == (None, "100.00")
    counter.answer()
    second = counter.run(minutes=5)
    assert second["handed"]["acknowledged"] == ["postings-acme-00000001.csv"]
    assert counter.branch.rows("SELECT acknowledged_at FROM imt.pushes")[0]["acknowledged_at"] == counter.at
    counter.load(
        "postings",
        "posting_id,system,payment_guid,account_number,invoice_number,amount,kind,origin,status,posted_at,effective_date",
        "P1,SPECTRUM,AAAAAAAA-0000-0000-0000-000000000001,0012345,INV-1,30.00,PAYMENT,IC,POSTED,2026-11-10T18:04:00Z,2026-11-10",
    )
    assert counter.owed().of.balance_due == 70
    assert counter.owed().of.pushed_amount == 0
    assert counter.open_alerts() == set()


def test_adjustments_reach_the_answer_at_once(counter: Counter) -> None:
    counter.bill()
    head = "adjustment_id,account_number,invoice_number,kind,amount,occurred_at"
    result = counter.load("adjustments", head, "A1,0012345,INV-1,CREDIT,-120.00,2026-11-10T17:00:00Z")
    assert result["balances"]["invoices"] == 1
    assert (counter.owed().of.balance_due, counter.owed().of.payable) == (0, False)


def test_a_second_run_changes_nothing(counter: Counter) -> None:
    counter.bill()
    counter.push()
    counter.run()
    before = counter.branch.rows("SELECT * FROM imt.pushes_versions")
    again = counter.run(minutes=1)
    assert (again["taken"]["pushes"], again["handed"]["made"], again["balances"]["invoices"]) == (0, [], 0)
    assert counter.branch.rows("SELECT * FROM imt.pushes_versions") == before


def test_people_hear_of_what_is_wrong_once(counter: Counter, titles: Any) -> None:
    counter.bill()
    counter.push()
    assert counter.push(PaymentAmount="31.00") == "conflict"
    assert counter.push(2, PaymentAmount="30.005") == "unread"
    counter.push(3, InvoiceNumber="INV-9")
    counter.push(4, PaymentAmount="500.00")
    refuse_enrolment(counter.store, "acme", "AUTOPAY", AT)
    result = counter.run()
    kinds = {kind for kind, _ in counter.open_alerts()}
    expected = {
        "push_conflict", "push_unread", "push_suspense", "push_above_balance", "enrolment_refused",
    }  # fmt: skip
    assert kinds >= expected
    assert result["taken"]["unread"] == 1
    quarantined = counter.branch.rows("SELECT reasons FROM quarantine.pushes")
    assert len(quarantined) == 1
    told = titles()
    counter.run(minutes=5)
    assert titles() == told
    assert len(told) == len(counter.open_alerts())
    assert not any("Canaryname" in title for title in told)


def test_a_file_that_imt_leaves_lying_is_told_and_heals(counter: Counter) -> None:
    counter.bill()
    counter.push()
    counter.run()
    late = counter.run(minutes=61)
    name = "postings-acme-00000001.csv"
    assert late["handed"]["again"] == [name]
    assert counter.open_alerts() == {("handover_late", name)}
    counter.answer(rows=2)
    assert counter.run(minutes=1)["handed"]["refused"] == [name]
    assert counter.open_alerts() == {("handover_refused", name)}
    from tasks.inbound.handover import offer_again

    assert offer_again(counter.branch.settings, "acme", 1) == name
    counter.run(minutes=1)
    counter.answer()
    counter.run(minutes=1)
    assert counter.open_alerts() == set()


def test_a_service_that_is_silent_is_told_and_heals(counter: Counter) -> None:
    from flows.collect_pushes import collect_pushes

    collect_pushes("acme", as_of=AT, settings_file=counter.branch.file)
    assert counter.open_alerts() == {("service_down", "service")}
    counter.run(minutes=1)
    assert counter.open_alerts() == set()


def test_enrolments_of_mips_apps_are_handed_over(counter: Counter) -> None:
    fields = {"AccountNumber": "0012345", "AutoPay": "true", "EmailAddress": "canary@example.com"}
    event = read_enrolment(counter.branch.settings, "acme", "form", "AUTOPAY", fields)
    take(counter.store, [event], AT)
    result = counter.run()
    assert result["handed"]["made"] == ["enrolments-acme-00000001.csv"]
    assert "canary" not in (counter.handover / "enrolments-acme-00000001.csv").read_text("utf-8")
    row = counter.branch.rows("SELECT list, account_number, enrolled FROM imt.enrolment_pushes")[0]
    assert row == {"list": "AUTOPAY", "account_number": "0012345", "enrolled": True}


def test_a_biller_without_inbound_has_nothing_to_do(branch: Any) -> None:
    from flows.collect_pushes import collect_pushes

    result = collect_pushes("acme", as_of=AT, settings_file=branch.file)
    assert result == {"biller": "acme", "as_of": AT}
    assert not (branch.folder / "var" / "service").exists()


def test_what_was_collected_survives_a_replay(counter: Counter) -> None:
    from tasks.replay import replay

    counter.bill()
    counter.push()
    counter.push(2, PaymentAmount="x")
    counter.run()
    before = [counter.branch.rows(f"SELECT * FROM {name}") for name in ("imt.pushes", "quarantine.pushes")]
    replay(counter.branch.settings, "acme", counter.at)
    assert [
        counter.branch.rows(f"SELECT * FROM {name}") for name in ("imt.pushes", "quarantine.pushes")
    ] == before
