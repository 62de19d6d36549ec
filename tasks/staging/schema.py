"""The tables of a staging file, made from the contracts. No column is written down twice."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl

from checks.contracts import FEEDS, IMT, Contract
from checks.describe import Column, columns
from tasks.outbox.model import TABLES
from tasks.reconcile.model import (
    DEPOSITS,
    EVENTS,
    HISTORY,
    ITEMS,
    MONEY,
    SCHEMAS,
    SUGGESTIONS,
    TIME,
    TOTALS,
    Schema,
)
from tasks.staging.query import scalar
from tasks.work.model import WORK

# Every versioned row: where it came from, when it was first and last seen, which version it is.
# first_seen_at is the key's first sight, version_seen_at this version's.
LINEAGE = {
    "source_form": "VARCHAR NOT NULL",
    "poll_id": "VARCHAR NOT NULL",
    "row_no": "BIGINT NOT NULL",
    "first_seen_at": "TIMESTAMPTZ NOT NULL",
    "version_seen_at": "TIMESTAMPTZ NOT NULL",
    "last_seen_at": "TIMESTAMPTZ NOT NULL",
    "version": "INTEGER NOT NULL",
    "present": "BOOLEAN NOT NULL",
    "is_current": "BOOLEAN NOT NULL",
}
_SCHEMAS = ("poll", "feed", "quarantine", "imt", "recon", "outbox", "check")

POLL_RUNS = {
    "poll_id": "VARCHAR PRIMARY KEY",
    "feed": "VARCHAR NOT NULL",
    "form": "VARCHAR NOT NULL",
    "operation": "VARCHAR NOT NULL",
    "window_from": "TIMESTAMPTZ",
    "window_to": "TIMESTAMPTZ",
    "covered_to": "TIMESTAMPTZ",
    "requested_at": "TIMESTAMPTZ NOT NULL",
    "finished_at": "TIMESTAMPTZ NOT NULL",
    "status": "VARCHAR NOT NULL",
    "reason": "VARCHAR",
    "message": "VARCHAR",
    "http_status": "INTEGER",
    "rows_in": "BIGINT NOT NULL",
    "rows_new": "BIGINT NOT NULL",
    "rows_unchanged": "BIGINT NOT NULL",
    "rows_amended": "BIGINT NOT NULL",
    "rows_duplicate": "BIGINT NOT NULL",
    "rows_quarantined": "BIGINT NOT NULL",
    "rows_gone": "BIGINT NOT NULL",
    "sum_in": "DECIMAL(38,2)",
    "sha256": "VARCHAR",
    "bytes": "BIGINT NOT NULL",
    "duration_ms": "BIGINT NOT NULL",
}
# One line per reconcile run: what was compared, and what came of it. The columns of the other recon
# tables are those of tasks.reconcile.model.
_COMPARED = ("payments", "settlements", "ach_rejects", "postings")
RECON_RUNS: Schema = {
    "run_id": pl.String, "as_of": TIME, "fingerprint": pl.String, "basis": pl.String, "time_zone": pl.String,
    "is_whole": pl.Boolean, "looked_at": pl.Int64,
    **{f"{table}_{part}": kind for table in _COMPARED for part, kind in (("rows", pl.Int64), ("amount", MONEY))},
    "opened": pl.Int64, "reopened": pl.Int64, "changed": pl.Int64, "closed": pl.Int64,
    "breaks_open": pl.Int64, "breaks_amount": MONEY,
}  # fmt: skip
# What a run knows each payment by: hash of its guid key, and the row numbers of its sides (tasks.staging.straight). One
# that stands straight has a kind, and what of its verdict its kind and its row of the report do not tell.
SIDES_SEEN: Schema = {
    "h": pl.UInt64, **dict.fromkeys(("payment", "posting", "settlement", "push"), pl.Int64), "kind": pl.Int32,
    "payment_amount": MONEY, "payment_date": TIME, "posted_on": pl.Date, "pushed_at": TIME,
}  # fmt: skip
# Straight payments of one day, tender and settled date (kind_key: their hash) share a verdict; fee_apart: their fee is
# not posted; rows, amount: of the payments of this kind in recon.sides.
KINDS: Schema = {
    "kind": pl.Int32, "kind_key": pl.UInt64, **{name: ITEMS[name] for name in ("payment_day", "tender", "settled_date")},
    "fee_apart": pl.Boolean, **{name: ITEMS[name] for name in ("state", "state_reason", "due_by")},
    "rows": pl.Int64, "amount": MONEY,
}  # fmt: skip
SIDE_FRAMES = {"payment": "payments", "posting": "postings", "settlement": "settlements", "push": "pushes"}
# Row numbers of postings and settled items that name no payment; and the last row of each side that a run has seen.
LOOSE: Schema = {"side": pl.String, "r": pl.Int64}
OUTBOX = dict(TABLES)
# recon.items is a view on the verdicts of payments judged one by one, and on the straight ones.
# open_<side>: the rows of payments that are not at rest, as they were read last, with their numbers.
VERDICTS = {
    "judged": ITEMS, "sides": SIDES_SEEN, "kinds": KINDS, "loose": LOOSE, "seen": LOOSE,
    **{f"open_{side}": {"rowid_": pl.Int64, **SCHEMAS[name]} for side, name in SIDE_FRAMES.items()},
}  # fmt: skip
RECON = {
    "runs": RECON_RUNS, "totals": TOTALS, "breaks": HISTORY, "break_events": EVENTS, "deposits": DEPOSITS,
    "suggestions": SUGGESTIONS, **WORK,
}  # fmt: skip
_OF_PAYMENT = (
    "payment_guid", "account_number", "invoice_number", "payment_amount", "convenience_fee", "approved", "tender",
    "payment_source", "agent_code", "payment_date",
)  # fmt: skip
_STRAIGHT = {
    **{name: f"v.{name}" for name in _OF_PAYMENT},
    **{name: f"s.{name}" for name in ("posted_on", "pushed_at")}, "at_rest": "true", "settled_batch_id": "b.settled_batch_id",
    **{name: f"k.{name}" for name in ("payment_day", "settled_date", "state", "state_reason", "due_by")},
    "posted_amount": "v.payment_amount - CASE WHEN k.fee_apart THEN coalesce(v.convenience_fee, 0) ELSE 0 END",
    "settled_amount": "CASE WHEN k.settled_date IS NULL THEN 0 ELSE v.payment_amount END",
    "reversed_amount": "0", "returned_amount": "0", "match_rule": "'key1'",
}  # fmt: skip
_QUARANTINE = """quarantine_id VARCHAR PRIMARY KEY, poll_id VARCHAR NOT NULL, row_no BIGINT NOT NULL,
    reasons VARCHAR[] NOT NULL, raw JSON NOT NULL, key_text VARCHAR, first_seen_at TIMESTAMPTZ NOT NULL,
    last_seen_at TIMESTAMPTZ NOT NULL, times_seen INTEGER NOT NULL, released_at TIMESTAMPTZ"""
_FIXED = {
    "poll.runs": ", ".join(f"{name} {kind}" for name, kind in POLL_RUNS.items()),
    "poll.loads": "load_id VARCHAR PRIMARY KEY, kind VARCHAR NOT NULL, loaded_at TIMESTAMPTZ NOT NULL",
    "poll.watermarks": "feed VARCHAR PRIMARY KEY, watermark TIMESTAMPTZ NOT NULL, poll_id VARCHAR NOT NULL",
    "check.results": """poll_id VARCHAR NOT NULL, subject VARCHAR NOT NULL, check_name VARCHAR NOT NULL,
        status VARCHAR NOT NULL, rows BIGINT NOT NULL, detail VARCHAR, checked_at TIMESTAMPTZ NOT NULL""",
    "check.alerts": """alert_id VARCHAR PRIMARY KEY, kind VARCHAR NOT NULL, subject VARCHAR NOT NULL,
        severity VARCHAR NOT NULL, title VARCHAR NOT NULL, body VARCHAR NOT NULL, raised_at TIMESTAMPTZ NOT NULL,
        times INTEGER NOT NULL, last_raised_at TIMESTAMPTZ NOT NULL, tries INTEGER NOT NULL,
        sent_to VARCHAR[] NOT NULL, sent_at TIMESTAMPTZ, cleared_at TIMESTAMPTZ""",
}


def versioned_ddl(schema: str, table: str, contract: type[Contract]) -> list[str]:
    """CREATE statements of a versions table and of the view on its current rows."""
    parts = [f'"{c.name}" {c.sql_type}{"" if c.nullable else " NOT NULL"}' for c in columns(contract)]
    parts += [f"{name} {kind}" for name, kind in LINEAGE.items()]
    names = ", ".join(f'"{c.name}"' for c in columns(contract))
    return [
        f"CREATE TABLE IF NOT EXISTS {schema}.{table}_versions ({', '.join(parts)})",
        f"CREATE VIEW IF NOT EXISTS {schema}.{table} AS SELECT {names}, source_form, poll_id, row_no, "
        f"first_seen_at, last_seen_at, version FROM {schema}.{table}_versions WHERE is_current AND present",
        f"CREATE TABLE IF NOT EXISTS quarantine.{table} ({_QUARANTINE})",
    ]


def state_views() -> list[str]:
    """CREATE statements of imt.invoices (the state of each invoice, made from its events) and of what is owed."""
    texts = (
        Path(__file__).with_name(name).read_text("utf-8") for name in ("invoice_state.sql", "balances.sql")
    )
    return [statement for text in texts for statement in text.split(";\n") if "CREATE" in statement]


def items_sql(database: str = "") -> str:
    """SELECT of recon.items (ITEMS), of another file than the current one if `database` names it ("old_file."): one row
    per payment (per line of a split one). Row numbers of the report's rows hold, for nothing is ever deleted from a table
    of versions."""
    types = _sql_types(ITEMS)
    straight = (f"({_STRAIGHT.get(name, 'NULL')})::{kind} AS {name}" for name, kind in types.items())
    return f"""SELECT {", ".join(types)} FROM {database}recon.judged UNION ALL SELECT {", ".join(straight)}
        FROM {database}recon.sides s JOIN {database}recon.kinds k ON k.kind = s.kind
             JOIN {database}feed.payments_versions v ON v.rowid = s.payment
             LEFT JOIN {database}feed.settlements_versions b ON b.rowid = s.settlement"""


def frame_ddl(table: str, schema: Schema) -> str:
    """CREATE statement of a table with the columns of a Polars schema."""
    parts = [f'"{name}" {kind}' for name, kind in _sql_types(schema).items()]
    return f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(parts)})"


def _sql_types(schema: Schema) -> dict[str, str]:
    kinds = {name: kind() if isinstance(kind, type) else kind for name, kind in schema.items()}
    return {name: Column(name, kind, True, False, "", "").sql_type for name, kind in kinds.items()}


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Creates what is missing; cheap when all is there."""
    last = "SELECT count(*) FROM duckdb_views() WHERE schema_name = 'imt' AND view_name = 'account_balances'"
    # Counted, because a file of an earlier release has fewer of them.
    held = "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'recon' AND database_name = current_database()"
    if scalar(connection, last) and scalar(connection, held) >= len(RECON | VERDICTS):
        return
    connection.begin()
    for schema in _SCHEMAS:
        connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    for table, contract in FEEDS.items():
        for statement in versioned_ddl("feed", table, contract):
            connection.execute(statement)
    for table, contract in IMT.items():
        for statement in versioned_ddl("imt", table, contract):
            connection.execute(statement)
    for name, columns_sql in _FIXED.items():
        schema, table = name.split(".")
        connection.execute(f'CREATE TABLE IF NOT EXISTS "{schema}"."{table}" ({columns_sql})')
    for name, schema_of in (RECON | VERDICTS).items():
        connection.execute(frame_ddl(f"recon.{name}", schema_of))
    connection.execute(f"CREATE VIEW IF NOT EXISTS recon.items AS {items_sql()}")
    for name, schema_of in OUTBOX.items():
        connection.execute(frame_ddl(f"outbox.{name}", schema_of))
    for statement in state_views():
        connection.execute(statement)
    connection.commit()
