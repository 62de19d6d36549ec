"""The log of RTDR calls: rows of tables.calls, many at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from operator import attrgetter

from tasks.inbound.model import Call
from tasks.inbound.store import Store

_COLUMNS = (
    "biller", "called_at", "subject", "form", "account_number", "invoice_number", "result", "balance_answered",
    "payable", "known_as_of", "latency_us",
)  # fmt: skip
_ROW = attrgetter(*_COLUMNS)
_NAMES = ", ".join(_COLUMNS)
# One step of SQLite for all rows: row by row the driver would take and give back Python's lock each time, and lose
# milliseconds of it to the threads that answer.
_SQLITE = f"""INSERT INTO calls ({_NAMES}) SELECT {", ".join(f"json_extract(value, '$[{n}]')" for n in range(len(_COLUMNS)))}
FROM json_each(?)"""
_POSTGRESQL = f"INSERT INTO calls ({_NAMES}) VALUES ({', '.join(['%s'] * len(_COLUMNS))})"


def keep(store: Store, calls: Sequence[Call]) -> None:
    """Appends the calls in one transaction, in their order. Raises StorageTrouble, StagingDamaged."""
    if not calls:
        return
    rows = list(map(_ROW, calls))
    with store.writing() as connection:
        if store.is_sqlite:
            connection.exec_driver_sql(_SQLITE, (json.dumps(rows),))
        else:
            connection.exec_driver_sql(_POSTGRESQL, rows)
