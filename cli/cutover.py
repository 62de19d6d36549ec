"""`icflows doctor --cutover`: every conversion detail of the integration document, seen here or for a person to see.

cli/cutover.toml has the details; the checks here look at settings, staging, InvoiceCloud, SFTP and Prefect. What is
configured in IC's portal nobody but a person can see.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, model_validator

from cli.cutover_services import Ground, Seen, State, polled, service
from cli.deployed import schedule_of
from cli.doctor_inbound import seen_serving
from cli.finding import Finding
from ops.service import address
from tasks.errors import IcflowsError
from tasks.outbox.overview import conversion, sent_forms
from tasks.settings import Settings

FILE = Path(__file__).with_name("cutover.toml")
PORTAL = "IC portal → {path} (where this stands is assumed: IC's menus are not public)"
SAID = {"ok": "seen to be so", "fail": "seen not to be so", "person": "only a person can see it"}


class Detail(BaseModel):
    """One row of cli/cutover.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    what: str
    feature: str
    detail: str
    how: str
    key: str = ""
    portal: str = ""

    @model_validator(mode="after")
    def _one_way(self) -> Detail:
        if bool(self.key) == bool(self.portal):
            raise ValueError(f"{self.what}: either a check looks (key) or a person (portal)")
        return self


@dataclass(frozen=True)
class Step:
    """A detail with what was found: `seen` in words, `where` a person looks, `how` to cure or to look."""

    what: str
    feature: str
    detail: str
    state: State
    seen: str
    words: str
    where: str
    how: str

    def finding(self) -> Finding:
        """As a line of doctor."""
        words = f"{self.seen}: {self.words or self.where}"
        return Finding(
            f"{self.feature}: {self.what}", self.state, words, "" if self.state == "ok" else self.how
        )


@cache
def details() -> tuple[Detail, ...]:
    """The rows of cli/cutover.toml."""
    rows = tomllib.loads(FILE.read_text("utf-8"))["row"]
    return tuple(Detail.model_validate(row) for row in rows)


def walk(settings: Settings, biller: str, at: datetime) -> Iterator[Step]:
    """Every detail, in the document's order."""
    settings.biller(biller)
    ground = Ground(settings, biller, at)
    for detail in details():
        state, words = _look(ground, detail) if detail.key else ("person", "")
        where = PORTAL.format(path=detail.portal) if detail.portal else ""
        yield Step(
            detail.what, detail.feature, detail.detail, state, SAID[state], words, where,
            detail.how.replace("{biller}", biller).replace("{service}", address(settings)),
        )  # fmt: skip


def _look(ground: Ground, detail: Detail) -> Seen:
    key, _, argument = detail.key.partition(":")
    try:
        return CHECKS[key](ground, argument)
    except IcflowsError as error:
        return "fail", str(error)


def _hourly(ground: Ground, _: str) -> Seen:
    """Is the deployment there and its schedule on? Without a server nobody can tell."""
    seen = schedule_of(f"publish-invoices/invoices-{ground.biller}")
    if seen.active is None:
        return "person", seen.words
    return ("ok" if seen.active else "fail"), seen.words


def _sftp(ground: Ground, _: str) -> Seen:
    own = ground.settings.biller(ground.biller)
    if own.sftp is None:
        return "fail", f"there is no [billers.{ground.biller}.sftp]"
    from tasks.sftp import reachable  # paramiko costs 0.2 s

    return "ok", reachable(own.sftp)


def _no_links(ground: Ground, _: str) -> Seen:
    """Our side of PDF remote linking: settings, and what was sent since."""
    own, sent = ground.settings.biller(ground.biller), sent_forms(ground.settings, ground.biller)
    if own.product != "spectrum":
        return "fail", f'the product is still "{own.product}"'
    if own.outbound.pdf_link:
        return "fail", "outbound.pdf_link is still set"
    if sent.links:
        return "fail", f"{sent.links} records of Spectrum's files carry a link"
    return "ok", "the product is spectrum and no record of its files carries a link"


def _guid(ground: Ground, _: str) -> Seen:
    """The setting, and the bills of the last accepted file."""
    wanted = ground.settings.biller(ground.biller).invoice_format_guid
    if not wanted:
        return "fail", "invoice_format_guid is not set"
    sent = sent_forms(ground.settings, ground.biller)
    if sent.file_id is None:
        return (
            "person",
            "invoice_format_guid is set; no file with bills was accepted yet, so look again after the first",
        )
    if sent.guids != [wanted]:
        return "fail", f"bills in {sent.file_id} carry another format GUID, or none"
    return "ok", f"invoice_format_guid is set and stands in every bill of {sent.file_id}"


def _converted(ground: Ground, _: str) -> Seen:
    """The conversion files, and the looks at each of their invoices."""
    told = conversion(ground.settings, ground.biller)
    if not told.files:
        return _not_sent(ground, told.open_at_ic)
    if told.open:
        return "fail", f"not settled: {', '.join(f'{name} is {state}' for name, state in told.open.items())}"
    if told.rejected or told.contradicted:
        words = (
            f"IC refused {told.rejected} of {told.records} records, and shows {told.contradicted} otherwise"
        )
        return "fail", words
    if told.seen < told.records:
        return "fail", f"{told.records - told.seen} of {told.records} records are not seen at IC yet"
    return "ok", f"IC shows all {told.records} records as sent, the last in {told.files[0]}"


def _not_sent(ground: Ground, listed: int) -> Seen:
    """Nothing was sent: not yet, or nothing had to be, and then the signed report says so."""
    reports = sorted((ground.settings.folder("reports") / ground.biller).glob("conversion-*.html"))
    if reports:
        return "person", f"no conversion file was ever sent; {reports[-1]} says why"
    known = f"{listed} invoices are on IC's list" if listed else "IC's list was not loaded"
    return "fail", f"no conversion file was ever composed; {known}"


def _accounts(ground: Ground, _: str) -> Seen:
    told = conversion(ground.settings, ground.biller)
    if not told.files:
        return "person", "no conversion file was composed yet; icflows convert refuses another account number"
    if told.other_account:
        return "fail", f"{told.other_account} of {told.records} records have another account than at IC"
    return "ok", f"all {told.records} records have the account that IC has, as far as it was listed or seen"


def _serves(ground: Ground, what: str) -> Seen:
    good, words = seen_serving(ground.settings, ground.biller, ground.at, what)
    return ("ok" if good else "fail"), words


CHECKS: Mapping[str, Callable[[Ground, str], Seen]] = {
    "hourly": _hourly,
    "polled": polled,
    "feed": service,
    "sftp": _sftp,
    "no_links": _no_links,
    "guid": _guid,
    "converted": _converted,
    "accounts": _accounts,
    "serves": _serves,
}
