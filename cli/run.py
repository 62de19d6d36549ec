"""Commands that do work: pull, load, publish, reconcile, snapshot, replay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.engine import run_flow
from cli.options import AsOf, Biller, Config, Json, Whole, business_time, instant
from cli.progress import counted, told
from cli.show import OK, WRONG, cell, emit_json, say, table
from tasks.settings import load_settings, table_name


def pull(
    feed: Annotated[str, typer.Argument(help="payments, settlements, ach-rejects, autopay or paperless.")],
    biller: Biller,
    window_from: Annotated[str | None, typer.Option("--from", help="Start, ISO 8601 with a zone.")] = None,
    window_to: Annotated[str | None, typer.Option("--to", help="End (not included).")] = None,
    as_of: AsOf = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """Pull one feed from InvoiceCloud: ask, archive, check, stage."""
    settings = load_settings(config)
    settings.feed(biller, table_name(feed))
    result = run_flow(
        "pull_feed", "pull_feed", biller=biller, feed=table_name(feed), window_from=instant(window_from, "--from"),
        window_to=instant(window_to, "--to"), as_of=business_time(as_of), settings_file=str(settings.file),
    )  # fmt: skip
    if as_json:
        emit_json(result)
    else:
        _show_pull(feed, result)
    return OK if result["status"] == "ok" else WRONG


def _show_pull(feed: str, result: dict[str, Any]) -> None:
    headings = ["window (UTC)", "status", "in", "new", "changed", "known", "aside", "sum"]
    rows = [
        [_span(p), p["status"], p["rows_in"], p["rows_new"], p["rows_amended"], p["rows_unchanged"] + p["rows_duplicate"],
         p["rows_quarantined"], p["sum_in"]]
        for p in result["polls"]
    ]  # fmt: skip
    table(f"{feed}: {result['status']}", headings, rows, right=range(2, 8))
    for poll in result["polls"]:
        for line in [poll["message"], *poll["warnings"]]:
            if line:
                say(f"  {_span(poll)}: {line}")
        for reason, count in poll["reasons"].items():
            say(f"  set aside {count} ×: {reason}")
    if result.get("error"):
        say(f"  {result['error']}")


def _span(poll: dict[str, Any]) -> str:
    start, end = poll["window_from"], poll["window_to"]
    return f"{start:%m-%d %H:%M} – {end:%m-%d %H:%M}" if start and end else "full list"


def load(
    kind: Annotated[
        str,
        typer.Argument(
            help="From IMT: postings, invoices (events), adjustments, enrolment-flags, open-at-ic, spectrum-invoices. "
            "From the bank: deposits. From InvoiceCloud's portal: chargebacks, refunds."
        ),
    ],
    file: Annotated[Path, typer.Argument(help="CSV or Parquet; deposits also BAI2 (.bai, .bai2, .txt).")],
    biller: Annotated[
        str | None, typer.Option("--biller", "-b", help="May be left out if there is only one.")
    ] = None,
    as_of: AsOf = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """Load a file from IMT, the bank or the portal. Loading it again changes nothing."""
    settings = load_settings(config)
    biller = biller or settings.only_biller()
    settings.biller(biller)
    result = run_flow(
        "load_file", "load_file", biller=biller, kind=kind, path=str(file.resolve()), as_of=business_time(as_of),
        settings_file=str(settings.file),
    )  # fmt: skip
    if as_json:
        emit_json(result)
    else:
        names = ["in", "new", "amended", "unchanged", "duplicate", "quarantined"]
        counts = [result[f"rows_{name}"] for name in names]
        table(f"{kind} from {file.name}", [*names, "sum"], [[*counts, result["sum_in"]]], right=range(7))
        for reason, count in result["reasons"].items():
            say(f"  quarantined {count}: {reason}")
        for warning in result["warnings"]:
            say(f"  {warning}")
    return WRONG if result["rows_quarantined"] else OK


def reconcile(
    biller: Biller, as_of: AsOf = None, whole: Whole = False, config: Config = None, as_json: Json = False
) -> int:
    """Compare payments with postings, settlements and returns; list what is broken."""
    settings = load_settings(config)
    settings.biller(biller)
    result = run_flow(
        "reconcile",
        "reconcile",
        biller=biller,
        as_of=business_time(as_of),
        settings_file=str(settings.file),
        whole=whole,
    )
    if as_json:
        emit_json(result)
        return OK
    table(
        "Payments by state",
        ["state", "payments", "amount"],
        [list(s.values()) for s in result["states"]],
        right=(1, 2),
    )
    headings = ["code", "name", "severity", "open", "amount"]
    table("Open breaks", headings, [list(b.values()) for b in result["breaks_open"]], right=(3, 4))
    looked = "all" if result["is_whole"] else f"{result['looked_at']:,} of {result['payments']:,}"
    say(f"looked at {looked} payments")
    say(
        f"opened {result['opened']}, closed {result['closed']} in this run; icflows breaks --biller {biller} lists them"
    )
    return OK


def publish(biller: Biller, as_of: AsOf = None, config: Config = None, as_json: Json = False) -> int:
    """Send invoices and bill images that wait, each once; ask about uploads that had no answer."""
    settings = load_settings(config)
    settings.biller(biller)
    with told():
        result = run_flow(
            "publish_invoices", "publish_invoices", biller=biller, as_of=business_time(as_of),
            settings_file=str(settings.file),
        )  # fmt: skip
    if as_json:
        emit_json(result)
    else:
        _show_publish(result)
    return OK if result["status"] in ("sent", "nothing") else WRONG


def _show_publish(result: dict[str, Any]) -> None:
    headings = ["file", "state", "records", "refused", "amount", "receipt", "reason"]
    rows = [
        [
            f["file_id"],
            f["state"],
            f["records"],
            f["records_rejected"],
            f["amount"],
            f["receipt_id"],
            f["reason"],
        ]
        for f in result["files"]
    ]
    if rows:
        table(f"Files of {result['biller']}", headings, rows, right=(2, 3, 4))
    for line in result["held"]:
        say(f"  held {line['records']}: {line['reason']}")
    for state, count in result["images"].items():
        say(f"  bill images {state}: {count}")
    if result["recalls_not_obeyed"]:
        say(f"  recalled and still payable at InvoiceCloud: {result['recalls_not_obeyed']} (B28)")
    for line in result["troubles"]:
        say(f"  {line}")
    say(f"{result['status']}: {result['records']} records over {cell(result['amount'])} USD accepted")


def snapshot(biller: Biller, as_of: AsOf = None, config: Config = None, as_json: Json = False) -> int:
    """Publish a read-only DuckDB snapshot and the report."""
    settings = load_settings(config)
    settings.biller(biller)
    result = run_flow(
        "publish_snapshot",
        "publish_snapshot",
        biller=biller,
        as_of=business_time(as_of),
        settings_file=str(settings.file),
    )
    if as_json:
        emit_json(result)
    else:
        table(
            "Published",
            ["what", "where"],
            [[name, value] for name, value in result.items() if isinstance(value, str)],
        )
    return OK


def replay(biller: Biller, as_of: AsOf = None, config: Config = None, as_json: Json = False) -> int:
    """Rebuild staging from the archive: the same tables from the same bytes."""
    from tasks.replay import replay as rebuild

    settings = load_settings(config)
    settings.biller(biller)
    with counted("polls and files read again") as progress:
        result = rebuild(settings, biller, business_time(as_of), progress)
    if as_json:
        emit_json(result)
    else:
        say(f"{result.polls} polls and files read again ({result.failed} had failed then and failed again)")
        say(f"the old file is {result.old_file}" if result.old_file else "there was no staging file before")
    return OK


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    for command in (pull, load, publish, reconcile, snapshot, replay):
        app.command()(command)
