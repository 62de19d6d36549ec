"""Facts → one HTML page, through Jinja2 templates with escaping always on."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.report import charts, words
from tasks.report.collect import Facts
from tasks.report.evidence import cards
from tasks.report.work import figures, work_states

_SETTLED_STATES = ("MATCHED_FINAL", "MATCHED_PROVISIONAL", "EXPLAINED")
_STATE_WORDS = {
    "MATCHED_FINAL": "posted, settled, and the return window is over",
    "MATCHED_PROVISIONAL": "posted and settled; could still come back",
    "EXPLAINED": "declined, returned and reversed, or a refund",
    "IN_FLIGHT": "not due yet, or not yet provable",
    "SUGGESTED": "one weak candidate: a person confirms it",
    "AMBIGUOUS": "more than one candidate: nothing is guessed",
    "BROKEN": "has at least one open break",
}
_INVOICE_WORDS = {
    "SENT": "InvoiceCloud has it", "RECALLED": "taken back: reissued at 0.00 or deleted",
    "IN_FLIGHT": "sent, the answer is not settled", "UNDECIDED": "looks disagree: a person decides",
    "HELD": "waits for its image, a cure, or an earlier file", "REJECTED": "InvoiceCloud refused its line",
    "REFUSED": "InvoiceCloud refused its file", "NOT_SENT": "in no file: recalled before it was sent, or still to come",
}  # fmt: skip
_ARRIVAL_WORDS = {
    "reported": "in the payment report, since pushes are expected", "pushed": "of these, the Data Pump told of",
    "lost": "of these, it never told of: first seen by poll",
}  # fmt: skip
_COMPARED = (
    ("payments", "InvoiceCloud", "payments reported"), ("postings", "IMT", "postings"),
    ("settlements", "InvoiceCloud", "settled items"), ("ach_rejects", "InvoiceCloud", "ACH returns"),
)  # fmt: skip


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "money": words.money, "count": words.count, "day": words.day, "name": words.name, "utc": words.utc,
        "rate": words.rate,
    }  # fmt: skip
    return environment


def render(facts: Facts) -> str:
    """The page."""
    zone = facts.info["time_zone"]

    def local(value: datetime | date | None) -> str:
        return words.instant(value, zone) if isinstance(value, datetime) else words.day(value)

    def clock(value: datetime | None) -> str:
        return words.clock(value, zone)

    return _environment().get_template("report.html").render(
        facts=facts, info=facts.info, run=facts.run, local=local, clock=clock, plural=words.plural,
        compared=_compared(facts), invoices=_invoices(facts), states=_states(facts), proof=_of(facts, "proof"), feed=_of(facts, "feed"),
        held=[row for row in facts.totals if row["kind"] == "held" and row["rows"]],
        other_excluded=[r for r in facts.totals if r["kind"] == "excluded" and r["name"] == "INTERBANK_RETURNS" and r["rows"]],
        pump=_pump(facts), feed_states=_feed_states(facts), headline=_headline(facts), trouble=_trouble(facts), summary=_summary(facts),
        class_bars=charts.bars([_class_bar(row) for row in facts.classes]),
        age_bars=charts.bars([_age_bar(row) for row in facts.ages]),
        cash=charts.cash_columns(facts.cash), plot_height=charts.PLOT_HEIGHT, most_days=charts.MOST_DAYS,
        work_states=work_states(facts.work["states"]), figures=figures(facts.work["figures"]),
        periods=facts.work["periods"], cards=lambda row: cards(row["code"], row["evidence"], zone),
    )  # fmt: skip


def _of(facts: Facts, kind: str) -> dict[str, Any]:
    return next((row for row in facts.totals if row["kind"] == kind), {"rows": 0, "amount": Decimal("0.00")})


def _states(facts: Facts) -> list[dict[str, Any]]:
    rows = [row for row in facts.totals if row["kind"] == "state"]
    order = list(_STATE_WORDS)
    rows.sort(key=lambda row: order.index(row["name"]))
    whole = sum((row["amount"] for row in rows), Decimal(0))
    places = charts.parts([(row["name"], row["amount"]) for row in rows])
    return [
        {
            **row,
            "words": _STATE_WORDS[row["name"]],
            "share": words.share(row["amount"], whole),
            "x": x,
            "width": width,
        }
        for row, (_, x, width) in zip(rows, places, strict=True)
    ]


def _compared(facts: Facts) -> list[dict[str, Any]]:
    run = facts.run or {}
    return [
        {"side": side, "what": what, "rows": run[f"{table}_rows"], "amount": run[f"{table}_amount"]}
        for table, side, what in _COMPARED
        if run
    ]


def _invoices(facts: Facts) -> list[dict[str, Any]]:
    order = list(_INVOICE_WORDS)
    rows = sorted(facts.invoices, key=lambda row: order.index(row["status"]))
    return [{**row, "words": _INVOICE_WORDS[row["status"]]} for row in rows]


def _pump(facts: Facts) -> list[tuple[str, str, int, Decimal | None]]:
    """What, meaning, payments, USD: one line each; of the arrivals only where pushes are expected."""
    pump = facts.pump
    if pump is None:
        return []
    came = pump["arrivals"]
    lines: list[tuple[str, str, int, Decimal | None]] = [
        (f"{name} payments", meaning, came[name]["rows"], came[name]["amount"])
        for name, meaning in _ARRIVAL_WORDS.items()
        if name in came
    ]
    return [
        *lines,
        ("pushes taken", "payments pushed so far, approved or declined", pump["payments"], None),
        ("conflicts", "pushed again with other content under the same GUID", pump["conflicting"], None),
        ("suspense", "neither account nor invoice is known to IMT", pump["suspense"], pump["suspense_amount"]),
        ("above the balance", "more than the invoice owed when the push came", pump["above"], pump["above_amount"]),
        ("waiting for IMT", "in no hand-over file that IMT acknowledged", pump["waiting"] + pump["unacknowledged"],
         pump["open_amount"]),
    ]  # fmt: skip


def _summary(facts: Facts) -> dict[str, Any]:
    states = {row["name"]: row for row in facts.totals if row["kind"] == "state"}
    whole = sum((row["amount"] for row in states.values()), Decimal(0))
    nothing = {"rows": 0, "amount": Decimal("0.00")}
    sure = sum((states[name]["amount"] for name in _SETTLED_STATES if name in states), Decimal(0))
    return {
        "whole": whole, "sure": sure, "sure_share": words.share(sure, whole),
        "in_flight": states.get("IN_FLIGHT", nothing), "broken": states.get("BROKEN", nothing),
        "ambiguous": states.get("AMBIGUOUS", nothing), "suggested": states.get("SUGGESTED", nothing),
        "open": sum(row["count"] for row in facts.classes),
        "high": sum(row["count"] for row in facts.classes if row["severity"] == "HIGH"),
        "at_stake": sum((row["amount"] for row in facts.classes), Decimal(0)),
    }  # fmt: skip


def _headline(facts: Facts) -> str:
    if facts.run is None:
        return "Nothing has been compared yet: no reconcile run is kept for this biller."
    run, summary = facts.run, _summary(facts)
    compared = (
        f"{words.plural(run['payments_rows'], 'payment')} of {words.money(run['payments_amount'])}, as InvoiceCloud "
        f"reported them, were compared with {words.plural(run['postings_rows'], 'IMT posting')}, "
        f"{words.plural(run['settlements_rows'], 'settled item')} and {words.plural(run['ach_rejects_rows'], 'return')}."
    )
    fates = [f"{words.money(summary['sure'])} ({summary['sure_share']}) is matched or explained"]
    fates += [f"{words.money(summary['in_flight']['amount'])} is in flight"] * bool(
        summary["in_flight"]["rows"]
    )
    fates += [f"{words.money(summary['suggested']['amount'])} is suggested to a person"] * bool(
        summary["suggested"]["rows"]
    )
    fates += [f"{words.money(summary['ambiguous']['amount'])} is ambiguous"] * bool(
        summary["ambiguous"]["rows"]
    )
    broken = words.plural(summary["broken"]["rows"], "payment")
    fates += [f"{words.money(summary['broken']['amount'])} sits in {broken} with a break"] * bool(
        summary["broken"]["rows"]
    )
    return f"{compared} Every cent is accounted for: {', '.join(fates)}."


def _trouble(facts: Facts) -> list[str]:
    found = [row["sentence"] for row in facts.feed_breaks]
    told = {row["subject"] for row in facts.feed_breaks}
    found += [
        f"Feed {words.name(row['feed'])} is late."
        for row in facts.health
        if row["late"] and row["feed"] not in told
    ]
    if facts.run and facts.run["as_of"] != facts.info["as_of"]:
        zone = facts.info["time_zone"]
        found.append(
            f"The last comparison is as of {words.instant(facts.run['as_of'], zone)}; later data is not judged yet."
        )
    return found


def _feed_states(facts: Facts) -> list[dict[str, Any]]:
    """Health rows with `word` and `mood` (good, bad, soft)."""
    broken = {row["subject"]: row["code"] for row in facts.feed_breaks}
    found = []
    for row in facts.health:
        is_file = row["interval_seconds"] is None
        if broken.get(row["feed"]) == "B37":
            word, mood = "suspect", "bad-word"
        elif row["late"] or row["feed"] in broken:
            word, mood = ("late" if row["late"] else "gap"), "bad-word"
        elif row["last_ok_at"] is None:
            word, mood = "never loaded", "soft"
        else:
            word, mood = ("loaded" if is_file else "on time"), "good-word"
        found.append({**row, "word": word, "mood": mood, "is_file": is_file})
    return found


def _class_bar(row: dict[str, Any]) -> tuple[str, str, Decimal, str]:
    text = f"{words.money(row['amount'])} · {words.count(row['count'])}"
    return f"{row['code']} {row['name']}", text, row["amount"], row["severity"].lower()


def _age_bar(row: dict[str, Any]) -> tuple[str, str, Decimal, str]:
    span = f"{row['low']} or more" if row["high"] is None else f"{row['low']} to {row['high']}"
    text = f"{words.money(row['amount'])} · {words.count(row['count'])}" if row["count"] else "none"
    return f"{span} banking days", text, row["amount"], "age"
