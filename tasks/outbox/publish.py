"""publish: one run of a biller's outbox. Settle, send what is left, compose, guard, send images, send files.

May be killed anywhere and run again at any time; two runs at once wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import polars as pl

from tasks.errors import CredentialError, IcflowsError, Retry, StagingBusy, StorageTrouble
from tasks.invoicecloud.operations import Operations
from tasks.outbox import guards, pictures, prepare
from tasks.outbox.history import History
from tasks.outbox.model import APPLIED, GUARDS, HELD, IMAGES, RECORDS, empty, shaped
from tasks.outbox.sender import InvoiceCloud, Sender
from tasks.outbox.store import Outbox
from tasks.pull import archive_of, staging_of
from tasks.settings import Settings
from tasks.staging import outbox as sql
from tasks.staging.outbox_images import known_images

Progress = Callable[[str, int, int], None]
Status = Literal["sent", "nothing", "waiting", "blocked", "refused"]
_TOLD = (
    "file_id", "kind", "state", "records", "amount", "records_rejected", "receipt_id", "reason", "message",
)  # fmt: skip
_WHOLE = (StagingBusy, StorageTrouble, CredentialError)  # these stop the run; others concern one file


@dataclass(frozen=True)
class PublishResult:
    """What a flow may know of a run: counts, sums, file ids, reasons. No person, no key.

    status: sent | nothing | waiting (held, unknown or not let in) | blocked (guards) | refused (IC said no).
    """

    biller: str
    as_of: datetime
    status: Status = "nothing"
    records: int = 0
    amount: Decimal = Decimal("0.00")
    files: list[dict[str, Any]] = field(default_factory=list)
    held: list[dict[str, Any]] = field(default_factory=list)
    guards: list[dict[str, Any]] = field(default_factory=list)
    images: dict[str, int] = field(default_factory=dict)
    recalls_not_obeyed: int = 0
    troubles: list[str] = field(default_factory=list)


def outbox_of(settings: Settings, biller: str) -> Outbox:
    """The biller's outbox."""
    return Outbox(staging_of(settings, biller), History(archive_of(settings, biller)))


def sender_of(settings: Settings, biller: str, ic: InvoiceCloud | None = None) -> Sender:
    """A sender for the biller's outbox, over the real services unless `ic` is given."""
    own = settings.biller(biller)
    return Sender(
        outbox_of(settings, biller), ic or Operations(own, archive_of(settings, biller)), own.outbound
    )


def publish(
    settings: Settings,
    biller: str,
    as_of: datetime,
    *,
    ic: InvoiceCloud | None = None,
    progress: Progress | None = None,
) -> PublishResult:
    """Runs once. Raises CredentialError, StagingBusy, StorageTrouble, SettingsError; all else is in the result."""
    return Run(settings, biller, as_of, sender_of(settings, biller, ic), progress).go()


class Run:
    """One run, step by step."""

    def __init__(
        self, settings: Settings, biller: str, at: datetime, sender: Sender, progress: Progress | None
    ) -> None:
        self.settings, self.biller, self.at, self.sender = settings, biller, at, sender
        self.own = settings.biller(biller)
        self.desk = prepare.desk(self.own, settings.file.parent)
        self.outbox = sender.outbox
        self._progress = progress
        self.touched: dict[str, dict[str, Any]] = {}
        self.troubles: list[str] = []
        self.held = empty(HELD)
        self.found = empty(GUARDS)
        self.images = empty(IMAGES)

    def go(self) -> PublishResult:
        """All steps, alone on the outbox."""
        with self.outbox.alone(self.settings.storage.lock_timeout_seconds):
            self.sender.recover(self.at)
            self._settle()
            self._take_back()
            self._compose()
            if self.found.is_empty():
                self._send()
            not_obeyed = self._recalls()
        return self._result(not_obeyed)

    def _settle(self) -> None:
        for file in self.outbox.files("unknown"):
            if file["settle_after"] <= self.at:
                self.sender.progress = self._counted(f"looks at IC for {file['file_name']}")
                try:
                    self._touch(self.sender.settle(file, self.at))
                except _WHOLE:
                    raise
                except IcflowsError as error:
                    self.troubles.append(f"{file['file_id']} is not settled: {error}")

    def _take_back(self) -> None:
        """A file that waited composed, and which IMT has overtaken so that a guard would stop it now: its events

        wait again, and what is right by now is composed anew. (A conversion stands on lists, not on events.)
        """
        waiting = [file for file in self.outbox.files("composed") if file["kind"] != "convert"]
        for file in waiting:
            with self.outbox.staging.open() as connection:
                records = sql.records(connection, file["file_id"])
                ground = prepare.ground_of(connection, self.desk, records["invoice_number"])
            found = guards.findings(records, ground, self.at).filter(pl.col("guard") != "delete_share")
            if found.height:
                lines = records["line_no"].to_list()
                told = found["sentence"][0]
                self.outbox.move(
                    file, "dropped", self.at, "run", "overtaken", told, requeued=lines, settled_at=self.at
                )

    def _send(self) -> None:
        """Sends what is composed, the oldest first."""
        for file in self.sender.send_all(self.at):
            self._touch(file)

    def _compose(self) -> None:
        """Makes files of what waits; on a guard's finding nothing is made at all."""
        with self.outbox.staging.open() as connection:
            waiting = prepare.read(connection, self.desk)
        shown = pictures.look(self.own, waiting.records, waiting.images, self._known, self.at)
        troubles = [prepare.in_flight(waiting), prepare.unwritable(self.desk, shown.records)]
        strict = self.own.outbound.when_image_missing == "hold"
        troubles += [shown.troubled] if strict else []
        going, held = prepare.hold(shown.records, pl.concat(troubles), self.at)
        self.found = guards.findings(going, waiting.ground, self.at)
        self.images, self.held = shown.seen, held
        if self.found.height:
            self._keep(empty(APPLIED), [])
            return
        going = self._send_images(going, shown, waiting.images, strict)
        made = prepare.files(self.desk, going, self.at)
        records = pl.concat([empty(RECORDS), *(m.records for m in made)])
        in_file = (
            records.select("event_id", "invoice_number", "file_id", version="event_version")
            .unique(["event_id", "version"], keep="first", maintain_order=True)
            .with_columns(outcome=pl.lit("in_file"))
        )
        applied = pl.concat([shaped(in_file, APPLIED), waiting.applied]).with_columns(at=pl.lit(self.at))
        self._keep(applied, made)

    def _send_images(
        self, going: pl.DataFrame, shown: pictures.Pictures, kept: pl.DataFrame, strict: bool
    ) -> pl.DataFrame:
        """Sends the images of the records that go; returns those that still go."""
        good = shown.good.filter(pl.col("image_name").is_in(going["image_name"].implode()))
        archive = archive_of(self.settings, self.biller).folder
        try:
            sent = pictures.send(self.own, archive, good, kept, self.at, self._counted("bill images"))
            failed = sent.filter(pl.col("state") == "failed").select("invoice_number", "reason")
            self.images = pl.concat([shown.seen, sent])
        except (Retry, CredentialError) as error:  # the SFTP server as a whole: what needs no image goes on
            if isinstance(error, StorageTrouble):
                raise
            self.troubles.append(f"bill images could not be sent: {error}")
            failed = good.select("invoice_number", reason=pl.lit(str(error)))
        if failed.is_empty():
            return going
        if not strict:
            unsent = pl.col("invoice_number").is_in(failed["invoice_number"].implode())
            return going.with_columns(image_name=pl.when(~unsent).then(pl.col("image_name")))
        words = failed.select("invoice_number", trouble=pl.format("image not sent: {}", "reason"))
        going, more = prepare.hold(going, words, self.at)
        self.held = pl.concat([self.held, more])
        return going

    def _known(self, strays: pl.DataFrame) -> pl.Series:
        with self.outbox.staging.open() as connection:
            return known_images(connection, strays)

    def _keep(self, applied: pl.DataFrame, made: list[Any]) -> None:
        self.outbox.compose(made, applied, self.at, self.images, self.found, self.held)

    def _recalls(self) -> int:
        """Were recalls obeyed? A trouble here is told, and asked again in the next run."""
        self.sender.progress = self._counted("looks at recalled invoices")
        try:
            return self.sender.look_at_recalls(self.at)
        except _WHOLE:
            raise
        except IcflowsError as error:
            self.troubles.append(f"recalled invoices could not be looked at: {error}")
            return 0

    def _counted(self, words: str) -> Callable[[int, int], None] | None:
        told = self._progress
        return (lambda done, of: told(words, done, of)) if told else None

    def _touch(self, file: dict[str, Any]) -> None:
        self.touched[file["file_id"]] = file

    def _result(self, not_obeyed: int) -> PublishResult:
        files = told_of(self.touched.values())
        with self.outbox.staging.open() as connection:
            taken = sql.accepted(connection, [file["file_id"] for file in files])
        return PublishResult(
            biller=self.biller, as_of=self.at, status=status_of(files, self.found, bool(self.held.height or self.troubles)),
            records=taken[0], amount=taken[1], files=files,
            held=self.held.group_by("reason").agg(records=pl.len()).sort("reason").to_dicts() if self.held.height else [],
            guards=self.found.select("guard", "record_type", "invoice_number", "sentence").to_dicts(),
            images=dict(self.images["state"].value_counts().sort("state").iter_rows()) if self.images.height else {},
            recalls_not_obeyed=not_obeyed, troubles=self.troubles,
        )  # fmt: skip


def told_of(files: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a result tells of files of the outbox."""
    return [{name: file[name] for name in _TOLD} for file in files]


def status_of(files: list[dict[str, Any]], found: pl.DataFrame, waits: bool) -> Status:
    """One word for a run: its files, what guards found, whether anything was held or went wrong."""
    states = {file["state"] for file in files}
    if found.height:
        return "blocked"
    if "refused" in states:
        return "refused"
    if waits or states - {"accepted"}:
        return "waiting"
    return "sent" if files else "nothing"
