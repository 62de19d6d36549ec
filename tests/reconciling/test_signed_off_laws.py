"""A later run never edits a signed-off period, whatever comes after the signature.

Made late rows (a return, a restated payment, a new one, a posting changed) for a day that is closed: the frozen file, its
line, and what people said of its breaks stay as they were; what came is shown as late.
"""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from checks.contracts import FEEDS, IMT
from checks.describe import columns
from tasks.loading import KEYS
from tasks.pull import staging_of
from tasks.reconciling import run_reconcile
from tasks.settings import Settings
from tasks.snapshot import publish_snapshot, snapshots_of
from tasks.staging.merge import Target, merge
from tasks.staging.polls import record_load
from tasks.staging.query import frame
from tasks.staging.reading import reading
from tasks.work.people import say
from tasks.work.periods import close_period, digest

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
SIGNED, CAME, RUN = (CLOSE + timedelta(minutes=minutes) for minutes in (20, 40, 60))
FROZEN = ("items", "breaks", "totals", "work_events", "periods")
KEYS_OF = {
    "payments": ("payment_guid", "payment_line_no"),
    "ach_rejects": ("original_payment_guid", "return_code", "reject_date", "reject_sequence"),
}
LAW = settings(
    derandomize=True,
    max_examples=max(int(os.environ.get("ICFLOWS_PROVE_LAWS", "0")) // 5, 3),
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # an example takes seconds: none is made smaller
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
OF_DAY = "CAST(timezone('America/Chicago', payment_date) AS DATE) = DATE '{}'"
# Which of the day's usual payments it happens to, and what.
_late = st.lists(
    st.tuples(st.sampled_from(["returned", "restated", "new", "posting"]), st.integers(0, 30)),
    min_size=2,
    max_size=6,
    unique_by=lambda late: late[1],
)


def ask(office: Settings, sql: str) -> pl.DataFrame:
    with staging_of(office, "acme").open() as connection:
        return frame(connection, sql)


def came(office: Settings, table: str, rows: pl.DataFrame, part: str) -> None:
    """Rows of an answer that is seen after the signature."""
    space, contract = ("feed", FEEDS[table]) if table in FEEDS else ("imt", IMT[table])
    names = [column.name for column in columns(contract)]
    told = rows.select(names).with_row_index("row_no", 1).with_columns(pl.col("row_no").cast(pl.Int64))
    target = Target(space, table, contract, KEYS_OF.get(table) or KEYS[table])
    with staging_of(office, "acme").transaction(part) as connection:
        merge(connection, target, told, poll_id=part, form="soap", seen_at=CAME)
        record_load(connection, part, "poll", CAME)


def happens(office: Settings, what: str, payment: dict[str, Any], number: int) -> tuple[str, str] | None:
    """One late thing; (kind, item) of v_late_items, or None where its own day is not the closed one."""
    guid, part = payment["payment_guid"], f"late-{number}"
    row = ask(office, f"SELECT * FROM feed.payments WHERE payment_guid = '{guid}'")
    more = pl.lit(Decimal("1.07")).cast(pl.Decimal(18, 2))
    if what == "returned":
        back = {
            "reject_date": SIGNED + timedelta(minutes=5),
            "original_payment_guid": guid,
            "return_code": "R10",
        }
        back |= {"reject_amount": payment["payment_amount"], "reject_sequence": 1}
        schema = ask(office, "SELECT * FROM feed.ach_rejects LIMIT 0").schema
        values = {name: [back.get(name, payment.get(name))] for name in schema}
        came(office, "ach_rejects", pl.DataFrame(values, schema=schema), part)
        return None
    if what == "posting":
        booked = ask(office, f"SELECT * FROM imt.postings WHERE payment_guid = '{guid}'")
        came(office, "postings", booked.with_columns((pl.col("amount") + more).cast(pl.Decimal(18, 2))), part)
        return "posting", booked["posting_id"][0]
    if what == "new":
        guid = f"00000000-0000-4000-8000-{number:012d}"
        row = row.with_columns(payment_guid=pl.lit(guid), processor_reference=pl.lit(f"LATE{number}"))
    else:
        row = row.with_columns((pl.col("payment_amount") + more).cast(pl.Decimal(18, 2)))
    came(office, "payments", row, part)
    return "payment", guid


def frozen(path: Path) -> dict[str, pl.DataFrame]:
    with reading(path) as connection:
        return {name: frame(connection, f"SELECT * FROM recon.{name} ORDER BY ALL") for name in FROZEN}


def signed_off(office: Settings) -> tuple[str, Path]:
    """The day with the most usual payments that has a HIGH break, its breaks accepted and signed, and it closed."""
    days = ask(
        office,
        """SELECT CAST(timezone('America/Chicago', payment_date) AS DATE) AS day FROM recon.items i
           WHERE state LIKE 'MATCHED%' GROUP BY day HAVING count(*) > 8 AND day IN (
               SELECT CAST(timezone('America/Chicago', occurred_at) AS DATE) FROM recon.breaks
               WHERE severity = 'HIGH' AND state = 'open') ORDER BY count(*) DESC, day LIMIT 1""",
    )
    text = days["day"][0].isoformat()
    when = "CAST(timezone('America/Chicago', occurred_at) AS DATE)"
    high = ask(
        office,
        f"SELECT break_id FROM recon.breaks WHERE {when} = DATE '{text}' AND severity = 'HIGH' AND state = 'open'",
    )
    for which in high["break_id"]:
        say(office, "acme", which, "accepted", "Ann Ode", CLOSE, note="known")
        say(office, "acme", which, "signed", "Bo Lee", CLOSE)
    line = close_period(office, "acme", text, "Ann Ode", SIGNED, force=True, note="by law")
    return text, snapshots_of(office, "acme").folder / line["snapshot"]


@LAW
@given(lates=_late)
def test_a_later_run_never_edits_a_signed_off_period(day: Any, lates: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        office = day.copy("close", Path(folder))
        text, path = signed_off(office)
        sha256, inside = digest(path), frozen(path)
        lines = ask(office, "SELECT * FROM recon.periods")
        words = ask(office, "SELECT * FROM recon.work_events ORDER BY ALL")
        usual = ask(
            office,
            f"""SELECT * FROM recon.items WHERE state LIKE 'MATCHED%' AND {OF_DAY.format(text)}
                AND payment_line_no IS NULL ORDER BY payment_guid""",
        ).to_dicts()
        shown, returned = set(), []
        for number, (what, place) in enumerate(lates):
            payment = usual.pop(place % len(usual))
            late = happens(office, what, payment, number)
            shown |= {late} if late else set()
            returned += [payment["payment_guid"]] if what == "returned" else []
        run_reconcile(office, "acme", RUN)

        assert digest(path) == sha256
        now = frozen(path)
        assert [name for name in FROZEN if not now[name].equals(inside[name])] == []
        assert ask(office, "SELECT * FROM recon.periods").equals(lines)
        after = ask(office, "SELECT * FROM recon.work_events ORDER BY ALL")
        assert words.height > 0
        assert words.join(after, on=words.columns, how="anti", nulls_equal=True).is_empty()
        told = ask(office, "SELECT subject FROM recon.breaks WHERE code = 'B21' AND state = 'open'")
        assert sorted(told["subject"]) == sorted(returned)
        with reading(publish_snapshot(office, "acme", RUN).path) as connection:
            found = frame(connection, f"SELECT kind, item FROM v_late_items WHERE period = '{text}'").rows()
        assert set(found) == shown
