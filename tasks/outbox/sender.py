"""Sends files and settles those without an answer. Safe to be killed between any two lines.

Before the request leaves, the file is `sending`; whoever finds it so later knows that IC may have it. It goes
out again only after looks, `settle_minutes` apart, all said no.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import polars as pl

from tasks.errors import ControlTotalError, CredentialError, IcflowsError, NotSent, SettingsError
from tasks.invoicecloud.answers import InvoiceView, UploadAnswer
from tasks.outbox.looks import file_verdict, judge
from tasks.outbox.model import LOOKS, shaped
from tasks.outbox.store import Outbox
from tasks.sections import Outbound
from tasks.staging import outbox as sql

File = dict[str, Any]
Progress = Callable[[int, int], None]


class Looks(Protocol):
    """A batch of questions."""

    def look(self, invoice_number: str) -> InvoiceView:
        """What IC shows of one invoice."""


class InvoiceCloud(Protocol):
    """The two operations (tasks.invoicecloud.operations.Operations)."""

    def upload(self, file_id: str, file_name: str, data: bytes, at: datetime) -> UploadAnswer:
        """UploadInvoice. NotSent and CredentialError: certainly not taken. Any other error: nobody knows."""

    def looks(self, look_id: str, at: datetime) -> AbstractContextManager[Looks]:
        """ViewInvoiceByInvoiceNumber, many times."""


@dataclass
class Sender:
    """Works on one biller's outbox, which the caller holds alone."""

    outbox: Outbox
    ic: InvoiceCloud
    outbound: Outbound
    progress: Progress | None = None

    @property
    def _delay(self) -> timedelta:
        return timedelta(minutes=self.outbound.settle_minutes)

    def recover(self, at: datetime) -> None:
        """What an earlier process left: noted moves are made; a file still `sending` has an unknown fate."""
        for file in self.outbox.catch_up():
            if file["state"] == "sending":
                self.outbox.move(
                    file, "unknown", at, "run", "sender_gone", looks=0, settle_after=at + self._delay
                )

    def send_all(self, at: datetime) -> list[File]:
        """Sends every composed file once, oldest first. Stops at the first that IC did not let in at all."""
        done = []
        for file in self.outbox.files("composed"):
            done.append(self.send(file, at))
            if done[-1]["state"] == "composed":
                break
        return done

    def send(self, file: File, at: datetime) -> File:
        """One file, one UploadInvoice; returns its line afterwards. CredentialError is raised after it is noted."""
        body = self.outbox.history.body(file["file_id"])
        if hashlib.sha256(body).hexdigest() != file["sha256"]:
            raise ControlTotalError(f"{file['file_id']}: the archive holds other bytes than were composed")
        file = self.outbox.move(file, "sending", at, "run", sent_at=at, attempt=file["attempt"] + 1)
        try:
            answer = self.ic.upload(file["file_id"], file["file_name"], body, at)
        except (NotSent, CredentialError, SettingsError) as error:
            file = self.outbox.move(file, "composed", at, "run", error.reason, message=str(error))
            if not isinstance(error, NotSent):
                raise
            return file
        except IcflowsError as error:
            return self.outbox.move(
                file, "unknown", at, "run", error.reason, looks=0, settle_after=at + self._delay, message=str(error),
            )  # fmt: skip
        return self._answered(file, answer, at)

    def _answered(self, file: File, answer: UploadAnswer, at: datetime) -> File:
        told: dict[str, Any] = {
            "answered_at": at, "receipt_id": answer.receipt_id, "records_accepted": answer.accepted,
            "records_rejected": answer.rejected, "message": answer.message,
        }  # fmt: skip
        if not answer.success:
            return self.outbox.move(file, "refused", at, "run", "refused", settled_at=at, **told)
        with self.outbox.staging.open() as connection:
            records = sql.records(connection, file["file_id"])
        rejected = rejected_lines(records, answer)
        if rejected is None:
            return self.outbox.move(
                file, "unknown", at, "run", "count_short", looks=0, settle_after=at + self._delay, **told,
            )  # fmt: skip
        return self.outbox.move(file, "accepted", at, "run", rejected=rejected, settled_at=at, **told)

    def settle(self, file: File, at: datetime) -> File:
        """Looks at each invoice of the file. An error leaves it unknown and is raised: ask again later."""
        with self.outbox.staging.open() as connection:
            records = sql.records(connection, file["file_id"])
            before = sql.before(connection, file["file_id"])
        looked = self.look(file["file_id"], records, before, at)
        verdict, looks = file_verdict(looked["verdict"]), file["looks"] + 1
        told = ", ".join(f"{n} {word}" for word, n in looked["verdict"].value_counts(sort=True).iter_rows())
        if verdict == "taken":
            return self.outbox.move(file, "accepted", at, "look", "looked", told, looks=looks, settled_at=at)
        if looks < self.outbound.looks_for_no:
            return self.outbox.move(
                file, "unknown", at, "look", verdict, told, looks=looks, settle_after=at + self._delay
            )
        to_state = "composed" if verdict == "not_taken" else "undecided"
        return self.outbox.move(file, to_state, at, "look", verdict, told, looks=looks, message=told)

    def look(
        self, file_id: str | None, records: pl.DataFrame, before: pl.DataFrame, at: datetime
    ) -> pl.DataFrame:
        """Looks at the invoices of `records`, keeps the looks, returns the records with `verdict`."""
        look_id = f"{at:%Y%m%dT%H%M%SZ}-{file_id or 'recalls'}"
        numbers = records["invoice_number"].to_list()
        views = []
        with self.ic.looks(look_id, at) as asking:
            for done, number in enumerate(numbers):
                views.append(_seen(asking.look(number)))
                if self.progress:
                    self.progress(done + 1, len(numbers))
        schema = {
            n: LOOKS[n]
            for n in ("found", "account_number", "total_amount_due", "balance_due", "due_date", "message")
        }
        seen = pl.DataFrame(views, schema=schema, orient="row").with_columns(record_id=records["record_id"])
        looked = judge(records, before, seen)
        kept = seen.with_columns(
            look_id=pl.lit(look_id), file_id=records["file_id"], invoice_number=records["invoice_number"],
            at=pl.lit(at), verdict=looked["verdict"],
        )  # fmt: skip
        self.outbox.keep_looks(shaped(kept, LOOKS), at)
        return looked

    def look_at_recalls(self, at: datetime) -> int:
        """Looks at accepted recalls that nobody saw obeyed yet; returns how many still are not."""
        with self.outbox.staging.open() as connection:
            records = sql.looks_due(connection, at - self._delay)
        if records.is_empty():
            return 0
        none = records.select(
            "invoice_number", "record_type", "total_amount_due", "balance_due", "due_date"
        ).head(0)
        looked = self.look(None, records, none, at)
        return int((looked["verdict"] != "yes").sum())


def _seen(view: InvoiceView) -> tuple[Any, ...]:
    return (
        view.found, view.account_number, view.total_amount_due, view.balance_due, view.due_date,
        view.message,
    )  # fmt: skip


def rejected_lines(records: pl.DataFrame, answer: UploadAnswer) -> list[tuple[int, str]] | None:
    """The lines that IC refused, with its words; None if the answer does not account for every record.

    An error names its line; where it also names an invoice, that one decides if it is in the file once.
    """
    errors = answer.errors
    if answer.accepted + answer.rejected != records.height or errors.height != answer.rejected:
        return None
    once = records.filter(pl.col("invoice_number").is_unique()).select("invoice_number", by_number="line_no")
    lines = records.select("line_no", on_line="invoice_number")
    found = errors.join(once, on="invoice_number", how="left", maintain_order="left").join(
        lines, on="line_no", how="left", maintain_order="left"
    )
    same = pl.col("invoice_number").is_null() | (pl.col("invoice_number") == pl.col("on_line"))
    line = pl.when(same & pl.col("on_line").is_not_null()).then("line_no").otherwise("by_number")
    found = found.with_columns(line=line)
    if found["line"].null_count() or found["line"].is_duplicated().any():
        return None
    return [
        (number, words or "refused without words") for number, words in found.select("line", "message").rows()
    ]
