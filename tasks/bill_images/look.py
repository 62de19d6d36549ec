"""Looks at every bill image before anything is sent: the right name, a readable file, a whole PDF."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import polars as pl

from tasks.bill_images.folder import Found, Refused, read, shown
from tasks.bill_images.names import with_image_names
from tasks.errors import SettingsError
from tasks.settings import Outbound

SEEN: dict[str, Any] = {
    "image_id": pl.String, "state": pl.String, "image_name": pl.String, "account_number": pl.String,
    "invoice_number": pl.String, "source": pl.String, "bytes": pl.Int64, "sha256": pl.String, "reason": pl.String,
}  # fmt: skip
_LOOKED: dict[str, Any] = {
    "state": pl.String, "reason": pl.String, "bytes": pl.Int64, "sha256": pl.String, "source": pl.String
}  # fmt: skip


def examine(outbound: Outbound, bid: str, wanted: pl.DataFrame) -> pl.DataFrame:
    """One row of SEEN for each row of `wanted` (invoice_number, account_number, pdf_path or null), in its order.

    state: ok, missing, empty, not_pdf, bad_name, unreadable. With source_names = "checked" a file whose own name is
    not the one that IC wants is bad_name: sent under the right name it might show one person's bill to another. With
    "free", a file that two accounts name is refused for the same reason. Raises SettingsError without images folder.
    """
    folder = images_folder(outbound)
    named = with_image_names(
        wanted.select("invoice_number", "account_number", "pdf_path"), bid, outbound.image_name_pattern
    )
    checked = outbound.source_names == "checked"
    asked = named.select("image_name", "name_trouble", "pdf_path").iter_rows()
    rows = [_look(folder, name, trouble, path, checked) for name, trouble, path in asked]
    looked = pl.DataFrame(rows, schema=_LOOKED, orient="row")
    seen = pl.concat([named, looked], how="horizontal")
    accounts = pl.col("account_number").n_unique().over("source")
    shared = (pl.col("state") == "ok") & (accounts > 1)
    return with_ids(
        seen.with_columns(
            state=pl.when(shared).then(pl.lit("bad_name")).otherwise("state"),
            reason=pl.when(shared)
            .then(pl.lit("invoices of two accounts name this file"))
            .otherwise("reason"),
        )
    )


def images_folder(outbound: Outbound) -> Path:
    """The folder of the settings. Raises SettingsError if there is none."""
    if outbound.images is None:
        raise SettingsError("outbound.images is not set; name the folder that holds IMT's bill images")
    return outbound.images


def with_ids(rows: pl.DataFrame) -> pl.DataFrame:
    """SEEN, with `image_id`: of the image's name; where it has none, of its file; else of its invoice."""
    invoice = pl.format(
        "{}/{}", pl.col("account_number").fill_null(""), pl.col("invoice_number").fill_null("")
    )
    key = rows.select(key=pl.coalesce("image_name", "source", invoice))["key"]
    ids = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in key]
    return rows.with_columns(image_id=pl.Series(ids, dtype=pl.String)).select(
        pl.col(name).cast(kind) for name, kind in SEEN.items()
    )


def _look(
    folder: Path, image_name: str | None, name_trouble: str | None, path: str | None, checked: bool
) -> tuple[Any, ...]:
    source = shown(path) if path else None
    if image_name is None:
        return "bad_name", name_trouble, None, None, source
    if not path or not path.strip():
        return "missing", "IMT named no file", None, None, source
    if source != path:
        return "unreadable", "the path holds control characters, or is too long", None, None, source
    try:
        found = read(folder, path)
    except Refused as refused:
        return refused.state, refused.reason, None, None, source
    if checked and any(name != image_name for name in found.names):
        found = Found("bad_name", "the file bears another name than IC wants for this invoice", found.bytes)
    return found.state, found.reason, found.bytes, found.sha256, source
