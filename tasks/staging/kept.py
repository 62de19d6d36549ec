"""SQL between schema recon and what the archive keeps of it: a run as one row, and rows put back where they are gone."""

from __future__ import annotations

import duckdb
import polars as pl

from tasks.reconcile.model import EVENTS, HISTORY, TIME, Schema
from tasks.staging.query import frame, scalar, shaped
from tasks.staging.schema import RECON_RUNS
from tasks.work.model import KPIS, PERIODS, PROGRAM, WORK_EVENTS

# What one run is made of. held: breaks that stayed open without being found, with the time they were last found.
RUN_RECORD: Schema = {
    "previous": pl.String, "run": pl.Struct(dict(RECON_RUNS)), "events": pl.List(pl.Struct(dict(EVENTS))),
    "words": pl.List(pl.Struct(dict(WORK_EVENTS))), "kpis": pl.List(pl.Struct(dict(KPIS))),
    "breaks": pl.List(pl.Struct(dict(HISTORY))),
    "held": pl.List(pl.Struct({"break_id": pl.String, "last_seen_at": TIME})),
}  # fmt: skip
# Rows that are the same row, wherever they lie.
_SAME = {
    "work_events": ("sequence", "break_id", "by"), "periods": ("period", "closed_at"), "runs": ("run_id",),
    "break_events": ("run_id", "break_id", "kind"), "kpis": ("run_id", "position"),
}  # fmt: skip
_RECORD = """
    WITH chain AS (SELECT run_id, lag(run_id) OVER (ORDER BY rowid) AS previous FROM recon.runs)
    SELECT c.previous, r AS run,
           (SELECT list(e ORDER BY e.break_id, e.kind) FROM recon.break_events e WHERE e.run_id = $1) AS events,
           (SELECT list(w ORDER BY w.sequence) FROM recon.work_events w WHERE w.run_id = $1) AS words,
           (SELECT list(k ORDER BY k.position) FROM recon.kpis k WHERE k.run_id = $1) AS kpis,
           (SELECT list(b ORDER BY b.break_id) FROM recon.breaks b
            WHERE b.break_id IN (SELECT e.break_id FROM recon.break_events e WHERE e.run_id = $1)) AS breaks,
           (SELECT list({'break_id': b.break_id, 'last_seen_at': b.last_seen_at} ORDER BY b.break_id)
            FROM recon.breaks b WHERE b.state = 'open' AND b.last_seen_at < r.as_of) AS held
    FROM recon.runs r JOIN chain c USING (run_id) WHERE r.run_id = $1"""
# `touched` has the breaks of all kept runs as each run left them, `number` counts the runs, `lost` are runs that
# staging no longer knew. A row that staging still has is replaced only by what a lost run made of it.
_BREAKS = """
    CREATE TEMP TABLE back AS
    SELECT * FROM (SELECT * FROM touched QUALIFY row_number() OVER (PARTITION BY break_id ORDER BY number DESC) = 1) t
    WHERE t.number IN (SELECT number FROM lost) OR t.break_id NOT IN (SELECT break_id FROM recon.breaks);
    DELETE FROM recon.breaks WHERE break_id IN (SELECT break_id FROM back);
    INSERT INTO recon.breaks BY NAME SELECT * EXCLUDE (number) FROM back ORDER BY break_id;
    UPDATE recon.breaks b SET last_seen_at = coalesce(
        (SELECT h.last_seen_at FROM held h WHERE h.break_id = b.break_id), (SELECT as_of FROM newest))
    WHERE b.state = 'open' AND (SELECT count(*) FROM newest) = 1"""


def record(connection: duckdb.DuckDBPyConnection, run_id: str) -> pl.DataFrame:
    """One run as it stands in schema recon, also inside the transaction that writes it (one row of RUN_RECORD)."""
    return shaped(connection, _RECORD, RUN_RECORD, [run_id])


def run_ids(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The runs of schema recon in order."""
    return frame(connection, "SELECT run_id FROM recon.runs ORDER BY rowid")["run_id"].to_list()


def words(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """All words of people (WORK_EVENTS), in order."""
    sql = f"""SELECT * FROM recon.work_events WHERE "by" <> '{PROGRAM}' ORDER BY sequence"""
    return shaped(connection, sql, WORK_EVENTS)


def periods(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """All closed periods (PERIODS), in the order in which they were closed."""
    return shaped(connection, "SELECT * FROM recon.periods ORDER BY rowid", PERIODS)


def missing(table: str, rows: pl.DataFrame, there: pl.DataFrame) -> pl.DataFrame:
    """Those of `rows` that `there` does not have; both are of recon.<table>."""
    return rows.join(there, on=list(_SAME[table]), how="anti", nulls_equal=True, maintain_order="left")


def add(connection: duckdb.DuckDBPyConnection, table: str, rows: pl.DataFrame) -> int:
    """Adds those of `rows` that recon.<table> does not have, in the order given; how many."""
    names = ", ".join(f'"{name}"' for name in _SAME[table])
    rows = missing(table, rows, frame(connection, f"SELECT {names} FROM recon.{table}"))
    if rows.height:
        connection.register("added", rows)
        connection.execute(f"INSERT INTO recon.{table} BY NAME SELECT * FROM added")
        connection.unregister("added")
    return rows.height


def add_breaks(
    connection: duckdb.DuckDBPyConnection, touched: pl.DataFrame, lost: pl.DataFrame, newest: pl.DataFrame,
    held: pl.DataFrame,
) -> int:  # fmt: skip
    """Puts breaks back as the last kept run that touched each of them left them; how many.

    touched: HISTORY and number · lost: number · newest: as_of of the last run, or no row if it was never kept ·
    held: break_id, last_seen_at of that run.
    """
    frames = {"touched": touched, "lost": lost, "newest": newest, "held": held}
    for name, rows in frames.items():
        connection.register(name, rows)
    connection.execute(_BREAKS).fetchall()
    count = int(scalar(connection, "SELECT count(*) FROM back"))
    connection.execute("DROP TABLE back")
    for name in frames:
        connection.unregister(name)
    return count


def forget_fingerprint(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """Lets a run as of the same moment be done again: its verdicts on payments are gone, only its line is back."""
    connection.execute("UPDATE recon.runs SET fingerprint = '' WHERE run_id = $1", [run_id])
