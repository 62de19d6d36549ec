"""Bill images of the records that are about to go: looked at before, sent before the file that names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from tasks.bill_images import examine, orphans, send_images, with_image_names
from tasks.errors import SettingsError
from tasks.outbox.model import IMAGES, empty, shaped
from tasks.sections import Biller


@dataclass(frozen=True)
class Pictures:
    """records with `image_name` filled in · seen: rows for outbox.images · good: those to be sent."""

    records: pl.DataFrame
    seen: pl.DataFrame
    good: pl.DataFrame
    troubled: pl.DataFrame  # invoice_number, trouble


def look(
    own: Biller,
    records: pl.DataFrame,
    kept: pl.DataFrame,
    known_of: Callable[[pl.DataFrame], pl.Series],
    at: datetime,
) -> Pictures:
    """Looks at the image of every A record. Nothing is sent here.

    `kept`: outbox.images of these invoices; `known_of`: of these files, the names that belong to something. A record without a path is well if its image was sent before. Raises SettingsError without [sftp].
    """
    nothing = pl.DataFrame(schema={"invoice_number": pl.String, "trouble": pl.String})
    if own.product != "spectrum" or own.outbound.images is None:
        return Pictures(records, empty(IMAGES), empty(IMAGES), nothing)
    if own.sftp is None:
        raise SettingsError("outbound.images is set but there is no [sftp] to send bill images to")
    named = with_image_names(records, own.bid, own.outbound.image_name_pattern)
    sent = kept.filter(pl.col("sent_at").is_not_null()).select("image_name").unique()
    ordinary = named.filter(pl.col("record_type") == "A")
    wanted = pl.concat(
        [
            ordinary.filter(pl.col("pdf_path").is_not_null()),
            ordinary.filter(pl.col("pdf_path").is_null()).join(sent, on="image_name", how="anti"),
        ]
    )
    looked = examine(own.outbound, own.bid, wanted.select("invoice_number", "account_number", "pdf_path"))
    bad = looked.filter(pl.col("state") != "ok")
    strays = _strays(own, records, known_of)
    seen = pl.concat([shaped(bad, IMAGES), shaped(strays, IMAGES)]).with_columns(
        first_seen_at=pl.lit(at), last_seen_at=pl.lit(at)
    )
    troubled = bad.select("invoice_number", trouble=pl.format("image {}: {}", "state", "reason"))
    named_image = (pl.col("record_type") == "A") & ~pl.col("invoice_number").is_in(
        bad["invoice_number"].implode()
    )
    image_name = pl.when(named_image).then(pl.col("image_name"))
    return Pictures(
        named.with_columns(image_name=image_name).drop("name_trouble"),
        seen,
        looked.filter(pl.col("state") == "ok"),
        troubled,
    )


def _strays(
    own: Biller, records: pl.DataFrame, known_of: Callable[[pl.DataFrame], pl.Series]
) -> pl.DataFrame:
    """Images in the folder for invoices that nobody told of: neither now nor at any time before."""
    now = with_image_names(
        records.select("invoice_number", "account_number"), own.bid, own.outbound.image_name_pattern
    )
    strays = orphans(own.outbound, own.bid, now["image_name"].drop_nulls())
    known = known_of(strays)
    return strays.filter(~pl.col("image_name").is_in(known.implode()).fill_null(False))


def send(
    own: Biller, archive: Path, good: pl.DataFrame, kept: pl.DataFrame, at: datetime,
    progress: Callable[[int, int], None] | None,
) -> pl.DataFrame:  # fmt: skip
    """Sends the images; rows for outbox.images, state sent or failed."""
    if good.is_empty():
        return empty(IMAGES)
    last = kept.filter(pl.col("sent_at").is_not_null()).select("image_name", "sha256", "bytes")
    return shaped(send_images(own, archive, good, last, at, progress), IMAGES)
