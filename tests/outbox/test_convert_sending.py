"""A conversion over real HTTP, DuckDB on disk and the archive: planned, refused, sent once, lost, killed, verified."""

from __future__ import annotations

import csv
import shutil
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sandbox.store import CarrierData
from tasks.errors import CredentialError, Retry, SettingsError, Stop
from tasks.loading import load_file
from tasks.outbox import conversion_sending
from tasks.outbox.conversion import Plan, listing, plan
from tasks.outbox.conversion_check import Verified, verify
from tasks.outbox.conversion_sending import Sent, send
from tasks.outbox.history import History
from tasks.outbox.publish import outbox_of, publish
from tasks.outbox.sender import Sender
from tasks.outbox.store import Outbox

GUID = "99999999-8888-7777-6666-555555555555"
LATER = timedelta(minutes=40)
SPOKEN = "Zebra Quagmire"
OPEN = ["invoice_number", "account_number", "total_amount_due", "balance_due", "due_date"]
LISTED = [*OPEN, "invoice_date", "status", "replaces_invoice_number", "customer_name", "pdf_path"]
Row = dict[str, str]


def owed(number: str, **change: str) -> Row:
    """A row of InvoiceCloud's list."""
    facts = {"invoice_number": number, "account_number": "0012345", "total_amount_due": "120.50"}
    return facts | {"balance_due": "120.50", "due_date": "2026-12-10"} | change


def held(number: str, status: str = "OPEN", **change: str) -> Row:
    """A row of Spectrum's list."""
    return owed(number) | {"invoice_date": "2026-11-10", "status": status, "customer_name": SPOKEN} | change


# IC has 1 to 5. Spectrum: 1 as it is, 2 paid down, 3 replaced by 3S, 4 gone for 4S, 5 gone; 6 is new.
AT_IC = [owed(n) for n in ("N-1", "N-2", "N-3", "N-4", "N-5")]
SPECTRUM = [
    held("N-1"), held("N-2", balance_due="20.00"), held("N-3", "SUPERSEDED"),
    held("N-3S", replaces_invoice_number="N-3"), held("N-4S", replaces_invoice_number="N-4"), held("N-6"),
]  # fmt: skip
WANTED = [
    ("A", "N-2", "20.00"), ("A", "N-3S", "120.50"), ("A", "N-4S", "120.50"), ("A", "N-6", "120.50"),
    ("D", "N-4", "0.00"), ("D", "N-5", "0.00"), ("R", "N-3", "0.00"),
]  # fmt: skip


class Moving:
    """An office that moves to Spectrum. IC holds the rows of its own list."""

    def __init__(self, office: Any) -> None:
        self.office, self.ic, self.at = office, office.sandbox, office.at
        self.settings = office.configure(invoice_format_guid=GUID)
        self.open_at_ic, self.spectrum = office.folder / "open_at_ic.csv", office.folder / "spectrum.csv"
        self.lists(AT_IC, SPECTRUM)
        self.ic_has(AT_IC)

    def lists(self, at_ic: list[Row], spectrum: list[Row]) -> None:
        for path, names, rows in ((self.open_at_ic, OPEN, at_ic), (self.spectrum, LISTED, spectrum)):
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, names)
                writer.writeheader()
                writer.writerows(rows)

    def ic_has(self, rows: list[Row]) -> None:
        """Puts invoices into the sandbox, as if MIPS/APPS had sent them."""
        names = [
            "account_number",
            "invoice_number",
            "",
            "",
            "",
            "",
            "due_date",
            "total_amount_due",
            "balance_due",
        ]
        lines = ["|".join(["A", *(row.get(name, "") for name in names), *[""] * 15]) for row in rows]
        total, balance = (
            sum(Decimal(row[name]) for row in rows) for name in ("total_amount_due", "balance_due")
        )
        head, tail = "HDR|1|1234|x|mips|x", f"TRL|mips|{len(rows)}|{len(rows)}|0|0|{total}|{balance}"
        cloud = self.ic.exchange.cloud
        outcome = cloud.imports.take(cloud.data, "mips.bif", "\n".join([head, *lines, tail]).encode())
        assert (outcome.accepted, outcome.refusal) == (len(rows), "")

    def plan(self) -> Plan:
        return plan(self.settings, "acme", self.open_at_ic, self.spectrum, self.at)

    def send(self, deletes: int | None = None, later: timedelta = timedelta(0)) -> Sent:
        self.wait(later)
        return send(self.settings, "acme", self.open_at_ic, self.spectrum, self.at, confirm_deletes=deletes)

    def verify(self, later: timedelta = LATER, by: str = "Ann Lee") -> Verified:
        self.wait(later)
        return verify(self.settings, "acme", self.open_at_ic, self.spectrum, by, self.at)

    def publish(self, later: timedelta = LATER) -> Any:
        self.wait(later)
        return publish(self.settings, "acme", self.at)

    def wait(self, later: timedelta) -> datetime:
        self.at += later
        self.ic.clock(self.at)
        at: datetime = self.at
        return at

    def taken(self) -> list[tuple[str, str, str]]:
        """What IC took in uploads of ours, in the order of the type."""
        rows = [r for r in self.ic.imported() if r["accepted"] and r["file_name"] != "mips.bif"]
        return sorted((r["record_type"], r["invoice_number"], str(r["balance_due"])) for r in rows)

    def uploads(self) -> int:
        return sum(call["operation"] == "UploadInvoice" for call in self.ic.calls())

    def states(self) -> list[str]:
        return [file["state"] for file in outbox_of(self.settings, "acme").files()]


@pytest.fixture
def moving(office: Any) -> Moving:
    return Moving(office)


def test_a_plan_sends_nothing(moving: Moving) -> None:
    made = moving.plan()
    assert {line["kind"]: line["to_send"] for line in made.lines} == {
        "unchanged": 0, "changed": 1, "new": 3, "reissued": 1, "deleted": 2, "open": 7,
    }  # fmt: skip
    whole = made.lines[-1]
    assert (whole["before"], whole["after"]) == (Decimal("602.50"), Decimal("502.00"))
    assert made.findings.is_empty(), "two of five may go: max_deletes_always"
    rows = listing(made)
    assert rows["fate"].unique().to_list() == ["to send"]
    assert not {"customer_name", "address1", "phone", "email"} & set(rows.columns)
    assert moving.ic.calls() == []
    assert moving.states() == []


def test_sent_once_and_signed(moving: Moving) -> None:
    sent = moving.send()
    assert (sent.result.status, sent.result.records, sent.result.amount) == ("sent", 7, Decimal("381.50"))
    assert moving.taken() == WANTED
    assert [(line["done"], line["to_send"]) for line in sent.plan.lines][-1] == (7, 0)
    again = moving.send(deletes=2, later=LATER)
    assert (again.result.status, again.result.records, moving.uploads()) == ("nothing", 0, 1)
    records = moving.office.rows("SELECT DISTINCT event_id, occurred_at, state FROM outbox.records")
    assert [(r["event_id"], r["occurred_at"]) for r in records] == [(None, moving.office.at)]
    homes = moving.office.rows("SELECT group_id, count(*) AS n FROM outbox.records GROUP BY 1 ORDER BY 1")
    assert [(h["group_id"], h["n"]) for h in homes] == [
        ("N-2", 1),
        ("N-3S", 2),
        ("N-4S", 2),
        ("N-5", 1),
        ("N-6", 1),
    ]
    found = moving.verify()
    assert found.statement == "all 7 records verified"
    assert (found.missing, found.counts) == (0, {"verified": 7})


def test_what_spectrum_had_at_its_time_is_when_it_happened(moving: Moving) -> None:
    early = moving.at - timedelta(hours=3)
    send(moving.settings, "acme", moving.open_at_ic, moving.spectrum, moving.at, listed_at=early)
    assert moving.office.rows("SELECT DISTINCT occurred_at FROM outbox.records") == [{"occurred_at": early}]


@pytest.mark.parametrize(
    ("spectrum", "words"),
    [
        (held("N-1", account_number="0099999"), "account numbers do not change"),
        (held("N-1S", replaces_invoice_number="N-1"), "also says that N-1S replaces it"),
    ],
)
def test_contradictions_stop_it_whole(moving: Moving, spectrum: Row, words: str) -> None:
    rows = {row["invoice_number"]: row for row in [*SPECTRUM, spectrum]}
    moving.lists(AT_IC, list(rows.values()))
    assert moving.plan().conversion.refusals.height == 1
    with pytest.raises(Stop, match=words) as stop:
        moving.send()
    assert stop.value.reason == "contradiction"
    assert "0099999" not in str(stop.value)
    assert moving.uploads() == 0


def test_a_row_set_aside_makes_it_incomplete(moving: Moving) -> None:
    moving.lists(AT_IC, [*SPECTRUM[1:], held("N-1", balance_due="1.234")])
    made = moving.plan()
    assert (made.lists.aside, made.deletes) == (1, 3), "N-1 is open, and would be deleted"
    with pytest.raises(Stop, match=r"spectrum\.csv: row 6 is set aside: balance_due is no amount") as stop:
        moving.send()
    assert stop.value.reason == "incomplete_lists"
    assert (moving.uploads(), moving.states()) == (0, [])
    moving.lists(AT_IC, SPECTRUM)
    assert moving.send().result.status == "sent"


def test_more_deletes_than_a_run_may_make(moving: Moving) -> None:
    moving.settings = moving.office.configure(invoice_format_guid=GUID, outbound={"max_deletes_always": 1})
    blocked = moving.send()
    assert (blocked.result.status, [g["guard"] for g in blocked.result.guards]) == (
        "blocked",
        ["delete_share"],
    )
    assert moving.office.rows("SELECT guard, invoice_number FROM outbox.guards") == [
        {"guard": "delete_share", "invoice_number": "*"}
    ]
    with pytest.raises(Stop, match="3 deletes are confirmed, but 2 would be sent"):
        moving.send(deletes=3)
    assert moving.uploads() == 0
    assert moving.send(deletes=2).result.records == 7
    assert moving.office.rows("SELECT * FROM outbox.guards") == []
    assert moving.send(deletes=2).result.status == "nothing", "the same command again"


def test_a_lost_answer_is_settled_by_asking(moving: Moving) -> None:
    moving.ic.fault("close_no_reply", operation="UploadInvoice")
    assert [f["state"] for f in moving.send().result.files] == ["unknown"]
    for stop in (moving.send, moving.verify):
        with pytest.raises(Stop, match="icflows publish --biller acme asks InvoiceCloud") as error:
            stop()
        assert error.value.reason == "outbox_open"
    assert moving.publish().status == "sent"
    assert moving.states() == ["accepted"]
    assert (moving.send().result.status, moving.taken(), moving.uploads()) == ("nothing", WANTED, 1)
    assert moving.verify().missing == 0


def test_an_upload_that_never_arrived_is_sent_again_by_publish(moving: Moving) -> None:
    moving.ic.fault("not_taken", operation="UploadInvoice")
    moving.send()
    for _ in range(3):
        moving.publish()
    assert (moving.taken(), moving.states(), moving.uploads()) == (WANTED, ["accepted"], 2)
    assert moving.send().result.status == "nothing"
    assert moving.verify().statement == "all 7 records verified"


def test_refused_lines_alone_are_sent_again(moving: Moving) -> None:
    moving.ic.fault(
        "reject_lines", operation="UploadInvoice", invoices=["N-4", "N-6"], message="Account is locked"
    )
    first = moving.send()
    assert (first.result.records, first.result.files[0]["records_rejected"]) == (5, 2)
    found = moving.verify()
    assert found.statement == "2 of 7 records not verified; not signed off"
    assert set(found.rows["why"].drop_nulls()) == {"InvoiceCloud refused it: Account is locked"}
    second = moving.send()
    assert (second.result.records, second.result.status) == (2, "sent")
    assert moving.taken() == WANTED
    assert moving.verify().missing == 0


def test_a_refused_line_made_good_by_the_hourly_run_is_not_sent_again(moving: Moving) -> None:
    moving.ic.fault("reject_lines", operation="UploadInvoice", invoices=["N-6"])
    moving.send()
    path = moving.office.folder / "events.csv"
    event = owed("N-6", balance_due="99.00") | {
        "event_id": "E-1",
        "event": "CHANGED",
        "invoice_date": "2026-11-10",
    }
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*event, "occurred_at"])
        writer.writeheader()
        writer.writerow(event | {"occurred_at": "2026-11-10T12:10:00Z"})
    load_file(moving.settings, "acme", "invoices", path, moving.wait(LATER))
    assert moving.publish().records == 1
    assert moving.send().result.status == "nothing"
    found = moving.verify()
    assert found.missing == 0
    row = found.rows.row(by_predicate=pl.col("invoice_number") == "N-6", named=True)
    assert (row["balance_due"], row["why"]) == (
        Decimal("99.00"), "a later file asked for something else, and InvoiceCloud shows that",
    )  # fmt: skip


def test_other_lists_later_send_what_they_change(moving: Moving) -> None:
    moving.send()
    moving.wait(LATER)
    moving.lists(
        [owed("N-6"), owed("N-2", balance_due="20.00")], [held("N-6", balance_due="7.00"), held("N-2")]
    )
    assert moving.send().result.records == 2
    moving.wait(LATER)
    moving.lists([owed("N-2")], [held("N-2", balance_due="20.00")])
    assert moving.send().result.records == 1, "asked for once before, but not last"


def test_not_let_in_goes_on_with_the_same_file(moving: Moving) -> None:
    moving.ic.fault("http_429", operation="UploadInvoice")
    assert [f["state"] for f in moving.send().result.files] == ["composed"]
    assert moving.send().result.records == 7
    assert (moving.taken(), moving.states()) == (WANTED, ["accepted"])


def test_a_composed_file_of_other_lists_is_not_sent(moving: Moving) -> None:
    moving.ic.fault("http_429", operation="UploadInvoice")
    moving.send()
    moving.lists(AT_IC, [held("N-5"), *SPECTRUM])
    with pytest.raises(Stop, match=r"\(convert\) is composed: icflows publish --biller acme sends it"):
        moving.send()
    assert moving.taken() == []


def test_a_wrong_key_stops_it_and_the_next_run_goes_on(
    moving: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "ACME_WEB_SERVICE_KEY"
    with monkeypatch.context() as wrong:
        wrong.setenv(key, "not-the-key")
        with pytest.raises(CredentialError):
            moving.send()
    assert moving.states() == ["composed"]
    assert moving.send().result.records == 7
    assert moving.taken() == WANTED


class Killed(BaseException):
    """kill -9: nothing catches it."""


# What dies, at which call of it, before or after it.
DEATHS = [
    (History, "keep", 1, "before"),  # nothing is kept
    (History, "keep", 1, "after"),  # in the archive, not in staging
    (Outbox, "compose", 1, "after"),  # composed, nothing sent
    (History, "note", 1, "after"),  # to be sent: noted, not made
    (Outbox, "move", 1, "after"),  # sending, and not a byte left
    (Sender, "_answered", 1, "before"),  # IC took it, nobody noted that
    (History, "note", 2, "after"),  # accepted: noted, not made
]


def test_killed_between_any_two_steps_nothing_is_lost_or_doubled(
    office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the command again, and the hourly run where it says so, until there is nothing left to send."""
    for owner, name, call, when in DEATHS:
        moving = Moving(office)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, _deadly(owner, name, call, when))
            with pytest.raises(Killed):
                moving.send()
        status = ""
        for _ in range(6):
            moving.wait(LATER)
            try:
                status = moving.send().result.status
            except Stop:
                moving.publish(timedelta(0))
            if status == "nothing":
                break
        assert (status, moving.taken()) == ("nothing", WANTED), f"killed {when} {name}"
        assert set(moving.states()) == {"accepted"}
        _start_again(office)


def _deadly(owner: type, name: str, call: int, when: str) -> Any:
    original, calls = getattr(owner, name), []

    def method(self: Any, *args: Any, **named: Any) -> Any:
        calls.append(name)
        if when == "before" and len(calls) == call:
            raise Killed
        result = original(self, *args, **named)
        if when == "after" and len(calls) == call:
            raise Killed
        return result

    return method


def _start_again(office: Any) -> None:
    """An empty outbox, an IC that knows nothing of it."""
    shutil.rmtree(office.folder / "var")
    cloud = office.sandbox.exchange.cloud
    cloud.data = CarrierData(cloud.data.folder)
    office.sandbox.clock(office.at)


def test_a_missing_image_holds_its_whole_group(moving: Moving) -> None:
    images = moving.office.folder / "images"
    images.mkdir()
    for number in ("N-2", "N-3S", "N-6"):
        (images / f"1234_0012345_{number}.pdf").write_bytes(
            b"%PDF-1.4\n1 0 obj <<>> endobj\ntrailer <<>>\n%%EOF\n"
        )
    moving.lists(AT_IC, [row | {"pdf_path": f"1234_0012345_{row['invoice_number']}.pdf"} for row in SPECTRUM])
    outbound = {"images": str(images), "max_deletes_always": 5}
    sftp = {
        "host": "127.0.0.1",
        "port": 1,
        "username": "x",
        "host_key": "ssh-ed25519 AAAA",
        "password": "env:X",
    }
    moving.settings = moving.office.configure(invoice_format_guid=GUID, outbound=outbound, sftp=sftp)
    (images / "1234_0012345_N-9.pdf").write_bytes(b"%PDF-1.4 nobody asks for it here")
    made = moving.plan()
    assert sorted(made.held["invoice_number"]) == ["N-4", "N-4S"], "the recall waits for its successor"
    assert made.shown.seen.select("state", "invoice_number").rows() == [("missing", "N-4S")]
    assert made.going.filter(pl.col("record_type") == "A")["image_name"].null_count() == 0
    rows = listing(made).filter(pl.col("fate") == "held")
    assert rows["reason"].str.starts_with("image missing").all()
    whole = made.lines[-1]
    assert (whole["held"], whole["to_send"]) == (2, 5)
    assert whole["after"] == Decimal("120.50") * 4 + Decimal("20.00"), "N-1, N-3S, N-4 as it is, N-6, and N-2"


@pytest.mark.parametrize(
    ("at_ic", "spectrum", "error", "words"),
    [
        ("spectrum.csv", "open_at_ic.csv", Stop, "open_at_ic.csv does not; are the two files swapped"),
        ("spectrum.csv", "spectrum.csv", Stop, "looks like Spectrum's list"),
        ("open_at_ic.csv", "open_at_ic.csv", Stop, "columns are missing: invoice_date, status"),
        ("nothing.csv", "spectrum.csv", SettingsError, "acme: there is no file"),
        ("empty.csv", "spectrum.csv", Stop, "acme: empty.csv is empty"),
        ("open_at_ic.csv", "heading.csv", Stop, "acme: heading.csv holds no invoices"),
        ("short.csv", "spectrum.csv", Stop, "columns are missing: balance_due"),
        ("open_at_ic.csv", "spectrum.txt", Stop, "only .csv and .parquet are read"),
    ],
)
def test_wrong_files_get_a_sentence(
    moving: Moving, at_ic: str, spectrum: str, error: Any, words: str
) -> None:
    folder: Path = moving.office.folder
    (folder / "empty.csv").write_text("")
    (folder / "heading.csv").write_text(",".join(LISTED) + "\n")
    (folder / "short.csv").write_text("invoice_number,account_number\nN-1,0012345\n")
    (folder / "spectrum.txt").write_text("x")
    with pytest.raises(error, match=words) as stop:
        plan(moving.settings, "acme", folder / at_ic, folder / spectrum, moving.at)
    assert "acme" in str(stop.value)


def test_a_biller_of_mips_is_told_what_to_set_first(moving: Moving) -> None:
    moving.settings = moving.office.configure(
        product="mips-apps", outbound={"pdf_link": "https://x/{invoice_number}"}
    )
    with pytest.raises(SettingsError, match=r'acme: product is "mips-apps".* set product = "spectrum"'):
        moving.plan()
    moving.settings = moving.office.configure()
    with pytest.raises(SettingsError, match="acme: invoice_format_guid is not set"):
        moving.plan()


def test_an_unsettled_file_of_the_hourly_run_comes_first(moving: Moving) -> None:
    rows = [{"file_id": "F-1", "kind": "hourly", "state": state, "settle_after": moving.at} for state in
            ("accepted", "dropped", "undecided", "refused", "unknown", "composed")]  # fmt: skip
    conversion_sending.refuse_open("acme", rows[:2])
    with pytest.raises(Stop, match="4 files of the outbox are not settled") as stop:
        conversion_sending.refuse_open("acme", rows)
    assert str(stop.value).count("icflows outbox decide F-1") == 3
    assert "asks InvoiceCloud about it from 2026-11-10 12:00 UTC on" in str(stop.value)


def test_verify_waits_for_the_import_and_for_something_sent(moving: Moving) -> None:
    with pytest.raises(Stop, match="nothing of this conversion was sent yet"):
        moving.verify()
    moving.send()
    with pytest.raises(Retry, match=r"verify from .* UTC on, in 20 minutes"):
        moving.verify(timedelta(minutes=10))
    for name in ("", "  ", "A\nB", "x" * 101):
        with pytest.raises(Stop, match="signed by a person"):
            moving.verify(by=name)
    assert sum(call["operation"] != "UploadInvoice" for call in moving.ic.calls()) == 0


def test_verify_says_what_invoicecloud_shows_instead(moving: Moving) -> None:
    moving.ic.quirk("N-3", "keep_open")
    moving.ic.quirk("N-5", "keep_open")
    moving.send()
    moving.ic_has([owed("N-6", account_number="0099999"), owed("N-2", balance_due="15.00")])
    found = moving.verify()
    why = dict(found.rows.filter(found.rows["verdict"] != "verified").select("invoice_number", "why").rows())
    assert why == {
        "N-3": "InvoiceCloud still asks for it: 120.50 of 120.50, due 2026-12-10",
        "N-5": "InvoiceCloud still has it: 120.50 of 120.50, due 2026-12-10",
        "N-6": "InvoiceCloud shows it under another account",
        "N-2": "neither what was sent nor what was there before: 15.00 of 120.50, due 2026-12-10",
    }
    assert found.counts == {"verified": 3, "no": 2, "unclear": 2}
    assert found.statement == "4 of 7 records not verified; not signed off"


def test_nothing_to_send_is_signed_off_too(moving: Moving) -> None:
    moving.lists(AT_IC, [held(row["invoice_number"]) for row in AT_IC])
    assert moving.send().result.status == "nothing"
    found = moving.verify()
    assert (found.missing, moving.uploads()) == (0, 0)
    assert found.statement.startswith("nothing had to be sent")
