"""Serves one life after another: `python zygote.py CONFIG`. Everything is imported once, so that a life costs a fork.

Each line on standard input starts a service on a free port. It says `born <pid>` at once and `ready <address>` when
it listens; when it is gone, `dead <exit code>` (negative: the signal) follows.
"""

from __future__ import annotations

import os
import sys

from services.server import serve
from tasks.settings import load_settings


def _live(config: str) -> None:
    print("born", os.getpid(), flush=True)
    serve(load_settings(config), "127.0.0.1", 0, lambda address: print("ready", address, flush=True))


def main() -> None:
    """Runs until standard input ends."""
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _live(sys.argv[1])
                code = 0
            finally:
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        print("dead", os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
