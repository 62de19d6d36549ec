"""The quarantine tables: rows set aside with raw values and reasons, and their release.

The same bad row seen again in an overlapping window is counted, not doubled. When IC sends the row
right, under the same key, the old one is released and kept.
"""

from __future__ import annotations

from datetime import datetime

import duckdb
import polars as pl

from tasks.staging.query import frame, scalar


def with_key_text(raw: pl.DataFrame, keys: pl.DataFrame, sources: dict[str, str]) -> pl.DataFrame:
    """Adds row_no (from 1) and key_text: the key as it was read, the text as sent where it was unreadable.

    `keys`: row_no and the typed key columns of all rows; `sources`: key column → column of `raw`. Both wire
    forms of one row give the same text.
    """
    read = keys.select("row_no", *(pl.col(name).cast(pl.String).alias(f"key:{name}") for name in sources))
    parts = [pl.coalesce(f"key:{name}", source, pl.lit("")) for name, source in sources.items()]
    texts = raw.with_row_index("row_no", offset=1).with_columns(pl.col("row_no").cast(pl.Int64))
    joined = texts.join(read, on="row_no", how="left", maintain_order="left")
    return joined.with_columns(key_text=pl.concat_str(parts, separator="|")).select(
        *texts.columns, "key_text"
    )


def set_aside(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    raw: pl.DataFrame,
    bad: pl.DataFrame,
    poll_id: str,
    seen_at: datetime,
) -> None:
    """Puts the rows named in `bad` (row_no, reasons) into quarantine.<table>.

    `raw` has row_no, key_text and the text columns as sent.
    """
    texts = [name for name in raw.columns if name not in ("row_no", "key_text")]
    rows = raw.join(bad, on="row_no").select(
        "row_no", "reasons", "key_text", raw=pl.struct(texts).struct.json_encode()
    )
    connection.register("aside", rows)
    connection.execute(
        f"""INSERT INTO quarantine.{table}
            SELECT sha256(raw || '#' || occurrence), $1, row_no, reasons, raw, key_text, $2::TIMESTAMPTZ,
                   $2::TIMESTAMPTZ, 1, NULL
            FROM (SELECT *, row_number() OVER (PARTITION BY raw ORDER BY row_no) AS occurrence FROM aside)
            ON CONFLICT (quarantine_id) DO UPDATE
            SET last_seen_at = excluded.last_seen_at, times_seen = times_seen + 1, reasons = excluded.reasons,
                released_at = NULL""",
        [poll_id, seen_at],
    )
    connection.unregister("aside")


def release(connection: duckdb.DuckDBPyConnection, table: str, accepted_keys: pl.Series, at: datetime) -> int:
    """Marks quarantined rows as released whose key has now been accepted; returns how many."""
    held = frame(
        connection,
        f"SELECT DISTINCT key_text FROM quarantine.{table} WHERE released_at IS NULL AND key_text <> ''",
    )["key_text"]
    cured = held.filter(held.is_in(accepted_keys.implode()))
    if not cured.len():
        return 0
    connection.register("cured", pl.DataFrame({"key_text": cured}))
    changed = scalar(
        connection,
        f"""UPDATE quarantine.{table} AS q SET released_at = $1::TIMESTAMPTZ FROM cured c
            WHERE q.key_text = c.key_text AND q.released_at IS NULL""",
        [at],
    )
    connection.unregister("cured")
    return int(changed or 0)
