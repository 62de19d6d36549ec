"""A suggestion from the file of postings to those who read it: tables, explain, screen, report, artifact."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from cli.main import app
from flows import engine
from flows.reconcile import reconcile as reconcile_flow
from tasks.explain import explain_snapshot
from tasks.loading import load_file
from tasks.report import write_report
from tasks.snapshot import publish_snapshot

POSTED = "2026-10-29T15:00:00Z"  # more than a day before the close: B02 would be due


def book(asked: Any, folder: Path) -> dict[str, Any]:
    """A posting without GUID on another invoice, for a payment that IMT is missing."""
    (missing,) = asked.rows(
        """SELECT i.* FROM recon.items i JOIN recon.breaks b ON b.subject = i.payment_guid AND b.code = 'B01'
           WHERE i.break_codes = 'B01' AND i.payment_line_no IS NULL ORDER BY payment_date DESC LIMIT 1"""
    )
    posting = {
        "posting_id": "TYPO-1", "system": "SPECTRUM", "account_number": missing["account_number"],
        "invoice_number": "INV-TYPO", "amount": str(missing["payment_amount"]), "kind": "PAYMENT", "origin": "IC",
        "status": "POSTED", "posted_at": POSTED, "effective_date": f"{missing['payment_date']:%Y-%m-%d}",
    }  # fmt: skip
    file = folder / "typo.csv"
    pl.DataFrame([posting]).write_csv(file)
    load_file(asked.settings, "acme", "postings", file, asked.close)
    return dict(missing)


def test_a_suggestion_reaches_everybody_and_is_told_once(
    asked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing, shown = book(asked, tmp_path), dict[str, Any]()
    monkeypatch.setattr(engine, "artifact", lambda key, rows, words: shown.update({key: rows}))
    later = asked.close
    result = reconcile_flow("acme", later, str(asked.settings.file))
    guid, amount = missing["payment_guid"], missing["payment_amount"]
    assert {row["name"]: row["rows"] for row in result["states"]}["SUGGESTED"] == 1
    assert asked.rows("SELECT subject FROM recon.breaks WHERE subject = 'TYPO-1' AND state = 'open'") == []
    (line,) = shown["reconcile-suggestions-acme"]
    assert (line["payment_guid"], line["posting_id"], line["amount"]) == (guid, "TYPO-1", amount)
    assert "suggestions" not in result
    assert missing["account_number"] not in str(line)

    chain = asked.about(guid, as_of=later)["chains"][0]
    assert (chain["state"], chain["suggestions"][0]["posting_id"]) == ("SUGGESTED", "TYPO-1")
    assert [row["state"] for row in chain["breaks"]] == ["closed"]
    due = [row for row in chain["next"] if row["what"].startswith("a person decides")]
    assert [row["due_by"] for row in due] == [chain["suggestions"][0]["take_up_by"]]

    config = ["--config", str(asked.settings.file), "--as-of", f"{later:%Y-%m-%dT%H:%M:%SZ}"]
    text = CliRunner().invoke(app, ["explain", guid, *config], standalone_mode=False).stdout
    flat = re.sub(r"\s+", " ", text)
    assert (
        "State: suggested: IMT posting TYPO-1 may be it: same account and amount, another invoice or none"
        in flat
    )
    assert "Suggested: IMT posting TYPO-1 of" in flat

    page = write_report(asked.settings, "acme", later).latest.read_text("utf-8")
    assert f"${amount:,.2f} is suggested to a person" in page
    assert "Suggested: 1 payment for a person to decide" in page
    assert "one weak candidate: a person confirms it" in page
    assert "--SUGGESTED:" in page
    assert missing["account_number"] not in page.split('id="h-suggested"')[1].split("</section>")[0]

    path = publish_snapshot(asked.settings, "acme", later).path
    assert explain_snapshot(path, guid)["chains"][0]["suggestions"] == chain["suggestions"]


def test_no_suggestion_no_section(seen: Any) -> None:
    page = write_report(seen.settings, "acme", seen.close).latest.read_text("utf-8")
    assert "h-suggested" not in page
    assert "suggested to a person" not in page
