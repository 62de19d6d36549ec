"""The proof of a BAI2 file, by ourselves and from its lines alone, before the library reads it.

The library counts too, but takes a file that goes on after its end, and never comes back from one that was cut.
Here: each record where it may stand, and every record count, number of parts and control total of the trailers
(49 account, 98 group, 99 file). Control totals add amounts as they stand, credits and debits alike. Source of
both rules: the BAI2 standard.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.errors import BadAnswer

RECORD = re.compile(r"^(01|02|03|16|49|88|98|99)(?:,|$)")
AMOUNT = re.compile(r"^[+-]?[0-9]{1,15}$")
# Which records may follow which; 88 goes on with the one before it.
_AFTER = {
    "": {"01"}, "01": {"02"}, "02": {"03"}, "03": {"16", "49"}, "16": {"16", "49"}, "49": {"03", "98"},
    "98": {"02", "99"}, "99": {"01"},
}  # fmt: skip
_LEVELS = {"01": "file", "02": "group", "03": "account"}
_TRAILERS = {"49": "account", "98": "group", "99": "file"}
_OUTER = {"account": "group", "group": "file"}
_SKIPPED = {"S": 3, "V": 2}  # what stands after a funds type


@dataclass
class _Open:
    """A file, group or account that is being counted: its records so far, its parts, their sum."""

    first: int
    parts: int = 0
    total: int = 0


@dataclass(frozen=True)
class Proven:
    """One logical file: its lines, its number of 16 records and the sum of their amounts in cents."""

    lines: list[str]
    details: int
    total: int


def prove(lines: list[str]) -> list[Proven]:
    """The logical files of one physical file. Raises BadAnswer: bad_file (no BAI2, or cut), bank_control_total (counts, sums).

    Errors name the line (of those that are not blank) and numbers, never text of the bank.
    """
    found: list[Proven] = []
    open_now: dict[str, _Open] = {}
    before, details, total = "", 0, 0
    for number, code, fields in _records(lines):
        if code not in _AFTER[before]:
            what = f"{code} after {before}" if before else f"{code} first"
            raise _no_statement(f"record {what}, at line {number}")
        before = code
        if code == "01":
            details, total = 0, 0
        if code in _LEVELS:
            open_now[_LEVELS[code]] = _Open(number)
        if code == "03":
            open_now["account"].total += summaries(fields, number)
        elif code == "16":
            amount = _amount(fields[1] if len(fields) > 1 else "", number)
            open_now["account"].total += amount
            details, total = details + 1, total + amount
        elif code in _TRAILERS:
            _close(open_now, _TRAILERS[code], fields, number)
        if code == "99":
            first = open_now["file"].first
            found.append(Proven(lines[first - 1 : number], details, total))
    if before != "99":
        raise _no_statement("it ends before its end record 99: it is cut" if before else "it has no records")
    return found


def _records(lines: list[str]) -> list[tuple[int, str, list[str]]]:
    """(line number, code, fields without the code), continuations joined to the record that they go on with."""
    found: list[tuple[int, str, list[str]]] = []
    for number, line in enumerate(lines, 1):
        match = RECORD.match(line)
        if not match:
            raise _no_statement(f"line {number} is no record of it")
        fields = line[3:].removesuffix("/").split(",")
        if match[1] != "88":
            found.append((number, match[1], fields))
            continue
        if not found or found[-1][1] == "99":
            raise _no_statement(f"line {number} continues nothing")
        extend(found[-1][2], fields, lines[number - 2])
    return found


def extend(head: list[str], more: list[str], line_before: str) -> None:
    """Adds a continuation's fields to `head`: where the line before has no slash, its last field goes on."""
    if not line_before.endswith("/"):
        head[-1] += more[0]
        more = more[1:]
    head.extend(more)


def summaries(fields: list[str], number: int) -> int:
    """The sum of an 03 record's amounts: account, currency, then type, amount, count, funds type and what it needs."""
    total, at = 0, 2
    while at < len(fields) and any(fields[at:]):
        total += _amount(fields[at + 1] if at + 1 < len(fields) else "", number)
        funds = fields[at + 3] if at + 3 < len(fields) else ""
        at += 4 + _SKIPPED.get(funds, 0)
        if funds == "D":
            spread = fields[at] if at < len(fields) else ""
            at += 1 + 2 * _count(spread, number)
    return total


def _close(open_now: dict[str, _Open], level: str, fields: list[str], number: int) -> None:
    """Compares a trailer with what was counted, and adds it to the level above."""
    ours = open_now[level]
    told = [level != "account" and ("number of parts", fields[1:2], ours.parts)]
    told += [("number of records", fields[1 if level == "account" else 2 :][:1], number - ours.first + 1)]
    for what, field, counted in [line for line in told if line]:
        if _count(field[0] if field else "", number) != counted:
            raise BadAnswer(
                f"the {level} that begins at line {ours.first} has another {what} than its end record at line "
                f"{number} says: {counted}, told {field[0] if field else 'nothing'}",
                reason="bank_control_total",
            )
    if _amount(fields[0], number) != ours.total:
        raise BadAnswer(
            f"the {level} that begins at line {ours.first} sums to {ours.total} cents, its end record at line "
            f"{number} says {fields[0] or 'nothing'}",
            reason="bank_control_total",
        )
    if level in _OUTER:
        outer = open_now[_OUTER[level]]
        outer.parts += 1
        outer.total += ours.total


def _amount(text: str, number: int) -> int:
    """Cents as written; empty is zero (the standard's default)."""
    if text and not AMOUNT.match(text):
        raise _no_statement(f"line {number} has an amount that is no number of cents")
    return int(text or 0)


def _count(text: str, number: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise _no_statement(f"line {number} has a count that is no number")
    return int(text)


def _no_statement(why: str) -> BadAnswer:
    return BadAnswer(f"is no whole BAI2 statement: {why}", reason="bad_file")
