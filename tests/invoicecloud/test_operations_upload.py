"""UploadInvoice over real HTTP: what each broken exchange tells of the file, and what stays behind of it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sandbox import Sandbox
from tasks.errors import (
    BadAnswer,
    CredentialError,
    DeadlineExceeded,
    IcflowsError,
    NotSent,
    RequestRefused,
    ServerTrouble,
    SettingsError,
    StorageTrouble,
    Throttled,
    TruncatedAnswer,
    Unreachable,
)
from tasks.invoicecloud.bif import FileFacts, line_numbers, load_layout, render
from tasks.invoicecloud.bif.layout import FACTS
from tasks.invoicecloud.operations import Operations

AT = datetime(2026, 11, 10, 12, tzinfo=UTC)
GUID = "11111111-2222-3333-4444-555555555555"
DEADLINE = 1.0


def bill(number: str, **more: Any) -> dict[str, Any]:
    own = {
        "record_type": "A", "account_number": "0012345", "invoice_number": number,
        "invoice_date": date(2026, 10, 20), "due_date": date(2026, 11, 20), "total_amount_due": Decimal("120.50"),
        "balance_due": Decimal("120.50"), "customer_name": "Ana Díaz", "email": "ana.diaz@example.com",
    }  # fmt: skip
    return dict.fromkeys(FACTS) | own | more


def bif(*numbers: str, file_id: str = "F1") -> bytes:
    rows = pl.DataFrame([bill(number) for number in numbers], schema=dict(FACTS))
    return render(load_layout("assumed"), FileFacts("1234", GUID, file_id, AT, "America/Chicago"), rows)


@pytest.fixture
def operations(office: Any) -> Callable[..., Operations]:
    def make(**biller: Any) -> Operations:
        settings = office.configure(
            transport={"deadline_seconds": DEADLINE} | biller.pop("transport", {}), **biller
        )
        return Operations(settings.biller("acme"), office.archive, sleep=lambda _: None)

    return make


def upload(operations: Operations, data: bytes | None = None) -> Any:
    return operations.upload("F1", "1234_F1.bif", data or bif("INV-NEW-1", "INV-NEW-2"), AT)


def notes(office: Any, feed: str = "uploads") -> list[Any]:
    return list(office.archive.polls(feed))


@pytest.mark.parametrize("soap", ["1.1", "1.2"])
def test_an_upload_is_answered_and_its_answer_archived(
    soap: str, operations: Any, office: Any, ic: Sandbox
) -> None:
    answer = upload(operations(transport={"soap": soap}))
    assert (answer.success, answer.accepted, answer.rejected) == (True, 2, 0)
    assert answer.receipt_id.startswith("RCPT")
    assert answer.errors.is_empty()
    assert answer.message is None
    body = office.archive.body_path(answer.answer_id)
    assert body.parts[-4] == "uploads"
    assert answer.receipt_id.encode() in body.read_bytes()
    [note] = notes(office)
    assert (note.poll_id, note.operation, note.status, note.http_status) == (
        answer.answer_id, "UploadInvoice", "received", 200,
    )  # fmt: skip
    assert note.message == "F1: Success=true, 2 accepted, 0 rejected"
    assert [row["invoice_number"] for row in ic.imported()][-2:] == ["INV-NEW-1", "INV-NEW-2"]


def test_the_bytes_arrive_as_they_were(operations: Any, ic: Sandbox) -> None:
    data = bif(*(f"INV-{n:03d}" for n in range(50)))
    answer = upload(operations(), data)
    [kept] = [path for path in (ic.state / "uploads").iterdir() if path.name.startswith(answer.receipt_id)]
    assert kept.read_bytes() == data


def test_refused_lines_come_back_by_the_layouts_numbers(operations: Any, ic: Sandbox) -> None:
    numbers = ["INV-A", "INV-B", "INV-C"]
    ic.fault(
        "reject_lines", operation="UploadInvoice", invoices=["INV-B"], message="Account 12345678 a@b.c closed"
    )
    answer = upload(operations(), bif(*numbers))
    assert (answer.success, answer.accepted, answer.rejected) == (True, 2, 1)
    [error] = answer.errors.to_dicts()
    assert error["line_no"] == line_numbers(load_layout("assumed"), 3)[1]
    assert error["invoice_number"] == "INV-B"
    assert error["message"] == "Account ***5678 ***@*** closed"


def test_a_refused_file_is_an_answer(operations: Any, office: Any, ic: Sandbox) -> None:
    ic.fault("success_false", operation="UploadInvoice", message="File is not readable")
    answer = upload(operations())
    assert (answer.success, answer.accepted, answer.message) == (False, 0, "File is not readable")
    assert notes(office)[0].status == "received"


@dataclass(frozen=True)
class Case:
    """A fault and the class that tells what is known of the file."""

    kind: str
    error: type[IcflowsError] | tuple[type[IcflowsError], ...]
    args: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.kind, *(str(value) for value in self.args.values())])[:60]


NOT_TAKEN = [
    Case("http_429", NotSent, {"retry_after": 7}),
    Case("http_401", CredentialError),
    Case("login_html", CredentialError),
    Case("redirect_login", CredentialError),
    Case("success_false", CredentialError, {"message": "Invalid BillerGUID or WebServiceKey"}),
    Case("fault_500", CredentialError, {"message": "Access denied"}),
]
UNKNOWN = [
    Case("http_503", Throttled, {"retry_after": 1}),
    Case("fault_500", RequestRefused),
    Case("fault_200", RequestRefused),
    Case("fault_timeout", ServerTrouble),
    Case("success_false", ServerTrouble, {"message": "Timeout expired"}),
    Case("html_with_entity", BadAnswer),
    Case("hang", DeadlineExceeded),
    Case("stall_mid_body", DeadlineExceeded),
    Case("drip", DeadlineExceeded, {"interval": 0.05}),
    Case("reset", Unreachable),
    Case("reset", (Unreachable, TruncatedAnswer), {"after": 100}),
    Case("close_no_reply", Unreachable),
    Case("not_taken", Unreachable),
    Case("late_taken", Unreachable),
    Case("short_content_length", TruncatedAnswer),
    Case("unfinished_chunk", TruncatedAnswer),
    Case("close_without_length", (TruncatedAnswer, BadAnswer)),
    Case("early_zero_chunk", (TruncatedAnswer, BadAnswer)),
    Case("gzip_cut", TruncatedAnswer),
    Case("gzip_no_trailer", TruncatedAnswer),
    Case("gzip_bomb", BadAnswer, {"size_mb": 40}),
    Case("wrong_envelope", BadAnswer),
    Case("other_operation", BadAnswer),
    Case("no_result", BadAnswer),
    Case("null_result", BadAnswer),
    Case("xxe", BadAnswer, {"target": "file"}),
    Case("xxe", BadAnswer, {"target": "http"}),
    Case("xxe", BadAnswer, {"target": "parameter"}),
    Case("billion_laughs", BadAnswer),
    Case("quadratic_blowup", BadAnswer),
    Case("dtd", BadAnswer),
    Case("external_dtd", BadAnswer),
    Case("deep", BadAnswer),
    Case("many_attributes", BadAnswer),
    Case("nul", BadAnswer),
    Case("bad_utf8", BadAnswer),
    Case("raw_control", BadAnswer),
    Case("trailing_junk", BadAnswer),
    Case("utf16", BadAnswer),
]


@pytest.mark.parametrize("case", NOT_TAKEN + UNKNOWN, ids=str)
def test_a_failure_tells_whether_ic_may_have_the_file(
    case: Case, operations: Any, office: Any, ic: Sandbox, mutter: Any, canary_key: str
) -> None:
    ic.fault(case.kind, operation="UploadInvoice", **case.args)
    started = time.monotonic()
    with pytest.raises(IcflowsError) as caught:
        upload(operations())
    assert time.monotonic() - started < 2.5 * DEADLINE
    error = caught.value
    assert isinstance(error, case.error), repr(error)
    assert isinstance(error, NotSent | CredentialError) == (case in NOT_TAKEN)
    if case.kind == "http_429":
        assert error.retry_after == 7
    assert ic.baited == 0
    [note] = notes(office)
    assert (note.status, note.reason, note.message) == ("failed", error.reason, f"F1: {error}")
    _is_silent(office, mutter, str(error), canary_key)


def _is_silent(office: Any, mutter: Any, shown: str, key: str) -> None:
    kept = [path.read_text("utf-8", "replace") for path in office.archive.folder.rglob("*") if path.is_file()]
    heard = "\n".join([mutter.text, shown, *kept])
    assert key not in heard
    assert not [word for word in ("Ana", "Díaz", "ana.diaz") if word in heard]


def test_the_key_is_nowhere_after_a_good_upload(
    operations: Any, office: Any, mutter: Any, canary_key: str
) -> None:
    answer = upload(operations())
    _is_silent(office, mutter, repr(answer), canary_key)


def free_port() -> int:
    with closing(socket.socket()) as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


@pytest.fixture
def listener() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    """listener(talk): a TCP server that does `talk` with each connection; returns its port."""
    servers: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(talk: Callable[[socket.socket], None]) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with closing(connection):
                    talk(connection)

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return int(server.getsockname()[1])

    yield start
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
    for thread in threads:
        thread.join(5)


def test_refused_connection_is_not_sent(operations: Any, office: Any) -> None:
    with pytest.raises(NotSent):
        upload(operations(base_url=f"http://127.0.0.1:{free_port()}/"))
    assert notes(office)[0].reason == "not_sent"


def test_unknown_host_is_not_sent(operations: Any) -> None:
    with pytest.raises(NotSent):
        upload(operations(base_url="https://no-such-host.invalid/"))


def test_connection_that_never_opens_is_not_sent(operations: Any) -> None:
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = [socket.socket() for _ in range(4)]
    for place in waiting:
        place.setblocking(False)
        place.connect_ex(full.getsockname())
    time.sleep(0.1)
    try:
        with pytest.raises(NotSent):
            upload(
                operations(
                    base_url=f"http://127.0.0.1:{full.getsockname()[1]}/",
                    transport={"connect_seconds": 0.3, "deadline_seconds": 5},
                )
            )
    finally:
        for place in (*waiting, full):
            place.close()


def test_no_tls_is_not_sent(operations: Any, listener: Any) -> None:
    def plain(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with pytest.raises(NotSent):
        upload(operations(base_url=f"https://127.0.0.1:{listener(plain)}/"))


@pytest.mark.parametrize("amount", [1, 200, 4000])
def test_a_cut_while_sending_is_unknown(amount: int, operations: Any, listener: Any) -> None:
    def cut(connection: socket.socket) -> None:
        connection.recv(amount)

    with pytest.raises(IcflowsError) as caught:
        upload(operations(base_url=f"http://127.0.0.1:{listener(cut)}/"), b"x" * 3_000_000)
    assert not isinstance(caught.value, NotSent | CredentialError)


def test_customs_error_page_after_a_redirect_is_unknown(operations: Any, listener: Any) -> None:
    """ASP.NET's customErrors send 302 to an error page, after the operation has run."""

    def elsewhere(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(
            b"HTTP/1.1 302 Found\r\nLocation: /GenericError.aspx?aspxerrorpath=/CloudInvoicing.asmx\r\n"
            b"Content-Length: 0\r\n\r\n"
        )

    with pytest.raises(BadAnswer) as caught:
        upload(operations(base_url=f"http://127.0.0.1:{listener(elsewhere)}/"))
    assert caught.value.reason == "web_page"


def test_a_slow_link_is_no_connect_timeout(operations: Any, listener: Any) -> None:
    """The connect time-out does not cut the sending of a large body."""
    got = []

    def slow(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        time.sleep(0.8)
        while len(data := connection.recv(1 << 20)) and sum(got) < 25_000_000:
            got.append(len(data))
            if data.endswith(b"Envelope>"):
                break
        connection.sendall(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")

    limits = {"connect_seconds": 0.3, "deadline_seconds": 20}
    with pytest.raises(NotSent) as caught:
        upload(
            operations(base_url=f"http://127.0.0.1:{listener(slow)}/", transport=limits), b"x" * 15_000_000
        )
    assert caught.value.http_status == 429
    assert sum(got) > 20_000_000


def test_no_place_in_the_archive_means_not_sent(operations: Any, ic: Sandbox) -> None:
    made = operations()
    made.archive.folder.parent.mkdir(parents=True, exist_ok=True)
    made.archive.folder.write_text("a file where the folder should be")
    with pytest.raises(NotSent, match="the archive cannot be written"):
        upload(made)
    assert ic.calls() == []


def test_a_disk_that_fills_up_with_the_answer_leaves_the_fate_open(
    operations: Any, listener: Any, file_limit: Any, wire_folder: Path
) -> None:
    got: list[int] = []
    answer = (wire_folder / "UploadInvoice.soap11.response.xml").read_bytes()
    made = operations(base_url=f"http://127.0.0.1:{listener(replying(answer, got))}/")
    file_limit(100)
    with pytest.raises(StorageTrouble):
        upload(made)
    assert len(got) == 1


def test_a_missing_key_is_said_before_anything_is_sent(
    operations: Any, ic: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = operations()
    monkeypatch.delenv("ACME_WEB_SERVICE_KEY")
    with pytest.raises(SettingsError):
        upload(made)
    assert ic.calls() == []


def test_uploads_and_looks_are_no_polls(operations: Any, office: Any) -> None:
    made = operations()
    upload(made)
    with made.looks("L1", AT) as asking:
        asking.look("INV-0001")
    assert list(office.archive.polls()) == []
    assert [note.feed for note in office.archive.polls("looks")] == ["looks"]


def replying(answer: bytes, got: list[int]) -> Callable[[socket.socket], None]:
    """Reads one whole request, notes its length in `got`, gives `answer`."""

    def talk(connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1 << 16)
        fields, _, rest = head.partition(b"\r\n\r\n")
        length = int(dict(line.split(b": ", 1) for line in fields.split(b"\r\n")[1:])[b"Content-Length"])
        done = len(rest)
        while done < length:
            done += len(connection.recv(1 << 20))
        got.append(done)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % len(answer) + answer)

    return talk


def test_fifty_megabytes_go_in_one_call(
    operations: Any, office: Any, listener: Any, wire_folder: Path
) -> None:
    got: list[int] = []
    answer = (wire_folder / "UploadInvoice.soap11.response.xml").read_bytes()
    port = listener(replying(answer, got))
    made = operations(base_url=f"http://127.0.0.1:{port}/", transport={"deadline_seconds": 60})
    done = upload(made, bytes(range(256)) * 200_000)
    assert done.receipt_id == "RCPT000001"
    assert got[0] > 68_000_000
    note = json.loads(office.archive.body_path(done.answer_id, ".json").read_text("utf-8"))
    assert note["duration_ms"] < 30_000
