"""Rules are data: overrides, refusals with the nearest key, sentences."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from tasks.errors import SettingsError
from tasks.reconcile import load_rules

CODES = [
    "B01",
    "B02",
    "B03",
    "B04",
    "B05",
    "B06",
    "B07",
    "B08",
    "B09",
    "B10",
    "B11",
    "B12",
    "B13",
    "B14",
    "B15",
    "B16",
    "B17",
    "B18",
    "B19",
    "B20",
    "B21",
    "B22",
    "B23",
    "B24",
    "B25",
    "B26",
    "B27",
    "B28",
    "B29",
    "B30",
    "B31",
    "B32",
    "B33",
    "B34",
    "B35",
    "B36",
    "B37",
    "B38",
    "B39",
    "B40",
    "B41",
    "B42",
    "B43",
    "B44",
]


def test_defaults() -> None:
    rules = load_rules()
    assert list(rules.codes) == CODES
    assert rules.tolerance == Decimal("0.00")
    assert rules.tender_grace("B10") == {"default": 5, "CARD": 3, "WALLET": 3, "EFT": 4, "OBD": 5}
    assert {name: feed.interval_hours for name, feed in rules.feeds.items()} == {
        "payments": 2, "settlements": 4, "ach_rejects": 3, "autopay": 24, "paperless": 24,
    }  # fmt: skip
    assert all(exclusion.owner and exclusion.expiry for exclusion in rules.exclusions.values())


def test_a_biller_overrides_one_key_and_keeps_the_rest() -> None:
    rules = load_rules({"codes": {"B01": {"grace_hours": 12}, "B10": {"grace_by_tender": {"CARD": 2}}}})
    assert rules.codes["B01"].grace_hours == 12
    assert rules.codes["B01"].severity == "HIGH"
    assert rules.tender_grace("B10") == {"default": 5, "CARD": 2, "WALLET": 3, "EFT": 4, "OBD": 5}
    assert load_rules().codes["B01"].grace_hours == 6


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"tolerence": "0.01"}, "unknown key 'tolerence'; did you mean 'tolerance'?"),
        ({"codes": {"b12": {}}}, "unknown key 'codes.b12'; did you mean 'B12'?"),
        (
            {"codes": {"B01": {"grace_hour": 3}}},
            "unknown key 'codes.B01.grace_hour'; did you mean 'grace_hours'?",
        ),
        (
            {"feeds": {"payment": {"interval_hours": 1}}},
            "unknown key 'feeds.payment'; did you mean 'payments'?",
        ),
        ({"exclusions": {"CLOUDSTORE": {"expires": "2030-01-01"}}}, "did you mean 'expiry'?"),
        (
            {"finality": {"CARD": {"calendar_day": 3}}},
            "unknown key 'finality.CARD.calendar_day'; did you mean 'calendar_days'?",
        ),
        ({"fee_model": "free"}, "fee_model"),
        ({"zone": "America/Chicagoo"}, "zone"),
        ({"tolerance": "0.001"}, "tolerance"),
        ({"codes": {"B01": {"severity": "SEVERE"}}}, "codes.B01.severity"),
        ({"codes": {"B01": {"sentence": "{amuont} is gone"}}}, "did you mean 'amount'?"),
        ({"codes": {"B01": {"sentence": "{amount is gone"}}}, "sentence cannot be read"),
        ({"exclusions": {"KIOSK": {"feed": "settlements"}}}, "exclusions.KIOSK"),
        ({"codes": "none"}, "codes"),
    ],
)
def test_wrong_rules_are_refused_with_the_field(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        load_rules(overrides)


def test_severity_and_sentence_of_a_biller_are_used(world: Any) -> None:
    w = world(
        codes={"B01": {"severity": "LOW", "sentence": "Missing: {subject}, {amount}, {tender}, {batch}."}}
    )
    subject = w.payment()
    w.settled()
    row = w.run().breaks.row(0, named=True)
    assert row["severity"] == "LOW"
    assert row["sentence"] == f"Missing: {subject}, 100.00 USD, CARD, -."


def test_a_further_exclusion_is_a_table_away(world: Any) -> None:
    kiosk = {
        "feed": "settlements",
        "column": "processor_reference",
        "starts_with": "KI",
        "support_origin": "OTHER",
    }
    w = world(exclusions={"KIOSK": {**kiosk, "owner": "finance", "expiry": "2027-01-01"}})
    w.settled(0, "12.00", payment_guid=None, processor_reference="KI1")
    assert [code for code, _, _ in w.found()] == ["B42"]
    assert "KIOSK item KI1 of 12.00 USD" in w.run().breaks["sentence"][0]
