"""Invoices and bill images out: settle what is open, compose the hour's records, guard, send."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from flows import engine
from flows.alerting import alert, biller_resource, business_time, clear, deliver_by_hand
from flows.engine import flow, task
from tasks import telling
from tasks.alerts import Alert, Kind
from tasks.errors import IcflowsError, Stop
from tasks.outbox.publish import PublishResult
from tasks.outbox.publish import publish as publish_once
from tasks.settings import Settings, load_settings

_SHOWN = 20
_UPLOAD: dict[str, tuple[Kind, str]] = {
    "refused": ("upload_refused", "InvoiceCloud refused the whole file; correct it, then icflows outbox decide"),
    "undecided": ("upload_undecided", "looks at InvoiceCloud disagree; a person decides: icflows outbox decide"),
    "unknown": ("upload_unknown", "no answer; InvoiceCloud is asked about each invoice before anything is sent again"),
    "composed": ("upload_failed", "InvoiceCloud did not let it in; the next run sends it"),
}  # fmt: skip
_UPLOAD_KINDS: tuple[Kind, ...] = tuple(kind for kind, _ in _UPLOAD.values())


@task(name="publish")  # no retries: the outbox itself knows what may be sent again, and when
def publish(settings_file: str, biller: str, as_of: datetime) -> PublishResult:
    """One run of the outbox. Killed or repeated at any moment, nothing is lost and nothing doubled."""
    return publish_once(load_settings(settings_file), biller, as_of, progress=telling.tell)


@flow(name="publish-invoices", run_name="{biller}")
def publish_invoices(
    biller: str, as_of: datetime | None = None, settings_file: str | None = None
) -> dict[str, Any]:
    """Send what IMT asks for, once; say what was held, refused, or stopped by a guard."""
    settings, now = load_settings(settings_file), business_time(as_of)
    try:
        found = publish(str(settings.file), biller, now)
    except IcflowsError as error:
        said = f"{error}. What was composed stays in the outbox; the next run goes on."
        title = f"invoices: nothing could be sent ({error.reason})"
        alert(
            settings,
            biller,
            now,
            biller_resource(biller),
            [Alert("upload_failed", "invoices", "HIGH", title, said)],
        )
        deliver_by_hand(settings, biller, now)
        return engine.failed("NotSent", error)
    tell(settings, biller, now, found)
    result = asdict(found)
    engine.artifact(f"invoices-{biller}", found.files or [_line(found)], _sentence(found))
    engine.emit("icflows.invoices.sent", biller_resource(biller), _line(found))
    deliver_by_hand(settings, biller, now)
    if found.guards:
        return engine.failed("Blocked", Stop(_stopped(found), reason="invoices_blocked"))
    return engine.completed(found.status.capitalize(), _sentence(found), result)


def tell(settings: Settings, biller: str, now: datetime, found: PublishResult) -> None:
    """Raises what is wrong and closes what this run has healed."""
    alerts = _alerts(found)
    clear(settings, biller, now, ["upload_failed"], ["invoices"])
    if not found.guards:
        clear(settings, biller, now, ["invoices_blocked"], ["invoices"])
    if not _bad_images(found):
        clear(settings, biller, now, ["bill_images"], ["images"])
    for file in found.files:
        healed = [kind for state, (kind, _) in _UPLOAD.items() if state != file["state"]]
        clear(settings, biller, now, healed, [file["file_id"]])
    alert(settings, biller, now, biller_resource(biller), alerts)


def _stopped(found: PublishResult) -> str:
    """Why nothing was sent, guard by guard."""
    lines = [guard["sentence"] for guard in found.guards[:_SHOWN]]
    more = len(found.guards) - len(lines)
    lines += [f"and {more} more"] if more else []
    lines.append("Nothing was sent; IMT corrects the event, or: icflows outbox withhold EVENT")
    return f"{found.biller}: " + " ".join(lines)


def _alerts(found: PublishResult) -> list[Alert]:
    alerts = []
    if found.guards:
        title = f"invoices: {len(found.guards)} wrong recalls stopped the run, nothing was sent"
        alerts.append(Alert("invoices_blocked", "invoices", "HIGH", title, _stopped(found)))
    for file in found.files:
        if file["state"] in _UPLOAD:
            kind, words = _UPLOAD[file["state"]]
            title = f"invoices: upload of {file['records']} records is {file['state']}"
            said = f"{file['file_id']}: {words}. {file['message'] or file['reason'] or ''}"
            alerts.append(
                Alert(kind, file["file_id"], "MED" if kind == "upload_unknown" else "HIGH", title, said)
            )
        elif file["records_rejected"]:
            title = f"invoices: {file['records_rejected']} of {file['records']} records were refused"
            said = (
                f"{file['file_id']}: icflows outbox show {file['file_id'][-8:]} lists lines and reasons (B26)"
            )
            alerts.append(Alert("upload_refused", file["file_id"], "HIGH", title, said))
    if bad := _bad_images(found):
        said = "; ".join(f"{state}: {count}" for state, count in bad.items())
        title = f"invoices: {sum(bad.values())} bill images are not in order"
        alerts.append(
            Alert("bill_images", "images", "MED", title, f"{said}; B31 names each, outbox.images has them")
        )
    return alerts


def _bad_images(found: PublishResult) -> dict[str, int]:
    return {state: count for state, count in found.images.items() if state != "sent"}


def _line(found: PublishResult) -> dict[str, Any]:
    held = sum(line["records"] for line in found.held)
    return {
        "biller": found.biller, "status": found.status, "files": len(found.files), "records": found.records,
        "amount": str(found.amount), "held": held, "guards": len(found.guards), "images": str(found.images),
    }  # fmt: skip


def _sentence(found: PublishResult) -> str:
    held = sum(line["records"] for line in found.held)
    parts = [
        f"{found.biller}: {found.records} records over {found.amount} USD accepted in {len(found.files)} files"
    ]
    parts += [f"{held} held"] if held else []
    parts += [f"{len(found.guards)} guards stopped the run"] if found.guards else []
    parts += [f"{found.recalls_not_obeyed} recalls not obeyed"] if found.recalls_not_obeyed else []
    return "; ".join([*parts, *found.troubles])
