"""The drop folder: every file that IMT put there is loaded, then moved away."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from flows import engine
from flows.alerting import alert, biller_resource, business_time, clear, deliver_by_hand
from flows.engine import flow
from flows.load_file import load
from flows.owing import KINDS, refresh_after
from flows.publish_invoices import publish_invoices
from tasks.alerts import Alert
from tasks.archive import safe_text
from tasks.dropping import QUIET_SECONDS, put_away, sight, strangers, waiting_files
from tasks.errors import BadAnswer, IcflowsError, Retry, SchemaDrift, SettingsError, StagingDamaged
from tasks.loading import LoadResult, table_of
from tasks.settings import Settings, load_settings

_UNREADABLE = (BadAnswer, SchemaDrift)  # the file's own fault; any other error is not
_FOR_ALL = (Retry, StagingDamaged, SettingsError)  # the next file would meet the same
_COUNTS = ("rows_in", "rows_new", "rows_unchanged", "rows_amended", "rows_duplicate", "rows_quarantined")


@flow(name="take-files", run_name="{biller}")
def take_files(
    biller: str,
    as_of: datetime | None = None,
    settings_file: str | None = None,
    quiet_seconds: float = QUIET_SECONDS,
) -> dict[str, Any]:
    """Load every file of the biller's drop folder, oldest first, and move it to done/, or to failed/ if it is none.

    One bad file does not stop the others. Trouble that is not the file's (disk, staging in use) ends the run with
    its error, after what was done is told; files left are taken by the next run. Returns counts, never a row.
    """
    settings, now = load_settings(settings_file), business_time(as_of)
    folder = settings.biller(biller).drop_folder
    if folder is None:
        message = f"{biller} has no drop_folder in {settings.file.name}"
        return engine.completed("NoFolder", message, _summary(biller, now, [], []))
    files, trouble = _take_all(settings, biller, folder, now, quiet_seconds)
    _tell(settings, biller, now, files)
    result = _summary(biller, now, files, strangers(folder))
    touched = {table_of(line["kind"]) for line in files if line["state"] == "loaded"}
    for kind in sorted(touched & set(KINDS))[:1]:  # once for all files
        result["balances"] = refresh_after(settings, biller, kind, now)
    if files:
        engine.artifact(f"files-{biller}", files, f"What was taken from the drop folder of {biller}")
    deliver_by_hand(settings, biller, now)
    told = any(line["state"] == "loaded" and table_of(line["kind"]) == "invoice_events" for line in files)
    if told and settings.biller(biller).product == "mips-apps":  # each invoice goes out at once
        result["published"] = publish_invoices(biller=biller, as_of=now, settings_file=str(settings.file))
    if trouble:
        raise trouble
    return result


def _take_all(
    settings: Settings, biller: str, folder: Path, now: datetime, quiet_seconds: float
) -> tuple[list[dict[str, Any]], IcflowsError | None]:
    """What became of each file, and the first trouble that is not a file's own fault."""
    files: list[dict[str, Any]] = []
    trouble: IcflowsError | None = None
    for kind, path in waiting_files(folder, quiet_seconds):
        try:
            files.append(_take(settings, biller, folder, kind, path, now))
        except _FOR_ALL as error:
            return files, trouble or error
        except IcflowsError as error:
            files.append(_line(kind, path) | {"state": "left", "reason": error.reason})
            trouble = trouble or error
    return files, trouble


def _take(
    settings: Settings, biller: str, folder: Path, kind: str, path: Path, now: datetime
) -> dict[str, Any]:
    """One file: loaded and committed first, moved after that. What changed meanwhile stays for the next run."""
    line = _line(kind, path)
    before = sight(path)
    try:
        found = load(str(settings.file), biller, kind, str(path), now)
    except _UNREADABLE as error:
        line |= {"state": "failed", "reason": error.reason, "message": _words(error)}
    except IcflowsError:
        if before and sight(path):
            raise
        return line  # another run took it between our look and our load
    else:
        line |= {"state": "loaded", **_counts(found)}
    if sight(path) != before:
        left = {"state": "left"} if line["state"] == "failed" else {}
        return line | left | {"reason": "changed_meanwhile"}
    kept = put_away(path, folder, now.date() if line["state"] == "loaded" else None)
    return line | {"moved_to": str(kept.relative_to(folder))}


def _line(kind: str, path: Path) -> dict[str, Any]:
    return {"file": path.name, "kind": kind, "state": "gone", "moved_to": None, "reason": None}


def _counts(found: LoadResult) -> dict[str, Any]:
    told = asdict(found)
    return {name: told[name] for name in (*_COUNTS, "sum_in", "reasons", "warnings")}


def _words(error: IcflowsError) -> str:
    """The cause, bounded."""
    return safe_text(str(error))


def _tell(settings: Settings, biller: str, now: datetime, files: list[dict[str, Any]]) -> None:
    """Raises an alert for each file that is none and for each kind with rows set aside; closes what is healed."""
    for line in files:
        subject = safe_text(f"{line['kind']}/{line['file']}", 120)
        if line["state"] == "failed":
            alert(settings, biller, now, _resource(biller, line["kind"]), [_unread(subject, line)])
        elif line["state"] == "loaded":
            clear(settings, biller, now, ["file_failed"], [subject])
    for kind in dict.fromkeys(line["kind"] for line in files if line["state"] == "loaded"):
        loaded = [line for line in files if line["kind"] == kind and line["state"] == "loaded"]
        aside = [line for line in loaded if line["rows_quarantined"]]
        if aside:
            alert(settings, biller, now, _resource(biller, kind), [_set_aside(table_of(kind), aside)])
        else:
            clear(settings, biller, now, ["check_failed"], [table_of(kind)])
        new = sum(line["rows_new"] for line in loaded)
        engine.emit(
            "icflows.file.loaded", _resource(biller, kind), {"biller": biller, "kind": table_of(kind), "rows_new": new}
        )  # fmt: skip


def _resource(biller: str, kind: str) -> str:
    return f"{biller_resource(biller)}.file.{table_of(kind)}"


def _unread(subject: str, line: dict[str, Any]) -> Alert:
    body = f"{line['message']} ({line['reason']}); nothing of it was loaded; it is now {line['moved_to']}"
    return Alert("file_failed", subject, "HIGH", f"{subject} cannot be read", body)


def _set_aside(table: str, lines: list[dict[str, Any]]) -> Alert:
    count = sum(line["rows_quarantined"] for line in lines)
    told = [f"{line['file']}: {reason}: {n}" for line in lines for reason, n in line["reasons"].items()]
    title = f"{table}: {count} rows of {len(lines)} files set aside by the contract"
    return Alert("check_failed", table, "MED", title, "; ".join([*told, f"see quarantine.{table}"]))


def _summary(biller: str, now: datetime, files: list[dict[str, Any]], ignored: list[str]) -> dict[str, Any]:
    """files: what became of each; ignored: what lies there and is of no kind that is read there."""
    states = [line["state"] for line in files]
    counts = {"loaded": states.count("loaded"), "failed": states.count("failed")}
    return {"biller": biller, "as_of": now, **counts, "files": files, "ignored": ignored}
