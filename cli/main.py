"""`icflows`: every command, its common options, and the one place where errors become exit codes."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from importlib.metadata import version as installed_version
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from cli import capabilities, close, convert, diff, explain, operate, outbox, pushes, run, serve, view, work
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
work.register(app)
explain.register(app)
close.register(app)
diff.register(app)
operate.register(app)
outbox.register(app)
convert.register(app)
capabilities.register(app)
serve.register(app)
pushes.register(app)


def main() -> None:
    """Entry point: runs the app; this project's errors end in one line and an exit code."""
    try:
        code = int(app(standalone_mode=False) or 0)
    except IcflowsError as error:
        code = fail(error, "--json" in sys.argv)
    except TyperException as error:
        error.show()  # type: ignore[attr-defined]
        code = USAGE
    except KeyboardInterrupt:
        code = 130
    leave(code)


def leave(code: int) -> NoReturn:
    """Ends the process. Prefect leaves daemon threads behind; tearing the interpreter down under them makes

    DuckDB's binding print forty lines of leak reports. So then the exit handlers (Prefect flushes events
    and logs in one) are run, the streams flushed, and the tear-down left out.
    """
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    if not others or not all(thread.daemon for thread in others):
        sys.exit(code)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
