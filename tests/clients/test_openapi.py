"""schemathesis against the JSON side's own document: every status, content type and body is as it says, none is 500.

Its engine runs the examples, the boundaries of each schema (coverage) and generated data, the same ones each time.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import schemathesis
from schemathesis import engine
from schemathesis.engine import events

from checks.contracts.base import REFERENCE

EXAMPLES = 25
WANTED_CHECKS = {
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "negative_data_rejection", "positive_data_acceptance", "unsupported_method", "ignored_auth",
}  # fmt: skip
NUMBERS = {"AccountNumber", "InvoiceNumber"}
EXACT = {"BillerGUID", "PaymentGUID", "PaymentDate", "PaymentAmount", "ConvenienceFee", "OccurredAt"}
TRUTHS = {"true", "false", "1", "0", "y", "n"}


@dataclass
class Found:
    """What the engine saw: how often each check was made, (operation, status) → answers, failures in words."""

    checks: Counter[str] = field(default_factory=Counter)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def statuses(self) -> set[int]:
        return {status for _, status in self.answers}


def look(schema: Any, key: str | None, examples: int = EXAMPLES) -> Found:
    """Runs the engine on `schema` with a key, or without one."""
    headers = {"X-Service-Key": key} if key else {}
    schema.config.update(headers=headers, workers=1, request_timeout=20, continue_on_failure=True)
    schema.config.generation.update(max_examples=examples, deterministic=True, database="none")
    schema.config.phases.stateful.enabled = False  # no operation gives what another one takes
    schema.hook(filter_failure)
    found = Found()
    for event in engine.from_schema(schema).execute():
        if isinstance(event, events.NonFatalError):
            found.failures.append(f"{event.label}: {event.value!r}")
        elif isinstance(event, events.FatalError):
            found.failures.append(repr(event.exception))
        elif isinstance(event, events.ScenarioFinished):
            note(found, event.recorder)
    return found


def note(found: Found, recorder: Any) -> None:
    """Counts what one scenario did."""
    for interaction in recorder.interactions.values():
        assert interaction.response is not None, f"{recorder.label}: no answer"
        found.answers[recorder.label, interaction.response.status_code] += 1
    for node in (node for nodes in recorder.checks.values() for node in nodes):
        found.checks[node.name] += 1
        if node.failure_info is not None:
            failure = node.failure_info.failure
            found.failures.append(
                f"{recorder.label}: {node.name}: {failure.message} {node.failure_info.code_sample}"
            )


def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """The document asks for more than the service insists on: empty text counts as nothing, numbers and truths as their
    text. What fits the document once it is read so may be taken; anything else that is taken is a failure."""
    taken_all_the_same = "Schema-violating request accepted" in failure.title and response.status_code == 200
    if not taken_all_the_same or not isinstance(case.body, dict):
        return True
    schema = case.operation.schema.raw_schema["paths"][case.operation.path]["post"]["requestBody"]
    schema = schema["content"]["application/json"]["schema"]
    body = {name: value for name, value in case.body.items() if value not in (None, "")}
    for name, rule in schema["properties"].items():
        if name not in body or not isinstance(body[name], bool | int | float | str):
            continue
        text = body[name] if isinstance(body[name], str) else str(body[name]).lower()
        if rule == {"type": "boolean"}:
            body[name] = text.lower() == "true" if text.lower() in TRUTHS else text
        elif name in NUMBERS:  # the contract takes more than the document promises
            body[name] = "1" if re.fullmatch(REFERENCE, text) else text
        elif name in EXACT:
            body[name] = text
        else:
            body[name] = "x" if text.isprintable() else text
    return not jsonschema.Draft202012Validator(schema).is_valid(body)


def document(served: Any, biller: str) -> Any:
    """The document that a biller's key opens."""
    headers = {"X-Service-Key": served.keys[biller]}
    return schemathesis.openapi.from_url(f"{served.url}/openapi.json", headers=headers)


@pytest.mark.parametrize("biller", ["acme", "zeta"])
def test_the_service_is_as_its_document_says(served: Any, biller: str) -> None:
    found = look(document(served, biller), served.keys[biller])
    print(
        f"{sum(found.answers.values())} requests, {sum(found.checks.values())} checks: {dict(found.answers)}"
    )
    assert not found.failures
    assert set(found.checks) >= WANTED_CHECKS
    assert {200, 400, 401, 404, 405, 422} <= found.statuses
    for kind in ("payments", "autopay", "paperless"):
        takes = kind == "payments" or biller == "zeta"
        assert found.answers[f"POST /{biller}/datapump/{kind}", 200 if takes else 403] > EXAMPLES / 5


@pytest.mark.parametrize(
    ("path", "number"), [("invoices", "INV-1"), ("invoices", "INV-0"), ("accounts", "0042")]
)
def test_what_is_there_is_answered_as_documented(served: Any, path: str, number: str) -> None:
    schema = document(served, "acme").include(path=f"/acme/rtdr/{path}/{{number}}")
    schema.config.update(parameters={"number": number})
    found = look(schema, served.keys["acme"], examples=3)
    assert not found.failures
    assert found.answers[f"GET /acme/rtdr/{path}/{{number}}", 200] > 0
    assert found.checks["response_schema_conformance"] > 0


def test_without_a_key_nothing_is_served(served: Any) -> None:
    before = {name: len(served.rows(name)) for name in ("pushes", "enrolment_pushes", "unread")}
    schema = document(served, "zeta").exclude(path="/health")
    found = look(schema, None)
    assert found.statuses <= {400, 401, 405}  # 400: no HTTP at all; 405 is said before a key is asked for
    assert found.answers["POST /zeta/datapump/payments", 401] > EXAMPLES
    assert {name: len(served.rows(name)) for name in before} == before
