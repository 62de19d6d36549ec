"""A BAI2 statement → text columns of the contract imt.bank_lines, and the lines that must be set aside, with reasons.

Nothing is guessed: a line whose direction, currency or standing is not known is set aside, with its text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from bai2.constants import GroupStatus

from tasks.bank.identity import line_ids
from tasks.bank.library import parse
from tasks.bank.proof import Proven, prove
from tasks.bank.type_codes import meaning
from tasks.errors import BadAnswer

SUFFIXES = frozenset({".bai", ".bai2", ".txt"})
MAX_BYTES = 64 << 20  # some hundred thousand lines; a bank's day has some thousand
COLUMNS = (
    "line_id",
    "bank_account_last4",
    "value_date",
    "amount",
    "type_code",
    "bank_reference",
    "trace",
    "text",
)
_NO_GROUP = {
    GroupStatus.deletion: "its group deletes what the bank sent before: nothing is booked by itself",
    GroupStatus.correction: "its group corrects what the bank sent before: nothing is booked by itself",
    GroupStatus.test_only: "its group is a test of the bank",
}
_NO_LINE = {
    "total": "type code {} is a total, not a line",
    "unknown": "type code {} says neither credit nor debit (tasks/bank/type_codes.toml)",
}
_SCHEMA = dict.fromkeys((*COLUMNS, "reason"), pl.String)


@dataclass(frozen=True)
class Statement:
    """`lines`: COLUMNS as text, in the file's order · `reasons`: why a line is set aside, else null, as many."""

    lines: pl.DataFrame
    reasons: pl.Series
    warnings: list[str]


def read_statement(path: Path) -> Statement:
    """Reads one file, which may hold several logical ones. Raises BadAnswer; then nothing is taken."""
    text, warnings = _text(path)
    rows: list[dict[str, str | None]] = []
    untold: Counter[str] = Counter()
    for proven in prove([line for line in (part.strip() for part in text.split("\n")) if line]):
        rows += _lines(proven, untold)
    frame = pl.DataFrame(rows, schema=_SCHEMA)
    warnings += [
        f"{n} lines of type {code} tell of no money: not loaded" for code, n in sorted(untold.items())
    ]
    lines = frame.with_columns(line_ids(frame)).select(COLUMNS)
    return Statement(lines, frame["reason"], warnings)


def _text(path: Path) -> tuple[str, list[str]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadAnswer(f"is larger than {MAX_BYTES >> 20} MiB, no statement", reason="bad_file")
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadAnswer(f"there is no file {path}", reason="no_file") from None
    except OSError as error:
        raise BadAnswer(f"cannot be read: {type(error).__name__}", reason="bad_file") from None
    warnings = []
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")  # BAI2 is ASCII; words in an older alphabet do not stop the money
        warnings.append("the file is no UTF-8: its texts are read as Latin-1")
    text = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\x1a")  # the old mark of a file's end
    if any(ord(sign) < 32 and sign not in "\n\t" for sign in set(text)):
        raise BadAnswer("is no BAI2 statement: it holds control characters", reason="bad_file")
    return text.replace("\t", " "), warnings


def _lines(proven: Proven, untold: Counter[str]) -> list[dict[str, str | None]]:
    """The rows of one logical file; `untold` counts those that tell of no money."""
    rows: list[dict[str, str | None]] = []
    details = total = 0
    for group, account, line in _details(parse(proven.lines)):
        details, total = details + 1, total + (line.amount or 0)
        if meaning(line.type_code) == "nothing" and not line.amount:
            untold[line.type_code] += 1
        else:
            rows.append(_row(group, account, line))
    if (details, total) != (proven.details, proven.total):
        raise BadAnswer(
            f"the file has {proven.details} lines over {proven.total} cents, {details} over {total} were read",
            reason="bank_control_total",
        )
    return rows


def _details(file: Any) -> Iterator[tuple[Any, Any, Any]]:
    for group in file.children:
        for account in group.children:
            for line in account.children:
                yield group.header, account.header, line


def _row(group: Any, account: Any, line: Any) -> dict[str, str | None]:
    means = meaning(line.type_code)
    currency = account.currency or group.currency
    cents = line.amount or 0
    reason = _NO_GROUP.get(group.group_status)
    if reason is None and currency != "USD":
        reason = f"the account is in {currency[:3]}, not in USD"
    if reason is None and cents < 0:
        reason = "the amount has a sign of its own"
    if reason is None and means not in ("credit", "debit"):
        reason = _NO_LINE.get(means, _NO_LINE["unknown"]).format((line.type_code or "none")[:3])
    day = (line.availability or {}).get("date") or group.as_of_date
    digits = "".join(
        sign for sign in account.customer_account_number or "" if sign.isascii() and sign.isalnum()
    )
    return {
        "bank_account_last4": digits[-4:] or None,
        "value_date": day.isoformat() if day else None,
        "amount": str(Decimal(-cents if means == "debit" else cents).scaleb(-2)),
        "type_code": line.type_code, "bank_reference": line.bank_reference, "trace": line.customer_reference,
        "text": line.text, "reason": reason,
    }  # fmt: skip
