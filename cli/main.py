"""`icflows`: every command, its common options, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from typing import Annotated

import typer
from typer.exceptions import TyperException

from cli import operate, run, view
from cli.show import USAGE, fail
from tasks.errors import IcflowsError

app = typer.Typer(
    name="icflows",
    help="Keeps an insurance biller on IMT and InvoiceCloud in agreement, to the cent.",
    epilog="Exit codes: 0 done · 1 something is wrong · 2 wrong call or settings · 3 may pass by itself.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"icflows {installed_version('icflows')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Keeps an insurance biller on IMT and InvoiceCloud in agreement, to the cent."""


run.register(app)
view.register(app)
operate.register(app)


def main() -> None:
    """Entry point: runs the app; this project's errors end in one line and an exit code."""
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except IcflowsError as error:
        sys.exit(fail(error, "--json" in sys.argv))
    except TyperException as error:
        error.show()  # type: ignore[attr-defined]
        sys.exit(USAGE)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
