"""A layout is data: what is wrong with it is said with the field and the nearest known key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.errors import SettingsError
from tasks.invoicecloud.bif import FileFacts, load_layout, render

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"delimeter": ","}, "unknown key 'delimeter'; did you mean 'delimiter'?"),
        ({"record": {"City": {"max_lenght": 3}}}, "unknown key 'record.City.max_lenght'; did you mean 'max_length'?"),
        ({"record": {"Town": {"from": "citi"}}}, "'citi' is not a column of the invoice record; did you mean 'city'?"),
        ({"header": {"X": {"fact": "bit"}}}, "'bit' is not a fact of the file; did you mean 'bid'?"),
        ({"trailer": {"X": {"fact": "sum", "of": "city"}}}, "'city' is not something to take 'sum' of"),
        ({"trailer": {"X": {"fact": "records_of"}}}, "'' is not something to take 'records_of' of"),
        ({"trailer": {"X": {"fact": "records", "of": "A"}}}, "'of' belongs to the facts records_of and sum"),
        ({"record": {"City": {"fact": "bid"}}}, "needs exactly one of from, fact, literal"),
        ({"record": {"X": {"fact": "records"}}}, "X: counts belong to header and trailer"),
        ({"header": {"X": {"from": "city"}}}, "X: counts belong to header and trailer"),
        ({"record": {"RecordType": False}}, "no field comes from record_type"),
        ({"record": {"City": {"width": 3}}}, "City: a field has a width if, and only if, the shape is fixed"),
        ({"record": {"City": {"pad": "0"}}}, "City: align and pad belong to the shape fixed"),
        ({"shape": "fixed"}, "Kind: a field has a width if, and only if, the shape is fixed"),
        ({"record": {"City": {"forms": {"null": ""}}}, "forms": {"null": "-"}}, "City: null cannot be empty here"),
        ({"delimiter": "||"}, "delimiter must be one ASCII character"),
        ({"delimiter": ""}, "delimiter must be one ASCII character"),
        ({"delimiter": "."}, "delimiter or quote would stand in an amount"),
        ({"delimiter": "-"}, "holds the delimiter, the quote or a line end"),
        ({"quote": "|"}, "quote must be one ASCII character other than the delimiter"),
        ({"line_end": "\r"}, "line_end"),
        ({"encoding": "utf-16"}, "encoding"),
        ({"encoding": "ascii", "forms": {"yes": "Já"}}, "a form holds a character that ascii does not have"),
        ({"forms": {"yes": "N"}}, "yes, no and null must be three different words"),
        ({"forms": {"date": "%Q"}}, "'%Q' is no date form"),
        ({"forms": {"date": "%Y-%m"}}, "cannot be read back"),
        ({"forms": {"date": "%d %b"}}, "cannot be read back"),
        ({"forms": {"time": "%H:%M"}}, "cannot be read back"),
        ({"forms": {"money": "dollars"}}, "forms.money"),
        ({"record_types": {"R": "A"}}, "needs one letter each for A, R, D, all different"),
        ({"record_types": {"R": False}}, "needs one letter each for A, R, D, all different"),
        ({"header": {"Kind": {"literal": "H|R"}}}, "holds the delimiter, the quote or a line end"),
    ],
)  # fmt: skip
def test_a_wrong_layout_is_refused(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_layout("assumed", overrides)
    assert words in str(caught.value)
    assert str(caught.value).startswith("BIF layout assumed: ")


def test_a_word_for_null_must_fit_its_field() -> None:
    with pytest.raises(SettingsError, match="KIND: its literal or its word for null is longer"):
        load_layout("fixed.toml", {"record": {"KIND": {"forms": {"null": "NONE"}}}}, HERE)
    with pytest.raises(SettingsError, match="belong to the shape delimited"):
        load_layout("fixed.toml", {"delimiter": ","}, HERE)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no BIF layout 'other'.*packaged: assumed"):
        load_layout("other", {}, tmp_path)
    (tmp_path / "broken.toml").write_text("shape = ")
    with pytest.raises(SettingsError, match=r"broken\.toml: not readable as TOML"):
        load_layout("broken.toml", {}, tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(SettingsError, match=r"latin\.toml: not readable as TOML"):
        load_layout("latin.toml", {}, tmp_path)


def test_the_name_is_the_files(tmp_path: Path) -> None:
    (tmp_path / "north.toml").write_bytes((HERE / "bare.toml").read_bytes())
    assert load_layout("north.toml", {}, tmp_path).name == "north"
    assert load_layout("assumed").name == "assumed"


def test_overrides_change_a_layout(facts: FileFacts, bills: Any) -> None:
    """Another delimiter, a field less, a field more at the end, another letter, another money form for one field."""
    layout = load_layout(
        "assumed",
        {
            "delimiter": ";",
            "line_end": "\n",
            "header": False,
            "record_types": {"A": "N"},
            "record": {
                "City": False,
                "Address1": False,
                "Address2": False,
                "BalanceDue": {"forms": {"money": "cents"}},
                "Agent": {"literal": "web"},
            },
        },
    )
    assert list(layout.record)[-1] == "Agent"
    assert render(layout, facts, bills({})).decode().splitlines()[0] == (
        "N;0012345;INV-1;;;;2026-10-20;2026-11-10;120.50;2005;5.00;;Y;Ann Lee;;;;;;;;;web"
    )
