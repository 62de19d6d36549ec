"""BID_ACCOUNT_INVOICE.pdf is made only where it can be read back to exactly one invoice."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.bill_images import parse_names, with_image_names
from tasks.errors import SettingsError
from tasks.settings import Outbound

PATTERN = Outbound().image_name_pattern
LOOSE = r"(?s).+"  # a pattern that lets everything through: what is never right stays refused


def named(*rows: tuple[str | None, str | None], pattern: str = PATTERN, bid: str = "1234") -> pl.DataFrame:
    schema = {"account_number": pl.String, "invoice_number": pl.String}
    return with_image_names(pl.DataFrame(list(rows), schema=schema, orient="row"), bid, pattern)


def test_a_name_and_its_parts() -> None:
    made = named(("000123", "INV-9"))
    assert made.to_dicts() == [
        {
            "account_number": "000123",
            "invoice_number": "INV-9",
            "name_trouble": None,
            "image_name": "1234_000123_INV-9.pdf",
        }
    ]
    assert parse_names(made["image_name"], PATTERN).row(0) == ("1234", "000123", "INV-9")


HOSTILE = [
    "",
    "A_B",
    "../x",
    "a/b",
    "a\\b",
    "a\0b",
    "a\nb",
    "A\n",
    " A",
    "é",
    "%00",
    "a.b",
    "x" * 65,
    "١٢",
    None,
]


@pytest.mark.parametrize("part", HOSTILE)
def test_a_part_that_does_not_fit_is_trouble_and_no_name(part: str | None) -> None:
    made = named((part, "I"), ("A", part), ("A", "I"))
    assert made["image_name"].to_list() == [None, None, "1234_A_I.pdf"]
    assert [trouble is None for trouble in made["name_trouble"]] == [False, False, True]
    assert "account" in made["name_trouble"][0]
    assert "invoice" in made["name_trouble"][1]


@pytest.mark.parametrize("part", ["A_B", "a/b", "a\\b", "a\0b", "a\nb", "\x7f"])
def test_no_pattern_lets_separators_and_control_characters_in(part: str) -> None:
    assert named((part, "I"), ("A", part), pattern=LOOSE)["image_name"].to_list() == [None, None]


def test_a_bid_that_does_not_fit_is_trouble_of_every_row() -> None:
    assert named(("A", "I"), bid="12_34")["name_trouble"].to_list() == [
        "the BID does not fit outbound.image_name_pattern"
    ]


def test_names_that_differ_in_case_alone_are_both_refused() -> None:
    made = named(("A", "inv-1"), ("A", "INV-1"), ("A", "INV-2"))
    assert [name is None for name in made["image_name"]] == [True, True, False]
    assert "upper and lower case" in made["name_trouble"][0]


def test_the_same_invoice_twice_is_no_collision() -> None:
    assert named(("A", "I"), ("A", "I"))["image_name"].to_list() == ["1234_A_I.pdf"] * 2


def test_a_name_longer_than_a_file_name_can_be_is_refused() -> None:
    made = named(("A" * 120, "I" * 126), ("A" * 120, "I" * 125), pattern="[A-Z]+", bid="AAAA")
    assert [name is None for name in made["image_name"]] == [True, False]
    assert len(made["image_name"][1]) == 255


NOT_OURS = [
    "", "a.pdf", "1_2.pdf", "1_2_3_4.pdf", "1__3.pdf", "_1_2_3.pdf", "1_2_3.PDF", "1_2_3.pdf.part", "1_2_3.pdf\n",
    "1_2_é.pdf", "../1_2_3.pdf", None,
]  # fmt: skip


def test_what_is_not_such_a_name_parses_to_nothing() -> None:
    parsed = parse_names(pl.Series(NOT_OURS, dtype=pl.String), PATTERN)
    assert parsed.columns == ["bid", "account_number", "invoice_number"]
    assert parsed.rows() == [(None, None, None)] * len(NOT_OURS)


def test_no_rows_are_no_rows() -> None:
    assert named().is_empty()
    assert parse_names(pl.Series([], dtype=pl.String), PATTERN).is_empty()


@pytest.mark.parametrize("pattern", [r"(?=x)a", r"(a)\1", "["])
def test_a_pattern_that_cannot_be_used_is_a_settings_error(pattern: str) -> None:
    with pytest.raises(SettingsError, match="image_name_pattern"):
        named(("A", "I"), pattern=pattern)


PARTS = st.text(st.sampled_from("aAbB19-_./\n\0é "), max_size=4)


@given(st.lists(st.tuples(PARTS, PARTS), max_size=12), st.sampled_from([PATTERN, LOOSE, "[^_]+"]))
def test_every_name_reads_back_to_its_one_invoice(rows: list[tuple[str, str]], pattern: str) -> None:
    made = named(*rows, pattern=pattern).filter(pl.col("image_name").is_not_null())
    back = parse_names(made["image_name"], pattern)
    assert back["account_number"].to_list() == made["account_number"].to_list()
    assert back["invoice_number"].to_list() == made["invoice_number"].to_list()
    folded: dict[str, set[tuple[str, str]]] = {}
    for account, invoice, name in made.select("account_number", "invoice_number", "image_name").iter_rows():
        folded.setdefault(name.lower(), set()).add((account, invoice))
        assert "/" not in name
    assert all(len(invoices) == 1 for invoices in folded.values())
