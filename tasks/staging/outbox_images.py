"""SQL of outbox.images: what became of each bill image. Runs inside the caller's connection."""

from __future__ import annotations

import duckdb
import polars as pl

from tasks.outbox.model import IMAGES, shaped
from tasks.staging.outbox import asked
from tasks.staging.query import frame


def keep_images(connection: duckdb.DuckDBPyConnection, images: pl.DataFrame) -> None:
    """One row per image: the newest word on it; first_seen_at stays, sent_at stays until it is sent anew."""
    if images.is_empty():
        return
    connection.register("seen", shaped(images, IMAGES))
    connection.execute(
        """UPDATE outbox.images AS i SET state = s.state, bytes = coalesce(s.bytes, i.bytes),
                  sha256 = coalesce(s.sha256, i.sha256), reason = s.reason, last_seen_at = s.last_seen_at,
                  sent_at = coalesce(s.sent_at, i.sent_at), source = s.source
           FROM seen s WHERE s.image_id = i.image_id"""
    )
    connection.execute(
        """INSERT INTO outbox.images BY NAME SELECT * FROM seen s
           WHERE NOT EXISTS (SELECT 1 FROM outbox.images i WHERE i.image_id = s.image_id)"""
    )
    connection.unregister("seen")


def images_of(connection: duckdb.DuckDBPyConnection, numbers: pl.Series) -> pl.DataFrame:
    """outbox.images of these invoices."""
    with asked(connection, numbers):
        return frame(connection, "SELECT i.* FROM outbox.images i SEMI JOIN asked USING (invoice_number)")


def known_images(connection: duckdb.DuckDBPyConnection, strays: pl.DataFrame) -> pl.Series:
    """Of these files (image_name, source, invoice_number), the names that belong to something.

    Known: a record or an image of that name, an event of that invoice, an event that names the file.
    """
    asked = strays.select("image_name", "source", "invoice_number").cast(pl.String)  # type: ignore[arg-type]
    connection.register("named", asked)
    found = frame(
        connection,
        """SELECT image_name FROM named SEMI JOIN outbox.records r USING (image_name)
           UNION SELECT image_name FROM named
           SEMI JOIN (SELECT image_name FROM outbox.images WHERE state <> 'orphan') i USING (image_name)
           UNION SELECT image_name FROM named SEMI JOIN imt.invoice_events e USING (invoice_number)
           UNION SELECT n.image_name FROM named n SEMI JOIN imt.invoice_events e ON e.pdf_path = n.source""",
    )
    connection.unregister("named")
    return found["image_name"]
