"""The demo's answer sheet beside what was found: by class, subject and amount."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl

from cli.show import console, table
from tasks.overview import read_breaks
from tasks.pull import staging_of
from tasks.settings import Settings
from tasks.staging.query import frame

_KEY = ["code", "subject", "amount"]
_SHOWN = 10
# Why a class, or one way to it, has no place in a month's demo.
_WHY_NOT = {
    "B39": "disturbs all others",
    "B43": "too few returns",
    "B21 after 60 days": "",
}


def compare_answers(settings: Settings, truth: pl.DataFrame) -> dict[str, Any]:
    """Open breaks against the answer sheet by class, subject and amount; both differences must be empty.
    classes: code, planted, found, besides of each class of either side."""
    money = pl.col("amount").cast(pl.Decimal(18, 2))
    with staging_of(settings, "acme").open() as connection:  # the sheet names a bank line as the bank does
        lines = frame(connection, "SELECT bank_reference AS subject, line_id FROM imt.bank_lines")
    named = truth.join(lines, on="subject", how="left")
    planted = named.select("code", pl.coalesce("line_id", "subject").alias("subject"), money)
    found = read_breaks(settings, "acme").filter(pl.col("state") == "open").select("code", "subject", money)
    both = planted.join(found, on=_KEY, how="semi")
    besides = found.join(planted, on=_KEY, how="anti")
    counted = pl.concat(
        rows.select("code", what=pl.lit(what))
        for what, rows in (("planted", planted), ("found", both), ("besides", besides))
    )
    classes = counted.group_by("code").agg(
        (pl.col("what") == what).sum().alias(what) for what in ("planted", "found", "besides")
    )
    return {
        "planted": planted.height,
        "found": both.height,
        "missed": planted.join(found, on=_KEY, how="anti").rows(),
        "besides": besides.rows(),
        "classes": classes.sort("code").to_dicts(),
    }


def show_answers(settings: Settings, answers: dict[str, Any]) -> None:
    """Every class with what was planted and found of it; what differs; what a demo cannot show."""
    open_ = read_breaks(settings, "acme").filter(pl.col("state") == "open")
    money = open_.group_by("code").agg(
        pl.col("name", "severity").first(), pl.col("amount").sum().cast(pl.Decimal(18, 2))
    )
    told = pl.DataFrame(answers["classes"]).join(money, on="code", how="left").sort("code")
    headings = ["class", "name", "sev.", "planted", "found", "besides", "money"]
    rows = told.select("code", "name", "severity", "planted", "found", "besides", "amount").rows()
    table("Breaks, by class", headings, rows, right=range(3, 7))
    words = f"planted {answers['planted']}, found {answers['found']} with class and amount"
    good = not answers["missed"] and not answers["besides"]
    style = "green" if good else "bold red"
    console.print(f"  answer sheet: {words}; besides these: {len(answers['besides'])}", style=style)
    for what in ("missed", "besides"):
        for code, subject, amount in answers[what][:_SHOWN]:
            console.print(f"    {what}: {code} {subject} {Decimal(amount):,.2f}", style="red", markup=False)
    shown = set(told["code"])
    absent = [f"{name} ({why})" if why else name for name, why in _WHY_NOT.items() if name not in shown]
    console.print(f"  not shown: {', '.join(absent)}", markup=False)
    console.print()
