"""The staging file: one writer, a journal that catches silent loss, kills, a full disk, exact types."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tasks.errors import IcflowsError, StagingBusy, StagingDamaged
from tasks.staging.query import frame, from_us, scalar
from tasks.staging.store import STORAGE_VERSION, Staging

AT = datetime(2026, 11, 10, 12, tzinfo=UTC)


def _child(code: str, *arguments: str, **more: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )


HOLD = """
    import sys
    from pathlib import Path
    from tasks.staging.store import Staging
    with Staging(Path(sys.argv[1]), "acme").open():
        print("held", flush=True)
        sys.stdin.read()
"""


def _held(root: Path) -> subprocess.Popen[str]:
    holder = _child(HOLD, str(root))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def _load(staging: Staging, *names: str) -> None:
    for name in names:
        with staging.transaction(name) as connection:
            connection.execute("INSERT INTO poll.loads VALUES ($1, 'test', $2)", [name, AT])


def _loads(staging: Staging) -> list[str]:
    with staging.open() as connection:
        return frame(connection, "SELECT load_id FROM poll.loads ORDER BY 1")["load_id"].to_list()


def _journal(staging: Staging) -> list[str]:
    return [json.loads(line)["load_id"] for line in staging.journal.read_text("utf-8").splitlines()]


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(tmp_path, "acme", lock_timeout=5)


def test_a_second_process_waits_and_is_told_who_holds(staging: Staging) -> None:
    holder = _held(staging.root)
    try:
        with (
            pytest.raises(StagingBusy, match=f"process {holder.pid}"),
            Staging(staging.root, "acme", 0.2).open(),
        ):
            pytest.fail("two writers")
    finally:
        holder.communicate("", timeout=10)
    assert _loads(staging) == []


def test_a_second_process_gets_its_turn(staging: Staging) -> None:
    holder = _held(staging.root)
    assert holder.stdin is not None
    holder.stdin.close()
    with staging.open() as connection:
        assert scalar(connection, "SELECT 1") == 1
    holder.wait(10)
    for pipe in (holder.stdout, holder.stderr):
        assert pipe is not None
        pipe.close()


def test_the_lock_dies_with_a_killed_holder(staging: Staging) -> None:
    holder = _held(staging.root)
    holder.kill()
    holder.communicate(timeout=10)
    started = time.monotonic()
    assert _loads(staging) == []
    assert time.monotonic() - started < 2


def test_another_program_that_has_the_file_open_is_named(staging: Staging) -> None:
    _load(staging, "a")
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); print('held', flush=True); sys.stdin.read()"
    analyst = _child(code, str(staging.path))
    try:
        assert analyst.stdout is not None
        assert analyst.stdout.readline() == "held\n"
        with pytest.raises(StagingBusy, match=rf"PID {analyst.pid}"), staging.open():
            pytest.fail("opened beside an analyst")
    finally:
        analyst.communicate("", timeout=10)


def test_a_load_is_acknowledged_after_it_is_on_disk(staging: Staging) -> None:
    _load(staging, "a", "b")
    assert _journal(staging) == ["a", "b"]
    assert not staging.path.with_suffix(".duckdb.wal").exists()


def test_an_exception_inside_a_load_leaves_nothing(staging: Staging) -> None:
    _load(staging, "a")

    def interrupted() -> None:
        with staging.transaction("b") as connection:
            connection.execute("INSERT INTO poll.loads VALUES ('b', 'test', $1)", [AT])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert (_loads(staging), _journal(staging)) == (["a"], ["a"])


def test_a_load_that_was_not_acknowledged_is_acknowledged_at_the_next_open(staging: Staging) -> None:
    _load(staging, "a", "b")
    staging.journal.write_text('{"load_id": "a"}\n')
    assert _loads(staging) == ["a", "b"]
    assert _journal(staging) == ["a", "b"]


def test_a_torn_last_line_of_the_journal_heals(staging: Staging) -> None:
    """A kill inside the append: the line has no end, and the next one must not be glued to it."""
    _load(staging, "a", "b")
    staging.journal.write_bytes(staging.journal.read_bytes()[:-5])
    assert _loads(staging) == ["a", "b"]
    _load(staging, "c")
    assert _loads(staging) == ["a", "b", "c"]


def test_a_lost_journal_is_written_anew(staging: Staging) -> None:
    _load(staging, "a", "b")
    staging.journal.unlink()
    assert _loads(staging) == ["a", "b"]
    assert _journal(staging) == ["a", "b"]


WITHOUT_CHECKPOINT = """
    import os, sys
    from datetime import UTC, datetime
    from pathlib import Path
    from tasks.staging.store import Staging
    staging = Staging(Path(sys.argv[1]), "acme")
    with staging.open() as connection:
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        connection.execute("INSERT INTO poll.loads VALUES ('wal', 'test', $1)", [datetime(2026, 11, 10, tzinfo=UTC)])
        staging._acknowledge(["wal"])
        print("written", flush=True)
        sys.stdin.read()
"""


@pytest.mark.parametrize("damage", ["cut", "deleted", "emptied"])
def test_a_damaged_wal_is_noticed(damage: str, staging: Staging) -> None:
    """DuckDB itself opens such a file without a word, with fewer rows."""
    _load(staging, "a")
    writer = _child(WITHOUT_CHECKPOINT, str(staging.root))
    assert writer.stdout is not None
    assert writer.stdout.readline() == "written\n"
    writer.kill()
    writer.communicate(timeout=10)
    wal = staging.path.with_name("acme.duckdb.wal")
    size = wal.stat().st_size
    if damage == "deleted":
        wal.unlink()
    else:
        os.truncate(wal, size - 20 if damage == "cut" else 0)
    _refused_with_its_cure(staging, "acknowledged loads are missing")


def test_an_older_copy_put_back_is_noticed(staging: Staging) -> None:
    _load(staging, "a")
    older = staging.path.read_bytes()
    _load(staging, "b")
    staging.path.write_bytes(older)
    _refused_with_its_cure(staging, "1 acknowledged loads are missing")


def test_a_deleted_file_is_noticed(staging: Staging) -> None:
    _load(staging, "a")
    staging.path.unlink()
    _refused_with_its_cure(staging, "acknowledged loads are missing")


@pytest.mark.parametrize("where", [0, 8, 5000, 9000, 0.3, 0.5, 0.7, 0.9])
def test_a_flipped_bit_in_the_file_is_loud_and_says_the_cure(where: float, staging: Staging) -> None:
    _load(staging, "a", "b", "c")
    data = bytearray(staging.path.read_bytes())
    position = int(len(data) * where) if isinstance(where, float) else where
    data[position] ^= 0x10
    staging.path.write_bytes(bytes(data))
    assert _loads_or_cure(staging) in (["a", "b", "c"], "icflows replay --biller acme")


def _loads_or_cure(staging: Staging) -> list[str] | str:
    """The loads (the bit lay in a block that nobody uses), or the cure that the error names."""
    try:
        return _loads(staging)
    except StagingDamaged as error:
        return str(error)[-len("icflows replay --biller acme") :]


def test_a_cut_file_is_damage_not_a_busy_one(staging: Staging) -> None:
    _load(staging, "a")
    os.truncate(staging.path, staging.path.stat().st_size // 2)
    _refused_with_its_cure(staging, "cannot be opened")


def test_a_file_that_is_no_database_is_damage(staging: Staging) -> None:
    staging.path.write_bytes(b"no database at all" * 1000)
    _refused_with_its_cure(staging, "cannot be opened")


def _refused_with_its_cure(staging: Staging, words: str) -> None:
    with pytest.raises(StagingDamaged, match=words) as caught, staging.open():
        pytest.fail("a damaged file was opened")
    assert "icflows replay --biller acme" in str(caught.value)


def test_types_are_exact_and_the_storage_version_is_old_enough(office: Any) -> None:
    office.pull()
    path = office.settings.folder("staging") / "acme.duckdb"
    with duckdb.connect(str(path), read_only=True) as connection:
        kinds = dict(connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'payments_versions'"
        ).fetchall())  # fmt: skip
        tags = connection.execute("SELECT tags FROM duckdb_databases() WHERE path IS NOT NULL").fetchall()
    assert kinds["payment_amount"] == kinds["convenience_fee"] == "DECIMAL(18,2)"
    assert kinds["payment_date"] == kinds["first_seen_at"] == "TIMESTAMP WITH TIME ZONE"
    assert kinds["account_number"] == "VARCHAR"
    assert STORAGE_VERSION == "v1.4.0"
    assert "v1.4.0" in str(tags)


def test_every_feed_table_has_its_views_and_quarantine(office: Any) -> None:
    tables = {
        f"{r['table_schema']}.{r['table_name']}"
        for r in office.rows("SELECT * FROM information_schema.tables")
    }
    for name in ("payments", "settlements", "ach_rejects", "autopay", "paperless"):
        assert {f"feed.{name}", f"feed.{name}_versions", f"quarantine.{name}"} <= tables
    assert {
        "poll.runs",
        "poll.loads",
        "poll.watermarks",
        "check.results",
        "check.alerts",
        "imt.postings",
    } <= tables


def test_a_table_name_never_reads_a_python_variable(staging: Staging) -> None:
    payments = frame
    with staging.open() as connection, pytest.raises(duckdb.CatalogException):
        connection.execute("SELECT * FROM payments")
    assert payments


def test_microseconds_since_1970() -> None:
    assert from_us(1_762_000_000_123_456) == datetime(2025, 11, 1, 12, 26, 40, 123_456, tzinfo=UTC)


PULLER = """
    import os, sys
    from datetime import UTC, datetime, timedelta
    from tasks.pull import pull_window
    from tasks.settings import load_settings
    import tasks.stage, xml2arrow, zeep
    settings = load_settings(sys.argv[1])
    at = datetime(2026, 11, 10, 12, tzinfo=UTC)
    for _ in sys.stdin:  # one line asks for one puller: a fork of this process, which has only imported
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            os.waitpid(pid, 0)
            print("dead", flush=True)
            continue
        for n in range(1000):
            window = (datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, n % 24, tzinfo=UTC) + timedelta(days=1))
            pull_window(settings, "acme", ("payments", "settlements")[n % 2], window, at)
"""


@pytest.mark.timeout(200)
def test_two_dozen_kills_at_random_moments_lose_nothing_and_double_nothing(office: Any) -> None:
    dice = random.Random(20)
    acknowledged: set[str] = set()
    source = _child(PULLER, str(office.settings.file))
    assert source.stdin is not None
    assert source.stdout is not None
    for life in range(24):
        source.stdin.write("go\n")
        source.stdin.flush()
        puller = int(source.stdout.readline())
        time.sleep(
            0.1 + dice.random() * 0.5 + (life > 16) * life / 16
        )  # the last ones get far on a busy machine too
        os.kill(puller, signal.SIGKILL)
        assert source.stdout.readline() == "dead\n"
        runs = office.rows("SELECT load_id FROM poll.loads")  # opening compares file and journal
        held = {row["load_id"] for row in runs}
        assert acknowledged <= held
        acknowledged = held
        assert office.rows(
            "SELECT count(*) AS n, count(DISTINCT payment_guid) AS keys FROM feed.payments_versions"
        ) in ([{"n": 4, "keys": 4}], [{"n": 0, "keys": 0}])
    source.communicate("", timeout=10)
    assert len(acknowledged) >= 2  # the killed ones did come that far
    window = (datetime(2026, 10, 1, tzinfo=UTC), AT)
    office.pull(window=window)
    office.pull("settlements", window=(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 10, tzinfo=UTC)))
    totals = office.rows(
        "SELECT count(*) AS n, max(version) AS v, sum(payment_amount) AS money FROM feed.payments_versions"
    )
    assert totals == [{"n": 4, "v": 1, "money": Decimal("1253.59")}]
    assert office.rows("SELECT count(*) AS n FROM feed.settlements_versions") == [{"n": 3}]
    unbalanced = "rows_in <> rows_new + rows_unchanged + rows_amended + rows_duplicate + rows_quarantined"
    assert office.rows(f"SELECT count(*) AS n FROM poll.runs WHERE {unbalanced}") == [{"n": 0}]
    parts = [path for path in office.archive.folder.rglob("*.part") if path.stat().st_size]
    assert all(path.suffix == ".part" for path in parts)


FULL = """
    import resource, sys
    from datetime import UTC, datetime
    from pathlib import Path
    from tasks.errors import IcflowsError
    from tasks.staging.store import Staging
    staging = Staging(Path(sys.argv[1]), "acme")
    size = staging.path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 300_000, resource.RLIM_INFINITY))
    try:
        with staging.transaction("big") as connection:
            connection.execute("CREATE TABLE imt.noise AS SELECT sha256(i::VARCHAR) AS a FROM range(200000) t(i)")
            connection.execute("INSERT INTO poll.loads VALUES ('big', 'test', $1)", [datetime(2026, 11, 10, tzinfo=UTC)])
    except IcflowsError as error:
        print("told", type(error).__name__, error)
    except BaseException as error:
        print("raw", type(error).__name__, error)
"""


def test_a_full_disk_leaves_nothing_half_loaded_and_is_told_in_plain_words(staging: Staging) -> None:
    _load(staging, "a")
    filler = _child(FULL, str(staging.root))
    said, errors = filler.communicate(timeout=60)
    assert _loads(staging) == ["a"], errors
    with staging.open() as connection:
        assert scalar(connection, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'noise'") == 0
    _load(staging, "b")
    assert _journal(staging) == ["a", "b"]
    assert said.startswith("told "), said


RACER = """
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from tasks.staging.polls import is_loaded, record_load
    from tasks.staging.store import Staging
    staging, done = Staging(Path(sys.argv[1]), "acme"), 0
    for n in range(15):
        with staging.transaction(f"w{n}") as connection:
            if not is_loaded(connection, f"w{n}"):
                record_load(connection, f"w{n}", "test", datetime(2026, 11, 10, tzinfo=UTC))
                connection.execute("INSERT INTO poll.watermarks VALUES ($1, $2, 'p')", [f"w{n}", datetime(2026, 11, 10, tzinfo=UTC)])
                done += 1
    print(done)
"""


def test_racing_workers_load_each_window_once(staging: Staging) -> None:
    racers = [_child(RACER, str(staging.root)) for _ in range(3)]
    done = [int(racer.communicate(timeout=60)[0]) for racer in racers]
    assert sum(done) == 15
    assert len(_loads(staging)) == 15


def test_errors_of_staging_are_ours() -> None:
    assert issubclass(StagingBusy, IcflowsError)
    assert issubclass(StagingDamaged, IcflowsError)
