"""A business day of a small generated carrier, pulled over real SOAP, with a canary in every personal column.

Loaded by the conftest files of reconciling, snapshot and report.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from sandbox import Sandbox
from sandbox.carrier import Carrier, generate
from sandbox.carrier.plants import SENT_ONLY
from tasks.loading import load_file
from tasks.pull import plan, pull_window
from tasks.reconciling import run_reconcile
from tasks.settings import Settings, load_settings

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
BEFORE = CLOSE - timedelta(days=3)
FEEDS = ("payments", "settlements", "ach-rejects", "autopay", "paperless")
NAME, MAIL, KEY = "Canaryname", "canarymail", "canary-key-77aa"
BAD_ACCOUNT = "=cmd|calc"

SETTINGS = """
[storage]
keep_snapshots = 3
keep_days = 10
[billers.acme]
product = "spectrum"
biller_guid = "11111111-2222-3333-4444-555555555555"
bid = "1234"
web_service_key = "env:ACME_WEB_SERVICE_KEY"
base_url = "{url}"
time_zone = "America/Chicago"
transport = {{ pause_seconds = 0.0 }}
[billers.acme.feeds.payments]
initial = "45d"     # planted returns name payments from before the generated days
max_window = "45d"
"""


@dataclass(frozen=True)
class Day:
    """Two states of one biller: after the run three days before the close, and at the close."""

    carrier: Carrier
    before: Path
    close: Path

    def copy(self, which: str, to: Path, more: str = "") -> Settings:
        """A copy of the state `before` or `close` to work on; `more` is added to its settings file."""
        source = self.before if which == "before" else self.close
        shutil.copytree(source, to, dirs_exist_ok=True)
        file = to / "icflows.toml"
        file.write_text(file.read_text() + more)
        return load_settings(file)


_made: list[Day] = []


def shared_day(folder: Callable[[str], Path]) -> Day:
    """One day for the whole session; nobody writes into it."""
    if not _made:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ACME_WEB_SERVICE_KEY", KEY)
            _made.append(business_day(folder("day")))
    return _made[0]


def business_day(root: Path) -> Day:
    """Generates, serves and pulls; staging of both moments is kept."""
    carrier = generate(
        7, 240, 30, CLOSE, root / "carrier", payments=600, plant=dict.fromkeys(SENT_ONLY, 0)
    )  # nothing is sent on this day
    _plant_canaries(carrier)
    work = root / "work"
    work.mkdir()
    with Sandbox(carrier.folder, now=BEFORE, key=KEY, sftp_port=None) as sandbox:
        (work / "icflows.toml").write_text(SETTINGS.format(url=sandbox.url))
        settings = load_settings(work / "icflows.toml")
        pull_all(settings, carrier, sandbox, BEFORE, root)
        run_reconcile(settings, "acme", BEFORE)
        shutil.copytree(work, root / "before")
        pull_all(settings, carrier, sandbox, CLOSE, root)
        run_reconcile(settings, "acme", CLOSE)
    shutil.copytree(work, root / "close")
    return Day(carrier, root / "before", root / "close")


def pull_all(settings: Settings, carrier: Carrier, sandbox: Sandbox, at: datetime, root: Path) -> None:
    """All feeds and both files of IMT, as of `at`."""
    sandbox.clock(at)
    for feed in FEEDS:
        for window in plan(settings, "acme", feed, at):
            assert pull_window(settings, "acme", feed, window, at).status == "ok"
    postings, invoices = carrier.imt_until(at, root / "imt")
    load_file(settings, "acme", "postings", postings, at)
    load_file(settings, "acme", "invoices", invoices, at)


def _plant_canaries(carrier: Carrier) -> None:
    payments = carrier.table("payments").with_columns(customer_name=_numbered(NAME))
    bad = payments.tail(1).with_columns(
        payment_guid=pl.lit("00000000-0000-0000-0000-00000000bad0"),
        account_number=pl.lit(BAD_ACCOUNT),
        customer_name=pl.lit(f"{NAME} in quarantine"),
    )
    pl.concat([payments, bad]).write_parquet(carrier.folder / "payments.parquet")
    for table in ("autopay", "paperless"):
        rows = carrier.table(table).with_columns(email=pl.format("{}@example.com", _numbered(MAIL)))
        rows.write_parquet(carrier.folder / f"{table}.parquet")


def _numbered(word: str) -> pl.Expr:
    return pl.format("{}{}", pl.lit(word), pl.int_range(pl.len()))
