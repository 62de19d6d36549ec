"""Words for every table, view and column: contracts first, dictionary.toml for what has no contract."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from checks.contracts import FEEDS, IMT, BifRecords
from checks.describe import Column, columns
from tasks.staging.query import frame

_CONTRACTS = {
    **{f"feed.{name}": c for name, c in FEEDS.items()},
    **{f"imt.{name}": c for name, c in IMT.items()},
    "outbox.records": BifRecords,
}


@cache
def _words() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("dictionary.toml").read_text("utf-8"))


def about_table(name: str) -> str:
    """What `schema.table` (views: `main.name`) holds; empty if nobody wrote it down."""
    words = _words()["tables"]
    base = name.removesuffix("_versions")
    if name in words:
        return str(words[name])
    if base != name and base in words:
        return f"{words[base]} All versions ever seen, the current one marked is_current."
    if name.startswith("quarantine."):
        return str(words["quarantine"])
    return ""


def about_column(table: str, column: str) -> str:
    """What the column holds: the contract's words, else the table's own, else those for all tables."""
    described = {found.name: _contract_words(found) for found in _contract_columns(table)}
    own = _words()["columns"].get("quarantine" if table.startswith("quarantine.") else table, {})
    return str(own.get(column) or described.get(column) or _words()["columns"]["all"].get(column, ""))


def _contract_columns(table: str) -> tuple[Column, ...]:
    contract = _CONTRACTS.get(table.removesuffix("_versions"))
    return columns(contract) if contract else ()


def _contract_words(column: Column) -> str:
    marks = [mark for mark in (column.unit, "personal data" if column.pii else "") if mark]
    return f"{column.description} [{', '.join(marks)}]" if marks else column.description


def comments(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """COMMENT ON statements for the current database."""
    found = frame(
        connection,
        """SELECT c.schema_name, c.table_name, v.view_name IS NOT NULL AS is_view, list(c.column_name) AS names
           FROM duckdb_columns() c
           LEFT JOIN duckdb_views() v ON v.database_name = c.database_name AND v.schema_name = c.schema_name
               AND v.view_name = c.table_name
           WHERE c.database_name = current_database() AND NOT c.internal
           GROUP BY ALL ORDER BY ALL""",
    )
    for schema, table, is_view, names in found.iter_rows():
        target = f'"{schema}"."{table}"'
        yield f"COMMENT ON {'VIEW' if is_view else 'TABLE'} {target} IS {_text(about_table(f'{schema}.{table}'))}"
        for name in names:
            yield f'COMMENT ON COLUMN {target}."{name}" IS {_text(about_column(f"{schema}.{table}", name))}'


def _text(words: str) -> str:
    return "'{}'".format(words.replace("'", "''"))
