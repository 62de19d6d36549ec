"""States of the work on a break, what a person's word does, and the tables that keep it.

The program's own state of a break (open while a run finds it, closed when none does) stands apart: a person
may have resolved what the program still finds. Events are only ever added; the newest one of a break says
where it stands. A new version begins when a signed-off break is opened again.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from tasks.reconcile.model import MONEY, TIME, Schema

PROGRAM = "icflows"  # whose word it is when a run re-opens a break
STATES = ("open", "in_work", "resolved", "accepted", "signed_off")
DECIDED = ("resolved", "accepted")
# Action → states in which it may be said, and the state afterwards (None: stays).
ACTIONS: Mapping[str, tuple[tuple[str, ...], str | None]] = {
    "assigned": (("open", "in_work"), "in_work"),
    "noted": (STATES, None),
    "resolved": (("open", "in_work"), "resolved"),
    "accepted": (("open", "in_work"), "accepted"),
    "signed": (DECIDED, "signed_off"),
    "reopened": ((*DECIDED, "signed_off"), "open"),
}
BUCKETS = ((0, 1), (2, 3), (4, 7), (8, 30), (31, 60), (61, None))  # banking days; the last two: ACH's 60 days

# amount: the break's amount when the word was said, so that a decision can be held against what it was made on.
WORK_EVENTS: Schema = {
    "sequence": pl.Int64, "break_id": pl.String, "version": pl.Int32, "at": TIME, "run_id": pl.String,
    "action": pl.String, "by": pl.String, "owner": pl.String, "note": pl.String, "state": pl.String, "amount": MONEY,
}  # fmt: skip
PERIODS: Schema = {
    "period": pl.String, "first_day": pl.Date, "last_day": pl.Date, "closed_at": TIME, "closed_by": pl.String,
    "note": pl.String, "as_of": TIME, "run_id": pl.String, "snapshot": pl.String, "sha256": pl.String,
    "bytes": pl.Int64, "payments_rows": pl.Int64, "payments_amount": MONEY, "states": pl.String,
    "high_unsigned": pl.Int64,
}  # fmt: skip
RATE = pl.Decimal(24, 6)
KPIS: Schema = {
    "run_id": pl.String, "as_of": TIME, "position": pl.Int64, "name": pl.String, "part": pl.String, "value": RATE,
    "unit": pl.String,
}  # fmt: skip
WORK = {"work_events": WORK_EVENTS, "periods": PERIODS, "kpis": KPIS}
