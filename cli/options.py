"""Options that commands share, and their reading."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from tasks.errors import SettingsError
from tasks.invoicecloud.catalogue import duration

Biller = Annotated[str, typer.Option("--biller", "-b", help="Name of the biller in icflows.toml.")]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="Settings file.", envvar="ICFLOWS_CONFIG", show_default="icflows.toml"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of tables.")]
AsOf = Annotated[
    str | None, typer.Option("--as-of", help="Business time, ISO 8601 with a zone.", show_default="now")
]


def instant(text: str | None, name: str) -> datetime | None:
    """ISO 8601 with a zone → aware UTC. Raises SettingsError that shows the form."""
    if text is None:
        return None
    moment: datetime | None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise SettingsError(
            f"{name} must be a time with its zone, for example 2026-11-01T00:00:00Z; not '{text[:40]}'"
        )
    return moment.astimezone(UTC)


def business_time(text: str | None) -> datetime:
    """--as-of, or the clock: the only place where a command looks at it."""
    return instant(text, "--as-of") or datetime.now(UTC).replace(microsecond=0)


def age(text: str, name: str) -> timedelta:
    """3d or 12h. Raises SettingsError that names the option."""
    try:
        found = duration(text)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None
    assert isinstance(found, timedelta)
    return found
