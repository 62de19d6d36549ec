"""Break classes of the deposit control: B13 no batch settled for a day, B14 the bank paid otherwise, B15 did not pay."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tasks.reconcile.apart import Apart
from tasks.reconcile.banking_days import BankingCalendar, day_start, local_date
from tasks.reconcile.breaks import NO_BREAKS, NONE_HELD, build
from tasks.reconcile.dues import known_to
from tasks.reconcile.feeds import Coverage
from tasks.reconcile.model import MONEY, TIME, ZERO
from tasks.reconcile.rules import Rules, tender_days

_NOBODY = {name: pl.lit(None, pl.String) for name in ("payment_guid", "account_number", "invoice_number")}
_PARTS = [
    "settled_amount",
    "returned_amount",
    "chargeback_amount",
    "refund_amount",
    "fee_amount",
    "other_amount",
]
_DEPOSIT = [
    "value_date",
    "settled_from",
    "settled_to",
    "bank_amount",
    *_PARTS,
    "expected_amount",
    "residual_amount",
]


def batch_gaps(
    work: pl.DataFrame,
    apart: Apart,
    coverage: Coverage,
    rules: Rules,
    calendar: BankingCalendar,
    as_of: datetime,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """B13 and the days held back: of a banking day's accepted payments not one is settled, though most are past
    their tender's grace by the day to which settlements are complete. Payments of a weekend or holiday belong to
    the banking day after it. One or two payments show no missing batch (B10 tells of them). `apart`: the
    payments that stand straight."""
    work = _with_apart(work, apart, coverage)
    grace = tender_days(rules.tender_grace("B13"))
    ours = pl.col("accepted") & ~pl.col("is_refund") & ~pl.col("ambiguous")
    touched = (pl.col("n_settled") > 0) | (pl.col("n_returns") > 0) | (pl.col("went_back") != ZERO)
    day = pl.col("local_date")
    gone = work.group_by(day).agg(touched=(ours & touched).any()).filter(~pl.col("touched"))
    if gone.is_empty():
        return NO_BREAKS, NONE_HELD
    late = calendar.between(pl.col("day"), local_date(known_to("settlements_to", as_of), rules.zone)) > grace
    days = (
        work.filter(ours)
        .join(gone, on="local_date", how="semi")
        .with_columns(day=calendar.subtract(day, 0))
        .with_columns(
            late=late.fill_null(False), overdue=calendar.between(pl.col("day"), _today(rules, as_of)) > grace
        )
        .group_by("day")
        .agg(
            count=pl.len(),
            amount=pl.col("payment_amount").sum().cast(MONEY),
            late=pl.col("late").mean() >= 0.5,
            overdue=pl.col("overdue").mean() >= 0.5,
            grace=grace.min(),
        )
    )
    # A day that takes in a weekend is missing only if nothing of the weekend is settled either.
    others = work.filter(ours & touched).select(day=calendar.subtract(day, 0)).unique()
    days = days.join(others, on="day", how="anti").filter(pl.col("count") >= rules.codes["B13"].at_least)
    rows = days.with_columns(
        subject=pl.col("day").cast(pl.String),
        occurred_at=day_start(pl.col("day"), rules.zone),
        due_at=day_start(calendar.add(pl.col("day"), pl.col("grace") + 1), rules.zone),
        **_NOBODY,
    )
    found = build(
        "B13", rules, rows.filter("late"), facts=("count",), evidence={"day": ["day", "count", "amount"]}
    )
    return found, rows.filter(pl.col("overdue") & ~pl.col("late"))


_ASKED = ["accepted", "is_refund", "ambiguous", "n_settled", "n_returns", "went_back"]
_ASKED += ["local_date", "tender", "payment_amount", "settlements_to"]


def _with_apart(work: pl.DataFrame, apart: Apart, coverage: Coverage) -> pl.DataFrame:
    """What counts of `work`, with the straight payments: those that wait one by one, of the others one per day."""
    work = work.select(_ASKED)
    settled = apart.days.filter("settled").select("payment_day", "tender").unique("payment_day")
    nothing = {"payment_amount": ZERO, "settlements_to": pl.lit(None, TIME)}
    waiting = apart.waiting.with_columns(
        settlements_to=coverage.complete_to("settlements", apart.waiting["payment_date"])
    )
    parts = [(settled.with_columns(**nothing), 1), (waiting, 0)]
    others = [
        rows.with_columns(
            accepted=pl.lit(True),
            is_refund=pl.lit(False),
            ambiguous=pl.lit(False),
            n_settled=pl.lit(n),
            n_returns=pl.lit(0),
            went_back=ZERO,
            local_date="payment_day",
        ).select(pl.col(name).cast(work.schema[name]) for name in _ASKED)
        for rows, n in parts
        if rows.height
    ]
    return pl.concat([work, *others])


def variances(
    deposits: pl.DataFrame, rules: Rules, calendar: BankingCalendar
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """B14 and the deposits held back: the bank's amount differs from the named parts; `amount` is what remains."""
    if deposits.is_empty():
        return NO_BREAKS, NONE_HELD
    due = calendar.add(pl.col("value_date"), rules.codes["B14"].grace_banking_days + 1)
    off = pl.col("residual_amount").abs() > pl.lit(rules.deposits.tolerance)
    rows = deposits.filter(pl.col("line_id").is_not_null() & off).with_columns(
        subject="line_id",
        amount="residual_amount",
        occurred_at=day_start(pl.col("value_date"), rules.zone).cast(TIME),
        due_at=day_start(due, rules.zone).cast(TIME),
        net="bank_amount",
        detail=_parts(),
        **_NOBODY,
    )
    evidence = {"deposit": _DEPOSIT}
    found = [
        build(
            "B14",
            rules,
            rows.filter(pl.col("state") == state),
            way=way,
            facts=("net", "detail"),
            evidence=evidence,
        )
        for state, way in (("VARIANCE", ""), ("UNEXPLAINED", "unexplained"))
    ]
    return pl.concat(found), rows.filter(pl.col("state") == "HELD")


def missing(
    deposits: pl.DataFrame, rules: Rules, calendar: BankingCalendar
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """B15 and the dates held back: settled, and no credit by the newest bank line."""
    if deposits.is_empty():
        return NO_BREAKS, NONE_HELD
    due = calendar.add(pl.col("settled_to"), rules.codes["B15"].grace_banking_days + 1)
    rows = deposits.filter(pl.col("line_id").is_null()).with_columns(
        subject=pl.col("settled_to").cast(pl.String),
        amount="expected_amount",
        occurred_at=day_start(pl.col("settled_to"), rules.zone).cast(TIME),
        due_at=day_start(due, rules.zone).cast(TIME),
        detail=_parts(),
        **_NOBODY,
    )
    found = build(
        "B15",
        rules,
        rows.filter(pl.col("state") == "MISSING"),
        facts=("detail",),
        evidence={"deposit": _DEPOSIT},
    )
    return found, rows.filter(pl.col("state") == "HELD")


def _parts() -> pl.Expr:
    """`settled 2026-10-09 to 2026-10-11: 300.00 − 25.00 returned = 275.00`; parts of zero are left out."""
    signs = (("−", "returned"), ("−", "chargeback"), ("−", "refund"), ("+", "fee"), ("+", "other"))
    words = {"chargeback": "charged back", "refund": "refunded", "fee": "fees"}
    named = [
        pl.when(pl.col(f"{part}_amount") != ZERO)
        .then(pl.format(f" {sign} {{}} {words.get(part, part)}", f"{part}_amount"))
        .otherwise(pl.lit(""))
        for sign, part in signs
    ]
    first, last = pl.col("settled_from").cast(pl.String), pl.col("settled_to").cast(pl.String)
    span = pl.when(first == last).then(last).otherwise(pl.format("{} to {}", first, last))
    return pl.format(
        "settled {}: {}{} = {} USD",
        span,
        "settled_amount",
        pl.concat_str(named),
        "expected_amount",
    )


def _today(rules: Rules, as_of: datetime) -> pl.Expr:
    return local_date(pl.lit(as_of, TIME), rules.zone)
