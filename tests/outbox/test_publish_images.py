"""Bill images and the records that name them: the image first, over SFTP; a record without its image waits."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox import Sandbox
from tasks.loading import load_file
from tasks.outbox.publish import PublishResult, publish

GUID = "99999999-8888-7777-6666-555555555555"
PDF = b"%PDF-1.4\nthe bill\n%%EOF\n"


@pytest.fixture
def served(
    captured_folder: Path, canary_key: str, office_class: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sandbox]:
    monkeypatch.setenv("ACME_SFTP_PASSWORD", "sandbox-password")
    with Sandbox(captured_folder, now=office_class.at, key=canary_key) as sandbox:
        yield sandbox


class Billing:
    """An office that bills with images."""

    def __init__(self, office: Any, sandbox: Sandbox, port: int | None = None, **outbound: Any) -> None:
        self.office, self.sandbox, self.at, self._files = office, sandbox, office.at, 0
        self.images = office.folder / "bills"
        self.images.mkdir(parents=True, exist_ok=True)
        sftp = {
            "host": "127.0.0.1", "port": port or sandbox.sftp_port, "username": "sandbox",
            "password": "env:ACME_SFTP_PASSWORD", "host_key": sandbox.host_key_line,
        }  # fmt: skip
        self.settings = office.configure(
            invoice_format_guid=GUID, sftp=sftp, outbound={"images": "bills", **outbound}
        )

    def bill(
        self, number: str, *, what: str = "NEW", hour: int = 8, pdf: str | None = "", **change: str
    ) -> None:
        """One event; `pdf` names its image ("" the right name, None no path)."""
        self._files += 1
        path = self.office.folder / f"events{self._files}.csv"
        row = {
            "event_id": f"E-{number}-{what}-{hour}", "event": what, "occurred_at": f"2026-11-10T{hour:02d}:00:00Z",
            "invoice_number": number, "account_number": "0012345", "invoice_date": "2026-11-10",
            "due_date": "2026-12-10", "total_amount_due": "120.50", "balance_due": "120.50",
            "replaces_invoice_number": "", "still_in_imt": "",
            "pdf_path": f"1234_0012345_{number}.pdf" if pdf == "" else pdf or "",
        } | change  # fmt: skip
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerow(row)
        assert load_file(self.settings, "acme", "invoices", path, self.at).rows_quarantined == 0

    def draw(self, number: str, content: bytes = PDF) -> None:
        (self.images / f"1234_0012345_{number}.pdf").write_bytes(content)

    def run(self) -> PublishResult:
        self.at += timedelta(hours=1)
        self.sandbox.clock(self.at)
        return publish(self.settings, "acme", self.at)

    def taken(self) -> list[tuple[str, str]]:
        return [(r["record_type"], r["invoice_number"]) for r in self.sandbox.imported() if r["accepted"]]

    def there(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.sandbox.sftp_root.iterdir()}


@pytest.fixture
def billing(served: Sandbox, office_class: Any, tmp_path: Path) -> Billing:
    return Billing(office_class(tmp_path / "office", served), served)


def test_the_image_goes_before_the_record_and_both_are_in_the_archive(billing: Billing) -> None:
    billing.draw("N-1")
    billing.bill("N-1")
    result = billing.run()
    assert (result.status, result.images) == ("sent", {"sent": 1})
    assert billing.there() == {"1234_0012345_N-1.pdf": PDF}
    row = billing.office.rows("SELECT image_name, sha256, state FROM outbox.images")[0]
    kept = billing.office.archive.folder / "images" / row["sha256"][:2] / f"{row['sha256']}.pdf"
    assert kept.read_bytes() == PDF
    assert billing.office.rows("SELECT image_name FROM outbox.records")[0]["image_name"] == row["image_name"]


def test_a_record_without_its_image_waits_with_its_group_and_the_others_go(billing: Billing) -> None:
    billing.draw("N-1")
    billing.bill("N-1")
    billing.run()
    billing.bill("N-1R", what="REISSUED", hour=9, replaces_invoice_number="N-1", still_in_imt="true")
    billing.draw("N-2")
    billing.bill("N-2")
    waiting = billing.run()
    assert (waiting.status, waiting.records) == ("waiting", 1)
    assert waiting.held == [
        {"reason": "image missing: there is no such file in the images folder", "records": 2}
    ]
    assert billing.taken() == [("A", "N-1"), ("A", "N-2")]
    billing.draw("N-1R")
    assert billing.run().records == 2
    assert billing.taken()[2:] == [("A", "N-1R"), ("R", "N-1")]
    assert billing.office.rows("SELECT DISTINCT state FROM outbox.images") == [{"state": "sent"}]


@pytest.mark.parametrize(
    ("content", "pdf", "state"),
    [
        (b"", "", "empty"), (b"<html>", "", "not_pdf"), (None, "", "missing"), (PDF, None, "missing"),
        (PDF, "1234_0099999_N-1.pdf", "missing"), (PDF, "../../etc/passwd", "unreadable"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_told_and_sent_only_where_the_biller_says_so(
    served: Sandbox, office_class: Any, tmp_path: Path, content: bytes | None, pdf: str | None, state: str
) -> None:
    strict = Billing(office_class(tmp_path / "office", served), served)
    if content is not None:
        strict.draw("N-1", content)
    strict.bill("N-1", pdf=pdf)
    assert (strict.run().status, strict.taken()) == ("waiting", [])
    rows = strict.office.rows("SELECT state FROM outbox.images WHERE state <> 'orphan'")
    assert rows == [{"state": state if pdf != "../../etc/passwd" else rows[0]["state"]}]
    assert rows[0]["state"] not in ("sent", "orphan")
    loose = Billing(strict.office, served, when_image_missing="send")
    loose.at = strict.at
    assert (loose.run().records, loose.taken(), loose.there()) == (1, [("A", "N-1")], {})
    assert loose.office.rows("SELECT image_name FROM outbox.records") == [{"image_name": None}]


def test_another_persons_bill_is_never_sent_under_this_name(billing: Billing) -> None:
    (billing.images / "1234_0099999_N-9.pdf").write_bytes(PDF)
    billing.bill("N-1", pdf="1234_0099999_N-9.pdf")
    result = billing.run()
    assert (result.status, billing.there()) == ("waiting", {})
    assert billing.office.rows("SELECT state, invoice_number FROM outbox.images") == [
        {"state": "bad_name", "invoice_number": "N-1"}
    ]


def test_an_image_of_nobody_is_an_orphan(billing: Billing) -> None:
    billing.draw("N-1")
    billing.bill("N-1")
    billing.draw("N-77")
    billing.run()
    orphans = "SELECT image_name FROM outbox.images WHERE state = 'orphan'"
    assert billing.office.rows(orphans) == [{"image_name": "1234_0012345_N-77.pdf"}]
    assert list(billing.there()) == ["1234_0012345_N-1.pdf"]


def test_a_new_image_takes_the_place_of_the_old_and_a_change_without_one_keeps_it(billing: Billing) -> None:
    billing.draw("N-1")
    billing.bill("N-1")
    billing.run()
    billing.bill("N-1", what="CHANGED", hour=9, pdf=None, balance_due="20.50")
    assert billing.run().records == 1
    billing.draw("N-1", PDF.replace(b"the", b"THE"))
    billing.bill("N-1", what="CHANGED", hour=10, balance_due="10.50")
    assert billing.run().images == {"sent": 1}
    assert billing.there() == {"1234_0012345_N-1.pdf": PDF.replace(b"the", b"THE")}


def test_without_the_sftp_server_only_what_needs_no_image_goes(billing: Billing) -> None:
    billing.draw("N-1")
    billing.bill("N-1")
    billing.run()
    down = Billing(billing.office, billing.sandbox, port=1)
    down.at = billing.at
    down.draw("N-2")
    down.bill("N-2", hour=9)
    down.bill("N-1", what="CANCELLED", hour=9, still_in_imt="false", pdf=None)
    result = down.run()
    assert (result.status, result.records, down.taken()[1:]) == ("waiting", 1, [("D", "N-1")])
    assert "bill images could not be sent" in result.troubles[0]
    again = Billing(billing.office, billing.sandbox)
    again.at = down.at
    assert again.run().records == 1
    assert again.taken()[2:] == [("A", "N-2")]


def test_another_host_key_sends_no_image(billing: Billing, tmp_path: Path, captured_folder: Path) -> None:
    with Sandbox(captured_folder, now=billing.at, state=tmp_path / "other") as other:
        wrong = Billing(billing.office, billing.sandbox, port=other.sftp_port)
        wrong.draw("N-1")
        wrong.bill("N-1")
        result = wrong.run()
        assert (result.status, list(other.sftp_root.iterdir())) == ("waiting", [])
        assert "another host key" in result.troubles[0] or "not the pinned one" in result.troubles[0]
