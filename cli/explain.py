"""`icflows explain`: what became of one payment, invoice or account."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.explain_screen import show
from cli.options import AsOf, Config, Json, business_time
from cli.show import OK, emit_json
from tasks.errors import SettingsError
from tasks.settings import Settings, load_settings

_KINDS = ("payment", "invoice", "account")


def explain(
    key: Annotated[str, typer.Argument(help="A payment's GUID, an invoice or an account.", metavar="KEY")],
    biller: Annotated[
        str | None, typer.Option("--biller", "-b", help="May be left out if there is only one.")
    ] = None,
    snapshot: Annotated[
        Path | None,
        typer.Option("--snapshot", help="Look into this snapshot, as of its moment, not into staging."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="payment, invoice or account, where a number is both.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Of an account or invoice, the whole chain of each payment.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Payments told with --all; rows listed.")] = 50,
    as_of: AsOf = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """Tell the chain of a payment from all feeds: what happened, what is due next, what is broken and why."""
    if kind is not None and kind not in _KINDS:
        raise SettingsError(f"there is no kind '{kind}'; known: {', '.join(_KINDS)}")
    most = limit if everything else 0
    found = (
        _of_snapshot(snapshot, key, kind, most, config, as_of)
        if snapshot
        else _of_staging(load_settings(config), biller, key, kind, most, business_time(as_of))
    )
    if as_json:
        emit_json(found)
    else:
        show(found, limit)
    return OK


def _of_staging(
    settings: Settings, biller: str | None, key: str, kind: Any, most: int, at: datetime
) -> dict[str, Any]:
    from tasks.explain import explain as tell

    return tell(settings, biller or settings.only_biller(), key, at, kind=kind, most=most)


def _of_snapshot(
    path: Path, key: str, kind: Any, most: int, config: Path | None, as_of: str | None
) -> dict[str, Any]:
    """A snapshot needs no settings: whoever has the file may look."""
    from tasks.explain import explain_snapshot

    if as_of:
        raise SettingsError("a snapshot is as of its own moment; leave --as-of out")
    settings = None
    try:
        settings = load_settings(config)
    except SettingsError:
        if config is not None:
            raise
    return explain_snapshot(path, key, settings=settings, kind=kind, most=most)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(explain)
