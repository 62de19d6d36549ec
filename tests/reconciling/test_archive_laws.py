"""Laws of the whole way from InvoiceCloud's answers to the verdicts, for made carriers with every class planted.

Read again from the archive, or asked for and loaded in other parts and another order, the same rows give the same
items, breaks, totals and deposits.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from sandbox import Sandbox
from sandbox.carrier import Carrier, generate
from sandbox.carrier.plants import ALL_PLANT, SENT_ONLY, SERVED_ONLY
from tasks.loading import load_file
from tasks.pull import plan, pull_window, staging_of
from tasks.reconciling import run_reconcile
from tasks.replay import replay
from tasks.settings import Settings, load_settings
from tasks.staging.query import frame

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
BEFORE = CLOSE - timedelta(days=3)
FEEDS = ("payments", "settlements", "ach-rejects", "autopay", "paperless")
KEY = "law-key-31aa"
TABLES = ("items", "totals", "breaks", "break_events", "deposits")
SEEDS = range(1, max(int(os.environ.get("ICFLOWS_PROVE_LAWS", "0")) // 10, 1) + 1)
SETTINGS = """
[billers.acme]
product = "spectrum"
biller_guid = "11111111-2222-3333-4444-555555555555"
bid = "1234"
web_service_key = "env:ACME_WEB_SERVICE_KEY"
base_url = "{url}"
time_zone = "America/Chicago"
transport = {{ pause_seconds = 0.0 }}
[billers.acme.feeds]
payments = {{ initial = "50d", max_window = "{window}" }}
settlements = {{ initial = "50d", max_window = "{window}" }}
ach_rejects = {{ initial = "50d", max_window = "{window}" }}
"""


class Two(NamedTuple):
    """One carrier at two offices: asked for in one window and loaded whole, or in many and in parts."""

    whole: Settings
    parts: Settings


@pytest.fixture(scope="module", params=SEEDS)
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Two:
    root = tmp_path_factory.mktemp("archive-laws")
    plant = ALL_PLANT | dict.fromkeys((*SENT_ONLY, *SERVED_ONLY), 0)
    carrier = generate(request.param, 200, 40, CLOSE, root / "carrier", plant=plant)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACME_WEB_SERVICE_KEY", KEY)
        with Sandbox(carrier.folder, now=CLOSE, key=KEY, sftp_port=None) as sandbox:
            whole = played(carrier, sandbox, root / "whole", "50d", 1)
            parts = played(carrier, sandbox, root / "parts", "14d", 2)
    return Two(whole, parts)


def played(carrier: Carrier, sandbox: Sandbox, root: Path, window: str, cuts: int) -> Settings:
    """Two moments; feeds in reverse and files in `cuts` parts, last rows first, where there is more than one."""
    root.mkdir()
    (root / "icflows.toml").write_text(SETTINGS.format(url=sandbox.url, window=window))
    settings = load_settings(root / "icflows.toml")
    for at in (BEFORE, CLOSE):
        sandbox.clock(at)
        for feed in FEEDS if cuts == 1 else reversed(FEEDS):
            for asked in plan(settings, "acme", feed, at):
                assert pull_window(settings, "acme", feed, asked, at).status == "ok"
        for kind, path in files(carrier, at, root / f"{at:%d}").items():
            for part in cut(path, cuts):
                assert load_file(settings, "acme", kind, part, at).status == "ok"
        run_reconcile(settings, "acme", at)
    return settings


def files(carrier: Carrier, at: datetime, folder: Path) -> dict[str, Path]:
    """Everything that comes in files but IMT's flags, whose list is a whole one."""
    postings, invoices = carrier.imt_until(at, folder)
    others = carrier.bank_until(at, folder)
    names = ("deposits", "chargebacks", "refunds")
    return {"postings": postings, "invoices": invoices} | {name: others[name] for name in names}


def cut(path: Path, parts: int) -> Iterable[Path]:
    """A CSV in parts of about the same length, the last rows first."""
    heading, *rows = path.read_text(encoding="utf-8").splitlines()
    size = max(-(-len(rows) // parts), 1)
    for number, start in enumerate(reversed(range(0, len(rows), size))):
        part = path.with_name(f"{path.stem}-{number}.csv")
        part.write_text("\n".join([heading, *reversed(rows[start : start + size])]) + "\n", encoding="utf-8")
        yield part


def verdicts(settings: Settings) -> dict[str, pl.DataFrame]:
    """What the last run wrote; ids of the run left out."""
    with staging_of(settings, "acme").open() as connection:
        held = {name: frame(connection, f"SELECT * FROM recon.{name}") for name in TABLES}
    kept = {name: rows.drop("run_id", strict=False) for name, rows in held.items()}
    return {name: rows.sort(rows.columns) for name, rows in kept.items()}


def differing(one: dict[str, pl.DataFrame], other: dict[str, pl.DataFrame]) -> list[str]:
    """The tables that differ."""
    return [name for name in one if not one[name].equals(other[name])]


def test_asked_for_and_loaded_in_parts_the_verdicts_are_the_same(two: Two) -> None:
    held = verdicts(two.whole)
    assert differing(held, verdicts(two.parts)) == []
    assert held["breaks"].filter(pl.col("state") == "open")["code"].n_unique() > 25
    with staging_of(two.parts, "acme").open() as connection:
        polls = frame(connection, "SELECT feed, count(*) AS n FROM poll.runs GROUP BY 1")
    assert dict(polls.rows())["payments"] >= 4


def replayed(settings: Settings) -> dict[str, pl.DataFrame]:
    replay(settings, "acme", CLOSE + timedelta(hours=1))
    run_reconcile(settings, "acme", CLOSE)
    return verdicts(settings)


def test_replayed_from_the_archive_the_verdicts_are_the_same(two: Two) -> None:
    held = verdicts(two.whole)
    assert differing(held, replayed(two.whole)) == []


def test_from_the_archive_alone_the_verdicts_are_the_same(two: Two) -> None:
    """The file is gone, and with it when a break on which nobody worked was opened; the verdicts are not."""
    held = verdicts(two.parts)
    staging_of(two.parts, "acme").path.unlink()
    again = replayed(two.parts)
    for tables in (held, again):
        del tables["break_events"]
        columns = tables["breaks"].drop("opened_at", "age").columns
        tables["breaks"] = tables["breaks"].select(columns).sort(columns)
    assert differing(held, again) == []
