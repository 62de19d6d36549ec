"""A bank's CSV in its own words: headings, dates and amounts as the settings say."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tasks.bank.csv_map import CsvMap
from tasks.errors import SchemaDrift, SettingsError
from tasks.imt_files import read_file
from tasks.loading import load_file
from tasks.reconcile import load_rules

HEADINGS = {"value_date": "Posting Date", "text": "Description", "bank_reference": "Bank Ref"}
TWO = "Posting Date,Description,Bank Ref,Debit,Credit,Balance\n"
LINES = '11/05/2026,INVOICE CLOUD,R1,,"$1,234.50","9,999.00"\n11/06/2026,FEE,R2,3.50,,1.00\n'


def read(tmp_path: Path, content: str, **how: Any) -> Any:
    path = tmp_path / "bank.csv"
    path.write_text(content)
    return read_file(path, "bank_lines", "UTC", CsvMap(**how))


def test_two_columns_of_amounts_and_american_dates(tmp_path: Path) -> None:
    report = read(
        tmp_path, TWO + LINES, columns=HEADINGS, credit="Credit", debit="Debit", date_format="%m/%d/%Y"
    )
    assert report.rows.select("value_date", "amount", "bank_reference", "text").rows() == [
        (date(2026, 11, 5), Decimal("1234.50"), "R1", "INVOICE CLOUD"), (date(2026, 11, 6), Decimal("-3.50"), "R2", "FEE"),
    ]  # fmt: skip
    assert report.warnings == ["unknown column Balance: not loaded"]
    assert report.rows["line_id"].n_unique() == 2


@pytest.mark.parametrize(
    ("given", "amount"),
    [("5", "5.00"), ("-5.10", "-5.10"), ("(5.10)", "-5.10"), ("$5.1", "5.10"), ('"1,234,567.89"', "1234567.89"), ('"($1,000.00)"', "-1000.00")],
)  # fmt: skip
def test_amounts_as_banks_write_them(given: str, amount: str, tmp_path: Path) -> None:
    report = read(tmp_path, f"Day,amount\n2026-11-05,{given}\n", columns={"value_date": "Day"})
    assert report.rows["amount"].to_list() == [Decimal(amount)]


@pytest.mark.parametrize(
    "line",
    ["11/05/2026,X,R,3.00,4.00,1", "2026-11-05,X,R,,1.00,1", "13/05/2026,X,R,,1.00,1", '11/05/2026,X,R,,"12,34.00",1',
     "11/05/2026,X,R,,(1.00,1", "11/05/2026,X,R,,1.005,1", "11/05/2026,X,R,,1 000,1"],
)  # fmt: skip
def test_what_cannot_be_told_is_set_aside(line: str, tmp_path: Path) -> None:
    how: Any = {"columns": HEADINGS, "credit": "Credit", "debit": "Debit", "date_format": "%m/%d/%Y"}
    report = read(tmp_path, f"{TWO}{line}\n", **how)
    plain_date = line.startswith("2026")  # a date that needs no format is read all the same
    assert (report.rows.height, report.unread.height) == ((1, 0) if plain_date else (0, 1))


def test_a_heading_that_is_not_there_is_named_by_the_contract(tmp_path: Path) -> None:
    with pytest.raises(SchemaDrift, match="columns are missing: value_date"):
        read(tmp_path, "Date,amount\n1,2\n", columns={"value_date": "Posting Date"})


def test_the_map_is_a_rule_of_the_biller_and_replayable(office: Any, tmp_path: Path) -> None:
    how = {"columns": HEADINGS, "credit": "Credit", "debit": "Debit", "date_format": "%m/%d/%Y"}
    office.configure(rules={"deposits": {"csv": how}})
    path = tmp_path / "bank.csv"
    path.write_text(TWO + LINES)
    assert load_file(office.settings, "acme", "deposits", path, office.at).sum_in == Decimal("1231.00")
    with pytest.raises(SettingsError, match=r"deposits\.csv.*'day' is no column of bank lines"):
        load_rules({"deposits": {"csv": {"columns": {"day": "Date"}}}})
    with pytest.raises(SettingsError, match="unknown key"):
        load_rules({"deposits": {"csv": {"date": "%d"}}})
