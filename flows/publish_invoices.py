"""The hourly sending of invoices: its place in the schedule, and an honest count of what waits."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flows import engine
from flows.alerting import business_time
from flows.engine import flow
from tasks.loading import waiting_invoices
from tasks.settings import load_settings


@flow(name="publish-invoices", run_name="{biller}")
def publish_invoices(
    biller: str, as_of: datetime | None = None, settings_file: str | None = None
) -> dict[str, Any]:
    """Count the open invoices that IMT has delivered. This build sends none, and says so."""
    settings, now = load_settings(settings_file), business_time(as_of)
    waiting = waiting_invoices(settings, biller)
    result = {"biller": biller, "as_of": now, "sent": 0, "waiting": waiting}
    message = f"{biller}: {waiting} open invoices wait; this build sends no invoices to InvoiceCloud"
    engine.artifact(f"invoices-{biller}", [result], message)
    return engine.completed("NotSent", message, result)
