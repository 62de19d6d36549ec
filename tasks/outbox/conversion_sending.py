"""Sends a conversion: one file of kind `convert` through the outbox, guarded, exactly once.

May be killed anywhere and run again: what IC accepted is left out, a file that was composed but not sent goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from tasks.errors import Stop
from tasks.outbox import pictures, prepare
from tasks.outbox.conversion import SAME, Plan, planned
from tasks.outbox.conversion_lists import Lists, read_lists
from tasks.outbox.model import APPLIED, FILES, GUARDS, IMAGES, empty
from tasks.outbox.publish import PublishResult, sender_of, status_of, told_of
from tasks.outbox.sender import File, InvoiceCloud, Sender
from tasks.outbox.states import OPEN
from tasks.pull import archive_of
from tasks.settings import Settings
from tasks.staging import outbox as sql

Progress = Callable[[str, int, int], None]
KIND = "convert"
_SHOWN = 5


@dataclass(frozen=True)
class Sent:
    """The plan as it was carried out, and what became of it (counts, sums, file ids, reasons)."""

    plan: Plan
    result: PublishResult


def send(
    settings: Settings, biller: str, open_at_ic: Path, spectrum: Path, at: datetime, *,
    confirm_deletes: int | None = None, listed_at: datetime | None = None, ic: InvoiceCloud | None = None,
    progress: Progress | None = None,
) -> Sent:  # fmt: skip
    """Sends what is missing. Raises Stop where the plan may not be sent, and what the outbox and IC raise."""
    lists = read_lists(settings, biller, open_at_ic, spectrum, at)
    sender = sender_of(settings, biller, ic)
    run = Sending(settings, biller, lists, at, listed_at or at, sender, progress)
    return run.go(confirm_deletes)


class Sending:
    """One run of a conversion, step by step; alone on the outbox."""

    def __init__(
        self, settings: Settings, biller: str, lists: Lists, at: datetime, listed_at: datetime, sender: Sender,
        progress: Progress | None,
    ) -> None:  # fmt: skip
        self.settings, self.biller, self.lists = settings, biller, lists
        self.at, self.listed_at, self.sender = at, listed_at, sender
        self.outbox = sender.outbox
        self._progress = progress
        self.touched: list[File] = []

    def go(self, confirm_deletes: int | None) -> Sent:
        """Everything from the plan to IC's answer."""
        with self.outbox.alone(self.settings.storage.lock_timeout_seconds):
            self.sender.recover(self.at)
            made = self._plan()
            refuse_incomplete(made)
            open_files = self.outbox.files(*OPEN)
            going_on = [file for file in open_files if self._is_of(made, file)]
            refuse_open(self.biller, [file for file in open_files if file not in going_on])
            self.touched = [self.sender.send(file, self.at) for file in going_on]
            if any(file["state"] != "accepted" for file in self.touched):
                return Sent(made, self._result(made, empty(GUARDS), made.held))
            made = self._plan() if self.touched else made
            _refuse_other_number(made, confirm_deletes)
            found = made.stopped_by(confirm_deletes)
            if found.height:
                self._keep(made, found, made.held, made.shown.seen, [])
                return Sent(made, self._result(made, found, made.held))
            return self._send(made)

    def _plan(self) -> Plan:
        return planned(self.settings, self.biller, self.lists, self.at, self.listed_at)

    def _is_of(self, made: Plan, file: File) -> bool:
        """An earlier run composed it but did not send it, and this plan asks for all that is in it."""
        if file["kind"] != KIND or file["state"] != "composed":
            return False
        with self.outbox.staging.open() as connection:
            records = sql.records(connection, file["file_id"])
        return records.join(made.conversion.records, on=SAME, how="anti", nulls_equal=True).is_empty()

    def _send(self, made: Plan) -> Sent:
        """Images first, then the file that names them."""
        own, going, held = made.desk.own, made.going, made.held
        names = going["image_name"].implode()
        images = pictures.send(
            own, archive_of(self.settings, self.biller).folder,
            made.shown.good.filter(pl.col("image_name").is_in(names)), made.images, self.at, self._counted("bill images"),
        )  # fmt: skip
        failed = images.filter(pl.col("state") == "failed")
        if failed.height and own.outbound.when_image_missing == "hold":
            words = failed.select("invoice_number", trouble=pl.format("image not sent: {}", "reason"))
            going, more = prepare.hold(going, words, self.at)
            held = pl.concat([held, more])
        files = prepare.files(made.desk, going, self.at, KIND)
        seen = pl.concat([empty(IMAGES), made.shown.seen, images])
        self._keep(made, empty(GUARDS), held, seen, files)
        for composed in files:
            line = dict.fromkeys(FILES) | composed.file | {"moves": 0}
            self.touched.append(self.sender.send(line, self.at))
        return Sent(self._plan() if files else made, self._result(made, empty(GUARDS), held, seen))

    def _keep(
        self, made: Plan, found: pl.DataFrame, held: pl.DataFrame, seen: pl.DataFrame, files: list[Any]
    ) -> None:
        self.outbox.compose(files, empty(APPLIED), made.at, seen, found, held)

    def _counted(self, words: str) -> Callable[[int, int], None] | None:
        told = self._progress
        return (lambda done, of: told(words, done, of)) if told else None

    def _result(
        self, made: Plan, found: pl.DataFrame, held: pl.DataFrame, images: pl.DataFrame | None = None
    ) -> PublishResult:
        files = told_of(self.touched)
        with self.outbox.staging.open() as connection:
            taken = sql.accepted(connection, [file["file_id"] for file in files])
        seen = made.shown.seen if images is None else images
        return PublishResult(
            biller=self.biller, as_of=self.at, status=status_of(files, found, bool(held.height)), records=taken[0], amount=taken[1],
            files=files, held=held.group_by("reason").agg(records=pl.len()).sort("reason").to_dicts(),
            guards=found.select("guard", "record_type", "invoice_number", "sentence").to_dicts(),
            images=dict(seen["state"].value_counts().sort("state").iter_rows()),
        )  # fmt: skip


def refuse_incomplete(made: Plan) -> None:
    """Raises Stop if the lists are not whole or contradict each other: then nothing may be sent."""
    if made.lists.aside:
        words = [word for file in made.lists.files for word in file.aside][:_SHOWN]
        raise Stop(
            f"{made.biller}: {made.lists.aside} rows are set aside, so the lists are not complete and nothing is sent: "
            f"{' '.join(word + '.' for word in words)}",
            reason="incomplete_lists",
        )
    wrong = made.conversion.refusals
    if wrong.height:
        more = f" And {wrong.height - _SHOWN} more." if wrong.height > _SHOWN else ""
        raise Stop(
            f"{made.biller}: the lists contradict each other, nothing is sent: "
            f"{' '.join(wrong['sentence'].head(_SHOWN))}{more}",
            reason="contradiction",
        )


def refuse_open(biller: str, files: list[File]) -> None:
    """Raises Stop if any file of the outbox is not settled: what IC has must be known before a conversion."""
    open_files = [file for file in files if file["state"] in OPEN]
    if open_files:
        words = " ".join(_what_to_do(biller, file) for file in open_files[:_SHOWN])
        raise Stop(
            f"{biller}: {len(open_files)} files of the outbox are not settled, and this waits for them. {words}",
            reason="outbox_open",
        )


def _what_to_do(biller: str, file: File) -> str:
    name = f"{file['file_id']} ({file['kind']}) is {file['state']}"
    if file["state"] == "unknown":
        return f"{name}: icflows publish --biller {biller} asks InvoiceCloud about it from {file['settle_after']:%Y-%m-%d %H:%M} UTC on."
    if file["state"] in ("undecided", "refused"):
        return f"{name}: a person decides, icflows outbox decide {file['file_id']} --biller {biller}."
    return f"{name}: icflows publish --biller {biller} sends it; if it must not go, icflows outbox decide {file['file_id']} drop."


def _refuse_other_number(made: Plan, confirm_deletes: int | None) -> None:
    """Whoever confirms a number that is not the number has looked at another plan. (Run again, none are left.)"""
    if confirm_deletes is not None and made.deletes and confirm_deletes != made.deletes:
        raise Stop(
            f"{made.biller}: {confirm_deletes} deletes are confirmed, but {made.deletes} would be sent; "
            "look at the plan again, nothing was sent",
            reason="other_number",
        )
