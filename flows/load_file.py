"""A file from IMT (postings or invoices) into staging."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from flows import engine
from flows.alerting import alert, biller_resource, business_time, clear, deliver_by_hand
from flows.engine import flow, task
from flows.owing import refresh_after
from flows.publish_invoices import publish_invoices
from flows.pull_feed import may_pass
from tasks.alerts import Alert
from tasks.loading import LoadResult
from tasks.loading import load_file as load_one
from tasks.settings import load_settings


@task(name="load", retries=2, retry_delay_seconds=(10, 60), retry_condition=may_pass)
def load(settings_file: str, biller: str, kind: str, path: str, as_of: datetime) -> LoadResult:
    """The same file again changes nothing. Waits out another writer."""
    return load_one(load_settings(settings_file), biller, kind, path, as_of)


@flow(name="load-file", run_name="{biller} {kind}")
def load_file(
    biller: str, kind: str, path: str, as_of: datetime | None = None, settings_file: str | None = None
) -> dict[str, Any]:
    """Archive, check and stage one CSV or Parquet file; rows that break the contract are set aside and told.

    MIPS/APPS sends each invoice at once, so there the records of the file go out before this ends.
    """
    settings, now = load_settings(settings_file), business_time(as_of)
    found = load(str(settings.file), biller, kind, path, now)
    kind = found.kind
    resource = f"{biller_resource(biller)}.file.{kind}"
    if found.rows_quarantined:
        alert(settings, biller, now, resource, [_set_aside(found)])
    else:
        clear(settings, biller, now, ["check_failed"], [kind])
    result = asdict(found)
    engine.artifact(f"load-{kind}-{biller}", [result], f"What was loaded from {found.file} for {biller}")
    if owed := refresh_after(settings, biller, kind, now):
        result["balances"] = owed
    engine.emit("icflows.file.loaded", resource, {"biller": biller, "kind": kind, "rows_new": found.rows_new})
    deliver_by_hand(settings, biller, now)
    if kind == "invoice_events" and settings.biller(biller).product == "mips-apps":
        result["published"] = publish_invoices(biller=biller, as_of=now, settings_file=str(settings.file))
    return result


def _set_aside(found: LoadResult) -> Alert:
    lines = [f"{reason}: {count}" for reason, count in found.reasons.items()]
    title = f"{found.kind}: {found.rows_quarantined} rows of {found.file} set aside by the contract"
    return Alert(
        "check_failed", found.kind, "MED", title, "; ".join([*lines, f"see quarantine.{found.kind}"])
    )
