"""All classes at once: whole carriers over real SOAP and real files, the answer sheet against the open breaks.

A few small carriers in the suite; `make prove` plays 20 seeds of 90 days and 2,000 accounts (ICFLOWS_PROVE_SEEDS,
_DAYS, _ACCOUNTS). What is compared is what the rules know: a class without an entry in rules.toml is left out.
"""

from __future__ import annotations

import os
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
from tasks.reconciling import rules_of, run_reconcile
from tasks.settings import Settings, load_settings
from tasks.staging.query import frame

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
LAG = timedelta(minutes=5)
BEFORE = CLOSE - timedelta(days=3)
FEEDS = ("payments", "settlements", "ach-rejects", "autopay", "paperless")
KEY = "prove-key-31aa"
DAYS, ACCOUNTS = (
    int(os.environ.get(f"ICFLOWS_PROVE_{name}", n)) for name, n in (("DAYS", 40), ("ACCOUNTS", 500))
)
SEEDS = range(1, int(os.environ.get("ICFLOWS_PROVE_SEEDS", "2")) + 1)
SETTINGS = f"""
[billers.acme]
product = "spectrum"
biller_guid = "11111111-2222-3333-4444-555555555555"
bid = "1234"
web_service_key = "env:ACME_WEB_SERVICE_KEY"
base_url = "{{url}}"
time_zone = "America/Chicago"
transport = {{{{ pause_seconds = 0.0 }}}}
[billers.acme.feeds]
payments = {{{{ initial = "{DAYS + 15}d", max_window = "{DAYS + 15}d" }}}}
settlements = {{{{ initial = "{DAYS + 15}d", max_window = "{DAYS + 15}d" }}}}
ach_rejects = {{{{ initial = "{DAYS + 15}d", max_window = "{DAYS + 15}d" }}}}
"""
COMPARED = ["code", "subject", "amount"]


class World(NamedTuple):
    """A carrier as icflows has it at the close, reconciled."""

    carrier: Carrier
    settings: Settings


def ask(settings: Settings, sql: str) -> pl.DataFrame:
    with staging_of(settings, "acme").open() as connection:
        return frame(connection, sql)


@pytest.fixture(scope="module", params=SEEDS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    seed, root = request.param, tmp_path_factory.mktemp("all")
    unseen = dict.fromkeys((*SENT_ONLY, *SERVED_ONLY), 0)  # nothing is sent here, and nobody asks
    carrier = generate(seed, ACCOUNTS, DAYS, CLOSE, root / "carrier", plant=ALL_PLANT | unseen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACME_WEB_SERVICE_KEY", KEY)
        with Sandbox(carrier.folder, now=CLOSE, key=KEY, sftp_port=None) as sandbox:
            (root / "icflows.toml").write_text(SETTINGS.format(url=sandbox.url))
            settings = load_settings(root / "icflows.toml")
            pull(settings, sandbox, BEFORE)
            for kind, path in zip(
                ("postings", "invoices"), carrier.imt_until(BEFORE, root / "before"), strict=True
            ):
                load_file(settings, "acme", kind, path, BEFORE)
            run_reconcile(settings, "acme", BEFORE)
            pull(settings, sandbox, CLOSE)
        load(settings, carrier, root / "files", bai2=bool(seed % 2))
        run_reconcile(settings, "acme", CLOSE)
    return World(carrier, settings)


def pull(settings: Settings, sandbox: Sandbox, at: datetime) -> None:
    """All feeds as of a moment. Two moments: a payment is missing only hours after it is known, and restated only
    after it had matched."""
    sandbox.clock(at)
    for feed in FEEDS:
        for window in plan(settings, "acme", feed, at):
            assert pull_window(settings, "acme", feed, window, at).status == "ok"


def load(settings: Settings, carrier: Carrier, folder: Path, bai2: bool) -> None:
    """Everything that comes in files; the bank's statement in BAI2 or as CSV."""
    postings, invoices = carrier.imt_until(CLOSE, folder)
    others = carrier.bank_until(CLOSE, folder)
    statement = {True: others.pop("deposits-bai2"), False: others.pop("deposits")}[bai2]
    for kind, path in {"postings": postings, "invoices": invoices, "deposits": statement, **others}.items():
        result = load_file(settings, "acme", kind, path, CLOSE)
        assert (result.status, result.rows_quarantined) == ("ok", 0), (kind, result.reasons)


def answers(world: World) -> pl.DataFrame:
    """The answer sheet of the classes that the rules know, each bank line by the id that it has got here."""
    codes = list(rules_of(world.settings, "acme").codes)
    lines = ask(world.settings, "SELECT bank_reference AS subject, line_id FROM imt.bank_lines")
    sheet = world.carrier.truth().filter(pl.col("code").is_in(codes))
    sheet = sheet.join(lines, on="subject", how="left").with_columns(
        subject=pl.coalesce("line_id", "subject")
    )
    return sheet.select(pl.col("code", "subject"), pl.col("amount").cast(pl.Decimal(18, 2)))


def test_all_that_is_planted_is_found_and_nothing_besides(world: World) -> None:
    """No break is missed, none is invented, and each weighs what was planted, to the cent."""
    planted = answers(world)
    found = ask(world.settings, "SELECT code, subject, amount FROM recon.breaks WHERE state = 'open'")
    missed, besides = (
        one.join(other, on=COMPARED, how="anti").sort(COMPARED).rows()
        for one, other in ((planted, found), (found, planted))
    )
    assert (missed, besides) == ([], [])
    assert planted.height == found.height > 40
    assert planted["code"].n_unique() > 20


def reported(world: World) -> int:
    """Payments that the last pull can have seen: its window ends five minutes before the close (the feed's lag)."""
    made = world.carrier.table("payments").filter(pl.col("payment_date") < CLOSE - LAG)
    return made.select("payment_guid", "payment_line_no").unique().height  # a restated one has two rows


def test_states_keep_every_cent(world: World) -> None:
    totals = ask(
        world.settings,
        """SELECT (SELECT count(*) FROM recon.items) AS items, (SELECT count(*) FROM feed.payments) AS payments,
                  (SELECT sum(payment_amount) FROM recon.items) AS judged,
                  (SELECT sum(payment_amount) FROM feed.payments) AS paid,
                  (SELECT sum(amount) FROM recon.totals WHERE kind = 'state') AS states""",
    ).row(0, named=True)
    assert totals["items"] == totals["payments"] == reported(world)
    assert totals["judged"] == totals["paid"] == totals["states"]


def test_the_same_moment_again_changes_nothing(world: World) -> None:
    tables = [f"recon.{name}" for name in ("runs", "items", "totals", "breaks", "break_events", "deposits")]
    before = [ask(world.settings, f"SELECT * FROM {name} ORDER BY ALL") for name in tables]
    result = run_reconcile(world.settings, "acme", CLOSE)
    assert result.payments == reported(world)
    for name, held in zip(tables, before, strict=True):
        assert ask(world.settings, f"SELECT * FROM {name} ORDER BY ALL").equals(held), name
