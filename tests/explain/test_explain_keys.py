"""Accounts, invoices, unknown keys, snapshots, and what stands on the screen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from tasks.errors import SettingsError, Stop
from tasks.explain import command, explain_snapshot
from tasks.snapshot import publish_snapshot
from tasks.staging.timeline import key_sql


def test_an_account_is_its_payments_newest_first_and_what_it_owes(seen: Any) -> None:
    (most,) = seen.rows("SELECT account_number AS a, count(DISTINCT payment_guid) AS n FROM feed.payments GROUP BY 1 ORDER BY n DESC, 1 LIMIT 1")  # fmt: skip
    found = seen.about(most["a"])
    moments = [row["payment_date"] for row in found["payments"]]
    assert (found["kind"], found["chains"]) == ("account", [])
    assert len({row["payment_guid"] for row in found["payments"]}) == most["n"] > 2
    assert moments == sorted(moments, reverse=True)
    assert {row["account_number"] for row in found["invoices"]} == {most["a"]}
    assert found["accounts"][0]["balance"] is not None
    whole = seen.about(most["a"], most=2)
    assert [chain["payment_guid"] for chain in whole["chains"]] == list(dict.fromkeys(row["payment_guid"] for row in found["payments"]))[:2]  # fmt: skip


def test_an_invoice_of_one_payment_is_told_whole(seen: Any) -> None:
    (one,) = seen.rows("SELECT invoice_number AS i FROM feed.payments WHERE invoice_number IS NOT NULL GROUP BY 1 HAVING count(*) = 1 ORDER BY 1 LIMIT 1")  # fmt: skip
    found = seen.about(one["i"].lower().replace("-", "\N{EN DASH}"))
    assert (found["kind"], len(found["chains"])) == ("invoice", 1)
    assert found["invoices"][0]["invoice_number"] == one["i"]


def test_breaks_of_an_account_and_calls_stand_beside_its_payments(asked: Any) -> None:
    (broken,) = asked.rows(
        "SELECT account_number AS a, break_id FROM recon.breaks WHERE code = 'B16' ORDER BY 1 LIMIT 1"
    )
    asked.put(
        "imt.rtdr_calls_versions", call_id="K1", called_at=asked.close, subject="ACCOUNT", form="json",
        account_number=broken["a"], result="answered", balance_answered=None, latency_us=100,
    )  # fmt: skip
    found = asked.about(broken["a"])
    assert broken["break_id"] in [row["break_id"] for row in found["breaks"]]
    assert [row["result"] for row in found["told"]] == ["answered"]


def test_leading_zeros_count(seen: Any) -> None:
    (row,) = seen.rows(
        "SELECT account_number AS a FROM feed.payments WHERE account_number LIKE '000%' ORDER BY 1 LIMIT 1"
    )
    with pytest.raises(Stop, match="nearest: .*" + row["a"]):
        seen.about(row["a"].lstrip("0"))


@pytest.mark.parametrize(
    "key", ["", "   ", "nothing", "x" * 5000, "a\x1b[31mb", "'; DROP TABLE feed.payments; --", "%"]
)
def test_an_unknown_key_is_refused_with_the_nearest(key: str, seen: Any) -> None:
    with pytest.raises(Stop, match="no feed and no file names a payment, invoice or account") as caught:
        seen.about(key)
    assert caught.value.reason == "unknown_key"
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


def test_an_unknown_guid_names_the_one_that_begins_like_it(seen: Any) -> None:
    guid = seen.one("true")["payment_guid"]
    wrong = guid[:-4] + ("0000" if guid[-4:] != "0000" else "1111")
    with pytest.raises(Stop, match=guid):
        seen.about(wrong)
    with pytest.raises(Stop, match=guid):
        seen.about(guid[:9])


def test_a_number_that_is_both_must_be_named(asked: Any) -> None:
    item = asked.one("state = 'MATCHED_PROVISIONAL'")
    (before,) = asked.rows(
        f"SELECT * FROM feed.payments_versions WHERE payment_guid = '{item['payment_guid']}'"
    )
    asked.put(
        "feed.payments_versions",
        **(before | {"invoice_number": item["account_number"], "payment_line_no": 9}),
    )
    with pytest.raises(Stop, match="is an invoice and an account; say --kind"):
        asked.about(item["account_number"])
    assert asked.about(item["account_number"], kind="invoice")["kind"] == "invoice"
    assert asked.about(item["account_number"], kind="account")["kind"] == "account"
    with pytest.raises(Stop, match="names a payment"):
        asked.about(item["account_number"], kind="payment")


def test_a_snapshot_tells_the_same_and_nothing_personal(asked: Any, tmp_path: Path) -> None:
    publish_snapshot(asked.settings, "acme", asked.close)
    path = tmp_path / "var" / "snapshots" / "acme" / "latest.duckdb"
    guid = asked.one("break_codes = 'B16'")["payment_guid"]
    found = explain_snapshot(path, guid)
    assert found == asked.about(guid)
    assert explain_snapshot(path, guid, settings=asked.settings) == found
    assert "Canary" not in str(found)
    rubbish = tmp_path / "rubbish.duckdb"
    rubbish.write_bytes(b"no database at all" * 200)
    for wrong, why in ((rubbish, "cannot be opened"), (tmp_path / "none.duckdb", "there is no snapshot"),
                       (tmp_path / "var" / "staging" / "acme.duckdb", "is no snapshot")):  # fmt: skip
        with pytest.raises(SettingsError, match=why):
            explain_snapshot(wrong, guid)


def test_a_snapshot_of_an_older_release_says_so(tmp_path: Path, made_old: Any) -> None:
    with pytest.raises(SettingsError, match="older icflows"):
        explain_snapshot(made_old(tmp_path / "old.duckdb"), "INV-1")


def test_the_screen_fits_eighty_columns(seen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.show.console._width", 80)
    monkeypatch.setattr("cli.show.console._height", 25)
    guid = seen.one("break_codes = 'B16'")["payment_guid"]
    config = ["--config", str(seen.settings.file), "--as-of", "2026-10-30T23:00:00Z"]
    shown = CliRunner().invoke(app, ["explain", guid, *config], standalone_mode=False)
    assert shown.exit_code == 0
    text = shown.stdout
    assert max(map(len, text.splitlines())) <= 80
    for part in (
        guid,
        "paid",
        "posted",
        "settled",
        "returned",
        "State: broken: B16",
        "unposted return",
        "opened by",
    ):
        assert part in text
    account = seen.one("break_codes = 'B16'")["account_number"]
    listed = CliRunner().invoke(
        app, ["explain", account, "--all", "--limit", "1", *config], standalone_mode=False
    )
    assert "payments" in listed.stdout
    assert max(map(len, listed.stdout.splitlines())) <= 80


def test_json_is_one_document(seen: Any) -> None:
    guid = seen.one("break_codes = 'B16'")["payment_guid"]
    arguments = ["explain", guid, "--json", "--config", str(seen.settings.file)]
    found = json.loads(CliRunner().invoke(app, arguments, standalone_mode=False).stdout)
    (chain,) = found["chains"]
    assert (found["kind"], chain["payment_guid"]) == ("payment", guid)
    assert {step["step"] for step in chain["steps"]} >= {"paid", "reported", "posted", "settled", "returned"}
    assert all("poll_id" in step["source"] for step in chain["steps"])


def test_wrong_calls_are_refused(seen: Any, tmp_path: Path) -> None:
    for more in (
        ["--kind", "bill"],
        ["--snapshot", str(tmp_path / "x.duckdb"), "--as-of", "2026-10-30T23:00:00Z"],
    ):
        result = CliRunner().invoke(
            app, ["explain", "K", *more, "--config", str(seen.settings.file)], standalone_mode=False
        )
        assert isinstance(result.exception, SettingsError)


def test_the_command_that_a_page_may_name() -> None:
    assert command("INV-1", "acme") == "icflows explain INV-1 --biller acme"
    assert "regexp_replace" in key_sql("x")
