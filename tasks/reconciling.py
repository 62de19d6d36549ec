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
from pathlib import Path
from typing import Any

import polars as pl

from checks.control import total
from tasks.errors import SettingsError, Stop
from tasks.invoicecloud.catalogue import feed_names
from tasks.pull import staging_of
from tasks.reconcile import Rules, advance, complete_feeds, load_rules, reconcile
from tasks.reconcile.banking_days import local_day
from tasks.settings import Settings
from tasks.staging import recon, sums, work
from tasks.staging.inputs import Held, read_held
from tasks.staging.polls import record_load
from tasks.staging.query import DUCKDB, Connection
from tasks.work.catching_up import catch_up_on, keep_run
from tasks.work.kept import kept_of
from tasks.work.kpis import Facts as Figured
from tasks.work.kpis import kpis

_SOURCES = (".py", ".toml", ".sql")
Row = dict[str, Any]


@dataclass(frozen=True)
class ReconcileResult:
    """What a flow may know of a run: sums and sentences. Accounts are cut to four characters in sentences.

    states, excluded, held, pushed: name, rows, amount (USD, Decimal); pushed has reported, pushed and lost, or
    nothing where no push is expected · breaks_open: code, name, severity, count,
    amount (sum of absolute amounts) · new_high: break_id, code, subject, amount, sentence · kpis: name, part, value, unit ·
    looked_at: payments judged anew; the others kept their verdict, unless the run `is_whole`.
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
    looked_at: int = 0
    is_whole: bool = True

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


def run_reconcile(
    settings: Settings, biller: str, as_of: datetime, *, whole: bool = False
) -> ReconcileResult:
    """Compares what staging holds as of `as_of` (aware) and keeps verdicts and the history of breaks.

    Only what changed, fell due or is asked for since the last run is looked at; all of it where `whole` is set, and
    in the first run of a day, or when rules or program changed. Either way the outcome is the same.

    Raises Stop if a later run stands already (history only moves forward), ControlTotalError if the states
    do not add up to the feed, StagingBusy if another process holds the file.
    """
    if as_of.tzinfo is None:
        raise SettingsError("reconcile: as_of needs a time zone, for example 2026-10-30T23:00:00Z")
    as_of = as_of.astimezone(UTC)
    rules, staging = rules_of(settings, biller), staging_of(settings, biller)
    archived = kept_of(settings, biller)
    kept: list[Row] = []
    with staging.open() as connection:
        catch_up_on(staging, connection, archived)
        held = read_held(connection)
        last = held.last_run
        _refuse_earlier(biller, last, as_of)
        if last and last["as_of"] == as_of and last["fingerprint"] == _fingerprint(held, rules):
            return _result(connection, last)
        with staging.load(connection, lambda: str(kept[0]["run_id"])):
            kept.append(_keep(connection, held, rules, as_of, whole))
            keep_run(connection, archived, kept[0]["run_id"])
            return _result(connection, kept[0])


def _refuse_earlier(biller: str, last: Mapping[str, Any] | None, as_of: datetime) -> None:
    if last and last["as_of"] > as_of:
        raise Stop(
            f"{biller}: a run as of {last['as_of']:%Y-%m-%dT%H:%M:%SZ} stands; breaks have a history, "
            f"so there is no run as of an earlier moment ({as_of:%Y-%m-%dT%H:%M:%SZ})",
            reason="as_of_before_last_run",
        )


def _keep(connection: Connection, held: Held, rules: Rules, as_of: datetime, whole: bool) -> Row:
    last, basis, fingerprint = held.last_run, _basis(rules), _fingerprint(held, rules)
    whole = whole or not recon.may_follow(connection, last, basis) or _first_of_day(connection, rules, as_of)
    inputs, apart, looked_at = recon.set_apart(connection, held, rules, as_of, whole=whole)
    outcome = reconcile(inputs, rules, as_of, apart=apart)
    last_id = last["run_id"] if last else ""
    run_id = f"{as_of:%Y%m%dT%H%M%SZ}-{_digest(as_of.isoformat(), fingerprint, last_id)[:12]}"
    complete = complete_feeds(inputs.polls, rules, as_of)
    breaks, events = advance(held.breaks, outcome.breaks, as_of, run_id, complete_feeds=complete, rules=rules)
    still_open = breaks.filter(pl.col("state") == "open")
    run = {
        "run_id": run_id, "as_of": as_of, "fingerprint": fingerprint, "basis": basis, "time_zone": rules.zone,
        "is_whole": whole, "looked_at": looked_at, **sums.compared(connection),
        **{kind: events.filter(pl.col("kind") == kind).height for kind in ("opened", "reopened", "changed", "closed")},
        "breaks_open": still_open.height, "breaks_amount": total(still_open, "amount").amount,
    }  # fmt: skip
    recon.write(connection, run, outcome, breaks, events)
    work.reopen_by_program(connection, run_id, as_of)
    figures = Figured(
        items=sums.matching(connection), breaks=breaks, polls=inputs.polls,
        totals=outcome.totals, standing=work.standing(connection), decisions=work.decisions(connection),
        deposits=outcome.deposits,
    )  # fmt: skip
    work.add_kpis(connection, kpis(figures, run_id, as_of, rules.zone))
    record_load(connection, run_id, "reconcile", as_of)
    return run


def _first_of_day(connection: Connection, rules: Rules, as_of: datetime) -> bool:
    """Has no run of this day (the biller's) looked at everything yet?"""
    last = recon.last_whole(connection)
    return last is None or local_day(last, rules.zone) < local_day(as_of, rules.zone)


def _fingerprint(held: Held, rules: Rules) -> str:
    """Says whether rows or rules differ; the order of the rows does not count, nor what earlier runs made of them.
    The money tables are known by their loads."""
    frames = {
        part.name: getattr(held.inputs, part.name) for part in fields(held.inputs) if part.name != "matched"
    }
    parts = [rules.model_dump_json()]
    for name, rows in (frames | {"loads": held.loads}).items():
        parts.append(f"{name} {rows.height} {rows.hash_rows(seed=0).sum() if rows.height else 0}")
    return _digest(*parts)


def _basis(rules: Rules) -> str:
    """What verdicts are made by: the rules, and the program's own words on them."""
    folders = (Path(__file__).with_name(name) for name in ("reconcile", "staging"))
    sources = sorted(path for folder in folders for path in folder.iterdir() if path.suffix in _SOURCES)
    texts = [path.read_text("utf-8") for path in sources]
    return _digest(rules.model_dump_json(), DUCKDB, *texts)


def _digest(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def _result(connection: Connection, run: Mapping[str, Any]) -> ReconcileResult:
    """Told from the tables, so that a repeated run says the same as the first."""
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
        pushed=of("pushed"), kpis=figures.to_dicts(), looked_at=run["looked_at"], is_whole=run["is_whole"],
    )  # fmt: skip
