"""The capability table says what the document says, and every claim names something that exists."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.capabilities import Claim, capabilities

ROOT = Path(__file__).parents[2]
DOCUMENT = [
    "Invoice Data", "Adjustment Data", "Payment Data", "ACH Reject Data", "Void Data", "AutoPay Enrollment Data",
    "Paperless Enrollment Data", "Bill Images", "Agent Payments", "SSO", "Multi-User Login", "Outbound Payments",
    "IMT Integration Conversions",
]  # fmt: skip


def call(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "160"}
    script = [sys.executable, "-m", "cli.main", "capabilities", *words]
    return subprocess.run(script, capture_output=True, text=True, env=environment, timeout=60, check=False)


def existing() -> set[str]:
    """Every command as it is typed, and every flow by its module."""
    from cli.main import app

    names = {
        f"icflows {command.name or command.callback.__name__}"
        for command in app.registered_commands
        if command.callback
    }
    names |= {f"icflows {group.name}" for group in app.registered_groups}
    return names | {path.stem for path in (ROOT / "flows").glob("*.py") if "@flow" in path.read_text("utf-8")}


def test_every_row_of_the_document_is_there() -> None:
    assert list(dict.fromkeys(row.feature for row in capabilities())) == DOCUMENT
    assert [row.part for row in capabilities() if row.feature == "Payment Data"] == [
        "Data Pump", "validate posting", "validate settlement",
    ]  # fmt: skip


CLAIMS = [
    (row.name, product, claim)
    for row in capabilities()
    for product, claim in row.claims().items()
    if claim.by
]


@pytest.mark.parametrize(("row", "product", "claim"), CLAIMS, ids=[f"{row}, {p}" for row, p, _ in CLAIMS])
def test_what_is_claimed_names_what_does_it(row: str, product: str, claim: Claim) -> None:
    assert set(claim.by) <= existing(), f"{row} for {product}: there is no {set(claim.by) - existing()}"


def test_what_the_document_does_not_plan_is_not_claimed() -> None:
    told = {row.feature: {claim.does for claim in row.claims().values()} for row in capabilities()}
    for feature in ("Void Data", "SSO", "Multi-User Login"):
        assert told[feature] == {"not supported"}
    assert told["Outbound Payments"] == {"not supported", "not planned"}
    outbound = next(row for row in capabilities() if row.feature == "Outbound Payments")
    assert outbound.future == "Phase 3, no ETA"


def test_what_a_later_service_will_do_is_not_claimed_before_it_is_there() -> None:
    serves = "icflows serve" in existing()
    waiting = [row for row in capabilities() if row.feature == "Adjustment Data" or row.part == "Data Pump"]
    does = {claim.does for row in waiting for claim in row.claims().values()}
    assert len(waiting) == 2
    assert serves or does == {"not supported"}


def test_the_operations_named_are_those_that_are_asked() -> None:
    from tasks.invoicecloud.catalogue import feed_names, feed_spec

    told = " ".join(row.future for row in capabilities())
    for name in feed_names():
        for form in feed_spec(name).forms.values():
            assert form.operation in told


@pytest.mark.parametrize(
    "claim",
    [
        {"does": "works", "words": "by nobody"},
        {"does": "not supported", "by": ["icflows pull"], "words": "and yet"},
        {"does": "partly", "by": ["icflows pull"], "words": "nothing is said of the rest"},
        {"does": "perhaps", "words": "?"},
        {"does": "works", "by": ["icflows pull"], "words": ""},
        {"does": "works", "by": ["icflows pull"], "words": "yes", "since": "ever"},
    ],
    ids=str,
)
def test_a_claim_that_says_too_little_or_too_much_is_refused(claim: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Claim.model_validate(claim)


def test_a_row_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        capabilities()[0].current = "other"


def test_the_command_prints_the_table_and_the_same_as_json() -> None:
    shown = call()
    assert shown.returncode == 0, shown.stderr
    for word in (
        *DOCUMENT,
        "works",
        "not supported",
        "not planned",
        "Phase 3, no ETA",
        "UploadInvoice",
    ):
        assert word in " ".join(shown.stdout.split()), word
    told = json.loads(call("--json").stdout)
    assert [row["feature"] for row in told] == [row.feature for row in capabilities()]
    assert told[0]["spectrum"]["does"] == "works"
    assert {"current", "future", "conversion", "mips-apps", "name"} <= set(told[0])
