"""A run that looks only at what changed says the same as one that looks at everything.

A carrier is played day by day over real SOAP and real files; after each run all that stands in staging is beside what
tasks.reconcile makes of the whole tables at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from checks.contracts import IMT
from checks.describe import polars_schema
from sandbox import Sandbox
from sandbox.carrier import Carrier, generate
from sandbox.carrier.plants import ALL_PLANT, SENT_ONLY, SERVED_ONLY
from tasks import reconciling
from tasks.loading import KEYS, load_file
from tasks.pull import plan, pull_window, staging_of
from tasks.reconcile import Outcome, reconcile
from tasks.reconcile.model import BREAKS, ITEMS, SCHEMAS
from tasks.reconciling import rules_of, run_reconcile
from tasks.settings import Settings, load_settings
from tasks.staging.inputs import read_held
from tasks.staging.merge import Target, merge
from tasks.staging.polls import record_load
from tasks.staging.query import frame
from tasks.staging.rows import select

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
STEPS = int(os.environ.get("ICFLOWS_PROVE_STEPS", "4"))
SEEDS = range(1, int(os.environ.get("ICFLOWS_PROVE_SEEDS", "0")) // 4 + 2)
FEEDS = ("payments", "settlements", "ach-rejects", "autopay", "paperless")
KEY = "after-key-11bb"
SETTINGS = """
[billers.acme]
product = "spectrum"
biller_guid = "11111111-2222-3333-4444-555555555555"
bid = "1234"
web_service_key = "env:ACME_WEB_SERVICE_KEY"
base_url = "{url}"
time_zone = "America/Chicago"
transport = {{ pause_seconds = 0.0 }}
[billers.acme.rules]
pump_since = "2026-10-10T00:00:00Z"
[billers.acme.feeds]
payments = {{ initial = "60d", max_window = "60d" }}
settlements = {{ initial = "60d", max_window = "60d" }}
ach_rejects = {{ initial = "60d", max_window = "60d" }}
"""


@pytest.fixture(scope="module", params=SEEDS)
def carrier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Carrier:
    unseen = dict.fromkeys((*SENT_ONLY, *SERVED_ONLY), 0)
    folder = tmp_path_factory.mktemp("carrier")
    return generate(request.param, 320, 40, CLOSE, folder, plant=ALL_PLANT | unseen)


@pytest.fixture
def sandbox(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setenv("ACME_WEB_SERVICE_KEY", KEY)
    with Sandbox(carrier.folder, now=CLOSE, key=KEY, sftp_port=None) as served:
        yield served


def arrives(settings: Settings, sandbox: Sandbox, carrier: Carrier, at: datetime, folder: Path) -> None:
    """All that there is to know by `at`."""
    sandbox.clock(at)
    for feed in FEEDS:
        for window in plan(settings, "acme", feed, at):
            pull_window(settings, "acme", feed, window, at)
    postings, invoices = carrier.imt_until(at, folder)
    others = {kind: path for kind, path in carrier.bank_until(at, folder).items() if kind != "deposits-bai2"}
    for kind, path in {"postings": postings, "invoices": invoices, **others}.items():
        load_file(settings, "acme", kind, path, at)
    pushed(settings, carrier, at)


def pushed(settings: Settings, carrier: Carrier, at: datetime) -> None:
    """What the Data Pump would have told by `at`: each fiftieth payment never, each thirtieth with another amount."""
    paid = (
        carrier.table("payments")
        .filter(pl.col("payment_date") < at)
        .unique("payment_guid")
        .sort("payment_date", "payment_guid")
    )
    paid = paid.with_row_index("n").filter(pl.col("n") % 50 != 7)
    schema = polars_schema(IMT["pushes"])
    told = paid.with_columns(
        push_id=pl.format("push-{}", "payment_guid"), variant=pl.lit(1), received_at="payment_date", form=pl.lit("form"),
        payment_amount=pl.when(pl.col("n") % 30 == 11).then(pl.col("payment_amount") + 1).otherwise("payment_amount"),
        account_known=pl.lit(True), above_balance=pl.lit(False),
    )  # fmt: skip
    absent = [pl.lit(None).alias(name) for name in schema if name not in told.columns]
    rows = told.with_columns(absent).select(pl.col(name).cast(kind) for name, kind in schema.items())
    load_id = f"pushes-{at:%Y%m%d%H%M}"
    with staging_of(settings, "acme").transaction(load_id) as connection:
        target = Target("imt", "pushes", IMT["pushes"], KEYS["pushes"])
        merge(connection, target, rows.with_row_index("row_no").with_columns(pl.col("row_no").cast(pl.Int64)),
              poll_id=load_id, form="file", seen_at=at)  # fmt: skip
        record_load(connection, load_id, "poll", at)


def of_everything(settings: Settings, as_of: datetime) -> Outcome:
    """What tasks.reconcile says of the whole tables, as they lie in staging."""
    with staging_of(settings, "acme").open() as connection:
        held = read_held(connection)
        tables = {"payments": "feed.payments", "settlements": "feed.settlements", "postings": "imt.postings"}
        tables |= {"pushes": "imt.pushes"}
        sides = {name: select(connection, table, SCHEMAS[name]) for name, table in tables.items()}
    inputs = replace(held.inputs, **sides)
    return reconcile(inputs, rules_of(settings, "acme"), as_of)


def stands(settings: Settings, sql: str) -> pl.DataFrame:
    with staging_of(settings, "acme").open() as connection:
        return frame(connection, sql)


def differences(settings: Settings, said: Outcome, as_of: datetime) -> dict[str, list[tuple[object, ...]]]:
    """Rows that only one of the two knows, by table: what the run wrote, and what was said of everything."""
    items = ", ".join(name for name in ITEMS if name != "at_rest")
    found = f"SELECT {', '.join(BREAKS)} FROM recon.breaks WHERE last_seen_at = '{as_of.isoformat()}'"
    written = {
        "items": (stands(settings, f"SELECT {items} FROM recon.items"), said.items.drop("at_rest")),
        "breaks": (stands(settings, found), said.breaks),
        "totals": (stands(settings, "SELECT * FROM recon.totals"), said.totals),
        "deposits": (stands(settings, "SELECT * FROM recon.deposits"), said.deposits),
        "suggestions": (stands(settings, "SELECT * FROM recon.suggestions"), said.suggestions),
    }
    told = {}
    for name, (kept, expected) in written.items():
        columns = kept.columns
        rows = (frame_.select(columns).cast(dict(kept.schema)) for frame_ in (kept, expected))
        one, other = (set(part.rows()) if part.height else set() for part in rows)
        assert kept.height == expected.height or one != other, name
        told[name] = sorted(one ^ other, key=str)
    return {name: rows for name, rows in told.items() if rows}


def test_run_after_run_says_the_same_as_one_run_of_everything(
    carrier: Carrier, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours and days apart; the first looks at everything, none of the others does."""
    monkeypatch.setattr(reconciling, "_first_of_day", lambda *_: False)
    (tmp_path / "icflows.toml").write_text(SETTINGS.format(url=sandbox.url))
    settings = load_settings(tmp_path / "icflows.toml")
    looked = []
    for step in range(STEPS):
        as_of = CLOSE - timedelta(hours=31) * (STEPS - 1 - step)
        arrives(settings, sandbox, carrier, as_of, tmp_path / "files")
        said = of_everything(settings, as_of)
        run_reconcile(settings, "acme", as_of)
        assert differences(settings, said, as_of) == {}, as_of
        looked.append(stands(settings, "SELECT is_whole, looked_at, payments_rows FROM recon.runs").row(-1))
    assert [whole for whole, _, _ in looked] == [True] + [False] * (STEPS - 1)
    straight = stands(settings, "SELECT count(*) AS n FROM recon.items WHERE at_rest")["n"][0]
    assert straight > 120
    assert all(seen < payments - 120 for _, seen, payments in looked[1:])


def test_time_alone_moves_verdicts(
    carrier: Carrier, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing new arrives: what falls due in the meantime is looked at, whatever it is."""
    monkeypatch.setattr(reconciling, "_first_of_day", lambda *_: False)
    (tmp_path / "icflows.toml").write_text(SETTINGS.format(url=sandbox.url))
    settings = load_settings(tmp_path / "icflows.toml")
    arrives(settings, sandbox, carrier, CLOSE, tmp_path / "files")
    run_reconcile(settings, "acme", CLOSE)
    for later in (timedelta(hours=5), timedelta(days=3), timedelta(days=130)):
        as_of = CLOSE + later
        said = of_everything(settings, as_of)
        run_reconcile(settings, "acme", as_of)
        assert differences(settings, said, as_of) == {}, as_of
    states = stands(settings, "SELECT state, count(*) AS n FROM recon.items WHERE at_rest GROUP BY ALL")
    assert set(states["state"]) == {"EXPLAINED", "MATCHED_FINAL"}
