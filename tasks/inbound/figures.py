"""Writes IMT's figures into the store: rows of tables.balances and tables.accounts, many by one statement."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, Table

from tasks.inbound.tables import accounts, applied, balances, freshness, pushes
from tasks.inbound.values import microseconds


@dataclass(frozen=True)
class Part:
    """Whole accounts, to be written in one transaction. Columns as in the tables, without the biller.

    gone: invoice_number · dropped: account_number without an amount of its own · posted: push_id.
    """

    invoices: pl.DataFrame
    gone: pl.DataFrame
    accounts: pl.DataFrame
    dropped: pl.DataFrame
    posted: pl.DataFrame


def write(connection: Connection, biller: str, part: Part, at: datetime) -> None:
    """Puts one part into the caller's transaction. Rows that are there already, as they are, cost no write."""
    _remove(connection, balances, biller, part.gone, "invoice_number")
    _remove(connection, accounts, biller, part.dropped, "account_number")
    _upsert(connection, balances, biller, part.invoices)
    _upsert(connection, accounts, biller, part.accounts)
    if part.posted.height:
        mark = _mark(connection)
        rows = part.posted.select(
            pl.lit(microseconds(at)).alias("at"), pl.lit(biller).alias("biller"), "push_id"
        ).rows()
        connection.exec_driver_sql(
            f"UPDATE {pushes.name} SET posted_at = {mark} WHERE biller = {mark} AND push_id = {mark}", rows
        )


def finish(
    connection: Connection,
    biller: str,
    held: Collection[str],
    loads: Collection[str],
    known_as_of: datetime | None,
    at: datetime,
) -> None:
    """From now on the store holds `loads` (before: `held`), and IMT was last heard at `known_as_of`."""
    _remove(connection, applied, biller, pl.DataFrame({"load_id": sorted(set(held) - set(loads))}), "load_id")
    fresh = pl.DataFrame({"load_id": sorted(set(loads) - set(held))}, schema={"load_id": pl.String})
    _upsert(connection, applied, biller, fresh)
    heard = None if known_as_of is None else microseconds(known_as_of)
    _upsert(
        connection,
        freshness,
        biller,
        pl.DataFrame({"known_as_of": [heard], "refreshed_at": [microseconds(at)]}),
    )


def _mark(connection: Connection) -> str:
    return "?" if connection.dialect.name == "sqlite" else "%s"


def _remove(connection: Connection, table: Table, biller: str, rows: pl.DataFrame, key: str) -> None:
    if rows.is_empty():
        return
    mark = _mark(connection)
    statement = f"DELETE FROM {table.name} WHERE biller = {mark} AND {key} = {mark}"
    connection.exec_driver_sql(statement, rows.select(pl.lit(biller), key).rows())


def _upsert(connection: Connection, table: Table, biller: str, rows: pl.DataFrame) -> None:
    """`rows` have columns of the table; those that they lack stay as they are."""
    if rows.is_empty():
        return
    names = ["biller", *(column.name for column in table.columns if column.name in rows.columns)]
    keys = [column.name for column in table.primary_key]
    others = [name for name in names if name not in keys]
    differs = "IS NOT" if connection.dialect.name == "sqlite" else "IS DISTINCT FROM"
    statement = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join([_mark(connection)] * len(names))})"
    statement += f" ON CONFLICT ({', '.join(keys)}) DO "
    if others:
        statement += f"UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in others)} WHERE "
        statement += " OR ".join(f"{table.name}.{name} {differs} excluded.{name}" for name in others)
    else:
        statement += "NOTHING"
    connection.exec_driver_sql(statement, rows.select(pl.lit(biller).alias("biller"), *names[1:]).rows())
