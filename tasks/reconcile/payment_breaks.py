"""Breaks of single payments and postings: B01, B03, B05 to B10, B16, B30 from verdicts, and B02."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from tasks.reconcile import suggestions
from tasks.reconcile.banking_days import day_start
from tasks.reconcile.breaks import NO_BREAKS, NONE_HELD, build
from tasks.reconcile.dead_invoices import NONE, Dead
from tasks.reconcile.feeds import Coverage
from tasks.reconcile.model import MONEY, TIME, ZERO
from tasks.reconcile.postings import Books
from tasks.reconcile.push_breaks import ROW, Pushed, never_delivered
from tasks.reconcile.rules import Rules

_PAYMENT = [
    "payment_guid",
    "payment_date",
    "account_number",
    "invoice_number",
    "payment_amount",
    "convenience_fee",
]
_PAYMENT += ["approved", "tender", "payment_source", "processor_reference", "status", "first_seen_at"]
_POSTING = [
    "posting_id",
    "kind",
    "status",
    "amount",
    "posted_at",
    "account_number",
    "invoice_number",
    "payment_guid",
]
_POSTING += ["processor_reference", "origin", "reason"]
_FACTS = (
    "payment_amount",
    "net",
    "count",
    "posted_account",
    "posted_invoice",
    "ic_status",
    "imt_status",
    "tender",
)
_NEITHER_DUE = ("B03", "B05", "B06", "B07", "B08", "B09")  # wrong at once, nothing to wait for


def payment_breaks(
    work: pl.DataFrame, books: Books, rules: Rules, dead: Dead = NONE, pushed: Pushed | None = None
) -> pl.DataFrame:
    """Breaks of the payments that verdicts.judge found broken, with the rows of all sides as evidence."""
    broken = work.filter(pl.col("break_codes").is_not_null())
    if broken.is_empty():
        return NO_BREAKS
    broken = broken.join(_posted_rows(broken, books), on="item", how="left")
    both: dict[str, list[str] | str] = {"payment": _PAYMENT, "postings": "postings"}
    if pushed is not None and pushed.rows.height:
        broken, both = (
            broken.join(_pushed_rows(broken, pushed), on="item", how="left"),
            both | {"push": "push"},
        )
    broken = broken.with_columns(
        subject="payment_guid",
        occurred_at="payment_date",
        count="n_posted",
        ic_status=pl.when("accepted").then(pl.lit("approved")).otherwise(pl.lit("declined")),
        imt_status=pl.when(pl.col("n_posted") > 0).then(pl.lit("posted")).otherwise(pl.lit("refused")),
        way=pl.when(_not_restored()).then(pl.lit("won")).otherwise("way"),
    )
    may_be = pl.col("candidate_row").is_not_null()
    return pl.concat(
        [
            _posting_side("B01", broken.filter(~may_be), rules, both),
            _posting_side("B01", broken.filter(may_be), rules, both | {"candidate": "candidate"}),
            *(_posting_side(code, broken, rules, both) for code in _NEITHER_DUE),
            _posting_side("B05", broken, rules, both, "won"),
            *(_pushed_side(code, way, broken, rules, both) for code, way in _BY_PUSH),
            _unsettled(broken, rules),
            _unreversed(broken, rules),
            _misdirected(broken, dead, rules),
        ]
    )


_AMOUNTS = {"B03": "difference", "B05": "difference", "B06": "difference", "B07": "misplaced"}
_BY_PUSH = (("B05", "pushed"), ("B08", "pushed"), ("B08", "agent"), ("B09", "pushed"))
Evidence = Mapping[str, list[str] | str]


def _not_restored() -> pl.Expr:
    """B05 by the amount of a dispute that was won: IMT took it back and did not book it again."""
    won = (pl.col("won_amount") > ZERO) & (pl.col("difference") == -pl.col("won_amount"))
    return (pl.col("posting_code") == "B05") & pl.col("way").is_null() & won


def _posting_side(
    code: str, broken: pl.DataFrame, rules: Rules, evidence: Evidence, way: str = ""
) -> pl.DataFrame:
    told = pl.col("way") == way if way else pl.col("way").is_null()
    rows = broken.filter((pl.col("posting_code") == code) & told)
    if rows.is_empty():
        return NO_BREAKS
    rows = rows.with_columns(
        amount=_AMOUNTS.get(code, "payment_amount"),
        due_at=pl.col("posting_due") if code == "B01" else pl.lit(None, TIME),
        pushed=_known_of_it(rules) if code == "B01" else pl.lit(None, pl.String),
        invoice="invoices",
        detail="placed",
    )
    if code == "B07":
        rows = rows.with_columns(count="n_lines")
    facts = (*_FACTS, "pushed", "invoice", "detail")
    return build(code, rules, rows, way=way, facts=facts, evidence=evidence)


def _known_of_it(rules: Rules) -> pl.Expr:
    """B01's last words: whether it was pushed, and which posting may be it after all."""
    may_be = pl.when(pl.col("candidate_row").is_not_null()).then(pl.format(" {}.", suggestions.WORDS))
    return pl.concat_str(never_delivered(rules), may_be.otherwise(pl.lit("")))


def _pushed_side(code: str, way: str, broken: pl.DataFrame, rules: Rules, evidence: Evidence) -> pl.DataFrame:
    """What the push, or for an agent the posting, says against the report."""
    rows = broken.filter((pl.col("posting_code") == code) & (pl.col("way") == way))
    if rows.is_empty():
        return NO_BREAKS
    difference = (pl.col("pushed_amount") - pl.col("payment_amount")).cast(MONEY)
    said = pl.when("pushed_approved").then(pl.lit("approved")).otherwise(pl.lit("declined"))
    rows = rows.with_columns(
        amount=difference if code == "B05" else pl.col("payment_amount"),
        due_at=pl.lit(None, TIME),
        net="pushed_amount",
        posted_account="pushed_account",
        posted_invoice="pushed_invoice",
        invoice="invoices",
        pushed=said,
        what="agent_code",
        other="other_agent",
        detail=pl.when(pl.col("push_code").is_null()).then(pl.lit("-")).otherwise("other_where"),
    )
    facts = (*_FACTS, "pushed", "invoice", "what", "other", "detail")
    return build(code, rules, rows, way=way, facts=facts, evidence=evidence)


def _unsettled(broken: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    rows = broken.filter("unsettled").with_columns(amount="payment_amount", due_at="settlement_due")
    return build("B10", rules, rows, facts=_FACTS, evidence={"payment": _PAYMENT, "postings": "postings"})


def _unreversed(broken: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    rows = broken.filter("unreversed").with_columns(
        amount="last_reject_amount", due_at="reversal_due", occurred_at="reject_date"
    )
    returned = ["reject_date", "return_code", "last_reject_amount", "n_returns"]
    evidence = {"payment": _PAYMENT, "return": returned, "postings": "postings"}
    return build("B16", rules, rows, facts=(*_FACTS, "return_code"), evidence=evidence)


def _misdirected(broken: pl.DataFrame, dead: Dead, rules: Rules) -> pl.DataFrame:
    """B30, with the invoice as IMT has it and where the money is to go: the live successor, else suspense."""
    rows = broken.filter("misdirected")
    if rows.is_empty():
        return NO_BREAKS
    invoice = pl.struct("invoice_number", "status", "still_in_imt", "successor", "changed_at")
    was_dead = dead.items.filter("was_dead")
    of = was_dead.select(
        "item", "status", "successor", "heir", "line_amount", since="changed_at", invoice=invoice
    )
    rows = rows.join(of, on="item", how="left", suffix="_imt")
    replaced = pl.format("replaced by {}", "successor")
    posted = pl.format("posted to {}", pl.col("posted_invoice").fill_null("an unnamed invoice"))
    rows = rows.with_columns(
        amount="line_amount",
        due_at=pl.lit(None, TIME),
        imt_status=pl.when(pl.col("status_imt") == "CANCELLED").then(pl.lit("cancelled")).otherwise(replaced),
        detail=pl.when(pl.col("n_paid") > pl.col("n_reversed_paid"))
        .then(posted)
        .otherwise(pl.lit("not posted yet")),
        action=pl.when(pl.col("heir").is_not_null())
        .then(pl.format("transfer to {}", "heir"))
        .otherwise(pl.lit("suspense")),
    )
    facts = (*_FACTS, "successor", "since", "detail", "action")
    evidence = {"payment": _PAYMENT, "invoice": "invoice", "postings": "postings"}
    return build("B30", rules, rows, facts=facts, evidence=evidence)


def _posted_rows(broken: pl.DataFrame, books: Books) -> pl.DataFrame:
    """Per broken item: its postings in order of booking, and account and invoice of the last one."""
    rows = books.claims.join(broken.select("item"), on="item", how="semi").sort("posted_at", "posting_id")
    credited = rows.filter((pl.col("kind") == "PAYMENT") & (pl.col("status") == "POSTED"))
    last = credited.group_by("item").agg(
        posted_account=pl.col("account_number").last(), posted_invoice=pl.col("invoice_number").last()
    )
    listed = rows.group_by("item", maintain_order=True).agg(postings=pl.struct(_POSTING))
    return listed.join(last, on="item", how="left")


def _pushed_rows(broken: pl.DataFrame, pushed: Pushed) -> pl.DataFrame:
    rows = pushed.rows.join(broken.select("item"), on="item", how="semi").sort("variant", "push_id")
    return rows.group_by("item", maintain_order=True).agg(push=pl.struct(ROW))


def posted_not_reported(
    books: Books, coverage: Coverage, rules: Rules, as_of: datetime
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """B02 and the postings held back: money that IMT booked as IC's and that no payment claims. The payments
    feed must be complete from the effective date, if that is earlier, to the time of posting."""
    if books.unclaimed.is_empty():
        return NO_BREAKS, NONE_HELD
    now, hours = pl.lit(as_of, TIME), pl.duration(seconds=rules.codes["B02"].grace_hours * 3600)
    effective = day_start(pl.col("effective_date"), rules.zone)
    rows = books.unclaimed.with_columns(
        subject="posting_id",
        amount=pl.col("amount").cast(MONEY),
        occurred_at="posted_at",
        due_at=pl.col("posted_at") + hours,
        needed_from=pl.min_horizontal(effective, "posted_at"),
    ).filter(pl.col("due_at") < now)
    proven = coverage.covers("payments", rows["needed_from"], rows["posted_at"])
    return build("B02", rules, rows.filter(proven), evidence={"posting": _POSTING}), rows.filter(~proven)
