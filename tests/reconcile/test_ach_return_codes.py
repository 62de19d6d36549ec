"""ACH return codes as data."""

from __future__ import annotations

import polars as pl
import pytest

from checks import ach_codes


def test_the_table_holds_every_published_code_once() -> None:
    numbers = [*range(1, 48), *range(50, 54), 61, 62, *range(67, 78), *range(80, 86), 90]
    assert ach_codes.table()["return_code"].to_list() == [f"R{n:02d}" for n in numbers]
    words = ach_codes.table().select("code_name", "code_group", "code_window", "code_action")
    assert words.null_count().sum_horizontal().item() == 0


@pytest.mark.parametrize(
    ("group", "codes"),
    [
        ("FUNDS", ["R01", "R09"]),
        ("ACCOUNT_DATA", ["R02", "R03", "R04", "R13", "R20", "R28"]),
        ("UNAUTHORISED_CONSUMER", ["R05", "R07", "R10", "R11", "R37", "R51", "R53"]),
        ("UNAUTHORISED_CORPORATE", ["R29"]),
        ("STOP", ["R08", "R38", "R52"]),
        ("DUPLICATE", ["R24"]),
        ("FROZEN", ["R16", "R90"]),
        ("DECEASED", ["R12", "R14", "R15"]),
        ("BY_REQUEST", ["R06", "R31"]),
    ],
)
def test_groups(group: str, codes: list[str]) -> None:
    assert ach_codes.table().filter(pl.col("code_group") == group)["return_code"].to_list() == codes


def test_windows_follow_the_group_unless_the_code_has_its_own() -> None:
    windows = dict(ach_codes.table().select("return_code", "code_window").rows())
    assert windows["R01"] == windows["R08"] == windows["R29"] == "2 banking days"
    assert windows["R10"] == windows["R38"] == windows["R52"] == "60 calendar days"


def test_windows_are_numbers_too() -> None:
    table = ach_codes.table()
    numbers = {code: (n, unit) for code, n, unit in table.select("return_code", "^code_window_.*$").rows()}
    assert (numbers["R01"], numbers["R10"]) == ((2, "banking"), (60, "calendar"))
    assert (numbers["R06"], numbers["R61"]) == ((None, None), (None, None))
    words = pl.format("{} {} days", "code_window_days", "code_window_unit")
    assert (
        table.filter(pl.col("code_window_days").is_not_null())
        .select((pl.col("code_window") == words).all())
        .item()
    )


def test_the_limits_are_nachas() -> None:
    found = {name: (str(percent), codes) for name, percent, codes in ach_codes.limits().rows()}
    assert found == {
        "UNAUTHORISED": ("0.50", ["R05", "R07", "R10", "R11", "R29", "R51"]),
        "ADMINISTRATIVE": ("3.00", ["R02", "R03", "R04"]),
        "ALL": ("15.00", []),
    }


def test_lookup_keeps_rows_in_order_and_warns_of_unknown_codes(caplog: pytest.LogCaptureFixture) -> None:
    frame = pl.DataFrame({"return_code": ["R97", " r01", None, "R61"], "n": [1, 2, 3, 4]})
    found = ach_codes.lookup(frame)
    assert found["n"].to_list() == [1, 2, 3, 4]
    assert found["return_code"].to_list() == frame["return_code"].to_list()
    assert found["code_group"].to_list() == ["UNKNOWN", "FUNDS", "UNKNOWN", "INTERBANK"]
    assert "2 returns with unknown codes: (none), R97" in caplog.text


def test_lookup_of_no_rows() -> None:
    found = ach_codes.lookup(pl.DataFrame(schema={"return_code": pl.String}))
    assert found.is_empty()
    assert "code_action" in found.columns
