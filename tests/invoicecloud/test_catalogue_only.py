"""IC's real columns are not public: another name, nesting or operation needs settings and no code."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sandbox import Sandbox
from tasks.errors import SettingsError
from tasks.invoicecloud.catalogue import feed_names, feed_spec
from tasks.invoicecloud.client import WSDL_FOLDER


class Recorder(ThreadingHTTPServer):
    """Answers every POST with one body and keeps what was asked."""

    daemon_threads = True

    def __init__(self, body: bytes, kind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body, self.kind, self.asked = body, kind, []


class _Handler(BaseHTTPRequestHandler):
    server: Recorder

    def do_POST(self) -> None:
        self.server.asked.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Type", self.server.kind)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def answering(body: bytes, kind: str = "text/xml; charset=utf-8") -> Iterator[Recorder]:
    with Recorder(body, kind) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _url(server: Recorder) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/portal/ws/"


def test_a_renamed_column(office: Any, ic: Sandbox) -> None:
    ic.fault("renamed_column", times=-1, column="PaymentAmount", to="Amt")
    office.configure(feeds={"payments": {"columns": {"payment_amount": {"from": "Amt"}}}})
    result = office.pull()
    assert (result.status, result.sum_in, result.warnings) == ("ok", Decimal("1253.59"), [])


def test_a_column_left_out_of_the_map(office: Any, ic: Sandbox) -> None:
    ic.fault("removed_column", times=-1, column="AgentCode")
    office.configure(feeds={"payments": {"columns": {"agent_code": False}}})
    result = office.pull()
    assert (result.status, result.rows_new, result.warnings) == ("ok", 4, [])


def test_another_code_list(office: Any) -> None:
    office.configure(feeds={"payments": {"columns": {"payment_source": {"codes": {"PORTAL": "PORTAL_REG"}}}}})
    office.pull()
    assert {row["payment_source"] for row in office.current()} == {"PORTAL_REG", "AUTOPAY", "AGENTCONNECT"}


def _renamed(text: str) -> str:
    return (
        text.replace("PaymentReportingDataSetFromGMT", "PaymentsV2")
        .replace("FromGMT", "StartUtc")
        .replace("ToGMT", "EndUtc")
    )


def test_another_operation_with_other_parameter_names(office: Any, captured: Any, tmp_path: Path) -> None:
    """The biller's own WSDL, lying beside its settings file."""
    wsdl = office.folder / "ic-wsdl"
    wsdl.mkdir()
    text = (WSDL_FOLDER / "CloudReporting.wsdl").read_text("utf-8")
    (wsdl / "CloudReporting.wsdl").write_text(_renamed(text), "utf-8")
    body = _renamed(captured("PaymentReportingDataSetFromGMT.soap11.response").decode()).encode()
    form = {"operation": "PaymentsV2", "from": "StartUtc", "to": "EndUtc"}
    with answering(body) as server:
        office.configure(
            base_url=_url(server), wsdl="ic-wsdl", feeds={"payments": {"forms": {"dataset": form}}}
        )
        result = office.pull()
    ((path, asked),) = server.asked
    assert (result.status, result.rows_new) == ("ok", 4)
    assert path == "/portal/ws/CloudReporting.asmx"
    assert (
        b"<ns0:StartUtc>2026-11-01T00:00:00Z</ns0:StartUtc><ns0:EndUtc>2026-11-10T00:00:00Z</ns0:EndUtc>"
        in asked
    )
    assert b":PaymentsV2 " in asked


def test_another_nesting_and_other_row_names(office: Any, captured: Any, tmp_path: Path) -> None:
    wsdl = tmp_path / "wsdl"
    wsdl.mkdir()
    text = (WSDL_FOLDER / "CloudReporting.wsdl").read_text("utf-8")
    (wsdl / "CloudReporting.wsdl").write_text(text.replace('name="Req"', 'name="Request"'), "utf-8")
    body = captured("PaymentReportingSOAP.soap11.response")
    body = body.replace(b"PaymentRecord>", b"Pmt>").replace(b"Payments>", b"List>")
    form = {"nesting": "Request", "rows": "List/Pmt"}
    with answering(body) as server:
        office.configure(
            base_url=_url(server),
            wsdl=str(wsdl),
            feeds={"payments": {"form": "soap", "forms": {"soap": form}}},
        )
        result = office.pull()
    assert (result.status, result.form, result.rows_new) == ("ok", "soap", 4)
    assert b"<ns0:Request><ns0:BillerGUID>" in server.asked[0][1]


def test_another_service(office: Any, captured: Any, tmp_path: Path) -> None:
    text = (WSDL_FOLDER / "CloudReporting.wsdl").read_text("utf-8").replace("CloudReporting", "CloudBilling")
    (tmp_path / "CloudBilling.wsdl").write_text(text, "utf-8")
    body = captured("PaymentReportingDataSetFromGMT.soap12.response").replace(
        b"CloudReporting", b"CloudBilling"
    )
    with answering(body, "application/soap+xml; charset=utf-8") as server:
        office.configure(
            base_url=_url(server),
            wsdl=str(tmp_path),
            transport={"soap": "1.2"},
            feeds={"payments": {"service": "CloudBilling"}},
        )
        assert office.pull().rows_new == 4
    assert server.asked[0][0] == "/portal/ws/CloudBilling.asmx"


def test_an_operation_that_the_wsdl_lacks_is_a_settings_error(office: Any) -> None:
    office.configure(feeds={"payments": {"forms": {"dataset": {"operation": "PaymentsV9"}}}})
    with pytest.raises(SettingsError, match="PaymentsV9"):
        office.pull()


def test_parameters_that_the_operation_lacks_are_a_settings_error(office: Any, canary_key: str) -> None:
    office.configure(feeds={"payments": {"forms": {"dataset": {"from": "Since"}}}})
    with pytest.raises(SettingsError, match="does not take these parameters") as caught:
        office.pull()
    assert canary_key not in str(caught.value)


def test_a_missing_wsdl_names_the_file(office: Any, tmp_path: Path) -> None:
    office.configure(wsdl=str(tmp_path))
    with pytest.raises(SettingsError, match=r"CloudReporting\.wsdl"):
        office.pull()


def test_the_packaged_catalogue_is_whole() -> None:
    assert feed_names() == ["payments", "settlements", "ach_rejects", "autopay", "paperless"]
    for name in feed_names():
        spec = feed_spec(name)
        assert spec.forms
        assert set(spec.key) <= set(spec.columns)
        assert spec.interval.total_seconds() > 0


BAD_OVERRIDES: list[tuple[dict[str, Any], str]] = [
    ({"fom": "soap"}, "did you mean 'form'"),
    ({"form": "csv"}, "form"),
    ({"form": "soap", "forms": {"soap": {"operatoin": "X"}}}, "did you mean 'operation'"),
    ({"columns": {"payment_amont": {"from": "X", "read": "money"}}}, "payment_amont"),
    ({"columns": {"payment_amount": {"reed": "money"}}}, "did you mean 'read'"),
    ({"columns": {"payment_amount": {"read": "float"}}}, "columns.payment_amount.read"),
    ({"columns": {"payment_amount": {"from": "A/B"}}}, "columns.payment_amount.from"),
    ({"overlap": "3 days"}, "3d, 2h, 5m or 30s"),
    ({"max_window": "0s"}, "max_window"),
    ({"key": ["guid"]}, "'guid' is no column"),
    ({"watermark_column": "when"}, "'when' is no column"),
    ({"empty": "never"}, "empty"),
    ({"kind": "stream"}, "kind"),
]


@pytest.mark.parametrize(("override", "words"), BAD_OVERRIDES, ids=str)
def test_a_wrong_override_is_refused_with_its_place(
    override: dict[str, Any], words: str, office: Any
) -> None:
    with pytest.raises(SettingsError, match=words.replace(".", r"\.")) as caught:
        office.configure(feeds={"payments": override})
    assert "icflows.toml [billers.acme.feeds.payments]" in str(caught.value)
