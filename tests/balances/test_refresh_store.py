"""Staging → store: only what was touched, whole accounts at once, done again after an end midway."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tasks.errors import StagingBusy
from tasks.inbound import calls, figures, refresh
from tasks.inbound.model import Call
from tasks.loading import load_file
from tasks.settings import load_settings

HOUR = timedelta(hours=1)


def many(books: Any, count: int) -> None:
    books.load(
        "invoice_events",
        *(
            {"event_id": f"E{n}", "invoice_number": f"I{n}", "account_number": f"A{n // 2}"}
            for n in range(count)
        ),
    )


def stored(books: Any) -> Any:
    return books.rows("balances"), books.rows("accounts"), books.rows("applied")


def test_only_what_a_load_touched_is_written(books: Any) -> None:
    many(books, 40)
    first = books.refresh()
    assert (first.full, first.invoices, first.known_as_of) == (True, 40, books.at)
    nothing = books.refresh()
    assert (nothing.full, nothing.invoices, nothing.accounts) == (False, 0, 0)
    books.load(
        "postings",
        {"posting_id": "P1", "amount": Decimal(30), "invoice_number": "I7", "account_number": "A3"},
    )
    one = books.refresh()
    assert (one.full, one.invoices) == (False, 1)
    assert books.invoice("I7").of.balance_due == Decimal("70.00")


def test_freshness_is_that_of_the_last_load(books: Any) -> None:
    many(books, 2)
    books.load("adjustments", {"adjustment_id": "D1", "amount": Decimal(1)}, at=books.at + HOUR)
    books.load("postings", {"posting_id": "P1", "amount": Decimal(1)}, at=books.at - HOUR)
    assert books.refresh().known_as_of == books.at + HOUR
    assert books.invoice("I1", books.at + 2 * HOUR, stale_minutes=59).result == "stale"
    assert books.invoice("I1", books.at + 2 * HOUR, stale_minutes=60).result == "answered"


def test_an_event_that_is_restated_leaves_nothing_behind(books: Any) -> None:
    books.load(
        "invoice_events",
        {"event_id": "E1", "invoice_number": "I1"},
        {"event_id": "E2", "invoice_number": "I2"},
    )
    books.refresh()
    books.load("invoice_events", {"event_id": "E1", "invoice_number": "I9", "account_number": "A9"})
    assert books.refresh().removed == 1
    assert [books.invoice(n).result for n in ("I1", "I2", "I9")] == ["unknown", "answered", "answered"]
    assert books.account("A9").of.balance_due == Decimal("100.00")


def test_a_rebuilt_staging_that_lacks_a_load_corrects_the_store(books: Any) -> None:
    many(books, 3)
    lost = books.load("invoice_events", {"event_id": "X", "invoice_number": "IX", "account_number": "AX"})
    books.load("adjustments", {"adjustment_id": "D1", "amount": Decimal(5), "account_number": "AX"})
    books.refresh()
    connection = books.staging.kept
    connection.execute("DELETE FROM poll.runs WHERE poll_id = $1", [lost])
    connection.execute("DELETE FROM imt.invoice_events_versions WHERE poll_id = $1", [lost])
    again = books.refresh()
    assert (again.full, again.removed) == (True, 1)
    assert books.invoice("IX").result == "unknown"
    assert books.account("AX").of.balance_due == Decimal("5.00")
    assert not books.refresh().full


def test_a_lost_store_is_filled_again(books: Any) -> None:
    many(books, 5)
    books.refresh()
    before = stored(books)
    books.clear_store()
    assert books.refresh().full
    assert stored(books) == before


@pytest.mark.parametrize("at_part", [0, 1, 2, 3])
def test_an_end_midway_is_made_up_for(books: Any, monkeypatch: pytest.MonkeyPatch, at_part: int) -> None:
    many(books, 8)
    books.refresh()
    books.load("postings", *(
        {"posting_id": f"P{n}", "amount": Decimal(n), "invoice_number": f"I{n}", "account_number": f"A{n // 2}",
         "payment_guid": books.guid(n)} for n in range(8)
    ))  # fmt: skip
    for n in range(8):
        books.push(books.guid(n), 100 * n, invoice_number=f"I{n}")
    monkeypatch.setattr(refresh, "ROWS_AT_ONCE", 1)
    parts: list[int] = []
    real: Callable[..., None] = figures.write

    def write(*arguments: Any) -> None:
        real(*arguments)
        parts.append(1)
        if len(parts) > at_part:
            raise KeyboardInterrupt

    monkeypatch.setattr(figures, "write", write)
    with suppress(KeyboardInterrupt):
        books.refresh()
    for n in range(8):  # taken over or not: never twice, never not at all
        assert books.invoice(f"I{n}").of.balance_due == Decimal(100 - n)
    monkeypatch.setattr(figures, "write", real)
    books.refresh()
    incremental = stored(books)
    books.refresh(everything=True)
    assert stored(books) == incremental
    for n in range(8):
        found = books.invoice(f"I{n}").of
        assert (found.balance_due, found.pushed_amount) == (Decimal(100 - n), 0)


def test_answers_while_a_refresh_runs(books: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each account owes the same before and after its push was posted; nobody sees it in between."""
    many(books, 60)
    books.refresh()
    for n in range(0, 60, 2):
        books.push(books.guid(n), 6000, invoice_number=f"I{n}")
    rows = (
        {"posting_id": f"P{n}", "amount": Decimal(60), "invoice_number": f"I{n}", "account_number": f"A{n // 2}",
         "payment_guid": books.guid(n)} for n in range(0, 60, 2)
    )  # fmt: skip
    books.load("postings", *rows)
    monkeypatch.setattr(refresh, "ROWS_AT_ONCE", 2)
    seen: list[set[Decimal]] = []
    done = threading.Event()

    def ask() -> None:
        found = set()
        while not done.is_set():
            for n in range(0, 60, 2):
                found |= {
                    books.invoice(f"I{n}").of.balance_due,
                    books.account(f"A{n // 2}").of.balance_due - 100,
                }
        seen.append(found)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert books.refresh().pushes_posted == 30
    done.set()
    for thread in threads:
        thread.join()
    assert seen == [{Decimal("40.00")}] * 2


def test_two_refreshes_do_not_run_at_once(books: Any, tmp_path: Path) -> None:
    file = tmp_path / "icflows.toml"
    file.write_text("[storage]\nlock_timeout_seconds = 0.1\n" + (books.folder / "icflows.toml").read_text())
    settings = load_settings(file)
    (tmp_path / "var" / "staging").mkdir(parents=True)
    with FileLock(tmp_path / "var" / "staging" / "acme.refresh.lock"):
        with pytest.raises(StagingBusy, match="another refresh of acme runs"):
            refresh.refresh(settings, "acme", books.at)
    assert refresh.refresh(settings, "acme", books.at).known_as_of is None


def test_files_of_imt_become_answers(books: Any, more_books: Callable[[], Any]) -> None:
    """The whole way: CSV → archive → staging → store → answer."""
    own = more_books()
    events, fees = own.folder / "events.csv", own.folder / "fees.csv"
    events.write_text(
        "event_id,event,occurred_at,invoice_number,account_number,invoice_date,total_amount_due,balance_due\n"
        "E1,NEW,2026-11-09T12:00:00Z,0007,0001,2026-11-01,80.00,80.00\n"
    )
    fees.write_text(
        "adjustment_id,account_number,invoice_number,kind,amount,occurred_at\n"
        "D1,0001,0007,FEE,2.50,2026-11-10T08:00:00Z\nD2,0001,0007,FEE,-2.50,2026-11-10T08:00:00Z\n"
    )
    load_file(own.settings, "acme", "invoices", events, own.at - HOUR)
    assert load_file(own.settings, "acme", "adjustments", fees, own.at).rows_quarantined == 1
    result = refresh.refresh(own.settings, "acme", own.at)
    assert (result.full, result.invoices, result.known_as_of) == (True, 1, own.at)
    assert own.invoice("0007").of.balance_due == Decimal("82.50")
    own.close()


def test_calls_are_kept_in_their_order(books: Any) -> None:
    calls.keep(books.store, [])
    some = [
        Call(
            "acme",
            n,
            "INVOICE",
            "soap11",
            None if n else "A'1",
            "I\u00e91",
            "answered",
            n * 100,
            bool(n % 2),
            None,
            15,
        )
        for n in range(3)
    ]
    calls.keep(books.store, some)
    calls.keep(books.store, [Call("acme", 9, "ACCOUNT", "json", "A1", None, "stale", None, None, 5, 7)])
    rows = books.rows("calls")
    assert [row[2] for row in rows] == [0, 1, 2, 9]
    assert rows[0][1:] == ("acme", 0, "INVOICE", "soap11", "A'1", "I\u00e91", "answered", 0, 0, None, 15, 0)
    assert rows[3][1:] == ("acme", 9, "ACCOUNT", "json", "A1", None, "stale", None, None, 5, 7, 0)
