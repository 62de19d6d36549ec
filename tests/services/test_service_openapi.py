"""The OpenAPI document is true: schemathesis sends what it allows and much that it does not, and looks whether every
status, content type and body that comes back is in the document."""

from __future__ import annotations

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import negative_data_rejection

BILLERS = {"acme": "canary-spectrum-key", "zeta": "canary-mips-key"}
MODES = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]


@pytest.mark.parametrize("biller", BILLERS)
def test_every_answer_is_documented(service: Any, biller: str) -> None:
    document = json.loads(service.get("/openapi.json", X_Service_Key=BILLERS[biller])[2])
    seen: set[tuple[str, int]] = set()

    def check(case: Any) -> None:
        answer = case.call(
            base_url=f"http://127.0.0.1:{service.port}", headers={"X-Service-Key": BILLERS[biller]}
        )
        # Not asked: that all it forbids is refused. JSON's numbers are read as the text they are written as.
        case.validate_response(answer, excluded_checks=[negative_data_rejection])
        seen.add((case.operation.label, answer.status_code))

    limits = settings(
        max_examples=5, database=None, deadline=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        operation = found.ok()
        for mode in MODES if operation.body or operation.path_parameters else MODES[:1]:
            limits(given(case=operation.as_strategy(generation_mode=mode))(check))()
    taken = 200 if biller == "zeta" else 403
    assert {(f"POST /{biller}/datapump/payments", 200), (f"POST /{biller}/datapump/autopay", taken)} <= seen
    assert {
        ("GET /health", 200),
        ("GET /openapi.json", 200),
        (f"GET /{biller}/rtdr/invoices/{{number}}", 404),
    } <= seen


@pytest.mark.parametrize("path", ["invoices/INV-1", "invoices/INV-0", "accounts/0042"])
def test_answers_are_as_described(service: Any, path: str) -> None:
    document = json.loads(service.get("/openapi.json")[2])
    kind, _, number = path.partition("/")
    operation = schemathesis.openapi.from_dict(document)[f"/acme/rtdr/{kind}/{{number}}"]["GET"]
    case = operation.Case(path_parameters={"number": number})
    answer = case.call(
        base_url=f"http://127.0.0.1:{service.port}", headers={"X-Service-Key": BILLERS["acme"]}
    )
    assert answer.status_code == 200
    case.validate_response(answer)
