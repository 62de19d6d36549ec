"""The comparison: payments with postings, settlements and returns; what is broken is told."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any

from flows import engine
from flows.alerting import alert, biller_resource, business_time, clear, deliver_by_hand, feed_resource
from flows.engine import flow, task
from flows.guards import last_run_id, nothing_new
from flows.pull_feed import may_pass
from tasks.alerts import Alert
from tasks.overview import read_suggestions
from tasks.reconcile.rules import load_rules
from tasks.reconciling import ReconcileResult, run_reconcile
from tasks.settings import Settings, load_settings

LATE_FEED = "B36"
SUGGESTED = ["payment_guid", "posting_id", "rule", "amount", "take_up_by", "reason"]
SUGGESTIONS_SHOWN = 20
TOLD_BY_THE_PULL = "B37"  # a suspect answer: its poll has raised poll_suspect already


@task(name="compare", retries=2, retry_delay_seconds=(10, 60), retry_condition=may_pass)
def compare(settings_file: str, biller: str, as_of: datetime, whole: bool) -> ReconcileResult:
    """One run; repeated with the same rows it gives the same verdicts. Waits out another writer."""
    return run_reconcile(load_settings(settings_file), biller, as_of, whole=whole)


@flow(name="reconcile", run_name="{biller}")
def reconcile(
    biller: str, as_of: datetime | None = None, settings_file: str | None = None, whole: bool = False
) -> dict[str, Any]:
    """Give every payment its one state, keep the history of breaks, and raise an alert for each new HIGH class.

    `whole`: look at every payment, also at those of which nothing changed since the last run.

    Returns sums by state and by class, never a row.
    """
    settings, now = load_settings(settings_file), business_time(as_of)
    if engine.run().deployment_id and nothing_new(settings, biller, now):
        message = f"{biller}: nothing was loaded since the last run"
        return engine.completed("Skipped", message, {"biller": biller, "status": "skipped"})
    before = last_run_id(settings, biller)
    found = compare(str(settings.file), biller, now, whole)
    _tell(settings, biller, now, found, repeated=found.run_id == before)
    engine.artifact(f"reconcile-states-{biller}", found.states, f"Payments of {biller} by state, as of {now}")
    engine.artifact(f"reconcile-breaks-{biller}", found.breaks_open, f"Open breaks of {biller}, as of {now}")
    may_be = read_suggestions(settings, biller, SUGGESTIONS_SHOWN).select(SUGGESTED).to_dicts()
    words = f"Missing payments of {biller} that a posting may be, as of {now}; a person decides"
    engine.artifact(f"reconcile-suggestions-{biller}", may_be, words)
    engine.artifact(f"reconcile-kpis-{biller}", found.kpis, f"Figures of {biller}, as of {now}")
    engine.emit("icflows.reconciled", biller_resource(biller), _counts(biller, found))
    deliver_by_hand(settings, biller, now)
    return {name: value for name, value in asdict(found).items() if name != "new_high"}


def _counts(biller: str, found: ReconcileResult) -> dict[str, Any]:
    still_open = sum(row["count"] for row in found.breaks_open)
    return {
        "biller": biller,
        "run_id": found.run_id,
        "opened": found.opened,
        "closed": found.closed,
        "open": still_open,
    }


def _tell(
    settings: Settings, biller: str, as_of: datetime, found: ReconcileResult, *, repeated: bool
) -> None:
    """Late feeds one by one, new HIGH breaks one alert per class; closes the alerts of classes without breaks.

    An open alert is not sent again, so a class with new breaks begins a new one under the same subject; a
    repeated run says the same again and must not.
    """
    for row in found.new_high:
        if row["code"] == LATE_FEED:
            alert(settings, biller, as_of, feed_resource(biller, row["subject"]), [_late(row)])
    new = _by_class(found)
    still_open = {row["code"] for row in found.breaks_open if row["severity"] == "HIGH"}
    anew = set() if repeated else set(new)
    gone = [code for code in load_rules().codes if code in anew or code not in still_open]
    clear(settings, biller, as_of, ["break_high"], gone)
    for code, rows in new.items():
        resource = f"{biller_resource(biller)}.break.{code}"
        alert(settings, biller, as_of, resource, [_broken(biller, code, rows, found)])


def _by_class(found: ReconcileResult) -> dict[str, list[dict[str, Any]]]:
    classes: dict[str, list[dict[str, Any]]] = {}
    for row in found.new_high:
        if row["code"] not in (LATE_FEED, TOLD_BY_THE_PULL):
            classes.setdefault(row["code"], []).append(row)
    return classes


def _late(row: dict[str, Any]) -> Alert:
    feed, sentence = row["subject"], str(row["sentence"])
    return Alert("feed_late", feed, "HIGH", f"{feed}: the feed is late", sentence)


def _broken(biller: str, code: str, rows: list[dict[str, Any]], found: ReconcileResult) -> Alert:
    name = next((row["name"] for row in found.breaks_open if row["code"] == code), code)
    amount = sum((abs(row["amount"]) for row in rows), Decimal("0.00"))
    title = f"{code} {name}: {len(rows)} new, {amount:,.2f}"
    told = f"Run {found.run_id} opened {len(rows)} breaks of class {code} ({name}), together {amount:,.2f}."
    return Alert(
        "break_high",
        code,
        "HIGH",
        title,
        f"{told} List them: icflows breaks --biller {biller} --class {code}",
    )
