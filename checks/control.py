"""Control totals: between every two steps counts and sums balance, in code, to the cent."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import polars as pl

ZERO = Decimal("0.00")


class OutOfBalance(ValueError):
    """Counts or sums differ between two steps; nothing is committed."""


@dataclass(frozen=True)
class Total:
    """A count of rows and a sum of money (0.00 where the table has no amount)."""

    rows: int
    amount: Decimal = ZERO

    def __add__(self, other: Total) -> Total:
        return Total(self.rows + other.rows, self.amount + other.amount)


def total(frame: pl.DataFrame, amount_column: str) -> Total:
    """Count and exact sum of `frame`."""
    if not amount_column or not frame.height:
        return Total(frame.height)
    exact = frame.select(pl.col(amount_column).cast(pl.Decimal(38, 2)).sum()).item()
    return Total(frame.height, Decimal(exact or ZERO))


def must_balance(what: str, came_in: Total, **parts: Total) -> None:
    """in = sum of parts, rows and money. Raises OutOfBalance with every part named."""
    went = sum(parts.values(), Total(0))
    if went != came_in:
        listing = ", ".join(f"{name} {part.rows} rows {part.amount}" for name, part in parts.items())
        raise OutOfBalance(f"{what}: {came_in.rows} rows {came_in.amount} came in, but {listing}")
