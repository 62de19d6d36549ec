"""The publication: a read-only DuckDB snapshot for analysts and the HTML report of the run."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flows import engine
from flows.alerting import biller_resource, business_time
from flows.engine import flow, task
from flows.pull_feed import may_pass
from tasks.report import ReportResult, write_report
from tasks.settings import load_settings
from tasks.snapshot import SnapshotResult
from tasks.snapshot import publish_snapshot as publish


@task(name="snapshot", retries=2, retry_delay_seconds=(10, 60), retry_condition=may_pass)
def snapshot(settings_file: str, biller: str, as_of: datetime) -> SnapshotResult:
    """The whole file appears under its name at once, or not at all."""
    return publish(load_settings(settings_file), biller, as_of)


@task(name="report", retries=2, retry_delay_seconds=(10, 60), retry_condition=may_pass)
def report(settings_file: str, biller: str, as_of: datetime) -> ReportResult:
    """One HTML file without any network."""
    return write_report(load_settings(settings_file), biller, as_of)


@flow(name="publish-snapshot", run_name="{biller}")
def publish_snapshot(
    biller: str, as_of: datetime | None = None, settings_file: str | None = None
) -> dict[str, Any]:
    """Publish the snapshot and the report. Returns where they are and how many rows each table has."""
    settings, now = load_settings(settings_file), business_time(as_of)
    made, told = snapshot(str(settings.file), biller, now), report(str(settings.file), biller, now)
    where = {
        "snapshot": str(made.path), "latest_snapshot": str(made.latest), "report": str(told.path),
        "latest_report": str(told.latest),
    }  # fmt: skip
    lines: list[dict[str, Any]] = [
        {"what": what.replace("_", " "), "where": path} for what, path in where.items()
    ]
    lines += [{"what": f"rows of {table}", "where": rows} for table, rows in made.tables.items()]
    engine.artifact(f"snapshot-{biller}", lines, f"What was published for {biller}, as of {now}")
    engine.emit(
        "icflows.snapshot.published", biller_resource(biller), {"biller": biller, "snapshot": made.path.name}
    )
    return {**where, "bytes": made.bytes, "tables": made.tables}
