"""Three layouts that share nothing but the schema of a record, and records to write with them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.invoicecloud.bif import FileFacts, Layout, load_layout
from tasks.invoicecloud.bif.layout import FACTS

HERE = Path(__file__).parent
LAYOUTS = {
    "assumed": load_layout("assumed"),
    "fixed": load_layout("fixed.toml", folder=HERE),
    "bare": load_layout("bare.toml", folder=HERE),
}


@pytest.fixture(scope="session")
def layouts() -> dict[str, Layout]:
    return LAYOUTS


@pytest.fixture(scope="session", params=list(LAYOUTS))
def layout(request: pytest.FixtureRequest) -> Layout:
    return LAYOUTS[request.param]


@pytest.fixture(scope="session")
def facts() -> FileFacts:
    at = datetime(2026, 11, 10, 3, 4, 5, tzinfo=UTC)
    return FileFacts("1234", "11111111-2222-3333-4444-555555555555", "F-0001", at, "America/Chicago")


@pytest.fixture(scope="session")
def bills() -> Callable[..., pl.DataFrame]:
    """bills({...}, {...}): records in the columns of FACTS; what is not given is as in an ordinary one."""
    ordinary = dict.fromkeys(FACTS) | {
        "record_type": "A", "account_number": "0012345", "invoice_number": "INV-1",
        "invoice_date": date(2026, 10, 20), "due_date": date(2026, 11, 10), "total_amount_due": Decimal("120.50"),
        "balance_due": Decimal("20.05"), "minimum_amount_due": Decimal("5.00"), "allow_partial": True,
        "customer_name": "Ann Lee",
    }  # fmt: skip

    def make(*rows: dict[str, Any]) -> pl.DataFrame:
        return pl.DataFrame([ordinary | row for row in rows], schema=dict(FACTS))

    return make
