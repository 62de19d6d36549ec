"""All classes at once: whole carriers over real SOAP and real files, the answer sheet against the open breaks.

A few small carriers in the suite; `make prove` plays 20 seeds of 90 days and 2,000 accounts (ICFLOWS_PROVE_SEEDS,
_DAYS, _ACCOUNTS). What is compared is what the rules know: a class without an entry in rules.toml is left out.
A shifted clock (B39) disturbs all that hangs on a day; it has carriers of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from sandbox import Sandbox
from sandbox.carrier import Carrier, generate
from sandbox.carrier.clocks import shift
from sandbox.carrier.plants import ALL_PLANT, SENT_ONLY, SERVED_ONLY
from tasks.errors import IcflowsError
from tasks.loading import load_file
from tasks.pull import plan, pull_window, staging_of
from tasks.reconciling import rules_of, run_reconcile
from tasks.settings import Settings, load_settings
from tasks.staging.query import frame
from tasks.work.periods import close_period

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
LAG, HOUR = timedelta(minutes=5), timedelta(hours=1)
BEFORE = CLOSE - timedelta(days=3)
FEEDS = ("payments", "settlements", "ach-rejects", "autopay", "paperless")
KEY = "prove-key-31aa"
ASKED = {name: int(os.environ.get(f"ICFLOWS_PROVE_{name}", "0")) for name in ("SEEDS", "DAYS", "ACCOUNTS")}
SEEDS = range(1, (ASKED["SEEDS"] or 2) + 1)
SIZES = [(40, 500), (90, 220)]  # days, accounts; the longer one has returns after sixty days
if ASKED["DAYS"] and ASKED["ACCOUNTS"]:
    SIZES = [(ASKED["DAYS"], ASKED["ACCOUNTS"])]
CLOCKS = (timedelta(hours=-5), timedelta(days=-1))  # the zone's UTC offset; a day
# Answers with another layout, and with a code that nobody knows: after a good one, and no good one follows.
DRIFTS = (
    ("autopay", "renamed_column", {"column": "AutoPay", "to": "AutoPayFlag"}),
    ("settlements", "bad_value", {"column": "Tender", "row": 0, "value": "QUANTUM"}),
)
REFUSED = ("autopay",)
OPERATIONS = {"autopay": "BillerAutoPayCustomerReportSOAP", "settlements": "BillerSettledBatchDetailDataSet"}
NAMELESS = 8
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
payments = {{ initial = "{days}d", max_window = "{days}d" }}
settlements = {{ initial = "{days}d", max_window = "{days}d" }}
ach_rejects = {{ initial = "{days}d", max_window = "{days}d" }}
"""
COMPARED = ["code", "subject", "amount"]


class World(NamedTuple):
    """A carrier as icflows has it at the close, reconciled."""

    carrier: Carrier
    settings: Settings


def ask(settings: Settings, sql: str) -> pl.DataFrame:
    with staging_of(settings, "acme").open() as connection:
        return frame(connection, sql)


def played(carrier: Carrier, root: Path, bai2: bool) -> World:
    """A carrier played to its close: two runs, and between them the days signed off that it wants signed off."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACME_WEB_SERVICE_KEY", KEY)
        with Sandbox(carrier.folder, now=CLOSE, key=KEY, sftp_port=None) as sandbox:
            (root / "icflows.toml").write_text(SETTINGS.format(url=sandbox.url, days=carrier.days + 15))
            settings = load_settings(root / "icflows.toml")
            pull(settings, sandbox, BEFORE)
            for kind, path in zip(
                ("postings", "invoices"), carrier.imt_until(BEFORE, root / "before"), strict=True
            ):
                load_file(settings, "acme", kind, path, BEFORE)
            run_reconcile(settings, "acme", BEFORE)
            for day in carrier.to_sign_off():
                close_period(
                    settings, "acme", day.isoformat(), "Ann Ode", BEFORE, force=True, note="to be proven"
                )
            pull(settings, sandbox, CLOSE - HOUR, ("autopay",))
            drifts = drifting(carrier)
            for feed, kind, how in drifts:
                sandbox.fault(kind, operation=OPERATIONS[feed], **how)
            pull(settings, sandbox, CLOSE, [feed for feed in FEEDS if feed not in REFUSED or not drifts])
            for feed in REFUSED if drifts else ():
                with pytest.raises(IcflowsError, match="AutoPay"):
                    pull(settings, sandbox, CLOSE, (feed,))
        load(settings, carrier, root / "files", bai2)
        run_reconcile(settings, "acme", CLOSE)
    return World(carrier, settings)


def drifting(carrier: Carrier) -> list[tuple[str, str, dict[str, Any]]]:
    """The faults that make the B38 of this carrier's answer sheet."""
    told = carrier.truth().filter(pl.col("code") == "B38")["subject"].to_list()
    return [drift for drift in DRIFTS if drift[0] in told]


@pytest.fixture(scope="module", params=SEEDS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    seed, root = request.param, tmp_path_factory.mktemp("all")
    days, accounts = SIZES[(seed - 1) % len(SIZES)]
    unseen = dict.fromkeys((*SENT_ONLY, *SERVED_ONLY), 0)  # nothing is sent here, and nobody asks
    faults = {"B38": [feed for feed, _, _ in DRIFTS]}
    carrier = generate(
        seed, accounts, days, CLOSE, root / "carrier", plant=ALL_PLANT | unseen, feed_faults=faults
    )
    return played(carrier, root, bai2=bool(seed % 2))


@pytest.fixture(params=[(seed, CLOCKS[seed % 2]) for seed in SEEDS])
def shifted(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """A carrier whose payments report is served with another clock."""
    seed, by = request.param
    days, accounts = (40, 300) if not ASKED["SEEDS"] else SIZES[0]
    unseen = dict.fromkeys(SENT_ONLY, 0)
    carrier = generate(
        seed, accounts, days, CLOSE, tmp_path / "carrier", plant=unseen, feed_faults={"B39": ["payments"]}
    )
    assert shift(carrier, by, NAMELESS) == NAMELESS
    return played(carrier, tmp_path, bai2=False)


def pull(settings: Settings, sandbox: Sandbox, at: datetime, feeds: Iterable[str] = FEEDS) -> None:
    """Feeds as of a moment. Two moments: a payment is missing only hours after it is known, and restated only
    after it had matched."""
    sandbox.clock(at)
    for feed in feeds:
        for window in plan(settings, "acme", feed, at):
            assert pull_window(settings, "acme", feed, window, at).status == "ok"


def load(settings: Settings, carrier: Carrier, folder: Path, bai2: bool) -> None:
    """Everything that comes in files; the bank's statement in BAI2 or as CSV. IMT's flags only where AutoPay's
    draws are made to be judged by them."""
    postings, invoices = carrier.imt_until(CLOSE, folder)
    others = carrier.bank_until(CLOSE, folder)
    if carrier.truth().filter(pl.col("code") == "B34").is_empty():
        del others["enrolment-flags"]
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


def compared(world: World) -> tuple[list[Any], list[Any]]:
    """(planted and not found, found and not planted) by class, subject and amount."""
    planted = answers(world)
    found = ask(world.settings, "SELECT code, subject, amount FROM recon.breaks WHERE state = 'open'")
    missed, besides = (
        one.join(other, on=COMPARED, how="anti").sort(COMPARED).rows()
        for one, other in ((planted, found), (found, planted))
    )
    return missed, besides


def test_all_that_is_planted_is_found_and_nothing_besides(world: World) -> None:
    """No break is missed, none is invented, and each weighs what was planted, to the cent."""
    assert compared(world) == ([], [])
    planted = answers(world)
    assert planted.height > 40
    assert planted["code"].n_unique() > 30
    late = planted.filter(pl.col("code") == "B21").height
    assert late == (2 if world.carrier.days >= 90 else 1)  # one is final only after sixty days
    assert planted.filter(pl.col("code") == "B38")["subject"].to_list() == ["autopay", "settlements"]


def test_a_shifted_clock_is_one_break(shifted: World) -> None:
    """What would match after the shift is told once, and every other break is found as ever."""
    assert compared(shifted) == ([], [])
    (told,) = ask(shifted.settings, "SELECT * FROM recon.breaks WHERE code = 'B39'").to_dicts()
    evidence = json.loads(told["evidence"])["shift"]
    assert (evidence["feed"], evidence["unmatched"]) == ("payments", NAMELESS)
    assert evidence["count"] > NAMELESS  # the dates of others speak for it too
    held = ask(shifted.settings, "SELECT count(*) AS n FROM recon.items WHERE state_reason LIKE '%B39%'")
    assert held["n"].to_list() == [NAMELESS]


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
