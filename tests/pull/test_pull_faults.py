"""reliability.md 2a over real HTTP: each broken answer has its described end, and leaves staging as it was."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sandbox import Sandbox
from tasks.errors import (
    BadAnswer,
    CredentialError,
    DeadlineExceeded,
    IcflowsError,
    RequestRefused,
    SchemaDrift,
    ServerTrouble,
    Throttled,
    TruncatedAnswer,
    Unreachable,
)

DEADLINE = 1.5
PERSONAL = ("Ana", "Díaz", "O'Brien", "Ålund", "obrien@example.com", "0012345", "0012346")
OPERATIONS = {"dataset": "PaymentReportingDataSetFromGMT", "soap": "PaymentReportingSOAP"}


@dataclass(frozen=True)
class Case:
    """A fault, what it must end in, and how many calls it may cost (the other form is the second)."""

    kind: str
    error: type[IcflowsError] | tuple[type[IcflowsError], ...]
    reason: str | tuple[str, ...]
    calls: int
    http: int | None = 200
    args: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.kind, *(str(value) for value in self.args.values())])[:60]


MALFORMED = (TruncatedAnswer, BadAnswer)
CASES = [
    Case("fault_500", RequestRefused, "soap_fault", 2, 500),
    Case("fault_200", RequestRefused, "soap_fault", 2),
    Case("fault_timeout", ServerTrouble, "soap_fault", 1, 500),
    Case("fault_timeout", ServerTrouble, "soap_fault", 1, 500, {"text": "deadlock"}),
    Case("success_false", RequestRefused, ("success_false", "soap_fault"), 2, None),
    Case("http_429", Throttled, "http_429", 3, 429, {"retry_after": 1}),
    Case("http_503", Throttled, "http_503", 3, 503, {"retry_after": 1}),
    Case("http_503", Throttled, "http_503", 3, 503, {"html": True}),
    Case("http_401", CredentialError, "http_401", 1, 401),
    Case("login_html", CredentialError, "login_page", 1),
    Case("redirect_login", CredentialError, "redirect", 1, 302),
    Case("html_with_entity", CredentialError, "login_page", 1),
    Case("hang", DeadlineExceeded, "deadline", 1, None),
    Case("stall_mid_body", DeadlineExceeded, "deadline", 1, None),
    Case("drip", DeadlineExceeded, "deadline", 1, None, {"interval": 0.05}),
    Case("reset", Unreachable, "unreachable", 1, None),
    Case("reset", (Unreachable, TruncatedAnswer), ("unreachable", "truncated"), 1, None, {"after": 300}),
    Case("close_no_reply", Unreachable, "unreachable", 1, None),
    Case("short_content_length", TruncatedAnswer, "truncated", 1, None),
    Case("unfinished_chunk", TruncatedAnswer, "truncated", 1, None),
    Case("close_without_length", TruncatedAnswer, "truncated", 1),
    Case("early_zero_chunk", TruncatedAnswer, "truncated", 1),
    Case("truncate_between_tags", TruncatedAnswer, "truncated", 1),
    Case("gzip_cut", TruncatedAnswer, "gzip_cut", 1, None),
    Case("gzip_no_trailer", TruncatedAnswer, "gzip_cut", 1, None),
    Case("gzip_bomb", BadAnswer, "gzip_bomb", 2, None, {"size_mb": 40}),
    Case("xxe", BadAnswer, "dtd", 2, 200, {"target": "file"}),
    Case("xxe", BadAnswer, "dtd", 2, 200, {"target": "http"}),
    Case("xxe", BadAnswer, "dtd", 2, 200, {"target": "parameter"}),
    Case("billion_laughs", BadAnswer, "dtd", 2),
    Case("quadratic_blowup", BadAnswer, "dtd", 2),
    Case("dtd", BadAnswer, "dtd", 2),
    Case("external_dtd", BadAnswer, "dtd", 2),
    Case("deep", BadAnswer, "malformed", 2, 200, {"depth": 300}),
    Case("deep", BadAnswer, "malformed", 2, 200, {"depth": 3000}),
    Case("many_attributes", BadAnswer, "huge_tag", 2),
    Case("wrong_envelope", BadAnswer, "wrong_envelope", 2),
    Case("other_operation", BadAnswer, "other_operation", 2),
    Case("no_result", BadAnswer, "no_result", 2),
    Case("null_result", BadAnswer, "no_result", 2),
    Case("error_table", RequestRefused, "error_table", 1),
    Case("error_table", RequestRefused, "error_table", 1, 200, {"rows": True}),
    Case("removed_column", SchemaDrift, "schema_drift", 2),
    Case("renamed_column", SchemaDrift, "schema_drift", 2),
    Case("removed_column", SchemaDrift, "schema_drift", 2, 200, {"column": "ConvenienceFee"}),
    Case("renamed_column", SchemaDrift, "schema_drift", 2, 200, {"column": "Approved"}),
    Case("raw_control", BadAnswer, "malformed", 2),
    Case("bad_utf8", BadAnswer, "malformed", 2),
    Case("nul", BadAnswer, "malformed", 2),
    Case("trailing_junk", BadAnswer, "malformed", 2),
    Case("utf16", BadAnswer, "encoding", 2),
]
SLOW = 2 * DEADLINE
FAST_HOSTILE = ("xxe", "billion_laughs", "quadratic_blowup", "deep", "many_attributes", "gzip_bomb")


@pytest.fixture(scope="module")
def steady(shared_sandbox: Sandbox, office_class: Any, tmp_path_factory: Any) -> Iterator[Any]:
    """An office that has pulled the window once in good order; no fault may change its tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACME_WEB_SERVICE_KEY", shared_sandbox.exchange.cloud.web_service_key)
        shared_sandbox.clear_faults()
        office = office_class(tmp_path_factory.mktemp("steady"), shared_sandbox)
        assert office.pull().rows_new == 4
        yield office


@pytest.mark.parametrize("form", ["dataset", "soap"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_broken_answer_stages_nothing_and_says_why(
    case: Case, form: str, steady: Any, ic: Sandbox, caplog: pytest.LogCaptureFixture, canary_key: str
) -> None:
    steady.configure(transport={"deadline_seconds": DEADLINE}, feeds={"payments": {"form": form}})
    before, known = steady.dump(), {run["poll_id"] for run in steady.runs()}
    ic.fault(case.kind, times=-1, **case.args)
    slept: list[float] = []
    started = time.monotonic()
    with pytest.raises(IcflowsError) as caught:
        steady.pull(sleep=slept.append)
    took = time.monotonic() - started
    error = caught.value
    assert isinstance(error, case.error), repr(error)
    assert error.reason in _words(case.reason)
    assert str(error).startswith("acme / payments / 2026-11-01T00:00:00Z to 2026-11-10T00:00:00Z: ")
    assert len(ic.calls()) == case.calls
    assert ic.baited == 0
    assert took < SLOW, f"took {took:.1f} s"
    if case.kind in FAST_HOSTILE:
        assert took < 2
    assert steady.dump() == before
    runs = [run for run in steady.runs() if run["poll_id"] not in known]
    _poll_is_on_record(steady, case, form, runs)
    heard = "\n".join([caplog.text, str(error), repr(error), *(str(run["message"]) for run in runs)])
    notes = "".join(steady.archive.body_path(run["poll_id"], ".json").read_text("utf-8") for run in runs)
    assert canary_key not in heard + notes
    assert not [word for word in PERSONAL if word in heard + notes]


def _words(reason: str | tuple[str, ...]) -> tuple[str, ...]:
    return (reason,) if isinstance(reason, str) else reason


def _poll_is_on_record(steady: Any, case: Case, form: str, runs: list[dict[str, Any]]) -> None:
    """poll.runs and the archive tell each attempt, with the bytes that came."""
    expected = case.calls  # every call is a poll of its own, with its own bytes
    other = {"dataset": "soap", "soap": "dataset"}[form]
    forms = [form] * expected if case.error is Throttled else [form, other][:expected]
    assert [run["form"] for run in runs] == forms
    for run in runs:
        assert run["status"] in ("failed", "suspect")
        assert run["reason"] in _words(case.reason)
        assert run["rows_in"] == 0
        assert run["covered_to"] is None
        if case.http is not None:
            assert run["http_status"] == case.http
        body = steady.archive.body_path(run["poll_id"]).read_bytes()
        assert run["bytes"] == len(body)
        assert run["sha256"] == hashlib.sha256(body).hexdigest()
        note = json.loads(steady.archive.body_path(run["poll_id"], ".json").read_text("utf-8"))
        assert note["sha256"] == run["sha256"]


@pytest.mark.parametrize(
    "kind", ["fault_500", "success_false", "http_503", "http_401", "drip", "truncate_between_tags", "xxe"]
)
def test_no_logger_tells_key_or_person_even_at_debug(
    kind: str, steady: Any, ic: Sandbox, mutter: pytest.LogCaptureFixture, canary_key: str
) -> None:
    steady.configure(transport={"deadline_seconds": 0.5})
    ic.fault(kind, times=-1)
    with pytest.raises(IcflowsError):
        steady.pull()
    assert mutter.text
    assert canary_key not in mutter.text
    assert not [word for word in PERSONAL if word in mutter.text]


def test_success_false_is_a_suspect_poll_not_an_empty_window(office: Any, ic: Sandbox) -> None:
    office.configure(feeds={"payments": {"form": "soap"}})
    ic.fault("success_false", operation="PaymentReportingSOAP", times=-1)
    result = office.pull()
    first, second = office.runs()
    assert (first["status"], first["reason"], first["form"]) == ("suspect", "success_false", "soap")
    assert (second["status"], second["rows_new"], result.form) == ("ok", 4, "dataset")
    assert any("success_false" in warning for warning in result.warnings)


@pytest.mark.parametrize("kind", ["truncate_between_tags", "trailing_junk", "other_operation", "http_503"])
def test_the_archive_keeps_exactly_the_bytes_that_were_sent(
    kind: str, office: Any, ic: Sandbox, tmp_path: Path
) -> None:
    sent: list[bytes] = []
    regular = ic.exchange.answer

    def listening(*given: Any) -> Any:
        answer, fault = regular(*given)
        sent.append(answer.body())
        return answer.whole(sent[-1]), fault

    ic.exchange.answer = listening  # type: ignore[method-assign]
    try:
        ic.fault(kind, times=-1)
        with pytest.raises(IcflowsError):
            office.pull()
    finally:
        del ic.exchange.answer  # type: ignore[method-assign]
    runs = office.runs()
    kept = [office.archive.body_path(run["poll_id"]).read_bytes() for run in runs]
    assert kept[-1] == sent[-1]
    assert kept[0] in sent


@pytest.mark.parametrize("kind", ["gzip", "bom", "control_ref"])
@pytest.mark.parametrize("form", ["dataset", "soap"])
def test_legal_oddities_are_read(kind: str, form: str, office: Any, ic: Sandbox) -> None:
    office.configure(feeds={"payments": {"form": form}})
    ic.fault(kind)
    result = office.pull()
    assert (result.status, result.rows_new, result.form) == ("ok", 4, form)
    names = [row["customer_name"] for row in office.current()]
    if kind == "control_ref":
        assert names[0] == "\ufffdAna Díaz"
        assert any("1 illegal character references" in warning for warning in result.warnings)
    else:
        assert names[0] == "Ana Díaz"
        assert result.warnings == []


@pytest.mark.parametrize("form", ["dataset", "soap"])
@pytest.mark.parametrize("kind", ["trailing_junk", "fault_500", "renamed_column", "no_result", "utf16"])
def test_the_other_wire_form_is_the_fallback(kind: str, form: str, office: Any, ic: Sandbox) -> None:
    office.configure(feeds={"payments": {"form": form}})
    ic.fault(kind, operation=OPERATIONS[form], times=-1)
    result = office.pull()
    other = {"dataset": "soap", "soap": "dataset"}[form]
    assert (result.status, result.form, result.rows_new) == ("ok", other, 4)
    assert result.warnings[0].startswith(f"form {form} failed (")
    assert [run["status"] for run in office.runs()] == ["failed", "ok"]
    assert office.watermark() == office.window[1]


@pytest.mark.parametrize("form", ["dataset", "soap"])
def test_a_retyped_column_is_never_staged(form: str, steady: Any, ic: Sandbox) -> None:
    steady.configure(feeds={"payments": {"form": form}})
    before = steady.dump("feed.payments_versions", "poll.watermarks")
    ic.fault("retyped_column", times=-1)
    known = {run["poll_id"] for run in steady.runs()}
    assert steady.pull().rows_quarantined == 4  # a typed list has no schema of its own: row by row
    assert steady.dump("feed.payments_versions", "poll.watermarks") == before
    first, *_ = [run for run in steady.runs() if run["poll_id"] not in known]
    if form == "dataset":
        assert first["reason"] == "schema_drift"
        assert "PaymentAmount (now string)" in first["message"]


def test_an_error_row_in_a_typed_list_is_no_empty_window(office: Any, ic: Sandbox) -> None:
    office.configure(feeds={"payments": {"form": "soap"}})
    ic.fault("error_table", times=-1)
    with pytest.raises(IcflowsError):
        office.pull()
    assert office.watermark() is None


def test_an_unknown_column_is_warned_of_and_its_rows_are_taken(office: Any, ic: Sandbox) -> None:
    ic.fault("added_column", times=-1)
    result = office.pull()
    assert (result.status, result.rows_new) == ("ok", 4)
    assert result.warnings == ["new column NewColumn: not loaded, kept in the archive"]
    body = office.archive.body_path(result.poll_id).read_bytes()
    assert body.count(b"<NewColumn>new</NewColumn>") == 4
    office.configure(feeds={"payments": {"form": "soap"}})
    assert office.pull().warnings == result.warnings
