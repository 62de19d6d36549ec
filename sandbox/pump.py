"""InvoiceCloud's Data Pump: sends a carrier's pushes to a receiver, again and again until each is acknowledged."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from urllib.parse import urlencode

import polars as pl

from sandbox.carrier import Carrier
from sandbox.line_out import TROUBLE, Door, Line, read_xml, soap_call
from sandbox.serving import BILLER_GUID

Form = Literal["form", "soap", "json"]
NAMESPACE = "urn:icflows:datapump"
# InvoiceCloud's names (the 18 of its payment post-back, then three that are assumed) and the carrier's columns.
POSTED = {
    "PaymentDate": "payment_date", "InvoiceNumber": "invoice_number", "Approved": "approved",
    "CustomerName": "customer_name", "CustomerAddress": "address", "CustomerCity": "city",
    "CustomerState": "state_code", "CustomerZip": "zip", "PaymentGUID": "payment_guid",
    "PaymentAmount": "payment_amount", "PaymentDescription": "payment_description",
    "PaymentTypeID": "payment_type_id", "CardType": "card_type", "PaymentMessage": "payment_message",
    "BillerReference": "biller_reference", "ConvenienceFee": "convenience_fee", "RemoteIP": "remote_ip",
}  # fmt: skip
ASSUMED = {"AccountNumber": "account_number", "PaymentSource": "payment_source", "AgentCode": "agent_code"}
_AGAIN_AFTER = pl.duration(seconds=90)


@dataclass
class PumpResult:
    """sent: acknowledged sendings · refused: push → status of those that the receiver will not have (no retry) ·
    receipts: push → receipt · unlike: pushes that got another receipt the second time · waiting: not yet
    acknowledged, tried again by the next call. A push is named `guid-variant`."""

    sent: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    receipts: dict[str, str] = field(default_factory=dict)
    unlike: list[str] = field(default_factory=list)
    waiting: int = 0


class Pump:
    """The pushes of a carrier on their way to `door`. Lost ones are never sent, others up to three times.

    `since`: only payments made from then on. `assumed`: with account, source and agent. `hasty`: so many of a
    thousand are cut off once before their answer can come, and sent again. `tries` with growing pauses (`pause`
    seconds at first) before a push is left for the next call.
    """

    def __init__(
        self,
        door: Door,
        carrier: Carrier,
        *,
        biller_guid: str = BILLER_GUID,
        since: datetime | None = None,
        assumed: bool = True,
        hasty: int = 0,
        tries: int = 4,
        pause: float = 0.05,
    ) -> None:
        self._door, self._guid, self._hasty = door, biller_guid, hasty
        self._tries, self._pause = tries, pause
        self._texts = _texts(carrier.table("pushes"), since or carrier.start, assumed)
        self._place, self._waiting = 0, list[int]()
        self._receipts: dict[str, str] = {}
        self._lock = threading.Lock()

    def push(self, until: datetime, form: Form = "form", threads: int = 2) -> PumpResult:
        """Sends what was due by `until` (aware) and is not acknowledged yet, on `threads` lines at once; the sendings
        of one payment in order of time, each after the one before it is answered."""
        due = int((self._texts["at"] <= until).sum())
        todo = sorted([*self._waiting, *range(self._place, due)])
        self._place, self._waiting = due, []
        of_payment: dict[str, list[int]] = {}
        for index, guid in zip(todo, self._texts["PaymentGUID"].gather(todo), strict=True):
            of_payment.setdefault(guid, []).append(index)
        result, work = PumpResult(), iter(of_payment.values())
        with ThreadPoolExecutor(threads, thread_name_prefix="pump") as pool:
            for running in [pool.submit(self._work, work, form, result) for _ in range(threads)]:
                running.result()
        result.waiting = len(self._waiting)
        return result

    def enrol(self, kind: Literal["autopay", "paperless"], account: str, on: bool, at: datetime) -> int:
        """Sends one enrolment push; the status of the answer. Raises OSError, HTTPException."""
        name = "AutoPay" if kind == "autopay" else "Paperless"
        fields = {
            "BillerGUID": self._guid, "AccountNumber": account, name: str(on), "InvoiceTypeID": "3",
            "OccurredAt": at.strftime("%Y-%m-%dT%H:%M:%S+00:00"),
        }  # fmt: skip
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        with closing(Line(self._door)) as line:
            return line.ask("POST", f"/datapump/{kind}", urlencode(fields).encode(), headers)[0]

    def _work(self, todo: Iterator[list[int]], form: Form, result: PumpResult) -> None:
        with closing(Line(self._door)) as line:
            while True:
                with self._lock:
                    sendings = next(todo, None)
                if sendings is None:
                    return
                for place, index in enumerate(sendings):
                    if not self._deliver(line, index, form, result):
                        with self._lock:
                            self._waiting += sendings[place:]
                        break

    def _deliver(self, line: Line, index: int, form: Form, result: PumpResult) -> bool:
        """Whether it was answered, with an acknowledgement or a refusal."""
        row = self._texts.row(index, named=True)
        name, hasty = str(row.pop("push")), int(row.pop("luck")) < self._hasty
        del row["at"]
        fields = {"BillerGUID": self._guid} | {key: text for key, text in row.items() if text is not None}
        rest, body, headers = _request(form, fields)
        if hasty:
            self._cut_off(line, rest, body, headers)
        for turn in range(self._tries):
            try:
                status, answer = line.ask("POST", rest, body, headers)
            except TROUBLE:
                status, answer = 0, b""
            if 0 < status < 500 and status != 429:
                self._answered(name, status, _receipt(status, answer, form), result)
                return True
            time.sleep(self._pause * 2**turn)
        return False

    def _cut_off(self, line: Line, rest: str, body: bytes, headers: dict[str, str]) -> None:
        try:
            line.send("POST", rest, body, headers)
        except TROUBLE:
            return
        line.close()

    def _answered(self, name: str, status: int, receipt: str, result: PumpResult) -> None:
        with self._lock:
            if not receipt:
                result.refused[name] = status
                return
            result.sent += 1
            result.receipts[name] = receipt
            if self._receipts.setdefault(name, receipt) != receipt:
                result.unlike.append(name)


def _texts(pushes: pl.DataFrame, since: datetime, assumed: bool) -> pl.DataFrame:
    """One row per sending in order of time: at, push, luck (0 to 999, the same in every run), and the fields as
    texts under InvoiceCloud's names; null where there is nothing to say."""
    rows = pushes.filter(~pl.col("lost") & (pl.col("payment_date") >= since)).with_columns(
        pl.int_ranges("times").alias("turn")
    )
    rows = rows.explode("turn").with_columns((pl.col("sent_at") + _AGAIN_AFTER * pl.col("turn")).alias("at"))
    named = POSTED | (ASSUMED if assumed else {})
    stamp = pl.col("payment_date").dt.strftime("%Y-%m-%dT%H:%M:%S%.3f+00:00")
    flag = pl.when("approved").then(pl.lit("True")).otherwise(pl.lit("False"))
    luck = pl.col("payment_guid").str.slice(0, 8).str.to_integer(base=16, dtype=pl.Int64) % 1_000
    return rows.sort("at", "payment_guid", "turn").select(
        "at",
        pl.format("{}-{}", "payment_guid", "variant").alias("push"),
        pl.when(pl.col("turn") == 0).then(luck).otherwise(1_000).alias("luck"),
        *(
            (
                stamp
                if column == "payment_date"
                else flag
                if column == "approved"
                else pl.col(column).cast(pl.String)
            ).alias(name)
            for name, column in named.items()
        ),
    )


def _request(form: Form, fields: dict[str, str]) -> tuple[str, bytes, dict[str, str]]:
    """Address, body and headers of a push."""
    if form == "soap":
        return "/DataPump.asmx", *soap_call(NAMESPACE, "PostPayment", fields)
    if form == "json":
        return "/datapump/payments", json.dumps(fields).encode(), {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return "/datapump/payments", urlencode(fields).encode(), headers


def _receipt(status: int, answer: bytes, form: Form) -> str:
    """The receipt of an acknowledged push; empty when it was not acknowledged."""
    if status != 200:
        return ""
    if form == "json":
        told = json.loads(answer)
        return str(told.get("receipt", "")) if told.get("success") is True else ""
    found = read_xml(answer)
    return found.get("Receipt", "") if found.get("Success") == "true" else ""
