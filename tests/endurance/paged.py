"""The service with a database that may not grow beyond so many pages: `python paged.py CONFIG PAGES-FILE`.

The number is read before each transaction, so that a test can change it; no file, no limit.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sqlalchemy import Connection, Engine, event

from services.server import serve
from tasks.settings import load_settings


def main() -> None:
    """Serves until SIGTERM."""
    pages = Path(sys.argv[2])

    @event.listens_for(Engine, "begin")
    def _limited(connection: Connection) -> None:
        most = int(pages.read_text()) if pages.exists() else 2**31
        connection.exec_driver_sql(f"PRAGMA max_page_count = {most}")

    serve(load_settings(sys.argv[1]), "127.0.0.1", 0)


if __name__ == "__main__":
    main()
