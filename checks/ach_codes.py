"""ACH return codes as data: name, group, return window and default action of each R code."""

from __future__ import annotations

import logging
import tomllib
from functools import cache
from pathlib import Path

import polars as pl

UNKNOWN = "UNKNOWN"
_log = logging.getLogger(__name__)


@cache
def table() -> pl.DataFrame:
    """One row per known code: return_code, code_name, code_group, code_window, code_action."""
    data = tomllib.loads(Path(__file__).with_name("ach_return_codes.toml").read_text("utf-8"))
    groups = data["groups"]
    rows = [
        {
            "return_code": code,
            "code_name": entry["name"],
            "code_group": entry["group"],
            "code_window": entry.get("window", groups[entry["group"]]["window"]),
            "code_action": entry.get("action", groups[entry["group"]]["action"]),
        }
        for code, entry in data["codes"].items()
    ]
    return pl.DataFrame(rows).sort("return_code")


def lookup(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` (column return_code) with code_name, code_group, code_window, code_action; row order kept.

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
    group = _unknown_group()
    return joined.with_columns(
        code_name=pl.col("code_name").fill_null("unknown return code"),
        code_group=pl.col("code_group").fill_null(UNKNOWN),
        code_window=pl.col("code_window").fill_null(group["window"]),
        code_action=pl.col("code_action").fill_null(group["action"]),
    ).drop("_key")


@cache
def _unknown_group() -> dict[str, str]:
    data = tomllib.loads(Path(__file__).with_name("ach_return_codes.toml").read_text("utf-8"))
    found: dict[str, str] = data["groups"][UNKNOWN]
    return found
