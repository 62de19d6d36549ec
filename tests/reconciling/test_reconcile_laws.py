"""Laws of a reconcile run on real staging, for any small world: what arrives, in which order and in what parts.

One state for each item and every cent in it; the same verdicts whatever the order and the batches in which rows
came; a run that is repeated, or that follows with nothing new, changes nothing.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.contracts import FEEDS, IMT
from checks.describe import columns
from tasks.loading import KEYS
from tasks.pull import staging_of
from tasks.reconciling import ReconcileResult, run_reconcile
from tasks.settings import Settings, load_settings
from tasks.staging.merge import Target, merge
from tasks.staging.polls import record_load
from tasks.staging.query import frame
from tasks.staging.schema import POLL_RUNS

AS_OF = datetime(2026, 10, 30, 23, tzinfo=UTC)
SINCE = datetime(2026, 8, 1, 5, tzinfo=UTC)
SETTINGS = """
[billers.acme]
product = "spectrum"
biller_guid = "11111111-2222-3333-4444-555555555555"
bid = "1234"
web_service_key = "env:ACME_WEB_SERVICE_KEY"
base_url = "http://127.0.0.1:9"
time_zone = "America/Chicago"
"""
FEED_KEYS = {
    "payments": ("payment_guid", "payment_line_no"),
    "settlements": ("settled_batch_id", "transaction_type", "payment_guid", "processor_reference", "invoice_number"),
    "ach_rejects": ("original_payment_guid", "return_code", "reject_date", "reject_sequence"),
}  # fmt: skip
TABLES = ("items", "totals", "breaks", "break_events", "deposits")
LAW = settings(derandomize=True, max_examples=int(os.environ.get("ICFLOWS_PROVE_LAWS", "3")), deadline=None)
Rows = dict[str, list[dict[str, Any]]]

# What becomes of one payment: dollars; cents that IMT is off (None: not posted); settled after so many days
# (None: never); returned; disputed or refunded; and whether the other side knows its GUID.
_life = st.fixed_dictionaries(
    {
        "amount": st.sampled_from(["100.00", "100.01", "250.00"]),
        "day": st.integers(1, 28),
        "tender": st.sampled_from(["CARD", "EFT"]),
        "approved": st.sampled_from([True, True, True, False]),
        "off": st.sampled_from([0, 0, 0, 1, -250, None]),
        "settled": st.sampled_from([1, 2, 2, None]),
        "returned": st.sampled_from([None, None, None, "100.00", "40.00"]),
        "disputed": st.booleans(),
        "named": st.sampled_from([True, True, False]),
        "twice": st.sampled_from([False, False, True]),
    }
)
_world = st.lists(_life, min_size=4, max_size=14)


def guid(n: int) -> str:
    return f"00000000-0000-4000-8000-{n:012d}"


def told(lives: list[dict[str, Any]]) -> Rows:
    """Every table's rows of these payments; one deposit for each settled date."""
    rows: Rows = {name: [] for name in (*FEED_KEYS, "postings", "chargebacks", "bank_lines")}
    for n, life in enumerate(lives):
        at, money = datetime(2026, 10, life["day"], 15, tzinfo=UTC), Decimal(life["amount"])
        who = {"account_number": "0012345678", "invoice_number": f"INV-{n % 3}"}
        key = {"payment_guid": guid(n), "processor_reference": f"PR{n}"}
        named = key if life["named"] else key | {"payment_guid": None}
        rows["payments"].append(
            {
                **key,
                **who,
                "payment_date": at,
                "payment_amount": money,
                "approved": life["approved"],
                "tender": life["tender"],
            }
        )
        if life["off"] is not None:
            for copy in range(1 + life["twice"]):
                booked = {
                    "posting_id": f"P{n}-{copy}",
                    "amount": money + Decimal(life["off"]) / 100,
                    "kind": "PAYMENT",
                }
                booked |= {
                    "system": "SPECTRUM",
                    "origin": "IC",
                    "status": "POSTED",
                    "effective_date": at.date(),
                }
                rows["postings"].append({**named, **who, **booked, "posted_at": at + timedelta(minutes=20)})
        if life["settled"]:
            day = at.date() + timedelta(days=life["settled"])
            batch = {
                "settled_batch_id": f"B{day}",
                "settled_date": day,
                "settled_amount": money,
                "tender": life["tender"],
            }
            rows["settlements"].append({**named, **who, **batch, "transaction_type": "PAYMENT"})
        if life["returned"]:
            back = {
                "original_payment_guid": guid(n),
                "original_payment_date": at,
                "return_code": "R01",
                "reject_sequence": 1,
            }
            back |= {"reject_date": at + timedelta(days=2), "reject_amount": Decimal(life["returned"])}
            rows["ach_rejects"].append({**who, **back})
        if life["disputed"]:
            case = {"chargeback_id": f"C{n}-FIRST", "case_no": f"C{n}", "stage": "FIRST", "amount": money}
            rows["chargebacks"].append(
                {**key, **who, **case, "chargeback_date": at.date() + timedelta(days=3)}
            )
    return with_totals(rows)


def with_totals(rows: Rows) -> Rows:
    """Adds the batches' totals and the bank's credits, every second one a cent short."""
    days: dict[date, list[dict[str, Any]]] = {}
    for row in rows["settlements"]:
        days.setdefault(row["settled_date"], []).append(row)
    for place, (day, held) in enumerate(sorted(days.items())):
        sum_ = sum((row["settled_amount"] for row in held), Decimal("0.00"))
        for row in held:
            row |= {"batch_total": sum_, "batch_item_count": len(held)}
        line = {"line_id": f"L{place}", "value_date": day + timedelta(days=1), "text": "INVOICE CLOUD"}
        rows["bank_lines"].append(line | {"amount": sum_ - Decimal(place % 2) / 100})
    return rows


def arrive(office: Settings, rows: Rows, order: Callable[[str, list[Any]], list[list[Any]]]) -> None:
    """Merges every table's rows in the parts that `order` makes of them; all feeds are complete."""
    staging = staging_of(office, "acme")
    parts = {table: order(table, held) for table, held in rows.items()}
    for number in range(max(map(len, parts.values()))):
        with staging.transaction(f"round-{number}") as connection:
            for table, cut in parts.items():
                if number < len(cut):
                    target, contract = target_of(table)
                    came = typed(contract, cut[number])
                    poll = f"{table}-{number}"
                    merge(connection, target, came, poll_id=poll, form="dataset", seen_at=AS_OF)
            record_load(connection, f"round-{number}", "test", AS_OF)
    with staging.transaction("polls") as connection:
        for feed in (*FEEDS, "postings"):
            connection.execute(*polled(feed))
        record_load(connection, "polls", "test", AS_OF)


def target_of(table: str) -> tuple[Target, Any]:
    feed = table in FEED_KEYS
    contract = FEEDS[table] if feed else IMT[table]
    keys = FEED_KEYS[table] if feed else KEYS[table]
    return Target("feed" if feed else "imt", table, contract, keys), contract


def typed(contract: Any, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows as the contract's columns, numbered as a report's are."""
    schema = {column.name: column.dtype for column in columns(contract)}
    found = [{name: row.get(name) for name in schema} for row in rows]
    numbered = pl.DataFrame(found, schema={name: kind.to_polars() if hasattr(kind, "to_polars") else kind for name, kind in schema.items()})  # fmt: skip
    return numbered.with_row_index("row_no", 1).with_columns(pl.col("row_no").cast(pl.Int64))


def polled(feed: str) -> tuple[str, list[Any]]:
    values: dict[str, Any] = {
        name: 0 for name, kind in POLL_RUNS.items() if "NOT NULL" in kind and "INT" in kind
    }
    values |= {
        "poll_id": f"poll-{feed}",
        "feed": feed,
        "form": "dataset",
        "operation": "test",
        "status": "ok",
    }
    values |= {
        "window_from": SINCE,
        "window_to": AS_OF,
        "covered_to": AS_OF,
        "requested_at": AS_OF,
        "finished_at": AS_OF,
    }
    marks = ", ".join(f"${n}" for n in range(1, len(values) + 1))
    return f"INSERT INTO poll.runs ({', '.join(values)}) VALUES ({marks})", list(values.values())


def together(table: str, rows: list[Any]) -> list[list[Any]]:
    return [rows] if rows else []


def office(folder: str) -> Settings:
    file = Path(folder) / "icflows.toml"
    file.write_text(SETTINGS)
    return load_settings(file)


def verdicts(settings_: Settings, run_id: str) -> dict[str, pl.DataFrame]:
    """What a run wrote; ids of the run left out."""
    with staging_of(settings_, "acme").open() as connection:
        held = {name: frame(connection, f"SELECT * FROM recon.{name} ORDER BY ALL") for name in TABLES}
    assert held["break_events"].is_empty() or run_id in held["break_events"]["run_id"]
    return {name: rows.drop("run_id", strict=False) for name, rows in held.items()}


def played(
    folder: str, rows: Rows, order: Callable[[str, list[Any]], list[list[Any]]]
) -> tuple[Settings, ReconcileResult]:
    settings_ = office(folder)
    arrive(settings_, rows, order)
    return settings_, run_reconcile(settings_, "acme", AS_OF)


@LAW
@given(lives=_world)
def test_each_item_ends_in_one_state_and_every_cent_is_in_one(lives: list[dict[str, Any]]) -> None:
    rows = told(lives)
    with tempfile.TemporaryDirectory() as folder:
        settings_, result = played(folder, rows, together)
        held = verdicts(settings_, result.run_id)
    paid = sum((row["payment_amount"] for row in rows["payments"]), Decimal("0.00"))
    items = held["items"]
    assert sorted(items["payment_guid"]) == [guid(n) for n in range(len(lives))]
    assert items["state"].null_count() == 0
    assert ((items["state"] == "BROKEN") == items["break_codes"].is_not_null()).all()
    states = held["totals"].filter(pl.col("kind") == "state")
    assert (states["rows"].sum(), states["amount"].sum()) == (len(lives), paid)
    assert states["name"].is_unique().all()
    by_state = dict(items.group_by("state").agg(pl.col("payment_amount").sum()).iter_rows())
    assert {
        name: amount for name, amount in states.select("name", "amount").iter_rows() if amount
    } == by_state
    deposits = held["deposits"]
    came = deposits.filter(pl.col("line_id").is_not_null())
    assert came["bank_amount"].sum() == sum((row["amount"] for row in rows["bank_lines"]), Decimal(0))
    assert (deposits["bank_amount"] - deposits["expected_amount"] == deposits["residual_amount"]).all()
    assert held["breaks"]["break_id"].is_unique().all()


@LAW
@given(lives=_world, data=st.data())
def test_order_and_batches_do_not_matter(lives: list[dict[str, Any]], data: st.DataObject) -> None:
    rows = told(lives)

    def scattered(table: str, held: list[Any]) -> list[list[Any]]:
        shuffled = data.draw(st.permutations(held), label=table)
        cut = data.draw(st.integers(0, len(held)), label=f"{table} cut")
        return [part for part in (shuffled[:cut], shuffled[cut:]) if part]

    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        first, second = played(one, rows, together), played(other, rows, scattered)
        held, again = verdicts(first[0], first[1].run_id), verdicts(second[0], second[1].run_id)
    for name in TABLES:
        assert again[name].equals(held[name]), name


@LAW
@given(lives=_world, hours=st.integers(0, 1))
def test_a_run_after_nothing_new_changes_nothing(lives: list[dict[str, Any]], hours: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings_, first = played(folder, told(lives), together)
        held = verdicts(settings_, first.run_id)
        arrive_again = staging_of(settings_, "acme")
        again = run_reconcile(settings_, "acme", AS_OF + timedelta(minutes=10 * hours))
        now = verdicts(settings_, first.run_id)
        with arrive_again.open() as connection:
            runs = frame(connection, "SELECT run_id FROM recon.runs").height
    assert runs == 1 + hours
    assert again.breaks_open == first.breaks_open
    assert again.states == first.states
    assert now["break_events"].equals(held["break_events"])
    assert (again == first) or (hours == 1 and (again.opened, again.closed, again.changed) == (0, 0, 0))
