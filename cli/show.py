"""What commands print: rich tables for people, one JSON document for programs, errors in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks.errors import IcflowsError, Retry, SettingsError

OK, WRONG, USAGE, LATER = 0, 1, 2, 3
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def plain(value: Any) -> Any:
    """JSON form: money as text ('12.30'), instants as ISO 8601 with Z."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Decimal | Path):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def emit_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")


def table(
    title: str, headings: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[int] = ()
) -> None:
    """A table; columns whose number is in `right` are right-aligned. Values are never read as markup."""
    shown = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for number, heading in enumerate(headings):
        # Names, windows and figures stay whole; what does not fit is folded in the last column.
        last = number == len(headings) - 1 and number not in right
        shown.add_column(
            heading, justify="right" if number in right else "left", overflow="fold", no_wrap=not last
        )
    for row in rows:
        shown.add_row(*[escape(cell(value)) for value in row])
    console.print(shown)


def cell(value: Any) -> str:
    """One value as text: money with thousands separators, instants to the minute, nothing as a dash."""
    if value is None:
        return "-"
    if isinstance(value, Decimal):
        return f"{value:,.2f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return str(value)


def say(text: str) -> None:
    """A line for people, on standard error, so that --json stays clean."""
    errors.print(escape(text), soft_wrap=True)


def exit_code(error: IcflowsError) -> int:
    """2 wrong call or settings, 3 may pass by itself, 1 anything else."""
    if isinstance(error, SettingsError):
        return USAGE
    return LATER if isinstance(error, Retry) else WRONG


def fail(error: IcflowsError, as_json: bool) -> int:
    """Prints the error; returns the exit code."""
    if as_json:
        emit_json({"error": type(error).__name__, "reason": error.reason, "message": str(error)})
    else:
        errors.print(f"[bold red]{type(error).__name__}[/]: {escape(str(error))}", soft_wrap=True)
    return exit_code(error)
