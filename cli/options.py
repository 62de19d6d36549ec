"""Options that commands share, and their reading."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from tasks.errors import SettingsError
from tasks.invoicecloud.catalogue import duration
from tasks.settings import Settings, load_settings

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

Whole = Annotated[
    bool, typer.Option("--whole", help="Look at every payment, not only at what changed since the last run.")
]

# Of the commands that hang together in a group: which biller may stand before or after the command's name.
OneBiller = Annotated[
    str | None, typer.Option("--biller", "-b", help="May be left out if there is only one.")
]


def of_group(ctx: typer.Context, biller: str | None, config: Path | None) -> tuple[Settings, str]:
    """Settings and biller of a command in a group; what the group was called with (ctx.obj) stands in for both.

    Raises SettingsError: an unknown biller, or several of which none is named.
    """
    before = ctx.obj or (None, None)
    settings = load_settings(config or before[1])
    name = biller or before[0] or settings.only_biller()
    settings.biller(name)
    return settings, name


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
