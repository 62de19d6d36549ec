"""What a BAI2 type code says of a line: money in, money out, nothing, or that it is no line at all."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal

from bai2.constants import TypeCodeLevel, TypeCodes

Meaning = Literal["credit", "debit", "nothing", "total", "unknown"]


def meaning(code: str | None) -> Meaning:
    """'142' → 'credit'. Our table (type_codes.toml) first; 'total' for codes that the library knows as sums."""
    data = _data()
    if code in data["codes"]:
        named: Meaning = data["codes"][code]
        return named
    known = TypeCodes.get(code)
    if known is not None and known.level is not TypeCodeLevel.detail:
        return "total"
    if not code or not (code.isascii() and code.isdigit() and len(code) == 3):
        return "unknown"
    for span in data["ranges"]:
        if span["from"] <= int(code) <= span["to"]:
            ranged: Meaning = span["means"]
            return ranged
    return "unknown"


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("type_codes.toml").read_text("utf-8"))
