"""The deposit control: which settled dates a bank credit of InvoiceCloud covers, and what of it is unexplained.

A deposit = settled − returns − chargebacks − refunds ± fees of the settled dates it covers, each deduction on its
own date (domain facts 16 and 17). One credit may cover several dates (long weekends); one date may come in several.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tasks.reconcile.banking_days import BankingCalendar, day_start, local_date, local_day
from tasks.reconcile.deposit_cover import Cover, Credit, Day, cover
from tasks.reconcile.feeds import Coverage
from tasks.reconcile.model import DEPOSITS, MONEY, TIME, ZERO, Inputs, empty
from tasks.reconcile.rules import Rules

_PARTS = ("settled", "returned", "charged_back", "refunded", "fees", "other")
_FIRST_DAY = pl.date(2000, 1, 1)
# What a settled batch's own rows mean for the deposit: kind of row → part that it takes money off by.
_TAKEN_OFF = {"REJECT": "returned", "CHARGEBACK": "charged_back", "REFUND": "refunded"}


def deposits(
    data: Inputs,
    folded: pl.DataFrame,
    coverage: Coverage,
    rules: Rules,
    calendar: BankingCalendar,
    as_of: datetime,
) -> pl.DataFrame:
    """The proof table: one row per deposit, and one per settled date whose deposit has not come. Money in USD.

    `folded`: rows of settled batches (apart.FOLDED). No bank line at all: no rows. States: MATCHED,
    VARIANCE, UNEXPLAINED (covers no settled date), WAITING (in its grace), HELD (a feed is not complete),
    OUTSTANDING (not due), MISSING, and NOTHING (a date on which there is nothing to pay out).
    """
    if data.bank_lines.is_empty():
        return empty(DEPOSITS)
    mine = pl.col("bank_account_last4").is_in(list(rules.deposits.account_last4))
    account = data.bank_lines.filter(mine) if rules.deposits.account_last4 else data.bank_lines
    lines = account.filter(pl.col("text").str.contains(rules.deposits.text_pattern).fill_null(False))
    days = expected_by_date(data, folded, rules, calendar)
    if account.is_empty() or (days.is_empty() and lines.is_empty()):
        return empty(DEPOSITS)
    found = _covered(lines, days, rules, calendar)
    rows = pl.concat([_paid(found, lines, days), _open(found, account, days)], how="diagonal_relaxed")
    return _stated(rows, account, lines, coverage, rules, calendar, as_of, _in_batches(folded, rules))


def expected_by_date(
    data: Inputs, folded: pl.DataFrame, rules: Rules, calendar: BankingCalendar
) -> pl.DataFrame:
    """Per date (sorted): the named parts in USD, each positive as named, and `expected`, what the bank should see."""
    settled = folded if rules.deposits.exclusions_in_deposit else folded.filter(~pl.col("excluded"))
    kind = pl.col("transaction_type")
    fee = pl.col("fee_amount").fill_null(ZERO)
    signed = {"none": ZERO, "added": fee, "deducted": -fee}[rules.deposits.fees]
    ours = settled.group_by(day="settled_date").agg(
        _sum(pl.when(kind == "PAYMENT").then("settled_amount")).alias("settled"),
        *(
            _sum(-pl.when(kind == name).then("settled_amount")).alias(part)
            for name, part in _TAKEN_OFF.items()
        ),
        _sum(pl.when(~kind.is_in(["PAYMENT", *_TAKEN_OFF])).then("settled_amount")).alias("other"),
        _sum(pl.when(kind == "PAYMENT").then(signed)).alias("fees"),
    )
    beside = [
        rows.group_by("day").agg(_sum(pl.col("amount")).alias(part))
        for part, rows in _beside(data, rules).items()
        if not _in_batches(folded, rules)[part]
    ]
    held = pl.col("day").is_in(ours["day"].implode())
    rolled = [
        part.with_columns(day=pl.when(held).then("day").otherwise(calendar.subtract(pl.col("day"), 0)))
        for part in beside
    ]
    parts = (
        pl.concat([ours, *rolled], how="diagonal")
        .group_by("day")
        .agg(_sum(pl.col(p)).alias(p) for p in _PARTS)
    )
    off = pl.col("returned") + pl.col("charged_back") + pl.col("refunded")
    expected = pl.col("settled") - off + pl.col("fees") + pl.col("other")
    return parts.with_columns(expected=expected.cast(MONEY)).drop_nulls("day").sort("day")


def _sum(value: pl.Expr) -> pl.Expr:
    return value.fill_null(ZERO).sum().cast(MONEY)


def _in_batches(folded: pl.DataFrame, rules: Rules) -> dict[str, bool]:
    """Are returns, chargebacks, refunds rows of the settled batches? Then they are taken off there, not twice."""
    said = rules.deposits
    seen = set(folded["transaction_type"].unique().to_list())
    chosen = {
        "REJECT": said.returns_in_batches,
        "CHARGEBACK": said.chargebacks_in_batches,
        "REFUND": said.refunds_in_batches,
    }
    return {_TAKEN_OFF[kind]: kind in seen if wish is None else wish for kind, wish in chosen.items()}


def _beside(data: Inputs, rules: Rules) -> dict[str, pl.DataFrame]:
    """Deductions that the batches do not hold: day and amount. A dispute won comes back (REVERSED); a retrieval
    request moves no money; interbank news is no return of money by itself."""
    won = pl.col("stage") == "REVERSED"
    disputes = data.chargebacks.filter(pl.col("stage") != "RETRIEVAL")
    interbank = pl.col("return_code").str.strip_chars().str.to_uppercase().str.contains(r"^R(6[1-9]|7[0-7])$")
    return {
        "returned": data.ach_rejects.filter(~interbank.fill_null(False)).select(
            day=local_date(pl.col("reject_date"), rules.zone), amount="reject_amount"
        ),
        "charged_back": disputes.select(
            day="chargeback_date", amount=pl.when(won).then(-pl.col("amount")).otherwise("amount")
        ),
        "refunded": data.refunds.select(day="refund_date", amount="amount"),
    }


def _covered(lines: pl.DataFrame, days: pl.DataFrame, rules: Rules, calendar: BankingCalendar) -> list[Cover]:
    """Lists of a few hundred days and lines a year go to the search; its answer names them by their place."""

    def place(column: str) -> pl.Expr:
        return calendar.between(_FIRST_DAY, pl.col(column))

    asked = days.select("day", "expected", place=place("day"))
    came = lines.select("line_id", "value_date", "amount", place=place("value_date")).sort(
        "value_date", "line_id"
    )
    return cover([Credit(*row) for row in came.rows()], [Day(*row) for row in asked.rows()], rules.deposits)


def _paid(found: list[Cover], lines: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """One row per deposit that came: its lines' sum, the parts of its settled dates."""
    named = [(c.line_ids[0], id_) for c in found for id_ in c.line_ids]
    dated = [(c.line_ids[0], day) for c in found for day in c.days]
    of_lines = pl.DataFrame(named, schema={"line": pl.String, "line_id": pl.String}, orient="row")
    of_days = pl.DataFrame(dated, schema={"line": pl.String, "day": pl.Date}, orient="row")
    money = (
        of_lines.join(lines.select("line_id", "value_date", "amount"), on="line_id", maintain_order="left")
        .group_by("line", maintain_order=True)
        .agg(
            pl.col("value_date").max(),
            bank=pl.col("amount").sum().cast(MONEY),
            lines=pl.col("line_id").sort().str.join(", "),
            n_lines=pl.len(),
        )
    )
    parts = (
        of_days.join(days, on="day")
        .group_by("line")
        .agg(
            *(pl.col(name).sum().cast(MONEY) for name in (*_PARTS, "expected")),
            settled_from=pl.col("day").min(),
            settled_to=pl.col("day").max(),
            n_days=pl.len(),
        )
    )
    rows = money.join(parts, on="line", how="left", maintain_order="left")
    return rows.with_columns(pl.col(*_PARTS, "expected").fill_null(ZERO)).rename({"line": "line_id"})


def _open(found: list[Cover], account: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """Dates without a deposit, from the first day of the statement on: what was paid out before is not known."""
    paid = pl.Series([day for c in found for day in c.days], dtype=pl.Date)
    first = account["value_date"].min()
    return days.filter(~pl.col("day").is_in(paid.implode()) & (pl.col("day") >= first)).with_columns(
        settled_from="day", settled_to="day", n_days=pl.lit(1, pl.UInt32)
    )


def _stated(
    rows: pl.DataFrame,
    account: pl.DataFrame,
    lines: pl.DataFrame,
    coverage: Coverage,
    rules: Rules,
    calendar: BankingCalendar,
    as_of: datetime,
    in_batches: dict[str, bool],
) -> pl.DataFrame:
    """Adds residual, state, detail. A credit is judged when its grace is over and the feeds that make up what it
    should be are complete to its value date; a missing one up to the newest bank line, if any line is IC's."""
    today, newest = pl.lit(local_day(as_of, rules.zone)), pl.lit(account["value_date"].max())
    residual = (pl.col("bank").fill_null(ZERO) - pl.col("expected")).cast(MONEY)
    back = calendar.subtract(pl.col("value_date"), rules.deposits.lag_banking_days)
    rows = rows.with_columns(
        residual=residual,
        known_from=day_start(pl.coalesce("settled_from", back), rules.zone).cast(TIME),
        known_to=day_start(pl.col("value_date") + pl.duration(days=1), rules.zone).cast(TIME),
    )
    feeds = ["settlements"] if in_batches["returned"] else ["settlements", "ach_rejects"]
    known = pl.lit(True)
    for feed in feeds:
        covered = coverage.covers(feed, rows["known_from"], rows["known_to"])
        rows = rows.with_columns(covered.alias(feed))
        known = known & pl.col(feed)
    credit, off = pl.col("line_id").is_not_null(), pl.col("residual").abs() > pl.lit(rules.deposits.tolerance)
    fresh = calendar.between(pl.col("value_date"), today) <= rules.codes["B14"].grace_banking_days
    due = calendar.between(pl.col("settled_to"), newest) > rules.codes["B15"].grace_banking_days
    state = (
        pl.when(credit & pl.col("settled_from").is_not_null() & ~off).then(pl.lit("MATCHED"))
        .when(credit & ~known).then(pl.lit("HELD"))
        .when(credit & fresh).then(pl.lit("WAITING"))
        .when(credit & pl.col("settled_from").is_null()).then(pl.lit("UNEXPLAINED"))
        .when(credit).then(pl.lit("VARIANCE"))
        .when(pl.col("expected") <= ZERO).then(pl.lit("NOTHING"))
        .when(pl.lit(lines.is_empty())).then(pl.lit("HELD"))
        .when(due).then(pl.lit("MISSING"))
        .otherwise(pl.lit("OUTSTANDING"))
    )  # fmt: skip
    named = {
        "deposit_id": pl.coalesce("line_id", pl.col("settled_to").cast(pl.String)), "state": state,
        "bank_amount": pl.col("bank").fill_null(ZERO), "settled_amount": pl.col("settled"),
        "returned_amount": pl.col("returned"), "chargeback_amount": pl.col("charged_back"),
        "refund_amount": pl.col("refunded"), "fee_amount": pl.col("fees"), "other_amount": pl.col("other"),
        "expected_amount": pl.col("expected"), "residual_amount": pl.col("residual"), "detail": _detail(lines.height),
    }  # fmt: skip
    rows = rows.with_columns(**named)
    return rows.select(pl.col(name).cast(kind) for name, kind in DEPOSITS.items()).sort(
        "settled_to", "deposit_id"
    )


def _detail(ours: int) -> pl.Expr:
    """How many dates and lines stand together, in words."""
    dates = pl.when(pl.col("n_days") > 1).then(pl.format("{} settled dates", "n_days"))
    several = pl.when(pl.col("n_lines") > 1).then(pl.format("bank lines {}", "lines"))
    nothing = pl.lit(None if ours else "no bank line matches deposits.text_pattern", pl.String)
    return pl.concat_str(dates, several, nothing, separator="; ", ignore_nulls=True)
