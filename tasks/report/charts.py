"""Geometry of the charts: widths and places in percent, heights in pixels. The templates draw it as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from tasks.report import words

PLOT_HEIGHT = 170
MOST_DAYS = 45
_LABELS = 6
_LEAST = 0.4  # percent: what is there must be seen


@dataclass(frozen=True)
class Bar:
    """A horizontal bar: `width` in percent of the plot."""

    label: str
    text: str
    width: float
    kind: str


@dataclass(frozen=True)
class Column:
    """Two columns of one day: x in percent, heights in pixels."""

    day: date
    label: str
    x: float
    heights: tuple[float, float]
    title: str


@dataclass(frozen=True)
class Columns:
    """A column chart; `lines` are (y in pixels, text)."""

    columns: list[Column]
    width: float
    lines: list[tuple[float, str]]


def bars(rows: Sequence[tuple[str, str, Decimal, str]]) -> list[Bar]:
    """(label, text, amount, kind) → bars on one scale; an amount of nothing has no bar."""
    most = max((amount for _, _, amount, _ in rows), default=Decimal(0))
    return [Bar(label, text, _percent(amount, most), kind) for label, text, amount, kind in rows]


def parts(rows: Sequence[tuple[str, Decimal]]) -> list[tuple[str, float, float]]:
    """(kind, amount) → (kind, x, width) of one stacked bar, in percent; small parts stay visible."""
    whole = sum((abs(amount) for _, amount in rows), Decimal(0))
    wide = [(kind, _percent(abs(amount), whole)) for kind, amount in rows]
    scale = 100 / max(sum(width for _, width in wide), 100)
    found, x = [], 0.0
    for kind, width in wide:
        found.append((kind, round(x, 3), round(width * scale, 3)))
        x += width * scale
    return found


def cash_columns(days: Sequence[dict[str, Any]]) -> Columns:
    """Reported against settled, the last 45 days."""
    shown = days[-MOST_DAYS:]
    most = max((max(row["reported_amount"], row["settled_amount"]) for row in shown), default=Decimal(0))
    top = nice(most)
    slot = 100 / max(len(shown), 1)
    every = -(-len(shown) // _LABELS)
    columns = [
        Column(
            day=row["day"],
            label=f"{row['day']:%b %d}" if number % every == 0 and number * slot < 92 else "",
            x=round(number * slot, 3),
            heights=(_height(row["reported_amount"], top), _height(row["settled_amount"], top)),
            title=f"{row['day']}: reported {words.money(row['reported_amount'])}, settled {words.money(row['settled_amount'])}",
        )
        for number, row in enumerate(shown)
    ]
    lines = [(PLOT_HEIGHT * (1 - step / 4), words.short_money(top * step / 4)) for step in (1, 2, 3, 4)]
    return Columns(columns, round(slot * 0.38, 3), lines)


def nice(most: Decimal) -> Decimal:
    """The next round number: 1, 2, 4 or 8 times a power of ten."""
    step = Decimal(1)
    while step * 10 < most:
        step *= 10
    return next((step * n for n in (1, 2, 4, 8) if step * n >= most), step * 10)


def _percent(amount: Decimal, most: Decimal) -> float:
    if not amount or not most:
        return 0.0
    return max(round(float(amount * 100 / most), 3), _LEAST)


def _height(amount: Decimal, top: Decimal) -> float:
    return round(max(float(amount / top), 0.0) * PLOT_HEIGHT, 2)
