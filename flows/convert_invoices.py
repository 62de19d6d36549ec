"""A biller moves from MIPS/APPS to Spectrum: plan or send the conversion; look at every record afterwards."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from flows import engine
from flows.alerting import biller_resource, business_time, deliver_by_hand
from flows.engine import flow, task
from flows.publish_invoices import tell
from tasks.errors import Stop
from tasks.outbox.conversion import Plan, listing
from tasks.outbox.conversion import plan as plan_once
from tasks.outbox.conversion_check import Verified
from tasks.outbox.conversion_check import verify as verify_once
from tasks.outbox.conversion_lists import described
from tasks.outbox.conversion_report import ReportFiles, write_report
from tasks.outbox.conversion_sending import Progress, Sent
from tasks.outbox.conversion_sending import send as send_once
from tasks.outbox.publish import PublishResult
from tasks.settings import load_settings

# Who watches: set by a command around the flow. A function is no parameter that an engine could keep.
PROGRESS: ContextVar[Progress | None] = ContextVar("PROGRESS", default=None)
_SHOWN = 20


@task(name="plan-conversion")
def plan(
    settings_file: str,
    biller: str,
    open_at_ic: str,
    spectrum: str,
    as_of: datetime,
    listed_at: datetime | None,
) -> Plan:
    """Loads both lists and composes; sends nothing."""
    settings = load_settings(settings_file)
    return plan_once(settings, biller, Path(open_at_ic), Path(spectrum), as_of, listed_at)


@task(name="send-conversion")  # no retries: the outbox itself knows what may be sent again, and when
def send_conversion(
    settings_file: str, biller: str, open_at_ic: str, spectrum: str, as_of: datetime, listed_at: datetime | None,
    confirm_deletes: int | None,
) -> Sent:  # fmt: skip
    """Sends what is missing of it, once."""
    return send_once(
        load_settings(settings_file), biller, Path(open_at_ic), Path(spectrum), as_of,
        confirm_deletes=confirm_deletes, listed_at=listed_at, progress=PROGRESS.get(),
    )  # fmt: skip


@task(name="verify-conversion")
def look(
    settings_file: str, biller: str, open_at_ic: str, spectrum: str, by: str, as_of: datetime
) -> tuple[Verified, ReportFiles]:
    """Looks at every record at InvoiceCloud and writes the report."""
    settings = load_settings(settings_file)
    found = verify_once(settings, biller, Path(open_at_ic), Path(spectrum), by, as_of, told=PROGRESS.get())
    return found, write_report(settings, found)


@flow(name="convert-invoices", run_name="{biller}")
def convert_invoices(
    biller: str, open_at_ic: str, spectrum: str, send: bool = False, confirm_deletes: int | None = None,
    as_of: datetime | None = None, listed_at: datetime | None = None, settings_file: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Show what a conversion would send; with `send`, send it once. `listed_at`: when Spectrum's list was made."""
    settings, now = load_settings(settings_file), business_time(as_of)
    given = (str(settings.file), biller, open_at_ic, spectrum, now, listed_at)
    if not send:
        made = plan(*given)
        result = _planned(made) | {"status": "planned" if _may_go(made) else "stopped"}
        engine.artifact(f"conversion-{biller}", made.lines, _sentence(result))
        return result
    sent = send_conversion(*given, confirm_deletes)
    found = sent.result
    if found.files or found.guards:
        tell(settings, biller, now, found)
    result = _planned(sent.plan) | asdict(found)
    engine.artifact(f"conversion-{biller}", sent.plan.lines, _sentence(result))
    engine.emit(
        "icflows.invoices.converted", biller_resource(biller), {"biller": biller, "status": found.status}
    )
    deliver_by_hand(settings, biller, now)
    if found.guards:
        return engine.failed("Blocked", Stop(_stopped(sent.plan, found), reason="conversion_blocked"))
    return engine.completed(found.status.capitalize(), _sentence(result), result)


@flow(name="verify-conversion", run_name="{biller}")
def verify_conversion(
    biller: str, open_at_ic: str, spectrum: str, by: str, as_of: datetime | None = None,
    settings_file: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Look at every record of a conversion at InvoiceCloud and write the signed report."""
    settings, now = load_settings(settings_file), business_time(as_of)
    found, files = look(str(settings.file), biller, open_at_ic, spectrum, by, now)
    rows = found.rows.filter(found.rows["verdict"] != "verified")
    wrong = (
        rows.select("record_type", "invoice_number", "balance_due", "verdict", "why").head(_SHOWN).to_dicts()
    )
    result = {
        "biller": biller, "as_of": now, "by": by, "signed_off": not found.missing, "statement": found.statement,
        "records": found.rows.height, "verdicts": found.counts, "not_verified": wrong, "totals": found.plan.lines,
        "report": files.page, "csv": files.csv,
    }  # fmt: skip
    engine.artifact(f"conversion-{biller}", found.plan.lines, f"{biller}: {found.statement}")
    return engine.completed("Verified" if not found.missing else "NotVerified", found.statement, result)


def _may_go(made: Plan) -> bool:
    """False if --send would stop, whatever number of deletes is confirmed."""
    stopped = made.stopped_by(made.deletes)
    return not (made.lists.aside or made.conversion.refusals.height or stopped.height)


def _planned(made: Plan) -> dict[str, Any]:
    """What a command shows of a plan; `listing` holds every record."""
    held = made.held.group_by("reason").len("records").sort("reason") if made.held.height else made.held
    return {
        "biller": made.biller, "as_of": made.at, "lists": [described(file) for file in made.lists.files],
        "set_aside": [words for file in made.lists.files for words in file.aside], "rows_aside": made.lists.aside,
        "refusals": made.conversion.refusals.to_dicts(), "totals": made.lines, "deletes": made.deletes,
        "held": held.to_dicts(), "guards": made.findings.select("guard", "record_type", "invoice_number", "sentence").to_dicts(),
        "files": [], "listing": listing(made),
    }  # fmt: skip


def _stopped(made: Plan, found: PublishResult) -> str:
    """Why nothing was sent, guard by guard."""
    lines = [guard["sentence"] for guard in found.guards[:_SHOWN]]
    more = len(found.guards) - len(lines)
    lines += [f"And {more} more."] if more else []
    if any(guard["guard"] == "delete_share" for guard in found.guards):
        lines.append(f"If that is right: --confirm-deletes {made.deletes}.")
    return f"{found.biller}: nothing was sent. {' '.join(lines)}"


def _sentence(result: dict[str, Any]) -> str:
    whole = result["totals"][-1]
    parts = [
        f"{result['biller']}: open at InvoiceCloud {whole['before']} USD, after the conversion {whole['after']} USD"
    ]
    parts += [
        f"{whole['to_send']} of {whole['records']} records to send, {whole['done']} sent, {whole['held']} held"
    ]
    parts += [f"{result['rows_aside']} rows set aside"] if result["rows_aside"] else []
    parts += [f"{len(result['refusals'])} contradictions"] if result["refusals"] else []
    return "; ".join(parts)
