"""Images in IMT's folder that no invoice names: somebody waits for a bill that nobody sends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from tasks.bill_images.folder import shown
from tasks.bill_images.look import SEEN, images_folder, with_ids
from tasks.bill_images.names import parse_names
from tasks.settings import Outbound

_DEEPEST = 8  # folders in folders; links to folders are not followed


def orphans(outbound: Outbound, bid: str, known_names: pl.Series) -> pl.DataFrame:
    """Rows of SEEN, state orphan, for PDFs whose name is not in `known_names`; hidden and temporary files are passed over.

    `account_number` and `invoice_number` are those of the file's name, if it parses. With source_names = "free" a
    file's name says nothing, so there are no orphans. Raises SettingsError without images folder.
    """
    nothing = pl.DataFrame(schema=SEEN)
    folder = images_folder(outbound)
    if outbound.source_names == "free":
        return nothing
    found = pl.DataFrame(
        list(_pdfs(folder)),
        schema={"image_name": pl.String, "source": pl.String, "bytes": pl.Int64},
        orient="row",
    )
    strays = found.join(known_names.cast(pl.String).to_frame("image_name"), on="image_name", how="anti")
    parts = parse_names(strays["image_name"], outbound.image_name_pattern)
    ours = pl.col("bid") == bid
    reason = (
        pl.when(ours)
        .then(pl.lit("no invoice event names this bill"))
        .otherwise(pl.lit("the name is not BID_ACCOUNT_INVOICE.pdf of this biller"))
    )
    rows = pl.concat([strays, parts], how="horizontal").with_columns(
        state=pl.lit("orphan"), reason=reason, sha256=pl.lit(None, pl.String)
    )
    return with_ids(rows.sort("source"))


def _pdfs(folder: Path) -> Iterator[tuple[str, str, int]]:
    """(name, path below the folder, bytes) of every PDF by its name; one walk."""
    waiting = [(os.fspath(folder), "", 0)]
    while waiting:
        place, below, depth = waiting.pop()
        try:
            entries = list(os.scandir(place))
        except OSError:  # gone, or no right: what is wanted from there shows as unreadable
            continue
        for entry in entries:
            if entry.name.startswith((".", "~")):
                continue
            if entry.is_dir(follow_symlinks=False):
                if depth < _DEEPEST:
                    waiting.append((entry.path, f"{below}{entry.name}/", depth + 1))
            elif entry.name.lower().endswith(".pdf"):
                yield shown(entry.name), shown(below + entry.name), _bytes(entry)


def _bytes(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return 0
