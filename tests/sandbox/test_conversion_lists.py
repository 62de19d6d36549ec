"""The two lists of a conversion, made from a carrier."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from checks.contracts import IMT
from sandbox.carrier import Carrier, conversion, generate

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)


@pytest.fixture(scope="module")
def carrier(tmp_path_factory: pytest.TempPathFactory) -> Carrier:
    return generate(7, 400, 30, CLOSE, tmp_path_factory.mktemp("converted"))


def lists(carrier: Carrier, folder: Path, **options: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    at_ic, spectrum = conversion(carrier, folder, 3, **options)  # type: ignore[arg-type]
    return pl.read_csv(at_ic, infer_schema=False), pl.read_csv(spectrum, infer_schema=False)


def test_shares(carrier: Carrier, tmp_path: Path) -> None:
    at_ic, spectrum = lists(carrier, tmp_path)
    assert at_ic.columns == list(IMT["open_at_ic"].to_schema().columns)
    assert set(spectrum.columns) == set(IMT["spectrum_invoices"].to_schema().columns)
    assert spectrum["invoice_number"].is_unique().all()
    rows = at_ic.height
    listed = pl.col("invoice_number").is_in(at_ic["invoice_number"].implode())
    superseded = spectrum.filter(pl.col("status") == "SUPERSEDED")
    replacing = spectrum.filter(pl.col("replaces_invoice_number").is_not_null())
    gone = at_ic.filter(~pl.col("invoice_number").is_in(spectrum["invoice_number"].implode()))
    assert superseded.height == rows // 10
    assert gone.height == rows // 20
    assert sorted(replacing["replaces_invoice_number"]) == sorted(
        [*superseded["invoice_number"], *gone["invoice_number"]]
    )
    assert spectrum.filter(~listed & pl.col("replaces_invoice_number").is_null()).height == rows // 50
    same = spectrum.filter(listed & (pl.col("status") == "OPEN")).join(
        at_ic, on="invoice_number", suffix="_ic"
    )
    assert same.height == rows - rows // 10 - rows // 20
    for name in ("account_number", "total_amount_due", "balance_due", "due_date"):
        assert (same[name] == same[f"{name}_ic"]).all()


def test_an_account_number_that_differs(carrier: Carrier, tmp_path: Path) -> None:
    at_ic, spectrum = lists(carrier, tmp_path, account_clash=1)
    both = spectrum.join(at_ic, on="invoice_number", suffix="_ic")
    assert both.filter(pl.col("account_number") != pl.col("account_number_ic")).height == 1


def test_images_of_the_new_numbers(carrier: Carrier, tmp_path: Path) -> None:
    _, spectrum = conversion(carrier, tmp_path, 3, images=tmp_path / "images", bid="55")
    named = pl.read_csv(spectrum, infer_schema=False)["pdf_path"].drop_nulls()
    assert {path.name for path in (tmp_path / "images").iterdir()} == set(named)
    assert named.str.contains(r"^55_0\d{7}_INV-[0-9S]+-\d\d(-S1)?\.pdf$").all()
    assert named.len() > 100
