"""Keeps archive and staging in step: what a kill left in one of the two, and what a lost staging file had.

The archive is written first. So what it has and staging has not was cut short, or lost with a staging file; what
staging alone has was made by a release that kept no such archive.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import polars as pl

from tasks.archive import new_poll_id
from tasks.errors import StorageTrouble
from tasks.pull import staging_of
from tasks.reconcile.model import HISTORY
from tasks.settings import Settings
from tasks.staging import kept as sql
from tasks.staging.polls import record_load
from tasks.staging.query import Connection
from tasks.staging.store import Staging
from tasks.work.kept import Kept, kept_of

_TABLES = {"events": "break_events", "kpis": "kpis", "words": "work_events"}


@dataclass(frozen=True)
class Difference:
    """What one of the two has and the other has not: noted in the archive alone, unkept in staging alone.

    runs_lost: runs of the archive that are later than all of staging. (An earlier one was never committed.)
    """

    words_noted: pl.DataFrame
    periods_noted: pl.DataFrame
    words_unkept: pl.DataFrame
    periods_unkept: pl.DataFrame
    runs_unkept: list[str]
    runs_lost: list[str]


def differences(connection: Connection, kept: Kept) -> Difference:
    """Compares words, periods and runs of open staging with those of the archive."""
    words, noted = sql.words(connection), kept.words()
    periods, closed = sql.periods(connection), kept.periods()
    staged, known = sql.run_ids(connection), kept.run_ids()
    last = max((run_id.split("-")[0] for run_id in staged), default="")
    return Difference(
        sql.missing("work_events", noted, words), sql.missing("periods", closed, periods),
        sql.missing("work_events", words, noted), sql.missing("periods", periods, closed),
        [run_id for run_id in staged if run_id not in known],
        sorted(run_id for run_id in known.difference(staged) if run_id.split("-")[0] > last),
    )  # fmt: skip


def in_step(settings: Settings, biller: str) -> None:
    """catch_up for whoever is about to look, so that nobody sees less than was said. A full disk hinders no look."""
    staging = staging_of(settings, biller)
    if staging.path.exists():
        with suppress(StorageTrouble):
            catch_up(staging, kept_of(settings, biller))


def catch_up(staging: Staging, kept: Kept) -> None:
    """Applies words and periods that were noted and never applied, and keeps what only staging has. Any number of times.

    Called before anything new is said. Raises StorageTrouble.
    """
    with staging.open() as connection:
        catch_up_on(staging, connection, kept)


def catch_up_on(staging: Staging, connection: Connection, kept: Kept) -> None:
    """`catch_up` on a connection that is open already."""
    found = differences(connection, kept)
    _keep(connection, kept, found)
    said = [*found.words_noted["at"], *found.periods_noted["closed_at"]]
    if not said:
        return
    load_id = new_poll_id("work", max(said))
    with staging.load(connection, load_id):
        sql.add(connection, "work_events", found.words_noted)
        sql.add(connection, "periods", found.periods_noted)
        record_load(connection, load_id, "work", max(said))


def keep_run(connection: Connection, kept: Kept, run_id: str) -> None:
    """Keeps the run that this transaction writes; the last thing before it is committed. Raises StorageTrouble."""
    kept.keep_run(sql.record(connection, run_id))


def restore(staging: Staging, kept: Kept) -> dict[str, int]:
    """Puts into a rebuilt staging what the archive has and it has not; rows per table.

    Verdicts on payments are not kept: the next run makes them anew. Raises BadAnswer if a kept run cannot be read.
    """
    runs = kept.runs().with_row_index("number")
    with staging.open() as connection:
        connection.begin()
        found = {"work_events": sql.add(connection, "work_events", kept.words())}
        found["periods"] = sql.add(connection, "periods", kept.periods())
        if runs.height:
            found |= _restore_runs(connection, runs, found["work_events"])
        connection.commit()
        _keep(connection, kept, differences(connection, kept))
    return {f"recon.{name}": count for name, count in found.items() if count}


def _restore_runs(connection: Connection, runs: pl.DataFrame, words: int) -> dict[str, int]:
    lines = runs.select("number", pl.col("run").struct.unnest())
    before = set(sql.run_ids(connection))
    lost = lines.filter(~pl.col("run_id").is_in(list(before)))
    counts = {"runs": sql.add(connection, "runs", lines.drop("number"))}
    for part, table in _TABLES.items():
        counts[table] = sql.add(connection, table, _rows(runs, part).drop("number"))
    last = runs.tail(1)
    newest = lines.tail(1).filter(pl.col("run_id") == sql.run_ids(connection)[-1]).select("as_of")
    held = _rows(last, "held").drop("number")
    touched = _rows(runs, "breaks").select("number", *HISTORY)
    counts["breaks"] = sql.add_breaks(connection, touched, lost.select("number"), newest, held)
    if lost.height and newest.height:
        sql.forget_fingerprint(connection, lost["run_id"][-1])
    return counts | {"work_events": words + counts["work_events"]}


def _rows(runs: pl.DataFrame, part: str) -> pl.DataFrame:
    """The rows of one part of all runs, each with the number of its run."""
    flat = runs.select("number", part).explode(part).drop_nulls(part)
    return flat.select("number", pl.col(part).struct.unnest())


def _keep(connection: Connection, kept: Kept, found: Difference) -> None:
    kept.note_words(found.words_unkept.to_dicts())
    kept.note_periods(found.periods_unkept.to_dicts())
    for run_id in found.runs_unkept:
        kept.keep_run(sql.record(connection, run_id))
