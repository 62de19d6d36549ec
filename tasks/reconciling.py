"""One reconcile run of one biller: staging → verdicts → staging, in one transaction, any number of times.

The same `as_of` and the same rows give the same tables and no further event; the run's id is made from
both, so a run whose caller died before hearing of the commit is found, not done again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from checks.control import total
from tasks.errors import SettingsError, StagingBusy, Stop
from tasks.invoicecloud.catalogue import feed_names
from tasks.pull import staging_of
from tasks.reconcile import Inputs, Outcome, Rules, advance, complete_feeds, load_rules, reconcile
from tasks.settings import Settings
from tasks.staging import recon, work
from tasks.staging.polls import record_load
from tasks.staging.store import Staging
from tasks.work.kpis import Facts as Figured
from tasks.work.kpis import kpis

_AMOUNTS = {
    "payments": "payment_amount", "settlements": "settled_amount", "ach_rejects": "reject_amount", "postings": "amount",
}  # fmt: skip
Row = dict[str, Any]


@dataclass(frozen=True)
class ReconcileResult:
    """What a flow may know of a run: sums and sentences. Accounts are cut to four characters in sentences.

    states, excluded, held, pushed: name, rows, amount (USD, Decimal); pushed has reported, pushed and lost, or
    nothing where no push is expected · breaks_open: code, name, severity, count,
    amount (sum of absolute amounts) · new_high: break_id, code, subject, amount, sentence · kpis: name, part, value, unit.
    """

    run_id: str
    as_of: datetime
    payments: int
    payments_amount: Any
    states: list[Row]
    breaks_open: list[Row]
    new_high: list[Row]
    opened: int
    reopened: int
    changed: int
    closed: int
    excluded: list[Row] = field(default_factory=list)
    held: list[Row] = field(default_factory=list)
    pushed: list[Row] = field(default_factory=list)
    kpis: list[Row] = field(default_factory=list)

    @property
    def push_loss(self) -> Decimal | None:
        """Share of the payments that should have been pushed by now and were not; None if none should."""
        return push_loss(self.pushed)


def push_loss(rows: Iterable[Row]) -> Decimal | None:
    """Of rows name, rows (kind pushed of recon.totals): lost / reported."""
    counted = {row["name"]: row["rows"] for row in rows}
    return Decimal(counted["lost"]) / counted["reported"] if counted.get("reported") else None


def rules_of(settings: Settings, biller: str) -> Rules:
    """rules.toml, the biller's zone, feed intervals and begin of pushes, and on top the biller's own [rules]."""
    inbound = settings.biller(biller).inbound
    since = {"pump_since": inbound.pump_since} if inbound and inbound.pump_since else {}
    own = dict(settings.biller(biller).rules)
    feeds = own.get("feeds", {})
    if isinstance(feeds, Mapping):
        hours = {name: settings.feed(biller, name).interval.total_seconds() / 3600 for name in feed_names()}
        feeds = {
            **feeds,
            **{name: {"interval_hours": hour, **feeds.get(name, {})} for name, hour in hours.items()},
        }
    return load_rules({"zone": settings.biller(biller).time_zone, **since, **own, "feeds": feeds})


def run_reconcile(settings: Settings, biller: str, as_of: datetime) -> ReconcileResult:
    """Compares what staging holds as of `as_of` (aware) and keeps verdicts and the history of breaks.

    Raises Stop if a later run stands already (history only moves forward), ControlTotalError if the states
    do not add up to the feed, StagingBusy if another run was faster.
    """
    if as_of.tzinfo is None:
        raise SettingsError("reconcile: as_of needs a time zone, for example 2026-10-30T23:00:00Z")
    as_of = as_of.astimezone(UTC)
    rules, staging = rules_of(settings, biller), staging_of(settings, biller)
    with staging.open() as connection:
        held = recon.read(connection)
    fingerprint = _fingerprint(held.inputs, rules)
    last = held.last_run
    if last and last["as_of"] > as_of:
        raise Stop(
            f"{biller}: a run as of {last['as_of']:%Y-%m-%dT%H:%M:%SZ} stands; breaks have a history, "
            f"so there is no run as of an earlier moment ({as_of:%Y-%m-%dT%H:%M:%SZ})",
            reason="as_of_before_last_run",
        )
    if last and last["as_of"] == as_of and last["fingerprint"] == fingerprint:
        return _result(staging, last)
    outcome = reconcile(held.inputs, rules, as_of)
    return _result(staging, _keep(staging, held, outcome, rules, as_of, fingerprint))


def _keep(
    staging: Staging, held: recon.Held, outcome: Outcome, rules: Rules, as_of: datetime, fingerprint: str
) -> Row:
    last_id = held.last_run["run_id"] if held.last_run else ""
    run_id = f"{as_of:%Y%m%dT%H%M%SZ}-{_digest(as_of.isoformat(), fingerprint, last_id)[:12]}"
    complete = complete_feeds(held.inputs.polls, rules, as_of)
    breaks, events = advance(held.breaks, outcome.breaks, as_of, run_id, complete_feeds=complete, rules=rules)
    still_open = breaks.filter(pl.col("state") == "open")
    run = {
        "run_id": run_id, "as_of": as_of, "fingerprint": fingerprint, "time_zone": rules.zone,
        **_compared(held.inputs),
        **{kind: events.filter(pl.col("kind") == kind).height for kind in ("opened", "reopened", "changed", "closed")},
        "breaks_open": still_open.height, "breaks_amount": total(still_open, "amount").amount,
    }  # fmt: skip
    with staging.transaction(run_id) as connection:
        now = recon.last_run(connection)
        if (now["run_id"] if now else "") != last_id:
            raise StagingBusy("another reconcile run was kept meanwhile; run again")
        recon.write(connection, run, held.inputs, outcome, breaks, events)
        work.reopen_by_program(connection, run_id, as_of)
        figures = Figured(
            items=outcome.items, breaks=breaks, polls=held.inputs.polls, postings=held.inputs.postings,
            totals=outcome.totals, standing=work.standing(connection), decisions=work.decisions(connection),
            deposits=outcome.deposits,
        )  # fmt: skip
        work.add_kpis(connection, kpis(figures, run_id, as_of, rules.zone))
        record_load(connection, run_id, "reconcile", as_of)
    return run


def _compared(inputs: Inputs) -> Row:
    sums = {table: total(getattr(inputs, table), column) for table, column in _AMOUNTS.items()}
    rows = {f"{table}_rows": found.rows for table, found in sums.items()}
    return rows | {f"{table}_amount": found.amount for table, found in sums.items()}


def _fingerprint(inputs: Inputs, rules: Rules) -> str:
    """Says whether rows or rules differ; the order of the rows does not count, nor what earlier runs made of them."""
    parts = [rules.model_dump_json()]
    for part in (part for part in fields(inputs) if part.name != "matched"):
        rows: pl.DataFrame = getattr(inputs, part.name)
        parts.append(f"{part.name} {rows.height} {rows.hash_rows(seed=0).sum() if rows.height else 0}")
    return _digest(*parts)


def _digest(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def _result(staging: Staging, run: Mapping[str, Any]) -> ReconcileResult:
    """Told from the tables, so that a repeated run says the same as the first."""
    with staging.open() as connection:
        totals = recon.states(connection)
        classes, high = recon.open_classes(connection), recon.new_high(connection, run["run_id"])
        figures = work.kpis_of(connection, run["run_id"])

    def of(kind: str) -> list[Row]:
        return totals.filter(pl.col("kind") == kind).drop("kind").to_dicts()

    return ReconcileResult(
        run_id=run["run_id"], as_of=run["as_of"], payments=run["payments_rows"],
        payments_amount=run["payments_amount"], states=of("state"), breaks_open=classes.to_dicts(),
        new_high=high.to_dicts(), opened=run["opened"], reopened=run["reopened"], changed=run["changed"],
        closed=run["closed"], excluded=of("excluded"), held=[row for row in of("held") if row["rows"]],
        pushed=of("pushed"), kpis=figures.to_dicts(),
    )  # fmt: skip
