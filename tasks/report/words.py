"""How the page writes money, counts, days and instants."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from zoneinfo import ZoneInfo

MINUS = "\N{MINUS SIGN}"


def money(amount: Decimal | int | None) -> str:
    """Decimal('-1234.5') → '−$1,234.50'; nothing → '–'."""
    if amount is None:
        return "–"
    return f"{MINUS if amount < 0 else ''}${abs(amount):,.2f}"


def short_money(amount: Decimal) -> str:
    """For axes: $950, $12.5k, $3.2M."""
    for limit, word in ((1_000_000, "M"), (1_000, "k")):
        if amount >= limit:
            return f"${amount / limit:.1f}{word}".replace(".0", "")
    return f"${amount:.0f}"


def count(number: int | None) -> str:
    """1234 → '1,234'."""
    return "–" if number is None else f"{number:,}"


def plural(number: int, one: str, many: str = "") -> str:
    """2, 'payment' → '2 payments'."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def share(part: Decimal, whole: Decimal) -> str:
    """Percent with one decimal, rounded down: 100 % is said only of everything."""
    if not whole:
        return "–"
    return f"{(part * 100 / whole).quantize(Decimal('0.1'), ROUND_DOWN)} %"


def rate(part: Decimal) -> str:
    """A share as percent with two decimals, rounded up: nothing is lost only if it says 0.00 %."""
    return f"{(part * 100).quantize(Decimal('0.01'), ROUND_UP)} %"


def day(value: date | None) -> str:
    """2026-10-30."""
    return "–" if value is None else value.isoformat()


def instant(value: datetime | None, zone: str) -> str:
    """In the biller's zone, to the minute: 2026-10-30 18:00 CDT."""
    return "–" if value is None else f"{value.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M %Z}"


def clock(value: datetime | None, zone: str) -> str:
    """In the biller's zone, without naming it: 2026-10-30 18:00."""
    return "–" if value is None else f"{value.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"


def utc(value: datetime) -> str:
    """2026-10-30 23:00 UTC."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def name(word: str) -> str:
    """MATCHED_FINAL → matched final; ach_rejects → ach rejects."""
    return word.replace("_", " ").lower()
