"""The page as a whole: true numbers, nothing private, nothing executable, nothing fetched."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tasks.alerts import Alert, raise_alerts
from tasks.errors import Retry, SettingsError
from tasks.pull import staging_of
from tasks.report import write_report
from tasks.report.words import count, money
from tasks.settings import Settings
from tasks.staging.query import frame

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
HOSTILE = """<script>alert(1)</script><img src=x onerror=alert(2)>"'><svg/onload=alert(3)>{{ 7*7 }}&amp;"""


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def written(settings: Settings, at: datetime = CLOSE) -> str:
    return write_report(settings, "acme", at).latest.read_text("utf-8")


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", Page(html).text)


def rows(settings: Settings, sql: str) -> list[dict[str, Any]]:
    with staging_of(settings, "acme").open() as connection:
        return frame(connection, sql).to_dicts()


def change(settings: Settings, sql: str, parameters: list[Any] | None = None) -> None:
    with staging_of(settings, "acme").open() as connection:
        connection.execute(sql, parameters or [])


def test_both_names(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    result = write_report(settings, "acme", CLOSE)
    assert result.path == settings.folder("reports") / "acme" / "20261030T230000Z.html"
    assert result.latest.read_bytes() == result.path.read_bytes()
    assert result.bytes == result.path.stat().st_size < 300_000


def test_the_numbers_are_those_of_the_run(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    text = plain(written(settings))
    run = rows(settings, "SELECT * FROM recon.runs ORDER BY as_of DESC LIMIT 1")[0]
    assert f"600 payments of {money(run['payments_amount'])}, as InvoiceCloud reported them" in text
    for part in ("postings", "settlements", "ach_rejects"):
        assert money(run[f"{part}_amount"]) in text
    for row in rows(settings, "SELECT name, rows, amount FROM recon.totals WHERE kind = 'state'"):
        assert f"{count(row['rows'])}{money(row['amount'])}" in text.replace(" ", "")
    assert f"payments feed600{money(run['payments_amount'])}" in text.replace(" feed ", " feed")
    assert "difference0$0.00" in text.replace(" ", "")
    assert "As of 2026-10-30 18:00 CDT (2026-10-30 23:00 UTC)" in text
    for row in rows(
        settings, "SELECT code, name, count(*) AS n FROM recon.breaks WHERE state = 'open' GROUP BY ALL"
    ):
        assert f"{row['code']} {row['name']}" in text
    assert "CLOUDSTORE" in text
    assert "account_number has a form that is not allowed" in text


def test_the_worst_twenty_with_sentence_and_evidence(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    html = written(settings)
    assert html.count('<article class="break">') == 20
    worst = rows(
        settings,
        "SELECT sentence, break_id FROM recon.breaks WHERE severity = 'HIGH' ORDER BY abs(amount) DESC LIMIT 1",
    )[0]
    first = html.split('<article class="break">')[1]
    assert worst["break_id"] in first
    assert worst["sentence"] in plain(first)
    assert "IMT: posting" in html
    assert "<mark>" in html


def test_nothing_personal_and_no_key(day: Any, acme_day: Any, tmp_path: Path) -> None:
    html = written(day.copy("close", tmp_path))
    assert acme_day.NAME not in html
    assert acme_day.MAIL not in html
    assert acme_day.KEY not in html


def test_nothing_is_fetched_and_nothing_runs(day: Any, tmp_path: Path) -> None:
    html = written(day.copy("close", tmp_path))
    page = Page(html)
    assert not {"script", "link", "iframe", "img", "object", "embed", "form", "base", "a"} & set(page.tags)
    assert not [
        name for _, name, _ in page.attributes if name.startswith("on") or name in ("src", "href", "action")
    ]
    assert not re.search(r"https?:|//[a-z]|url\(|@import", html)
    policies = [value for tag, name, value in page.attributes if tag == "meta" and name == "content"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policies


def test_charts_have_titles_and_tables(day: Any, tmp_path: Path) -> None:
    html = written(day.copy("close", tmp_path))
    page = Page(html)
    drawn = [a for a in page.attributes if a[0] == "svg"]
    assert page.tags.count("svg") == 5
    assert (
        sum(1 for _, name, value in drawn if (name, value) in {("role", "img"), ("aria-hidden", "true")}) == 5
    )
    labelled = {value for _, name, value in drawn if name == "aria-labelledby"}
    assert labelled <= {value for tag, name, value in page.attributes if tag == "title" and name == "id"}
    for heading in ("Open breaks by class", "Open breaks by age", "Cash by day"):
        assert "<table>" in html.split(heading)[1].split("</section>")[0]
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_hostile_text_stays_text(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    change(
        settings,
        "UPDATE recon.breaks SET sentence = $1, name = $1, account_number = $1, invoice_number = $1",
        [HOSTILE],
    )
    change(
        settings,
        """UPDATE recon.breaks SET evidence = json_object('payment', json_object('account_number', $1, $1, $1),
               'postings', json_array(json_object('amount', '1.00', 'account_number', $1)))""",
        [HOSTILE],
    )
    change(settings, "UPDATE quarantine.payments SET reasons = [$1]", [HOSTILE])
    change(
        settings, "UPDATE poll.runs SET status = 'failed', reason = $1 WHERE feed = 'paperless'", [HOSTILE]
    )
    raise_alerts(settings, "acme", CLOSE, [Alert("break_high", HOSTILE, "HIGH", HOSTILE, "body")])
    html = written(settings)
    page = Page(html)
    assert not {"script", "img"} & set(page.tags)
    assert page.tags.count("svg") == 5
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert page.text.count("<script>alert(1)</script>") > 20
    assert "{{ 7*7 }}" in page.text


def test_late_and_suspect_feeds_are_said_first(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    text = plain(written(settings, CLOSE + timedelta(hours=9)))
    top = text.split("Where every payment stands")[0]
    assert "Feed payments is late." in top
    assert "The last comparison is as of 2026-10-30 18:00 CDT" in top
    assert "Feed autopay is late." not in top


def test_alerts_are_listed_until_cleared(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    assert "Open alerts None." in plain(written(settings))
    raise_alerts(
        settings, "acme", CLOSE, [Alert("feed_late", "payments", "HIGH", "payments: the feed is late", "x")]
    )
    assert "payments: the feed is late" in plain(written(settings))
    change(settings, 'UPDATE "check".alerts SET cleared_at = raised_at')
    assert "Open alerts None." in plain(written(settings))


def test_no_run_yet_and_nothing_at_all(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    staging_of(settings, "acme").path.unlink()
    staging_of(settings, "acme").journal.unlink()
    text = plain(written(settings))
    assert "Nothing has been compared yet" in text
    assert "never loaded" in text
    assert "Every cent" not in text


def test_refusals(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    with pytest.raises(SettingsError, match="no biller 'nobody'"):
        write_report(settings, "nobody", CLOSE)
    with pytest.raises(SettingsError, match="time zone"):
        write_report(settings, "acme", datetime(2026, 10, 30))


def test_full_disk_leaves_the_old_report(day: Any, tmp_path: Path, file_limit: Any) -> None:
    settings = day.copy("close", tmp_path)
    before = written(settings)
    file_limit(30_000)
    with pytest.raises(Retry, match="still stands"):
        write_report(settings, "acme", CLOSE + timedelta(hours=1))
    folder = settings.folder("reports") / "acme"
    assert (folder / "latest.html").read_text("utf-8") == before
    assert sorted(p.name for p in folder.iterdir()) == [".lock", "20261030T230000Z.html", "latest.html"]


def test_writing_a_report_leaves_no_trace_in_staging(day: Any, tmp_path: Path) -> None:
    settings = day.copy("close", tmp_path)
    tables = "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT temporary ORDER BY ALL"
    views = "SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal ORDER BY ALL"
    before = rows(settings, tables), rows(settings, views)
    written(settings)
    assert (rows(settings, tables), rows(settings, views)) == before
