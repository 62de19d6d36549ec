"""Faults of an upload: what InvoiceCloud does with the records of a file. They fit UploadInvoice only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sandbox.imports import Twist

Args = dict[str, Any]


def reject_lines(args: Args) -> Twist:
    """The lines args.lines (counted from 1, the header too) or of args.invoices are refused; args.message."""
    return Twist(
        lines=frozenset(int(line) for line in args.get("lines", [])),
        invoices=frozenset(str(number) for number in args.get("invoices", [])),
        message=str(args.get("message", "Record refused")),
    )


def short_count(args: Args) -> Twist:
    """args.by [1] records fewer are told as accepted and none as refused; the last ones are not taken
    (args.taken true: they are)."""
    return Twist(short=int(args.get("by", 1)), short_taken=bool(args.get("taken", False)))


def late_taken(args: Args) -> Twist:
    """Carried out only args.seconds [60] later by the sandbox's clock; the connection is closed now."""
    return Twist(later=timedelta(seconds=float(args.get("seconds", 60))))


UPLOAD_KINDS: dict[str, Callable[[Args], Twist]] = {
    "reject_lines": reject_lines,
    "short_count": short_count,
    "late_taken": late_taken,
}
