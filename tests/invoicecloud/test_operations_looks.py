"""ViewInvoiceByInvoiceNumber over real HTTP: yes, no, neither; one connection, one file in the archive."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from sandbox import Sandbox
from sandbox.server import SandboxServer
from tasks.errors import (
    BadAnswer,
    CredentialError,
    DeadlineExceeded,
    IcflowsError,
    RequestRefused,
    ServerTrouble,
    Throttled,
    TruncatedAnswer,
    Unreachable,
)
from tasks.invoicecloud.operations import LOOK_ANSWER_BYTES, Operations, split_looks

AT = datetime(2026, 11, 10, 12, tzinfo=UTC)
LOOK_ID = "20261110T120000Z-F1"


@pytest.fixture
def operations(office: Any) -> Callable[..., Operations]:
    def make(**biller: Any) -> Operations:
        settings = office.configure(transport={"deadline_seconds": 1} | biller.pop("transport", {}), **biller)
        return Operations(settings.biller("acme"), office.archive, sleep=lambda _: None)

    return make


def archived(office: Any) -> list[tuple[dict[str, Any], bytes]]:
    [note] = office.archive.polls("looks")
    return list(split_looks(office.archive.body_path(note.poll_id, note.suffix)))


@pytest.mark.parametrize("soap", ["1.1", "1.2"])
def test_yes_and_no(soap: str, operations: Any, office: Any) -> None:
    with operations(transport={"soap": soap}).looks(LOOK_ID, AT) as asking:
        found, missing = asking.look("INV-0001"), asking.look("NOPE")
    assert found.found is True
    assert (found.account_number, found.invoice_number) == ("0012345", "INV-0001")
    assert (found.invoice_date, found.due_date) == (date(2026, 10, 20), date(2026, 11, 10))
    assert found.autopay_collection_date is None
    amounts = (found.total_amount_due, found.balance_due, found.minimum_amount_due)
    assert [str(amount) for amount in amounts] == ["120.50", "0.00", "0.00"]
    assert (found.allow_partial, found.message) == (True, None)
    assert (missing.found, missing.invoice_number, missing.message) == (False, "NOPE", "Invoice not found")
    assert (missing.total_amount_due, missing.invoice_date, missing.allow_partial) == (None, None, None)
    heads = [head for head, _ in archived(office)]
    assert [(head["look"], head["invoice_number"], head["http_status"]) for head in heads] == [
        (1, "INV-0001", 200), (2, "NOPE", 200),
    ]  # fmt: skip
    assert [b"<Success>true" in body for _, body in archived(office)] == [True, False]
    [note] = office.archive.polls("looks")
    assert (note.status, note.message) == ("received", f"{LOOK_ID}: 2 looks")
    assert note.bytes == office.archive.body_path(note.poll_id, ".looks").stat().st_size


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("Invoice not found", False),
        ("INVOICE NOT FOUND.", False),
        ("Record not found for BillerGUID", None),
        ("An unexpected error occurred", None),
        ("", None),
        ("Timeout expired", None),
    ],
)
def test_only_ics_own_words_make_a_definite_no(
    message: str, found: bool | None, operations: Any, ic: Sandbox
) -> None:
    ic.fault("success_false", operation="ViewInvoiceByInvoiceNumber", message=message)
    with operations().looks(LOOK_ID, AT) as asking:
        assert asking.look("INV-0001").found is found


def test_the_words_of_a_no_are_a_setting(operations: Any, ic: Sandbox) -> None:
    made = operations(outbound={"not_found": "^no such (bill|invoice)"})
    ic.fault("success_false", operation="ViewInvoiceByInvoiceNumber", message="No such bill")
    with made.looks(LOOK_ID, AT) as asking:
        assert asking.look("INV-0001").found is False
        assert asking.look("NOPE").found is None


CASES: list[tuple[str, Any, dict[str, Any]]] = [
    ("success_false", CredentialError, {"message": "Invalid WebServiceKey"}),
    ("http_401", CredentialError, {}),
    ("login_html", CredentialError, {}),
    ("redirect_login", CredentialError, {}),
    ("http_429", Throttled, {"retry_after": 1}),
    ("http_503", Throttled, {"retry_after": 1}),
    ("fault_500", RequestRefused, {}),
    ("fault_timeout", ServerTrouble, {}),
    ("hang", DeadlineExceeded, {}),
    ("drip", DeadlineExceeded, {"interval": 0.05}),
    ("stall_mid_body", DeadlineExceeded, {}),
    ("reset", Unreachable, {}),
    ("close_no_reply", Unreachable, {}),
    ("short_content_length", TruncatedAnswer, {}),
    ("early_zero_chunk", (TruncatedAnswer, BadAnswer), {}),
    ("close_without_length", (TruncatedAnswer, BadAnswer), {}),
    ("gzip_bomb", BadAnswer, {"size_mb": 10}),
    ("xxe", BadAnswer, {"target": "file"}),
    ("billion_laughs", BadAnswer, {}),
    ("other_operation", BadAnswer, {}),
    ("no_result", BadAnswer, {}),
    ("null_result", BadAnswer, {}),
    ("trailing_junk", BadAnswer, {}),
]


@pytest.mark.parametrize(("kind", "error", "args"), CASES)
def test_a_broken_answer_says_nothing_of_the_invoice(
    kind: str,
    error: Any,
    args: dict[str, Any],
    operations: Any,
    office: Any,
    ic: Sandbox,
    mutter: Any,
    canary_key: str,
) -> None:
    """After a first good look: the second fails on the connection that is open already."""
    with pytest.raises(IcflowsError) as caught:
        _good_then(operations(), lambda: ic.fault(kind, operation="ViewInvoiceByInvoiceNumber", **args))
    assert isinstance(caught.value, error), repr(caught.value)
    assert [head["look"] for head, _ in archived(office)] == [1, 2]
    [note] = office.archive.polls("looks")
    assert (note.status, note.reason) == ("failed", caught.value.reason)
    kept = [path.read_text("utf-8", "replace") for path in office.archive.folder.rglob("*.*")]
    assert canary_key not in "\n".join([mutter.text, str(caught.value), *kept])
    assert ic.baited == 0


def _good_then(made: Operations, switch_on: Callable[[], None]) -> None:
    with made.looks(LOOK_ID, AT) as asking:
        assert asking.look("INV-0001").found is True
        switch_on()
        asking.look("INV-0001")


def test_a_batch_uses_one_connection(operations: Any, ic: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    before = SandboxServer.process_request

    def counted(self: Any, request: Any, address: Any) -> None:
        opened.append(address)
        before(self, request, address)

    monkeypatch.setattr(SandboxServer, "process_request", counted)
    with operations().looks(LOOK_ID, AT) as asking:
        assert [asking.look(f"NO-{n}").found for n in range(25)] == [False] * 25
    assert len(opened) == 1


def test_looks_keep_their_distance(office: Any, ic: Sandbox) -> None:
    settings = office.configure(transport={"pause_seconds": 0.5})
    slept: list[float] = []
    made = Operations(settings.biller("acme"), office.archive, sleep=slept.append)
    with made.looks(LOOK_ID, AT) as asking:
        for _ in range(3):
            asking.look("INV-0001")
    assert [0.3 < seconds <= 0.5 for seconds in slept[-2:]] == [True, True]


def test_a_look_that_was_caught_leaves_the_batch_going(operations: Any, office: Any, ic: Sandbox) -> None:
    with operations().looks(LOOK_ID, AT) as asking:
        ic.fault("close_no_reply", operation="ViewInvoiceByInvoiceNumber")
        with pytest.raises(Unreachable):
            asking.look("INV-0001")
        assert asking.look("INV-0001").found is True
    [cut, whole] = archived(office)
    assert (cut[0]["http_status"], cut[1]) == (None, b"")
    assert whole[0]["http_status"] == 200


def test_an_answer_is_written_before_it_is_read(
    operations: Any, office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever reading does, the bytes have left this process."""
    seen = []

    def stops(*_: Any) -> None:
        seen.extend(part.read_bytes() for part in office.archive.folder.rglob("*.looks.part"))
        raise KeyboardInterrupt

    monkeypatch.setattr("tasks.invoicecloud.operations.read_view", stops)
    with pytest.raises(KeyboardInterrupt), operations().looks(LOOK_ID, AT) as asking:
        asking.look("INV-0001")
    [bytes_on_disk] = seen
    assert json.loads(bytes_on_disk.splitlines()[0])["invoice_number"] == "INV-0001"
    assert b"<BalanceDue>0.00" in bytes_on_disk


def test_an_answer_over_a_megabyte_is_no_answer(operations: Any, ic: Sandbox) -> None:
    ic.fault(
        "success_false",
        operation="ViewInvoiceByInvoiceNumber",
        message="not found " * (LOOK_ANSWER_BYTES // 10 + 1),
    )
    with pytest.raises(BadAnswer) as caught, operations().looks(LOOK_ID, AT) as asking:
        asking.look("INV-0001")
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("number", ["A&B<C>", "Ünï-1", " INV 1 ", "x" * 64])
def test_any_number_can_be_asked_for(number: str, operations: Any, office: Any) -> None:
    with operations().looks(LOOK_ID, AT) as asking:
        assert asking.look(number).found is False
    assert archived(office)[0][0]["invoice_number"] == number


def test_amounts_are_decimals(operations: Any) -> None:
    with operations().looks(LOOK_ID, AT) as asking:
        assert isinstance(asking.look("INV-0001").balance_due, Decimal)
