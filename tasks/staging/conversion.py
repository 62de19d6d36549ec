"""SQL of conversions: what conversion files already said of each invoice, and what InvoiceCloud has of it now."""

from __future__ import annotations

import polars as pl

from tasks.staging.query import Connection, frame

# Sorts records by when they were composed; two files of one second go by their ids, which are made in order.
_PLACE = "lpad(epoch_us(r.composed_at)::VARCHAR, 20, '0') || r.file_id || lpad(r.line_no::VARCHAR, 10, '0')"


def told(connection: Connection) -> pl.DataFrame:
    """outbox.records and `place`: of each invoice the last record of a conversion file that IC took or refused."""
    return frame(
        connection,
        f"""SELECT r.*, {_PLACE} AS place FROM outbox.records r JOIN outbox.files f USING (file_id)
           WHERE f.kind = 'convert' AND r.state IN ('accepted', 'rejected')
           QUALIFY row_number() OVER (PARTITION BY r.invoice_number ORDER BY place DESC) = 1""",
    )


def last_accepted(connection: Connection) -> pl.DataFrame:
    """outbox.records and `place`: the last accepted record, of any file, of each invoice that a conversion named."""
    return frame(
        connection,
        f"""SELECT r.*, {_PLACE} AS place FROM outbox.records r
           SEMI JOIN (SELECT c.invoice_number FROM outbox.records c JOIN outbox.files f USING (file_id)
                      WHERE f.kind = 'convert') n ON n.invoice_number = r.invoice_number
           WHERE r.state = 'accepted'
           QUALIFY row_number() OVER (PARTITION BY r.invoice_number ORDER BY place DESC) = 1""",
    )


def seen(connection: Connection, batch: str) -> pl.DataFrame:
    """outbox.looks of one batch of looks: record_id and what IC showed."""
    return frame(
        connection,
        """SELECT record_id, "at" AS looked_at, found, account_number AS seen_account,
                  total_amount_due AS seen_total, balance_due AS seen_balance, due_date AS seen_due
           FROM outbox.looks WHERE ends_with(look_id, $1)""",
        [batch],
    )
