"""Each figure on a few rows made by hand, and all of them where a run writes them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from flows import engine
from flows.reconcile import reconcile as reconcile_flow
from tasks.reconcile.model import DEPOSITS, HISTORY, ITEMS, POLLS, TOTALS
from tasks.reconciling import run_reconcile
from tasks.snapshot import publish_snapshot
from tasks.staging.query import frame
from tasks.staging.reading import reading
from tasks.work.ageing import bucket_name, in_buckets
from tasks.work.kpis import Facts, kpis
from tasks.work.model import BUCKETS, KPIS

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
ZONE = "America/Chicago"
# Sums of approved money in, by state, rule and codes.
SUMS = {name: ITEMS[name] for name in ("state", "match_rule", "break_codes", "payment_amount")} | {
    "rows": pl.Int64()
}
STANDING = {"break_id": pl.String, "work_state": pl.String}
DECISIONS = {"break_id": pl.String, "decided_at": pl.Datetime("us", "UTC")}


def at(day: int, hour: int = 15) -> datetime:
    return datetime(2026, 10, day, hour, tzinfo=UTC)


def table(schema: dict[str, Any], *rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dict(schema)) if rows else pl.DataFrame(schema=dict(schema))


def facts(**frames: pl.DataFrame) -> Facts:
    nothing = {
        "items": SUMS, "breaks": HISTORY, "polls": POLLS, "totals": TOTALS,
        "standing": STANDING, "decisions": DECISIONS, "deposits": DEPOSITS,
    }  # fmt: skip
    return replace(Facts(**{name: table(schema) for name, schema in nothing.items()}), **frames)


def told(given: Facts) -> dict[tuple[str, str | None], Decimal | None]:
    found = kpis(given, "run-1", CLOSE, ZONE)
    assert found.schema == pl.Schema(KPIS)
    assert found["position"].to_list() == list(range(found.height))
    assert found.select("name", "part").is_unique().all()
    return {(name, part): value for name, part, value in found.select("name", "part", "value").rows()}


def item(
    amount: str, state: str, rule: str | None = "key1", codes: str | None = None, **more: Any
) -> dict[str, Any]:
    row = {
        "payment_amount": Decimal(amount),
        "state": state,
        "match_rule": rule,
        "break_codes": codes,
        "rows": 1,
    }
    return row | more


def broken(which: str, day: int, state: str = "open", amount: str = "10.00", **more: Any) -> dict[str, Any]:
    row = {
        "break_id": which,
        "state": state,
        "amount": Decimal(amount),
        "occurred_at": at(day),
        "opened_at": at(day, 17),
    }
    return row | more


def test_match_rates_by_count_and_by_money() -> None:
    items = table(
        SUMS,
        item("50.00", "MATCHED_FINAL"),
        item("10.00", "BROKEN", codes="B10"),  # matched, and not settled: an exception of another kind
        item("20.00", "BROKEN", codes="B05,B10"),
        item("20.00", "BROKEN", None, "B01"),
        item("100.00", "AMBIGUOUS", None),
        item("999.00", "IN_FLIGHT", None, rows=9),  # not due: no part of it
    )
    found = told(facts(items=items))
    assert (found["auto_match_rate", "rows"], found["auto_match_rate", "amount"]) == (
        Decimal("0.4"),
        Decimal("0.3"),
    )
    assert (found["exception_rate", "rows"], found["exception_rate", "amount"]) == (
        Decimal("0.8"),
        Decimal("0.75"),
    )


def test_what_has_nothing_to_measure_has_no_value() -> None:
    found = told(facts())
    empty = {name for (name, _), value in found.items() if value is None}
    assert empty == {
        "auto_match_rate", "exception_rate", "false_break_rate", "time_to_detect", "time_to_resolve", "days_unsigned",
        "suspense_oldest",
    }  # fmt: skip
    assert not {"unexplained_money", "push_loss_rate", "feed_freshness"} & {name for name, _ in found}


def test_false_breaks_are_those_that_went_without_a_word() -> None:
    breaks = table(
        HISTORY, *(broken(which, 26, "closed", closed_at=at(26, 21)) for which in "abc"), broken("d", 26)
    )
    standing = table(
        STANDING, {"break_id": "b", "work_state": "in_work"}, {"break_id": "c", "work_state": "accepted"}
    )
    found = told(facts(breaks=breaks, standing=standing))
    assert found["false_break_rate", None] == Decimal("0.25")


def test_times_to_detect_and_to_resolve() -> None:
    breaks = table(
        HISTORY,
        broken("gone", 26, "closed", closed_at=at(26, 21)),  # 4 hours after it was found
        broken("decided", 26, "closed", closed_at=at(29)),  # decided after 1 hour, gone later
        broken("accepted", 26),  # 1 hour
        broken("again", 26),  # decided once, opened again since: not resolved
        broken("early", 26, occurred_at=at(28)),  # found before it happened by its own date: 0, never less
    )
    standing = [("decided", "signed_off"), ("accepted", "accepted"), ("again", "open")]
    words = table(STANDING, *({"break_id": which, "work_state": state} for which, state in standing))
    decisions = table(DECISIONS, *({"break_id": which, "decided_at": at(26, 18)} for which, _ in standing))
    found = told(facts(breaks=breaks, standing=words, decisions=decisions))
    assert found["time_to_detect", "mean"] == Decimal("1.6")
    assert found["time_to_resolve", "mean"] == Decimal("2")


def test_open_value_by_banking_days_and_what_nobody_signed() -> None:
    days = (30, 29, 26, 22, 9)  # 0, 1, 4, 6 and 14 banking days before the 30th (Columbus Day lies between)
    breaks = table(
        HISTORY, *(broken(str(day), day, amount=f"-{day}.00") for day in days), broken("x", 1, "closed")
    )
    standing = table(
        STANDING, {"break_id": "9", "work_state": "signed_off"}, {"break_id": "x", "work_state": "resolved"}
    )
    found = told(facts(breaks=breaks, standing=standing))
    values = [found["open_value", bucket_name(*edges)] for edges in BUCKETS]
    assert values == [Decimal(value) for value in (59, 0, 48, 9, 0, 0)]
    assert [found["open_breaks", bucket_name(*edges)] for edges in BUCKETS] == [2, 0, 2, 1, 0, 0]
    assert (found["open_work", "rows"], found["open_work", "amount"]) == (4, Decimal(107))
    assert (found["unsigned", "rows"], found["days_unsigned", "largest"]) == (5, 20)
    assert found["days_unsigned", "mean"] == Decimal("6.2")


@pytest.mark.parametrize(("days", "bucket"), [(0, "0-1"), (1, "0-1"), (2, "2-3"), (3, "2-3"), (4, "4-7"), (7, "4-7"), (8, "8-30"), (30, "8-30"), (31, "31-60"), (60, "31-60"), (61, "61+"), (900, "61+")])  # fmt: skip
def test_each_age_is_in_one_bucket(days: int, bucket: str) -> None:
    aged = pl.DataFrame(
        {"days": [days], "amount": [Decimal("-3.00")]}, schema_overrides={"amount": pl.Decimal(18, 2)}
    )
    found = in_buckets(aged).filter(pl.col("count") > 0)
    assert found.select("bucket", "count", "amount").rows() == [(bucket, 1, Decimal("3.00"))]


def test_money_unexplained_lost_pushes_suspense_and_feeds() -> None:
    deposits = table(
        DEPOSITS, *({"residual_amount": Decimal(amount)} for amount in ("0.00", "-2.50", "1.00"))
    )
    totals = table(
        TOTALS,
        *({"kind": "pushed", "name": name, "rows": rows} for name, rows in (("reported", 8), ("lost", 2))),
        *(
            {"kind": "returns", "name": name, "rows": rows}
            for name, rows in (("debits", 400), ("UNAUTHORISED", 2), ("ALL", 8))
        ),
        {"kind": "suspense", "name": "unplaced", "rows": 2, "amount": Decimal("10.00")},
        {"kind": "suspense", "name": "oldest", "rows": 8},
    )
    polls = table(
        POLLS,
        {"feed": "payments", "status": "ok", "window_to": at(30, 20), "covered_to": at(30, 19)},
        {"feed": "payments", "status": "failed", "window_to": at(30, 22)},
        {"feed": "autopay", "status": "ok", "requested_at": at(30, 22)},
    )
    found = told(facts(deposits=deposits, totals=totals, polls=polls))
    assert found["unexplained_money", "amount"] == Decimal("3.50")
    assert (found["unexplained_money", "largest"], found["unexplained_deposits", "rows"]) == (
        Decimal("2.50"),
        2,
    )
    assert found["push_loss_rate", "rows"] == Decimal("0.25")
    assert found["return_rate", "UNAUTHORISED"] == Decimal("0.005")
    assert found["return_rate", "ALL"] == Decimal("0.02")
    assert (found["suspense", "amount"], found["suspense", "rows"], found["suspense_oldest", None]) == (
        10,
        2,
        8,
    )
    assert (found["feed_freshness", "payments"], found["feed_freshness", "autopay"]) == (4, 1)


def test_a_run_writes_its_figures_once_and_the_views_show_them(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = desk.rows("SELECT count(*) AS n FROM recon.kpis")[0]["n"]
    desk.say(desk.one("B05")["break_id"], "accepted")
    shown: dict[str, Any] = {}
    monkeypatch.setattr(engine, "artifact", lambda key, rows, words: shown.update({key: rows}))
    at_ = CLOSE + timedelta(hours=2)
    for _ in range(2):
        reconcile_flow("acme", at_, str(desk.settings.file))
    run = run_reconcile(desk.settings, "acme", at_)
    assert shown["reconcile-kpis-acme"] == run.kpis
    assert desk.rows("SELECT count(*) AS n FROM recon.kpis")[0]["n"] == before + len(run.kpis)
    with reading(publish_snapshot(desk.settings, "acme", at_).path) as connection:
        view = frame(connection, "SELECT * FROM v_kpis")
        assert view.select("name", "part", "value", "unit").to_dicts() == run.kpis
        work = view.filter((pl.col("name") == "open_work") & (pl.col("part") == "rows")).row(0, named=True)
        assert work["value_before"] - work["value"] == 1
        ageing = frame(
            connection,
            "SELECT bucket, sum(breaks)::BIGINT AS n, sum(amount) AS amount FROM v_break_ageing GROUP BY 1",
        )
        aged = {
            row["part"]: row["value"] for row in run.kpis if row["name"] == "open_breaks" and row["value"]
        }
        assert dict(ageing.select("bucket", "n").rows()) == aged
        values = {
            row["part"]: row["value"]
            for row in run.kpis
            if row["name"] == "open_value" and row["part"] in aged
        }
        assert dict(ageing.select("bucket", "amount").rows()) == values
        row = frame(connection, "SELECT * FROM v_break_work WHERE work_state = 'accepted'").row(0, named=True)
        assert (row["decided_by"], row["needs_work"], row["needs_sign_off"], row["found"]) == (
            "Ann Ode",
            False,
            True,
            "open",
        )
        assert row["amount_then"] == row["amount"]
        waits = frame(connection, "SELECT count(*) FROM v_break_work WHERE needs_work").item()
        assert waits == work["value"]
