"""What InvoiceCloud pushed and asked: handed to IMT, taken into staging; what is owed goes back to the service."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from flows import engine
from flows.alerting import alert, biller_resource, business_time, clear, deliver_by_hand
from flows.engine import flow, task
from flows.owing import refresh_balances
from flows.pull_feed import may_pass
from tasks.alerts import Alert, Kind
from tasks.inbound.collect import CollectResult, Flagged, Flags, collect, flags, overview, told
from tasks.inbound.handover import hand_over, read_acks
from tasks.settings import Settings, load_settings

_LOOK_BACK = timedelta(days=7)  # an alert that is open is not raised again
_SHOWN = 20


@task(name="hand-over", retries=2, retry_delay_seconds=(5, 30), retry_condition=may_pass)
def exchange(settings_file: str, biller: str, as_of: datetime) -> dict[str, Any]:
    """IMT's acknowledgements first, then new files and those to be offered again."""
    settings = load_settings(settings_file)
    heard = read_acks(settings, biller, as_of)
    return {**asdict(heard), **asdict(hand_over(settings, biller, as_of))}


@task(name="collect", retries=2, retry_delay_seconds=(5, 30), retry_condition=may_pass)
def take(settings_file: str, biller: str, as_of: datetime) -> CollectResult:
    """The service's rows into staging; what could not be read into quarantine."""
    return collect(load_settings(settings_file), biller, as_of)


@flow(name="collect-pushes", run_name="{biller}")
def collect_pushes(
    biller: str, as_of: datetime | None = None, settings_file: str | None = None
) -> dict[str, Any]:
    """Hand pushed payments to IMT, take pushes and calls into staging, bring what is owed to the service; tell."""
    settings, now = load_settings(settings_file), business_time(as_of)
    if settings.biller(biller).inbound is None:
        message = f"{biller} has no [inbound] in {settings.file.name}"
        return engine.completed("NoCalls", message, {"biller": biller, "as_of": now})
    file = str(settings.file)
    handed = exchange(file, biller, now)
    taken = take(file, biller, now)
    owed = refresh_balances(file, biller, now)
    tell(settings, biller, now)
    result: dict[str, Any] = {
        "biller": biller,
        "as_of": now,
        "handed": handed,
        "taken": asdict(taken),
        "balances": owed,
    }
    line: dict[str, Any] = {name: value for name, value in asdict(taken).items() if name != "loads"}
    line |= {"files": len(handed["made"]), "rows": handed["rows"], "amount": str(handed["amount"])}
    line |= {"acknowledged": len(handed["acknowledged"]), "balances": owed["invoices"]}
    engine.artifact(f"pushes-{biller}", [line], f"Pushes and calls of {biller}, as of {now}")
    engine.emit("icflows.pushes.collected", f"{biller_resource(biller)}.pushes", {"biller": biller, **line})
    deliver_by_hand(settings, biller, now)
    return result


def tell(settings: Settings, biller: str, now: datetime) -> None:
    """Raises what a person must see, and closes what is cured."""
    found = flags(settings, biller, now, since=now - _LOOK_BACK)
    local = now.astimezone(settings.biller(biller).zone)
    start_of_day = local.replace(hour=0, minute=0, second=0, microsecond=0)
    today = flags(settings, biller, now, since=start_of_day)
    alerts = [
        *_contradictions(found),
        *_of_the_day(today, f"{local:%Y-%m-%d}"),
        *_files(found),
        *_down(found),
    ]
    resource = f"{biller_resource(biller)}.pushes"
    alert(settings, biller, now, resource, alerts)
    told(settings, biller, today.refused_enrolments)
    files = {line["file"]: line["state"] for line in overview(settings, biller)["files"]}
    late, refused = set(found.handovers_late), set(found.handovers_refused)
    clear(settings, biller, now, ["handover_late"], [name for name in files if name not in late])
    clear(settings, biller, now, ["handover_refused"], [name for name in files if name not in refused])
    if not found.silent:
        clear(settings, biller, now, ["service_down"], ["service"])


def _contradictions(found: Flags) -> list[Alert]:
    """One alert for each: somebody has to ask IC which of the two is right, or what it meant to say."""
    lines: list[tuple[Kind, Flagged, str, str]] = [
        ("push_conflict", found.conflicts, "pushed again with other content",
         "IMT gets the first content; imt.pushes has both. Ask InvoiceCloud which is right"),
        ("push_unread", found.unread, "pushed, and cannot be read",
         "it was not acknowledged; quarantine.pushes has it with its reasons"),
    ]  # fmt: skip
    return [
        Alert(kind, name, "HIGH", f"{name}: {title}", f"{body}: icflows pushes")
        for kind, flagged, title, body in lines
        for name in flagged.ids
    ]


def _of_the_day(today: Flags, day: str) -> list[Alert]:
    """One alert a day for what happens more often; the first one is told, the list is in the snapshot."""
    lines: list[tuple[Kind, Flagged, str]] = [
        ("push_suspense", today.suspense, "for an account that IMT does not know; it goes there as SUSPENSE"),
        ("push_above_balance", today.above_balance, "of more than was owed; it was taken"),
    ]
    alerts = [
        Alert(kind, day, "MED", f"{day}: a payment was pushed {words}", f"{_ids(flagged)}; icflows pushes, v_push_chain")
        for kind, flagged, words in lines
        if flagged.count
    ]  # fmt: skip
    for name, times in today.refused_enrolments.items():
        title = f"{day}: the Data Pump pushed {name} for a Spectrum biller; refused"
        body = f"{times} refused; Data Pump for {name} is to be switched off at InvoiceCloud's portal"
        alerts.append(Alert("enrolment_refused", f"{name} {day}", "HIGH", title, body))
    return alerts


def _files(found: Flags) -> list[Alert]:
    late = [
        Alert("handover_late", name, "HIGH", f"{name}: IMT has not acknowledged it",
              "it is offered again; see whether IMT's import runs: icflows pushes")
        for name in found.handovers_late
    ]  # fmt: skip
    refused = [
        Alert("handover_refused", name, "HIGH", f"{name}: IMT refused it, or took something else",
              "cure the cause, then icflows pushes offer SEQUENCE; icflows pushes has IMT's words")
        for name in found.handovers_refused
    ]  # fmt: skip
    return late + refused


def _down(found: Flags) -> list[Alert]:
    if not found.silent:
        return []
    heard = f"{found.alive_at:%Y-%m-%d %H:%M} UTC" if found.alive_at else "never"
    body = f"last sign of life: {heard}; payments are not pushed and balances not answered until icflows serve runs"
    return [Alert("service_down", "service", "HIGH", "icflows serve does not run", body)]


def _ids(flagged: Flagged) -> str:
    more = f" and {flagged.count - _SHOWN} more" if flagged.count > _SHOWN else ""
    return ", ".join(flagged.ids[:_SHOWN]) + more
