"""A damaged file is refused with the line and field at fault, and without a word of what stood there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from tasks.errors import BadAnswer, ControlTotalError, IcflowsError, SettingsError
from tasks.invoicecloud.bif import FileFacts, Layout, load_layout, parse, render

Bills = Callable[..., pl.DataFrame]


@pytest.fixture
def assumed(layouts: dict[str, Layout], facts: FileFacts, bills: Bills) -> bytes:
    rows = bills(
        {}, {"invoice_number": "INV-2", "customer_name": 'Ann "Ace" Lee'}, {"invoice_number": "INV-3"}
    )
    return render(layouts["assumed"], facts, rows)


@pytest.mark.parametrize(
    ("old", "new", "error", "words"),
    [
        (b"|120.50|20.05", b"|120,50|20.05", BadAnswer, "line 2: TotalAmountDue cannot be read"),
        (b"|120.50|20.05", b"|120.5|20.05", BadAnswer, "line 2: TotalAmountDue cannot be read"),
        (b"|120.50|20.05", b"|0120.50|20.05", BadAnswer, "line 2: TotalAmountDue cannot be read"),
        (b"|120.50|20.05", b"||20.05", BadAnswer, "line 2: TotalAmountDue is missing"),
        (b"|2026-10-20|", b"|2026-10-32|", BadAnswer, "line 2: InvoiceDate cannot be read"),
        (b"|2026-10-20|", b"|2026-1-20|", BadAnswer, "line 2: InvoiceDate cannot be read"),
        (b"|Y|", b"|y|", BadAnswer, "line 2: AllowPartialPayments cannot be read"),
        (b"\nA|0012345", b"\nB|0012345", BadAnswer, "line 2: RecordType cannot be read"),
        (b"\nA|0012345", b"\nA||0012345", BadAnswer, "line 2: not the 25 fields that the layout has"),
        (b"\nA|0012345", b"\nA", BadAnswer, "line 2: not the 25 fields that the layout has"),
        (b'"Ann ""Ace"" Lee"', b'Ann "Ace" Lee', BadAnswer, "line 3: not the 25 fields that the layout has"),
        (b'"Ann ""Ace"" Lee"', b'"Ann "Ace"" Lee"', BadAnswer, "line 3: not the 25 fields that the layout has"),
        (b'"Ann ""Ace"" Lee"', b'"Ann Lee"x', BadAnswer, "line 3: not the 25 fields that the layout has"),
        (b'"Ann ""Ace"" Lee"', b'"', BadAnswer, "line 3: not the 25 fields that the layout has"),
        (b"Ann Lee", b"Ann\nLee", BadAnswer, "line 2: a line end or byte-order mark inside"),
        (b"Ann Lee", b"Ann\r\nLee", BadAnswer, "line 2: not the 25 fields that the layout has"),
        (b"Ann Lee", b"Ann \xff", BadAnswer, "line 2: bytes that are no utf-8"),
        (b"HDR|1|", b"HDR|2|", BadAnswer, "line 1: Version cannot be read"),
        (b"HDR|1|", b"HDR|1|1|", BadAnswer, "line 1: not the 6 fields that the layout has"),
        (b"T21:04:05", b"T25:04:05", BadAnswer, "line 1: CreatedAt cannot be read"),
        (b"TRL|", b"XXX|", BadAnswer, "line 5: Kind cannot be read"),
        (b"TRL|F-0001", b"TRL|F-0002", BadAnswer, "FileID: the file tells two different ones"),
        (b"|3|3|0|0|", b"|4|3|0|0|", ControlTotalError, "records: 4 told, 3 counted"),
        (b"|3|3|0|0|", b"|3|2|1|0|", ControlTotalError, "records_of:A: 2 told, 3 counted"),
        (b"|3|3|0|0|", b"|x|3|0|0|", BadAnswer, "line 5: Records cannot be read"),
        (b"|361.50|60.15", b"|361.51|60.15", ControlTotalError, "sum:total_amount_due: 361.51 told, 361.50 counted"),
        (b"|361.50|60.15", b"|361.50|60.14", ControlTotalError, "sum:balance_due: 60.14 told, 60.15 counted"),
        (b"20.05|5.00", b"20.06|5.00", ControlTotalError, "sum:balance_due: 60.15 told, 60.16 counted"),
    ],
)  # fmt: skip
def test_damage_is_named(
    old: bytes, new: bytes, error: type[IcflowsError], words: str, assumed: bytes, layouts: dict[str, Layout]
) -> None:
    assert old in assumed
    with pytest.raises(error) as caught:
        parse(layouts["assumed"], assumed.replace(old, new, 1))
    assert words in str(caught.value)
    assert "Ann" not in str(caught.value)


def test_no_truncation_is_a_file(assumed: bytes, layouts: dict[str, Layout]) -> None:
    taken = []
    for cut in range(len(assumed)):
        try:
            parse(layouts["assumed"], assumed[:cut])
        except IcflowsError:
            continue
        taken.append(cut)
    assert taken == []


def test_a_line_lost_or_doubled_is_seen(assumed: bytes, layouts: dict[str, Layout]) -> None:
    lines = assumed.splitlines(keepends=True)
    for changed in (lines[:1] + lines[2:], lines[:2] + lines[1:], lines[:-1], lines[1:], [*lines, lines[-1]]):
        with pytest.raises(IcflowsError):
            parse(layouts["assumed"], b"".join(changed))


def test_fixed_width_damage(layouts: dict[str, Layout], facts: FileFacts, bills: Bills) -> None:
    layout = layouts["fixed"]
    data = render(layout, facts, bills({}, {}))
    for old, new, words in (
        (b"XX--", b"XX-", "line 1: 198 characters, not 199"),
        (b"XX--", b"XY--", "line 1: FILL cannot be read"),
        (b"000000002005", b"00000000200x", "line 1: DUE cannot be read"),
        (b"20102026", b"20132026", "line 1: ON cannot be read"),
        (b"09112026000000000002", b"09112026000000000003", "records: 3 told, 2 counted"),
    ):
        assert old in data
        with pytest.raises((BadAnswer, ControlTotalError)) as caught:
            parse(layout, data.replace(old, new, 1))
        assert words in str(caught.value)


def test_a_field_written_twice_must_be_the_same_twice(facts: FileFacts, bills: Bills) -> None:
    layout = load_layout("assumed", {"record": {"Again": {"from": "account_number"}}})
    data = render(layout, facts, bills({}))
    assert parse(layout, data).rows["account_number"].to_list() == ["0012345"]
    with pytest.raises(BadAnswer, match="AccountNumber and Again should be the same"):
        parse(layout, data.replace(b"|0012345\r\n", b"|0012346\r\n"))


@pytest.mark.parametrize(
    ("name", "row", "words"),
    [
        ("assumed", {"customer_name": "a\nb"}, "holds a line end"),
        ("fixed", {"customer_name": "x" * 31}, "longer than its field"),
        ("fixed", {"customer_name": "Ż"}, "latin-1 does not have"),
    ],
)
def test_rows_that_would_break_a_line_are_refused_when_written(
    name: str, row: dict[str, Any], words: str, layouts: dict[str, Layout], facts: FileFacts, bills: Bills
) -> None:
    """trouble() names them first; nothing goes out even if nobody asked."""
    with pytest.raises(SettingsError, match=words):
        render(layouts[name], facts, bills({}, row))


def test_facts_that_do_not_fit_are_refused(
    layouts: dict[str, Layout], facts: FileFacts, bills: Bills
) -> None:
    with pytest.raises(SettingsError, match="WHO: is longer than 30 characters"):
        render(layouts["fixed"], replace(facts, file_id="F" * 31), bills({}))
    with pytest.raises(SettingsError, match="BID: is longer than 8 characters"):
        render(layouts["fixed"], replace(facts, bid="123456789"), bills({}))
    huge = bills(*[{"minimum_amount_due": Decimal("9" * 10)}] * 100)
    narrow = layouts["fixed"].trailer["LEAST"].model_copy(update={"width": 10})
    short = layouts["fixed"].model_copy(update={"trailer": layouts["fixed"].trailer | {"LEAST": narrow}})
    with pytest.raises(SettingsError, match="LEAST: is longer than 10 characters"):
        render(short, facts, huge)
