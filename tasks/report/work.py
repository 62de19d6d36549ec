"""The report's part on the work of finance: breaks by state of the work, figures of the run, closed periods."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from typing import Any

import polars as pl

from tasks.report import words
from tasks.work.model import STATES

Row = dict[str, Any]
_STATE_WORDS = {
    "open": "nobody has it yet", "in_work": "somebody has it", "resolved": "put right, not signed off yet",
    "accepted": "stays as it is, not signed off yet", "signed_off": "decided, and signed off by another person",
}  # fmt: skip
# (figure, part) → label and meaning, in the order of the page. Values by age and by feed are told elsewhere on it.
_FIGURES = {
    ("auto_match_rate", "rows"): ("matched by exact rules", "of the payments that can be matched by now"),
    ("auto_match_rate", "amount"): ("matched by exact rules, money", "the same by amount"),
    ("exception_rate", "rows"): ("exceptions", "broken, ambiguous or only suggested, of the same payments"),
    ("exception_rate", "amount"): ("exceptions, money", "the same by amount"),
    ("false_break_rate", None): ("false breaks", "went without anybody's word, of all breaks so far"),
    ("time_to_detect", "mean"): ("time to detect", "from the item to its break, on average"),
    ("time_to_resolve", "mean"): ("time to resolve", "from the break to a decision or its end, on average"),
    ("open_work", "rows"): ("open work", "breaks found that nobody has decided"),
    ("open_work", "amount"): ("open work, money", "amount in question of these"),
    ("unsigned", "rows"): ("not signed off", "breaks found or decided that nobody has signed off"),
    ("days_unsigned", "mean"): ("days without a sign-off", "of these, on average"),
    ("days_unsigned", "largest"): ("longest without a sign-off", "the oldest of these"),
    ("unexplained_money", "amount"): ("money unexplained", "deposits against their parts, sum of residuals"),
    ("unexplained_money", "largest"): ("largest residual", "of one deposit"),
    ("unexplained_deposits", "rows"): ("deposits with a residual", "the target is none"),
    ("push_loss_rate", "rows"): ("push loss", "payments first seen by poll"),
    ("return_rate", "UNAUTHORISED"): (
        "returned as unauthorised",
        "of debits of 60 days; Nacha's limit is 0.5 %",
    ),
    ("return_rate", "ADMINISTRATIVE"): (
        "returned, account data",
        "of debits of 60 days; Nacha's limit is 3 %",
    ),
    ("return_rate", "ALL"): ("returned", "of debits of 60 days; Nacha's limit is 15 %"),
    ("suspense", "amount"): ("suspense", "money that IMT holds for nobody"),
    ("suspense_oldest", None): ("oldest suspense", "since it was booked"),
}


def collect_work(ask: Callable[[str], pl.DataFrame]) -> Row:
    """states (work_state, breaks, high, amount), figures (v_kpis), periods, late (period, rows, amount)."""
    return {
        "states": ask(
            """SELECT work_state, count(*) AS breaks, count(*) FILTER (severity = 'HIGH') AS high,
                      sum(abs(amount))::DECIMAL(18,2) AS amount
               FROM v_break_work WHERE found = 'open' OR needs_sign_off GROUP BY ALL"""
        ).to_dicts(),
        "figures": ask("SELECT name, part, value, unit, value_before FROM v_kpis").to_dicts(),
        "periods": ask(
            """SELECT p.*, (SELECT count(*) FROM v_late_items l WHERE l.period = p.period) AS late
               FROM recon.periods p ORDER BY first_day DESC, last_day DESC LIMIT 12"""
        ).to_dicts(),
    }  # fmt: skip


def work_states(rows: list[Row]) -> list[Row]:
    """The states in order, each with its meaning; only those that have breaks."""
    by_state = {row["work_state"]: row for row in rows}
    return [{**by_state[name], "words": _STATE_WORDS[name]} for name in STATES if name in by_state]


def figures(rows: list[Row]) -> list[tuple[str, str, str, str]]:
    """Label, meaning, figure, figure of the run before."""
    known = {(row["name"], row["part"]): row for row in rows}
    return [
        (label, meaning, _text(known[key]["value"], known[key]["unit"], key[0]),
         _text(known[key]["value_before"], known[key]["unit"], key[0]))
        for key, (label, meaning) in _FIGURES.items()
        if key in known
    ]  # fmt: skip


def _text(value: Decimal | None, unit: str, name: str) -> str:
    """As the page writes it: no rate looks better than it is."""
    if value is None:
        return "–"
    if unit == "share":
        good = name == "auto_match_rate"
        return f"{(value * 100).quantize(Decimal('0.01'), ROUND_DOWN)} %" if good else words.rate(value)
    if unit == "USD":
        return words.money(value)
    if unit in ("hours", "banking days"):
        return f"{value.quantize(Decimal('0.1')):,} {'h' if unit == 'hours' else unit}"
    return words.count(int(value))
