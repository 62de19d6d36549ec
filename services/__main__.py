"""`python -m services`: the service alone, without the command line's other parts."""

from __future__ import annotations

import argparse
import logging
import sys

from services.server import serve
from tasks.errors import IcflowsError
from tasks.settings import load_settings


def main() -> int:
    """Serves until it is told to stop. Prints one line with the address as soon as it listens."""
    parser = argparse.ArgumentParser(prog="python -m services", description=__doc__)
    parser.add_argument("--config", help="settings file; default: ICFLOWS_CONFIG, else icflows.toml")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int, help="0: a free one")
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    try:
        serve(load_settings(options.config), options.host, options.port)
    except IcflowsError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
