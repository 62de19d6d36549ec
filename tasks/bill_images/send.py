"""Sends bill images: first into the archive, then from there to IC, so the bytes sent are the bytes that were hashed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl

from tasks.bill_images.keep import archived, keep_images
from tasks.bill_images.look import images_folder, with_ids
from tasks.errors import SettingsError
from tasks.outbox.model import IMAGES, shaped
from tasks.settings import Biller
from tasks.sftp import PutJob, PutResult, put_files

Progress = Callable[[int, int], None]


def send_images(
    biller: Biller, archive_folder: Path, images: pl.DataFrame, last_sent: pl.DataFrame, at: datetime,
    progress: Progress | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Rows of IMAGES, sent or failed, one for each of `images` (rows of `examine` that are ok).

    `last_sent`: image_name, sha256, bytes of what was last sent under that name; the same bytes, still there with the
    same size, are not sent again. `progress(done, total)`. Raises StorageTrouble (archive), and as put_files does:
    Unreachable, CredentialError, SettingsError; then nothing was sent.
    """
    if biller.sftp is None:
        raise SettingsError("there is no [sftp] to send bill images to")
    pairs = images.select("source", "sha256").iter_rows()
    not_kept = keep_images(archive_folder, images_folder(biller.outbound), pairs)
    last = last_sent.select("image_name", last="sha256").unique(
        "image_name", keep="last", maintain_order=True
    )
    asked = images.select("image_name", "source", "sha256", "bytes").join(
        last, on="image_name", how="left", maintain_order="left"
    )
    jobs: list[PutJob] = []
    said: list[str | None] = []
    for name, source, digest, size, before in asked.iter_rows():
        trouble = not_kept.get((source, digest))
        said.append(trouble)
        if trouble is None:
            jobs.append(PutJob(name, archived(archive_folder, digest), size, before in {None, digest}))
    count = _Counter(len(jobs), progress)
    results = iter(put_files(biller.sftp, jobs, progress=count))
    reasons = [trouble if trouble is not None else _reason(next(results)) for trouble in said]
    return _rows(images, reasons, at)


class _Counter:
    """Results as they come, as (done, total). put_files calls it from one thread at a time."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def __call__(self, _: PutResult) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


def _reason(result: PutResult) -> str | None:
    return f"{result.message} ({result.reason})" if result.state == "failed" else None


def _rows(images: pl.DataFrame, reasons: list[str | None], at: datetime) -> pl.DataFrame:
    well = pl.col("reason").is_null()
    rows = with_ids(images.with_columns(reason=pl.Series(reasons, dtype=pl.String), state=pl.lit("sent")))
    return shaped(
        rows.with_columns(
            state=pl.when(well).then(pl.lit("sent")).otherwise(pl.lit("failed")),
            sent_at=pl.when(well).then(pl.lit(at)),
            first_seen_at=pl.lit(at),
            last_seen_at=pl.lit(at),
        ),
        IMAGES,
    )
