"""Commands that run things: demo, sandbox, deploy, up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.options import Config, Json
from cli.show import OK, console, emit_json
from tasks.settings import load_settings


def demo(
    folder: Annotated[
        Path, typer.Option(help="Everything of the demo lies here; it is emptied first.")
    ] = Path("var/demo"),
    accounts: Annotated[int, typer.Option(min=50, help="Accounts of the made-up carrier.")] = 1000,
    days: Annotated[int, typer.Option(min=20, help="Days of its history.")] = 30,
    seed: Annotated[int, typer.Option(help="Same seed, same carrier.")] = 7,
    as_json: Json = False,
) -> int:
    """A whole business day against the sandbox, through Prefect, with known breaks planted in it."""
    from cli.demo import play

    return play(folder, accounts, days, seed, as_json)


def sandbox(
    data: Annotated[Path, typer.Option(help="The carrier's folder.")] = Path("var/sandbox"),
    generate: Annotated[bool, typer.Option("--generate", help="Make the carrier first.")] = False,
    seed: Annotated[int, typer.Option()] = 7,
    accounts: Annotated[int, typer.Option(min=2)] = 1000,
    days: Annotated[int, typer.Option(min=1)] = 30,
    close: Annotated[str, typer.Option(help="End of the made history.")] = "2026-10-30T23:00:00Z",
    port: Annotated[int, typer.Option()] = 8090,
    sftp_port: Annotated[int, typer.Option()] = 8022,
    as_json: Json = False,
) -> int:
    """Serve the InvoiceCloud stand-in alone (SOAP and SFTP on loopback) until Ctrl-C."""
    from sandbox.__main__ import main as serve

    call = ["--data", str(data), "--port", str(port), "--sftp-port", str(sftp_port)]
    if generate or not data.exists():
        call += [
            "--generate",
            "--seed",
            str(seed),
            "--accounts",
            str(accounts),
            "--days",
            str(days),
            "--close",
            close,
        ]
    if as_json:
        emit_json({"url": f"http://127.0.0.1:{port}/", "sftp_port": sftp_port, "data": data})
        sys.stdout.flush()
    return serve(call)


def deploy(
    prefect_file: Annotated[Path, typer.Option("--file", help="Deployments.")] = Path("prefect.yaml"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """Check prefect.yaml and automations, deploy them for every biller, prune what is gone."""
    from ops.deploy import deploy as carry_out

    settings = load_settings(config)
    result = carry_out(settings.file, prefect_file, dry_run=dry_run)
    kinds = {
        "created": result.created,
        "updated": result.updated,
        "pruned": result.pruned,
        "unchanged": result.unchanged,
    }
    if as_json:
        emit_json({"dry_run": dry_run, **result.__dict__})
        return OK
    verb = "Would be" if dry_run else "Now"
    for kind, names in kinds.items():
        if kind != "unchanged":
            for name in sorted(names):
                console.print(f"{verb} {kind}: {name}", markup=False)
    console.print(
        ", ".join(f"{len(names)} {kind}" for kind, names in kinds.items()) + f" at {result.server}",
        markup=False,
    )
    return OK


def up(config: Config = None) -> int:
    """Prefect server, worker, deployments, automations and sandbox on loopback, until Ctrl-C."""
    from ops.up import up as run_all

    run_all(load_settings(config).file)
    return OK


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    for command in (demo, sandbox, deploy, up):
        app.command()(command)
