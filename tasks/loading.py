"""Files from IMT into staging: archived first, then the same way as a report (contract, quarantine, merge)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from checks.contracts import IMT
from checks.quarantine import ShapeError
from tasks.archive import Archive, Poll, new_poll_id
from tasks.errors import IcflowsError, SchemaDrift, SettingsError
from tasks.imt_files import read_file
from tasks.invoicecloud.catalogue import FeedSpec
from tasks.pull import archive_of, staging_of
from tasks.reconcile.rules import load_rules
from tasks.settings import Settings
from tasks.stage import Staged, record_failure, stage_report
from tasks.staging.merge import Target
from tasks.staging.store import Staging

KEYS: dict[str, tuple[str, ...]] = {
    "postings": ("posting_id",), "invoice_events": ("event_id",), "spectrum_invoices": ("invoice_number",),
    "open_at_ic": ("invoice_number",), "adjustments": ("adjustment_id",), "pushes": ("push_id",),
    "enrolment_pushes": ("push_id",), "rtdr_calls": ("call_id",), "bank_lines": ("line_id",),
    "chargebacks": ("chargeback_id",), "refunds": ("refund_id",), "enrolment_flags": ("account_number", "list"),
}  # fmt: skip
AMOUNTS = {
    "postings": "amount", "invoice_events": "total_amount_due", "spectrum_invoices": "balance_due",
    "open_at_ic": "balance_due", "adjustments": "amount", "pushes": "payment_amount", "enrolment_pushes": "",
    "rtdr_calls": "balance_answered", "bank_lines": "amount", "chargebacks": "amount", "refunds": "amount",
    "enrolment_flags": "",
}  # fmt: skip
FROM_SERVICE = ("pushes", "enrolment_pushes", "rtdr_calls")  # what `icflows serve` received; no file of IMT
_CALLED = {"invoice_events": "invoices", "bank_lines": "deposits"}  # tables that people call otherwise
KINDS = {_CALLED.get(table, table.replace("_", "-")): table for table in KEYS if table not in FROM_SERVICE}


@dataclass(frozen=True)
class LoadResult:
    """What became of one file: counts and reasons, no row."""

    load_id: str
    kind: str
    file: str
    status: str
    rows_in: int = 0
    rows_new: int = 0
    rows_unchanged: int = 0
    rows_amended: int = 0
    rows_duplicate: int = 0
    rows_quarantined: int = 0
    rows_gone: int = 0
    sum_in: Decimal | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    reason: str | None = None
    message: str | None = None


LISTS = (
    "spectrum_invoices",
    "open_at_ic",
    "enrolment_flags",
)  # complete each time: what a newer file does not list is gone


def table_of(kind: str) -> str:
    """What a person calls the file ('invoices', 'open-at-ic') → its table; SettingsError lists the kinds."""
    table = kind.replace("-", "_")
    if kind not in KINDS and table not in IMT:
        raise SettingsError(f"there is no file kind '{kind}'; known: {', '.join(sorted(KINDS))}")
    return KINDS.get(kind, table)


def spec_of(kind: str) -> FeedSpec:
    """A file of IMT looks to staging like a feed that has neither windows nor operations."""
    plain: dict[str, Any] = {
        "name": kind, "kind": "list" if kind in LISTS else "events", "columns": {}, "service": "", "key": list(KEYS[kind]),
        "amount_column": AMOUNTS[kind], "interval": None, "form": "dataset", "forms": {},
    }  # fmt: skip
    return FeedSpec.model_construct(**plain)


def target_of(kind: str) -> Target:
    """Where the rows of this kind of file go."""
    return Target("imt", kind, IMT[kind], KEYS[kind])


def load_file(settings: Settings, biller: str, kind: str, path: Path | str, as_of: datetime) -> LoadResult:
    """Loads one file. Loading it again changes nothing. Raises Stop errors that name biller and file."""
    kind = table_of(kind)
    source = Path(path)
    archive, staging = archive_of(settings, biller), staging_of(settings, biller)
    if not source.is_file():
        raise SettingsError(f"{biller} / {kind}: there is no file {source}")
    poll = Poll(
        poll_id=new_poll_id(f"imt_{kind}", as_of), biller=biller, feed=kind, form="file", operation=source.name,
        window_from=None, window_to=None, requested_at=as_of, suffix=source.suffix.lower(),
    )  # fmt: skip
    started = time.monotonic()
    _, size, sha256 = archive.keep_file(poll.poll_id, source)
    poll = replace(poll, bytes=size, sha256=sha256, duration_ms=round((time.monotonic() - started) * 1000))
    archive.note(poll)
    try:
        staged = stage_file(settings, staging, archive, poll)
    except IcflowsError as error:
        record_failure(staging, poll, error)
        error.args = (f"{biller} / {kind} / {source.name}: {error}",)
        raise
    return LoadResult(
        load_id=poll.poll_id, kind=kind, file=source.name, status=staged.status, reason=staged.reason,
        message=staged.message, reasons=staged.reasons, warnings=staged.warnings, **staged.counts.__dict__,
    )  # fmt: skip


def stage_file(settings: Settings, staging: Staging, archive: Archive, poll: Poll) -> Staged:
    """Archived file → staging; replay calls it too."""
    biller = settings.biller(poll.biller)
    bank_csv = load_rules(biller.rules).deposits.csv if poll.feed == "bank_lines" else None
    try:
        body = archive.body_path(poll.poll_id, poll.suffix)
        report = read_file(body, poll.feed, biller.time_zone, bank_csv)
        return stage_report(staging, poll, spec_of(poll.feed), target_of(poll.feed), report)
    except ShapeError as error:
        raise SchemaDrift(str(error)) from None
