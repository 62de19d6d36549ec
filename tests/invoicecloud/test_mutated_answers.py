"""Captured answers, damaged at random from a fixed seed: nothing is invented, nothing is lost in silence.

SOAP has no checksum: a flipped bit inside a value gives another value that no reader can tell from a true
one. So a changed amount may be accepted only where the damaged bytes themselves spell that very amount.
"""

from __future__ import annotations

import random
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from checks.contracts import FEEDS
from checks.quarantine import split
from tasks.errors import IcflowsError
from tasks.invoicecloud.catalogue import feed_spec
from tasks.invoicecloud.report import read_report

ANSWERS = [
    ("payments", "PaymentReportingSOAP", b"PaymentAmount"),
    ("payments", "PaymentReportingDataSetFromGMT", b"PaymentAmount"),
    ("settlements", "BillerSettledBatchDetailSOAP", b"SettledAmount"),
    ("settlements", "BillerSettledBatchDetailDataSet", b"SettledAmount"),
]
EACH = 120


def _accepted(path: Path, body: bytes, feed: str, operation: str) -> list[tuple[str, Decimal]] | None:
    """Key and amount of the rows that would be staged; None if the answer is refused."""
    path.write_bytes(body)
    spec = feed_spec(feed)
    try:
        report = read_report(path, spec, "dataset" if "DataSet" in operation else "soap", "America/Chicago")
    except IcflowsError:
        return None
    parts = split(report.rows, FEEDS[feed], list(spec.key))
    assert report.rows_in == parts.good.height + parts.bad.height + parts.duplicates + report.unread.height
    return parts.good.select("payment_guid", spec.amount_column).rows()


@pytest.fixture
def body_and_path(wire_folder: Path, tmp_path: Path) -> Any:
    def get(operation: str) -> tuple[bytes, Path]:
        return (wire_folder / f"{operation}.soap11.response.xml").read_bytes(), tmp_path / "body.xml"

    return get


@pytest.mark.parametrize(("feed", "operation", "column"), ANSWERS)
def test_no_truncation_is_accepted(feed: str, operation: str, column: bytes, body_and_path: Any) -> None:
    body, path = body_and_path(operation)
    dice = random.Random(f"cut {operation}")
    between_tags = [match.end() for match in re.finditer(rb">", body)][:-1]
    cuts = {*dice.sample(range(len(body)), EACH), *dice.sample(between_tags, 40), 0, 1, len(body) - 1}
    taken = [cut for cut in sorted(cuts) if _accepted(path, body[:cut], feed, operation) is not None]
    assert taken == []


@pytest.mark.parametrize(("feed", "operation", "column"), ANSWERS)
@pytest.mark.parametrize("damage", ["bit flip", "span deleted", "span doubled"])
def test_damage_never_invents_rows_or_money(
    damage: str, feed: str, operation: str, column: bytes, body_and_path: Any
) -> None:
    body, path = body_and_path(operation)
    true = _accepted(path, body, feed, operation)
    assert true
    dice = random.Random(f"{damage} {operation}")
    outcomes = {"refused": 0, "accepted": 0}
    for _ in range(EACH):
        changed = _damaged(body, damage, dice)
        rows = _accepted(path, changed, feed, operation)
        outcomes["refused" if rows is None else "accepted"] += 1
        if rows is None:
            continue
        rows_sent = (
            changed.count(b"<PaymentRecord>")
            + changed.count(b"<Payments ")
            + changed.count(b"<SettledRecord>")
        )
        assert len(rows) <= rows_sent + changed.count(b"<Settlements ")
        spelled = {Decimal(t.decode()) for t in re.findall(rb"<" + column + rb">(-?\d+(?:\.\d+)?)<", changed)}
        assert {amount for _, amount in rows} <= spelled
    assert outcomes["refused"] > 0


def _damaged(body: bytes, damage: str, dice: random.Random) -> bytes:
    start = dice.randrange(len(body))
    length = dice.randint(1, 80)
    if damage == "bit flip":
        return body[:start] + bytes([body[start] ^ 1 << dice.randrange(8)]) + body[start + 1 :]
    if damage == "span deleted":
        return body[:start] + body[start + length :]
    return body[: start + length] + body[start:]


@pytest.mark.parametrize(("feed", "operation", "column"), ANSWERS)
def test_a_flipped_bit_is_quarantined_refused_or_spelled_out(
    feed: str, operation: str, column: bytes, body_and_path: Any
) -> None:
    """Every bit of every amount, one after the other."""
    body, path = body_and_path(operation)
    true = dict(_accepted(path, body, feed, operation) or [])
    first = re.search(rb"<" + column + rb">([\d.]+)<", body)
    assert first is not None
    for position in range(first.start(1), first.end(1)):
        for bit in range(8):
            changed = body[:position] + bytes([body[position] ^ 1 << bit]) + body[position + 1 :]
            rows = _accepted(path, changed, feed, operation)
            text = changed[first.start(1) : first.end(1)]
            honest = re.fullmatch(rb"-?\d{1,16}(\.\d{1,2})?", text) is not None
            differing = [amount for key, amount in rows or [] if amount != true.get(key)]
            assert differing == ([Decimal(text.decode())] if honest else [])
