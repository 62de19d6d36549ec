"""ACH return codes as data: name, group, return window and default action of each R code; Nacha's limits."""

from __future__ import annotations

import logging
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

UNKNOWN = "UNKNOWN"
_WINDOW = r"^([0-9]+) (banking|calendar) days$"
_WORDS = {"code_name": "name", "code_group": "group", "code_window": "window", "code_action": "action"}
_log = logging.getLogger(__name__)


@cache
def table() -> pl.DataFrame:
    """One row per known code: return_code, code_name, code_group, code_window (words), code_action,

    code_window_days (Int32) and code_window_unit ('banking' or 'calendar'): the window as a number, null without one.
    """
    groups = _data()["groups"]
    rows = [
        {"return_code": code, **{name: (groups[entry["group"]] | entry)[key] for name, key in _WORDS.items()}}
        for code, entry in _data()["codes"].items()
    ]
    return pl.DataFrame(rows).with_columns(**_numbers()).sort("return_code")


@cache
def limits() -> pl.DataFrame:
    """One row per limit: limit (name), percent (Decimal: 0.5 is half a percent), codes (list; empty is every code)."""
    rows = [{"limit": name, **entry} for name, entry in _data()["limits"].items()]
    schema: dict[str, pl.DataType] = {
        "limit": pl.String(),
        "percent": pl.String(),
        "codes": pl.List(pl.String()),
    }
    return pl.DataFrame(rows, schema=schema).with_columns(pl.col("percent").cast(pl.Decimal(5, 2)))


def lookup(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` (column return_code) with the columns of `table()` besides; row order kept.

    A code that the table does not hold gets group UNKNOWN and a warning in the log; it is never an error,
    because unlisted codes do arrive. A null code is UNKNOWN too.
    """
    key = pl.col("return_code").str.strip_chars().str.to_uppercase()
    joined = frame.with_columns(_key=key).join(
        table().rename({"return_code": "_key"}), on="_key", how="left", maintain_order="left"
    )
    strange = joined.filter(pl.col("code_group").is_null())
    if strange.height:
        codes = sorted({code or "(none)" for code in strange["return_code"].unique().to_list()})
        _log.warning("%d returns with unknown codes: %s", strange.height, ", ".join(codes))
    group = _data()["groups"][UNKNOWN]
    return joined.with_columns(
        code_name=pl.col("code_name").fill_null("unknown return code"),
        code_group=pl.col("code_group").fill_null(UNKNOWN),
        code_window=pl.col("code_window").fill_null(group["window"]),
        code_action=pl.col("code_action").fill_null(group["action"]),
    ).drop("_key")


def _numbers() -> dict[str, pl.Expr]:
    words = pl.col("code_window")
    return {
        "code_window_days": words.str.extract(_WINDOW, 1).cast(pl.Int32),
        "code_window_unit": words.str.extract(_WINDOW, 2),
    }


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("ach_return_codes.toml").read_text("utf-8"))
