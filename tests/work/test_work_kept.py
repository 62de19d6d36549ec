"""Words, periods and the history of breaks outlive a staging file that is lost, damaged or too old."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cli.doctor_work import archived
from tasks.archive_lines import append_lines, read_lines
from tasks.errors import BadAnswer, StagingDamaged, StorageTrouble
from tasks.pull import staging_of
from tasks.reconciling import run_reconcile
from tasks.replay import replay
from tasks.settings import Settings, load_settings
from tasks.staging import kept as sql
from tasks.staging.store import Staging
from tasks.work.catching_up import in_step, keep_run, restore
from tasks.work.kept import kept_of
from tasks.work.periods import close_period

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
LATER = datetime(2026, 11, 2, 14, tzinfo=UTC)
QUIET = "2026-10-29"
HEADER, BLOCK = 3 * 4096, 256 * 1024  # of a DuckDB file, in bytes
# What a run says anew each time of a break that it still finds; kept as of the last event alone.
ANEW = "age, due_at, occurred_at, sentence, evidence"
TABLES = {
    "words": "SELECT * FROM recon.work_events ORDER BY sequence",
    "periods": "SELECT * FROM recon.periods ORDER BY period",
    "runs": "SELECT * EXCLUDE (fingerprint) FROM recon.runs ORDER BY rowid",
    "events": "SELECT * FROM recon.break_events ORDER BY ALL",
    "kpis": "SELECT * FROM recon.kpis ORDER BY run_id, position",
    "breaks": f"SELECT * EXCLUDE ({ANEW}) FROM recon.breaks ORDER BY break_id",
}


def dump(desk: Any) -> dict[str, list[dict[str, Any]]]:
    return {name: desk.rows(text) for name, text in TABLES.items()}


def file_of(desk: Any) -> Path:
    return staging_of(desk.settings, "acme").path


def copied(desk: Any, to: Path) -> Settings:
    shutil.copytree(Path(desk.settings.file).parent, to)
    return load_settings(to / Path(desk.settings.file).name)


def worked(desk: Any) -> None:
    """A day's work: words, a sign-off, a run that closes one break and opens work again, a closed period."""
    gone, changed = desk.one("B05", 0), desk.one("B05", 1)
    for row, action in ((gone, "assigned"), (changed, "accepted")):
        desk.say(row["break_id"], action, "Ann Ode")
    desk.say(changed["break_id"], "signed", "Bo Lee")
    owed = f"(SELECT sum(payment_amount) FROM feed.payments WHERE payment_guid = '{gone['payment_guid']}')"
    for row, amount in ((gone, owed), (changed, "amount + 1")):
        desk.run(
            f"""UPDATE imt.postings_versions SET amount = {amount}
                WHERE is_current AND payment_guid = '{row["payment_guid"]}'"""
        )
    run_reconcile(desk.settings, "acme", CLOSE + timedelta(hours=3), whole=True)  # for it came by no load
    close_period(desk.settings, "acme", QUIET, "Ann Ode", LATER)
    desk.say(changed["break_id"], "noted", "Cy Roe", 70, note="asked the bank")


def test_all_of_it_is_there_again_and_nothing_twice(desk: Any) -> None:
    worked(desk)
    before, path = dump(desk), file_of(desk)
    assert [row["by"] for row in before["words"]] == ["Ann Ode", "Ann Ode", "Bo Lee", "icflows", "Cy Roe"]
    assert {row["kind"] for row in before["events"]} == {"opened", "closed", "changed"}
    path.write_bytes(b"rubbish" * 1000)
    result = replay(desk.settings, "acme", LATER + timedelta(days=1))
    assert {name: result.restored[f"recon.{name}"] for name in ("work_events", "periods", "runs")} == {
        "work_events": 5,
        "periods": 1,
        "runs": 3,
    }
    assert dump(desk) == before
    assert replay(desk.settings, "acme", LATER + timedelta(days=3)).restored == {}
    assert dump(desk) == before


def test_the_next_run_goes_on_as_if_nothing_had_been_lost(
    desk: Any, desk_class: Callable[..., Any], tmp_path: Path
) -> None:
    worked(desk)
    twin = desk_class(copied(desk, tmp_path.with_name(f"{tmp_path.name}-twin")))
    file_of(twin).unlink()
    replay(twin.settings, "acme", LATER)
    amounts = "SELECT posting_id, amount FROM imt.postings ORDER BY posting_id"
    assert twin.rows(amounts) != desk.rows(
        amounts
    )  # replay knows nothing of what this test changed in staging
    replay(desk.settings, "acme", LATER)
    for office in (desk, twin):
        run_reconcile(office.settings, "acme", LATER + timedelta(hours=2))
    for text in ("SELECT * FROM recon.breaks ORDER BY break_id", "SELECT * FROM recon.items ORDER BY ALL"):
        assert twin.rows(text) == desk.rows(text)
    last = "SELECT * EXCLUDE (run_id) FROM recon.break_events WHERE \"at\" >= TIMESTAMPTZ '2026-11-02 14:00Z' ORDER BY ALL"
    assert twin.rows(last) == desk.rows(last) != []


ITEMS = "SELECT * FROM recon.items ORDER BY ALL"


def test_verdicts_go_over_though_rows_have_other_numbers(desk: Any) -> None:
    """The verdicts of straight payments name their rows by number; a rebuilt file has its rows in another order."""
    before = desk.rows(ITEMS)
    assert len(before) == desk.rows("SELECT count(*) AS n FROM feed.payments")[0]["n"] > 100
    assert desk.rows("SELECT count(kind) AS n FROM recon.sides")[0]["n"] > 100
    replay(desk.settings, "acme", LATER)
    assert desk.rows(ITEMS) == before
    assert desk.rows("SELECT count(*) AS n FROM recon.sides") == [{"n": 0}]


def test_verdicts_of_an_earlier_release_go_over(desk: Any) -> None:
    """It had recon.items as a table; its file is opened by replay alone."""
    before = desk.rows(ITEMS)
    desk.run(
        """CREATE TABLE recon.were AS FROM recon.items; DROP VIEW recon.items;
           DROP TABLE recon.judged; DROP TABLE recon.kinds; DROP TABLE recon.loose; DROP TABLE recon.sides;
           CREATE TABLE recon.sides (h UBIGINT, payment BIGINT); ALTER TABLE recon.were RENAME TO items"""
    )
    with pytest.raises(StagingDamaged, match="icflows replay --biller acme"):
        desk.rows(ITEMS)
    replay(desk.settings, "acme", LATER)
    assert desk.rows(ITEMS) == before


def test_an_older_file_gets_what_was_said_and_run_since(desk: Any) -> None:
    path, which = file_of(desk), desk.one("B05")["break_id"]
    desk.say(which, "assigned")
    old, journal = path.read_bytes(), staging_of(desk.settings, "acme").journal
    acknowledged = journal.read_bytes()
    run_reconcile(desk.settings, "acme", LATER)
    desk.say(which, "resolved", "Cy Roe", 70)
    before = dump(desk)
    path.write_bytes(old)
    journal.write_bytes(acknowledged)
    assert len(desk.events(which)) == 1
    told = {finding.state: finding.words for finding in archived(desk.settings, "acme")}
    assert told == {
        "fail": "1 reconcile run in the archive and not in staging",
        "warn": "1 word on breaks in the archive and not in staging: a process was ended in between",
    }
    replay(desk.settings, "acme", LATER + timedelta(days=1))
    assert dump(desk) == before
    assert [finding.state for finding in archived(desk.settings, "acme")] == ["ok"]


def test_what_staging_alone_has_is_kept_as_soon_as_anybody_looks(desk: Any) -> None:
    """An archive of before these files."""
    archive = kept_of(desk.settings, "acme").archive.folder
    desk.say(desk.one("B05")["break_id"], "assigned")
    for name in ("work", "breaks"):
        shutil.rmtree(archive / name)
    (finding,) = archived(desk.settings, "acme")
    assert (finding.state, finding.words) == (
        "warn",
        "1 word on breaks, 2 reconcile runs in staging and not in the archive",
    )
    before = dump(desk)
    in_step(desk.settings, "acme")
    assert [finding.state for finding in archived(desk.settings, "acme")] == ["ok"]
    file_of(desk).unlink()
    replay(desk.settings, "acme", LATER + timedelta(hours=1))
    assert dump(desk) == before
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (archive, archive / "work")}
    modes["words"] = stat.S_IMODE((archive / "work" / "words.jsonl").stat().st_mode)
    assert modes == {"acme": 0o700, "work": 0o700, "words": 0o600}


def test_a_damaged_table_comes_from_the_archive_and_the_rest_from_the_file(desk: Any) -> None:
    which = desk.one("B05")["break_id"]
    desk.say(which, "assigned")
    before, path = dump(desk), file_of(desk)
    blocks = desk.rows(
        "SELECT DISTINCT block_id FROM pragma_storage_info('recon.breaks') WHERE block_id >= 0"
    )
    damaged = bytearray(path.read_bytes())
    for row in blocks:
        start = HEADER + row["block_id"] * BLOCK
        damaged[start : start + 16] = b"\xff" * 16  # its checksum, and what follows
    path.write_bytes(bytes(damaged))
    assert blocks
    result = replay(desk.settings, "acme", LATER)
    assert '"recon"."breaks"' not in result.carried
    assert result.carried
    assert result.restored["recon.breaks"] == len(before["breaks"])
    assert dump(desk) == before


def test_a_torn_line_never_happened_and_swallows_no_other(tmp_path: Path) -> None:
    path = tmp_path / "acme" / "work" / "words.jsonl"
    assert list(read_lines(path)) == []
    append_lines(path, [{"a": 1}, {"a": 2}])
    with path.open("ab") as log:
        log.write(b'{"a": 3, "b": "\xc3')
    append_lines(path, [{"a": 4}])
    assert [line["a"] for line in read_lines(path)] == [1, 2, 4]


def test_a_run_that_was_never_committed_is_put_aside_by_the_next(desk: Any) -> None:
    kept = kept_of(desk.settings, "acme")
    in_step(desk.settings, "acme")
    with staging_of(desk.settings, "acme").open() as connection:
        last = sql.record(connection, sql.run_ids(connection)[-1])
    line = pl.col("run").struct
    for run_id, note in (("20261102T140000Z-aaaa", "never"), ("20261102T140000Z-bbbb", "followed")):
        kept.keep_run(
            last.with_columns(
                previous=line.field("run_id"),
                run=line.with_fields(run_id=pl.lit(run_id), fingerprint=pl.lit(note), as_of=pl.lit(LATER)),
            )
        )
    assert kept.runs()["run"].struct.field("fingerprint").to_list()[-1] == "followed"
    assert kept.runs().height == 3
    assert len(kept.run_ids()) == 4


def test_a_run_is_in_the_archive_before_it_is_committed(desk: Any, file_limit: Callable[[int], None]) -> None:
    in_step(desk.settings, "acme")
    kept = kept_of(desk.settings, "acme")
    known, staging = kept.run_ids(), staging_of(desk.settings, "acme")
    copy = """INSERT INTO recon.runs SELECT * REPLACE ('20261102T140000Z-cccc' AS run_id)
              FROM recon.runs ORDER BY rowid DESC LIMIT 1"""

    def cut_short() -> None:
        with staging.transaction("cut") as connection:
            connection.execute(copy)
            keep_run(connection, kept, "20261102T140000Z-cccc")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_short()
    assert kept.run_ids() - known == {"20261030T230000Z-cccc"}  # named by the moment it was as of
    with staging.open() as connection:
        assert len(sql.run_ids(connection)) == 2
    with staging.transaction("full") as connection:
        connection.execute(copy)
        file_limit(100)
        with pytest.raises(StorageTrouble):
            keep_run(connection, kept, "20261102T140000Z-cccc")
        file_limit(1 << 40)
    assert len(kept.run_ids() - known) == 1


def test_a_kept_run_that_cannot_be_read_stops_the_replay_and_is_named(desk: Any, tmp_path: Path) -> None:
    in_step(desk.settings, "acme")
    path = sorted(kept_of(desk.settings, "acme").archive.folder.glob("breaks/*/*/*.parquet"))[0]
    path.write_bytes(b"rubbish")
    with pytest.raises(BadAnswer, match=f"{path.name} cannot be read"):
        restore(Staging(tmp_path / "new", "acme"), kept_of(desk.settings, "acme"))
