"""The report's section on the work of finance: true numbers, nothing of it executable."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tasks.reconciling import run_reconcile
from tasks.report import write_report
from tasks.report.work import figures, work_states
from tasks.work.periods import close_period

LATER = datetime(2026, 11, 2, 14, tzinfo=UTC)


def cells(html: str, first: str) -> list[str]:
    """The cells of the table row whose heading is `first`."""
    row = re.search(rf"<tr><th scope=\"row\">{re.escape(first)}</th>(.*?)</tr>", html)
    assert row, first
    return re.findall(r"<td[^>]*>(.*?)</td>", row.group(1))


def test_the_page_tells_of_work_figures_and_closed_periods(desk: Any) -> None:
    which = [desk.one(code)["break_id"] for code in ("B01", "B05", "B42")]
    desk.say(which[0], "assigned")
    desk.say(which[1], "accepted", "<b>Ann</b>")
    run_reconcile(desk.settings, "acme", LATER)
    close_period(desk.settings, "acme", "2026-10", "<i>Bo & Lee</i>", LATER, force=True, note="<script>")
    html = write_report(desk.settings, "acme", LATER + timedelta(hours=1)).latest.read_text("utf-8")
    still = desk.rows("SELECT count(*) AS n FROM recon.breaks WHERE state = 'open'")[0]["n"]
    assert cells(html, "open")[1] == str(still - 2)
    assert cells(html, "in work")[1:3] == ["1", "1"]
    assert cells(html, "accepted")[3] == f"${desk.one('B05')['amount']}"
    assert cells(html, "open work")[1:] == [str(still - 1), str(desk_before_run(desk))]
    assert cells(html, "matched by exact rules")[1].endswith(" %")
    assert cells(html, "2026-10")[1] == "&lt;i&gt;Bo &amp; Lee&lt;/i&gt;"
    assert "<script>" not in html


def desk_before_run(desk: Any) -> int:
    sql = "SELECT value::BIGINT AS n FROM recon.kpis WHERE name = 'open_work' AND part = 'rows' ORDER BY as_of LIMIT 2"
    return int(desk.rows(sql)[-1]["n"])


def test_figures_never_look_better_than_they_are() -> None:
    def row(name: str, part: str | None, value: str | None, unit: str) -> dict[str, Any]:
        known = None if value is None else Decimal(value)
        return {"name": name, "part": part, "value": known, "unit": unit, "value_before": None}

    told = figures([
        row("auto_match_rate", "rows", "0.999999", "share"), row("exception_rate", "rows", "0.000001", "share"),
        row("open_work", "amount", "1234.5", "USD"), row("time_to_resolve", "mean", None, "hours"),
        row("time_to_detect", "mean", "30.25", "hours"), row("days_unsigned", "largest", "3", "banking days"),
        row("open_value", "0-1", "9", "USD"),
    ])  # fmt: skip
    assert [(label, text) for label, _, text, _ in told] == [
        ("matched by exact rules", "99.99 %"), ("exceptions", "0.01 %"), ("time to detect", "30.2 h"),
        ("time to resolve", "–"), ("open work, money", "$1,234.50"), ("longest without a sign-off", "3.0 banking days"),
    ]  # fmt: skip


def test_states_of_the_work_come_in_their_order() -> None:
    rows = [{"work_state": name, "breaks": 1} for name in ("signed_off", "open", "resolved")]
    assert [row["work_state"] for row in work_states(rows)] == ["open", "resolved", "signed_off"]
    assert all(row["words"] for row in work_states(rows))
