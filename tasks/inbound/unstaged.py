"""What staging lacks of the store, and how the store notes that staging has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl
from sqlalchemy import TextClause, bindparam, literal, select, text, update

from tasks.inbound.staged_rows import UNREAD, as_text, call_rows, columns_of, unread_rows
from tasks.inbound.store import Store
from tasks.inbound.tables import UNSTAGED, UNSTAGED_CALLS, calls, enrolment_pushes, metadata, pushes, unread

_MARKED_AT_ONCE = 5_000  # the store is locked no longer than that takes


@dataclass(frozen=True)
class Source:
    """Rows of one table for one kind of file. `sign` goes into `noted` once staging has the row."""

    kind: str
    table: str
    key: str
    columns: Sequence[str]
    lacking: TextClause
    frame: Callable[[Sequence[Any]], pl.DataFrame]
    sign: str | None = None  # a column; None: true
    noted: str = "staged"

    @property
    def counted_as(self) -> str:
        """'unread', or what the rows are in staging."""
        return unread.name if self.table == unread.name else self.kind

    def read(self, store: Store, biller: str, most: int) -> tuple[list[dict[str, Any]], pl.DataFrame]:
        """(of_key and sign of up to `most` rows, in the order of their keys; the rows as text columns)."""
        table = metadata.tables[self.table]
        sign = table.c[self.sign] if self.sign else literal(True)
        found = select(table.c[self.key], sign, *(table.c[name] for name in self.columns))
        with store.reading() as connection:
            wanted = found.where(table.c.biller == biller, self.lacking).order_by(table.c[self.key])
            rows = connection.execute(wanted.limit(most)).all()
        return [{"of_key": row[0], "sign": row[1]} for row in rows], self.frame([row[2:] for row in rows])

    def note(self, store: Store, biller: str, signs: Sequence[dict[str, Any]]) -> None:
        """Staging has the rows as they were read; one that changed meanwhile has a higher revision and comes again."""
        table = metadata.tables[self.table]
        statement = (
            update(table)
            .where(table.c.biller == biller, table.c[self.key] == bindparam("of_key"))
            .values({self.noted: bindparam("sign")})
        )
        for start in range(0, len(signs), _MARKED_AT_ONCE):
            with store.writing("pushes") as connection:
                connection.execute(statement, list(signs[start : start + _MARKED_AT_ONCE]))


def sources() -> Iterator[Source]:
    """What could not be read goes first: the same payment, read by now, releases it."""
    for kind, words in (
        ("pushes", "NOT staged AND kind = 'payments'"),
        ("enrolment_pushes", "NOT staged AND kind <> 'payments'"),
    ):
        yield Source(kind, unread.name, "sha256", UNREAD, text(words), partial(unread_rows, kind))
    for table in (pushes, enrolment_pushes):
        names = columns_of(table, table.name)
        frame = partial(as_text, table, names)
        yield Source(table.name, table.name, "push_id", names, UNSTAGED, frame, "revision", "staged_revision")
    names = ["number", *columns_of(calls, "rtdr_calls")]
    yield Source("rtdr_calls", calls.name, "number", names, UNSTAGED_CALLS, partial(call_rows, names))
