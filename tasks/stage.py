"""A report that was read → staging: quarantine, control totals, suspicion, merge, watermark; one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from checks.control import OutOfBalance, Total, must_balance, total
from checks.quarantine import Split, split
from tasks.archive import Poll
from tasks.errors import ControlTotalError, IcflowsError
from tasks.invoicecloud.catalogue import FeedSpec
from tasks.invoicecloud.client import server_time
from tasks.invoicecloud.report import Report
from tasks.staging import aside, polls
from tasks.staging.merge import Merged, Target, merge
from tasks.staging.query import Connection, frame, scalar
from tasks.staging.store import Staging
from tasks.suspicion import Case, Suspicion, judge

# Answers that were well-formed HTTP but said no: the feed is suspect, not broken.
_SUSPECT_REASONS = {"success_false", "error_table"}
_SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class Staged:
    """What became of one poll."""

    status: str
    reason: str | None
    message: str | None
    counts: polls.Counts
    reasons: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def stage_report(staging: Staging, poll: Poll, feed: FeedSpec, target: Target, report: Report) -> Staged:
    """Merges what keeps its contract and sets aside the rest, all in one transaction.

    Raises ControlTotalError if in ≠ new + unchanged + amended + duplicate + quarantined, rows or money.
    """
    everything = pl.concat([report.rows, report.unread.drop("reasons")])
    parts = split(report.rows, target.contract, list(target.key))
    bad = pl.concat([report.unread.select("row_no", "reasons"), parts.bad])
    with staging.transaction(poll.poll_id) as connection:
        if polls.is_loaded(connection, poll.poll_id):
            return _again(connection, poll)
        suspicion = judge(Case(connection, feed, target, poll, everything)) if feed.forms else None
        merged = merge(
            connection, target, parts.good, poll_id=poll.poll_id, form=poll.form, seen_at=poll.requested_at,
            complete_snapshot=_is_complete_list(feed) and suspicion is None and not bad.height,
            amount_column=feed.amount_column,
        )  # fmt: skip
        _quarantine(connection, feed, target, everything, report.raw, parts.good, bad, poll)
        counts = _balanced(everything, parts, bad, merged, feed.amount_column)
        staged = _judged(poll, suspicion, counts, bad, report)
        _record(connection, feed, poll, staged)
    return staged


def _is_complete_list(feed: FeedSpec) -> bool:
    """IC's customer lists and the two lists of a conversion are whole each time; IMT's other files are events."""
    return feed.kind in ("snapshot", "list")


def _quarantine(
    connection: Connection, feed: FeedSpec, target: Target, everything: pl.DataFrame, raw: pl.DataFrame,
    good: pl.DataFrame, bad: pl.DataFrame, poll: Poll,
) -> None:  # fmt: skip
    held = scalar(connection, f"SELECT count(*) FROM quarantine.{target.table} WHERE released_at IS NULL")
    if not bad.height and not held:
        return
    sources = {name: feed.columns[name].source if name in feed.columns else name for name in target.key}
    texts = aside.with_key_text(raw, everything.select("row_no", *target.key), sources)
    if held:
        accepted = texts.join(good.select("row_no"), on="row_no", how="semi")["key_text"]
        aside.release(connection, target.table, accepted, poll.requested_at)
    if bad.height:
        aside.set_aside(connection, target.table, texts, bad, poll.poll_id, poll.requested_at)


def _balanced(
    everything: pl.DataFrame, parts: Split, bad: pl.DataFrame, merged: Merged, amount: str
) -> polls.Counts:
    """Rows and money, counted on each side by itself: what came in, what was kept, what staging holds now."""
    came_in = total(everything, amount)
    accepted, aside_rows, duplicates = (
        total(parts.good, amount),
        bad["row_no"],
        parts.duplicate_rows["row_no"],
    )
    try:
        must_balance(
            "contract", came_in, accepted=accepted,
            set_aside=total(everything.filter(pl.col("row_no").is_in(aside_rows.implode())), amount),
            duplicates=total(everything.filter(pl.col("row_no").is_in(duplicates.implode())), amount),
        )  # fmt: skip
        must_balance("merge", accepted, staged=merged.staged)
        must_balance(
            "verdicts", Total(accepted.rows), new=Total(merged.new), unchanged=Total(merged.unchanged),
            amended=Total(merged.amended),
        )  # fmt: skip
    except OutOfBalance as error:
        raise ControlTotalError(str(error)) from None
    return polls.Counts(
        rows_in=came_in.rows, rows_new=merged.new, rows_unchanged=merged.unchanged, rows_amended=merged.amended,
        rows_duplicate=parts.duplicates, rows_quarantined=bad.height, rows_gone=merged.gone,
        sum_in=came_in.amount if amount else None,
    )  # fmt: skip


def _judged(
    poll: Poll, suspicion: Suspicion | None, counts: polls.Counts, bad: pl.DataFrame, report: Report
) -> Staged:
    listed = (
        bad.select(pl.col("reasons").explode()).to_series().value_counts(sort=True) if bad.height else None
    )
    reasons = dict(listed.iter_rows()) if listed is not None else {}
    warnings = [*report.warnings, *_skew(poll)]
    if suspicion:
        return Staged("suspect", suspicion.reason, suspicion.message, counts, reasons, warnings)
    return Staged("ok", None, None, counts, reasons, warnings)


def _skew(poll: Poll) -> list[str]:
    clock = server_time(poll.headers)
    if clock is None or abs(clock - poll.requested_at) <= _SKEW:
        return []
    return [f"IC's clock differs from ours by {round((clock - poll.requested_at).total_seconds())} s"]


def covered_to(feed: FeedSpec, poll: Poll) -> datetime | None:
    """Up to where this window is proven: never past the server's own clock less the feed's lag."""
    if poll.window_to is None:
        return poll.requested_at
    clock = server_time(poll.headers) or poll.requested_at
    return min(poll.window_to, min(clock, poll.requested_at) - feed.lag)


def _record(connection: Connection, feed: FeedSpec, poll: Poll, staged: Staged) -> None:
    reached = covered_to(feed, poll) if staged.status == "ok" else None
    if reached is not None and (poll.window_from is None or reached > poll.window_from):
        polls.advance_watermark(connection, poll, reached)
    polls.record_run(
        connection, poll, staged.counts, status=staged.status, reason=staged.reason, message=staged.message,
        covered_to=reached,
    )  # fmt: skip
    polls.record_checks(connection, poll.poll_id, poll.feed, poll.requested_at, check_results(staged))
    polls.record_load(connection, poll.poll_id, "poll", poll.requested_at)


def check_results(staged: Staged) -> pl.DataFrame:
    """check.results rows of one poll: the contract, the control totals, the suspicion, each warning."""
    counts = staged.counts
    summary = "; ".join(f"{reason}: {number}" for reason, number in staged.reasons.items())
    lines = [
        ("contract", "fail" if counts.rows_quarantined else "pass", counts.rows_quarantined, summary or None),
        ("control_totals", "pass", counts.rows_in, None if counts.sum_in is None else f"sum {counts.sum_in}"),
        ("believable", "fail" if staged.status == "suspect" else "pass", counts.rows_in, staged.message),
        *(("warning", "warn", 0, warning) for warning in staged.warnings),
    ]
    schema = {"check_name": pl.String, "status": pl.String, "rows": pl.Int64, "detail": pl.String}
    return pl.DataFrame(lines, schema=schema, orient="row")


def _again(connection: Connection, poll: Poll) -> Staged:
    """This very poll was committed before (the caller never heard of it): tell what it did then."""
    row = frame(connection, "SELECT * FROM poll.runs WHERE poll_id = $1", [poll.poll_id]).row(0, named=True)
    counts = polls.Counts(**{name: row[name] for name in polls.Counts.__dataclass_fields__})
    return Staged(row["status"], row["reason"], row["message"], counts)


def record_failure(staging: Staging, poll: Poll, error: IcflowsError) -> None:
    """Writes a poll that gave nothing to poll.runs: status suspect (it lied) or failed, reason, words."""
    status = "suspect" if error.reason in _SUSPECT_REASONS else "failed"
    with staging.transaction(poll.poll_id) as connection:
        if polls.is_loaded(connection, poll.poll_id):
            return
        message = str(error)
        polls.record_run(
            connection,
            poll,
            polls.Counts(),
            status=status,
            reason=error.reason,
            message=message,
            covered_to=None,
        )
        lines = pl.DataFrame(
            {"check_name": ["answer"], "status": ["fail"], "rows": [0], "detail": [message]},
            schema={"check_name": pl.String, "status": pl.String, "rows": pl.Int64, "detail": pl.String},
        )
        polls.record_checks(connection, poll.poll_id, poll.feed, poll.requested_at, lines)
        polls.record_load(connection, poll.poll_id, "poll", poll.requested_at)
