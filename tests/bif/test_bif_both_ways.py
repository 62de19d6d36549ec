"""A rendered file parses back to the same rows, in every layout; what cannot, is said beforehand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.invoicecloud.bif import FileFacts, Layout, as_parsed, line_numbers, parse, render, trouble
from tasks.invoicecloud.bif.layout import FACTS

Bills = Callable[..., pl.DataFrame]
WORDS = st.text(
    st.one_of(
        st.characters(
            codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\u2028\u2029\ufeff"
        ),
        st.sampled_from('|;"~-0 éßŻ€'),
    ),
    max_size=14,
)
TEXT = st.one_of(
    st.none(), WORDS, st.sampled_from(["", "NULL", "NONE", "0012345", "000", " x", "x ", '"', '""', "-"])
)
CENTS = st.integers(-(10**12), 10**12).map(lambda cents: Decimal(cents) / 100)


def _values(name: str, kind: Any) -> st.SearchStrategy[Any]:
    if name == "record_type":
        return st.sampled_from(["A", "R", "D"])
    if isinstance(kind, pl.Decimal):
        return CENTS if name in ("total_amount_due", "balance_due") else st.one_of(st.none(), CENTS)
    if isinstance(kind, pl.Date):
        return st.one_of(st.none(), st.dates(date(1000, 1, 1), date(9999, 12, 31)))
    if isinstance(kind, pl.Boolean):
        return st.sampled_from([None, True, False])
    if name in ("account_number", "invoice_number"):
        return st.one_of(WORDS.filter(bool), st.from_regex(r"[0-9A-Z-]{1,12}", fullmatch=True))
    return TEXT


ROWS = st.lists(
    st.fixed_dictionaries({name: _values(name, kind) for name, kind in FACTS.items()}), max_size=6
)


@pytest.mark.parametrize("name", ["assumed", "fixed", "bare"])
@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(rows=ROWS)
def test_rows_come_back(
    name: str, rows: list[dict[str, Any]], layouts: dict[str, Layout], facts: FileFacts
) -> None:
    """Rows without trouble come back as they were; rows with trouble are named and would not."""
    layout, frame = layouts[name], pl.DataFrame(rows, schema=dict(FACTS))
    troubled = trouble(layout, frame)["row"].unique().to_list()
    good = frame.with_row_index().filter(~pl.col("index").is_in(troubled)).drop("index")
    parsed = parse(layout, render(layout, facts, good), facts.zone)
    assert parsed.rows.drop("line_no").equals(as_parsed(layout, good))
    assert parsed.rows["line_no"].equals(line_numbers(layout, good.height))


def test_every_column_that_matters_is_in_the_assumed_layout(layouts: dict[str, Layout], bills: Bills) -> None:
    assert set(as_parsed(layouts["assumed"], bills({})).columns) == set(FACTS)


def test_the_assumed_file_as_text(layouts: dict[str, Layout], facts: FileFacts, bills: Bills) -> None:
    rows = bills(
        {"customer_name": 'Ann "Ace" | Lee', "address1": "", "invoice_format_guid": "g", "pdf_link": "https://x/1"},
        {"record_type": "D", "invoice_number": "INV-0", "total_amount_due": Decimal(0), "balance_due": Decimal(0),
         "minimum_amount_due": None, "allow_partial": None, "invoice_date": None},
    )  # fmt: skip
    assert render(layouts["assumed"], facts, rows).decode() == (
        "HDR|1|1234|11111111-2222-3333-4444-555555555555|F-0001|2026-11-09T21:04:05-0600\r\n"
        'A|0012345|INV-1||||2026-10-20|2026-11-10|120.50|20.05|5.00||Y|"Ann ""Ace"" | Lee"|""||||||||g|https://x/1|\r\n'
        "D|0012345|INV-0|||||2026-11-10|0.00|0.00||||Ann Lee|||||||||||\r\n"
        "TRL|F-0001|2|1|0|1|120.50|20.05\r\n"
    )


def test_the_fixed_file_as_text(layouts: dict[str, Layout], facts: FileFacts, bills: Bills) -> None:
    rows = bills(
        {"customer_name": "Zoë", "balance_due": Decimal("-1.05"), "pdf_link": ""},
        {
            "record_type": "D",
            "total_amount_due": Decimal(-3),
            "minimum_amount_due": None,
            "invoice_date": None,
        },
    )
    data = render(layouts["fixed"], facts, rows)
    assert data.decode("latin-1").split("\n") == [
        "-00000000105" + "Zoë".ljust(30) + "10" + "0012345".rjust(20) + "INV-1".ljust(20) + "NONE".ljust(20)
        + "XX--" + "120.50".rjust(14) + "000000000500" + "20102026" + "10112026" + "1" + "~" * 40 + "1234    ",
        "000000002005" + "Ann Lee".ljust(30) + "90" + "0012345".rjust(20) + "INV-1".ljust(20) + "NONE".ljust(20)
        + "XX--" + "3.00-".rjust(14) + " " * 12 + "00000000" + "10112026" + "1" + " " * 40 + "1234    ",
        "F-0001".ljust(30) + "09112026210405" + "09112026" + "000001" + "000002" + "0000000000000500",
        "",
    ]  # fmt: skip
    assert b"Zo\xeb" in data


def test_the_bare_file_as_text(layouts: dict[str, Layout], facts: FileFacts, bills: Bills) -> None:
    rows = bills(
        {
            "record_type": "R",
            "total_amount_due": Decimal("-7.10"),
            "customer_name": '"A" €',
            "allow_partial": None,
        },
        {"total_amount_due": None, "customer_name": "", "due_date": None},
    )
    assert render(layouts["bare"], facts, rows) == (
        b'INV-1;0012345;Z;(7.10);2005;"A" \x80;NULL;2026314;11111111-2222-3333-4444-555555555555\r\n'
        b"INV-1;0012345;N;-;2005;;J;NULL;11111111-2222-3333-4444-555555555555\r\n"
    )


def test_facts_come_back(layouts: dict[str, Layout], facts: FileFacts, bills: Bills) -> None:
    rows = bills({}, {"record_type": "R"}, {"record_type": "D"})
    for name, expected in (
        (
            "assumed",
            {"bid", "biller_guid", "file_id", "created_at", "records", "records_of:A", "sum:balance_due"},
        ),
        (
            "fixed",
            {
                "bid",
                "file_id",
                "created_at",
                "created_on",
                "records",
                "records_of:D",
                "sum:minimum_amount_due",
            },
        ),
        ("bare", {"biller_guid"}),
    ):
        parsed = parse(layouts[name], render(layouts[name], facts, rows), facts.zone)
        assert expected <= set(parsed.facts)
        assert parsed.facts.get("created_at", facts.created_at) == facts.created_at
        assert parsed.facts.get("records", 3) == 3
        assert parsed.facts.get("sum:balance_due", Decimal("60.15")) == Decimal("60.15")
        assert parsed.facts.get("created_on", date(2026, 11, 9)) == date(2026, 11, 9)
    assert parsed.header == parsed.trailer == {}


def test_no_rows_make_a_file_too(layout: Layout, facts: FileFacts, bills: Bills) -> None:
    none = bills({}).head(0)
    parsed = parse(layout, render(layout, facts, none), facts.zone)
    assert parsed.rows.drop("line_no").equals(as_parsed(layout, none))


@pytest.mark.parametrize(
    ("name", "told_apart"),
    [("assumed", True), ("fixed", False), ("bare", True)],
)
def test_empty_and_nothing(
    name: str, told_apart: bool, layouts: dict[str, Layout], facts: FileFacts, bills: Bills
) -> None:
    layout = layouts[name]
    rows = bills({"customer_name": ""}, {"customer_name": None})
    [column] = [column for column in layout.record.values() if column.source == "customer_name"]
    assert layout.tells_empty_from_null(column) is told_apart
    back = parse(layout, render(layout, facts, rows)).rows["customer_name"].to_list()
    assert back == (["", None] if told_apart else [None, None])
    assert trouble(layout, rows).is_empty()


def test_line_numbers_are_the_ones_ic_uses(layouts: dict[str, Layout]) -> None:
    assert line_numbers(layouts["assumed"], 3).to_list() == [2, 3, 4]
    assert line_numbers(layouts["fixed"], 3).to_list() == [1, 2, 3]
    assert line_numbers(layouts["bare"], 0).to_list() == []
    assert line_numbers(layouts["assumed"], 1).dtype == pl.Int64


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("assumed", {"customer_name": "a\nb"}, "CustomerName: holds a line end or control character"),
        ("assumed", {"city": "a\x85b"}, "City: holds a line end or control character"),
        ("assumed", {"state_code": "x" * 51}, "State: is longer than 50 characters"),
        ("assumed", {"account_number": None}, "AccountNumber: is missing"),
        ("fixed", {"customer_name": "Żółw"}, "NAME: holds a character that latin-1 does not have"),
        ("fixed", {"customer_name": "x" * 31}, "NAME: is longer than 30 characters"),
        ("fixed", {"customer_name": "x "}, "NAME: would not read back as it is"),
        ("fixed", {"account_number": " 1"}, "ACCT: would not read back as it is"),
        ("fixed", {"replaces_invoice_number": "NONE"}, "OLD: would not read back as it is"),
        ("fixed", {"balance_due": Decimal("12345678901.00")}, "DUE: is longer than 12 characters"),
        ("bare", {"customer_name": "a;b"}, "name: holds the delimiter"),
        ("bare", {"customer_name": "NULL"}, "name: would not read back as it is"),
        ("bare", {"customer_name": "Ż"}, "name: holds a character that cp1252 does not have"),
        ("bare", {"invoice_number": "x" * 13}, "invoice: is longer than 12 characters"),
    ],
)  # fmt: skip
def test_rows_in_trouble_are_named(
    name: str, row: dict[str, Any], reason: str, layouts: dict[str, Layout], bills: Bills
) -> None:
    found = trouble(layouts[name], bills({}, {"invoice_number": "INV-2"} | row, {}))
    assert found.rows() == [(1, row.get("invoice_number", "INV-2"), reason)]


def test_nothing_is_wrong_with_ordinary_rows(layout: Layout, bills: Bills) -> None:
    found = trouble(layout, bills(*[{}] * 5))
    assert found.is_empty()
    assert found.schema == {"row": pl.Int64, "invoice_number": pl.String, "reason": pl.String}


def test_ten_thousand_rows_come_back(layout: Layout, facts: FileFacts, bills: Bills) -> None:
    rows = bills(*[{"invoice_number": f"INV-{n}", "balance_due": Decimal(n) / 100} for n in range(10_000)])
    parsed = parse(layout, render(layout, facts, rows), facts.zone)
    assert parsed.rows.drop("line_no").equals(as_parsed(layout, rows))


def test_the_fold_of_the_clock_keeps_the_instant(layouts: dict[str, Layout], bills: Bills) -> None:
    """1:30 local time is there twice on 2026-11-01; the assumed layout prints the offset."""
    for hour in (6, 7):
        at = datetime(2026, 11, 1, hour, 30, tzinfo=UTC)
        own = FileFacts("1", "g", "F", at, "America/Chicago")
        assert parse(layouts["assumed"], render(layouts["assumed"], own, bills({}))).facts["created_at"] == at
