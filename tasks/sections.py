"""The sections of icflows.toml as frozen models. tasks/settings.py reads them; nobody else does."""

from __future__ import annotations

import re
from datetime import datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

SECRET = re.compile(r"^(env|secret-block):([A-Za-z0-9_-]+)$")
_GUID = r"^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"


def _checked_reference(text: str) -> str:
    if not SECRET.match(text):
        raise ValueError("must be 'env:NAME' or 'secret-block:NAME'; a key never stands in a file")
    return text


def _checked_networks(texts: list[str]) -> list[str]:
    for text in texts:
        try:
            ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"'{text}' is no address or network such as 10.0.0.0/8") from None
    return texts


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Storage(Section):
    """Folders; relative ones start at the settings file."""

    staging: Path = Path("var/staging")
    archive: Path = Path("var/archive")
    snapshots: Path = Path("var/snapshots")
    reports: Path = Path("var/reports")
    service: Path = Path("var/service")
    keep_snapshots: int = Field(48, ge=1)
    keep_days: int = Field(30, ge=1)
    mask_personal_data: bool = True
    lock_timeout_seconds: float = Field(60, ge=0)


class Service(Section):
    """`icflows serve`: where it listens, where it keeps what it was told, what it refuses."""

    host: str = "127.0.0.1"
    port: int = Field(8443, ge=0, le=65535)
    database: str = ""  # "" = SQLite below storage.service; else a reference to a PostgreSQL URL
    certificate: Path | None = None  # PEM files; without them plain HTTP, on loopback alone
    certificate_key: Path | None = None
    public_url: str = ""  # what the WSDLs name; "" = the address that the caller used
    trusted_proxies: list[str] = []  # addresses or networks whose X-Forwarded-For counts
    max_body_bytes: int = Field(65_536, ge=1024, le=16_777_216)
    head_seconds: float = Field(0.9, gt=0)  # for the request's head, from its first moment
    body_seconds: float = Field(0.9, gt=0)  # for its body
    max_connections: int = Field(512, ge=1)
    wrong_keys: int = Field(10, ge=1)  # from one address within wrong_keys_seconds: refused unread after that
    wrong_keys_seconds: float = Field(60, gt=0)

    @field_validator("database")
    @classmethod
    def _reference(cls, text: str) -> str:
        return _checked_reference(text) if text else text

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, texts: list[str]) -> list[str]:
        return _checked_networks(texts)

    @model_validator(mode="after")
    def _both_or_neither(self) -> Service:
        if bool(self.certificate) != bool(self.certificate_key):
            raise ValueError("certificate and certificate_key belong together")
        return self


class Inbound(Section):
    """What IC may call for one biller: keys, addresses, and how pushes are read and handed to IMT."""

    keys: list[str] = Field(min_length=1)  # references; two while a key is being changed
    header: str = Field("X-Service-Key", pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")
    addresses: list[str] = []  # addresses or networks that may call; empty: any with the key
    push_fields: dict[
        str, dict[str, Any]
    ] = {}  # any row of tasks/invoicecloud/columns/pushes.toml, overridden
    pushed_minutes: float = Field(240, gt=0)  # so long a push that is not posted yet lowers the balance
    stale_minutes: float = Field(180, gt=0)  # IMT not heard for longer: no balance is answered
    pump_since: datetime | None = None  # pushes are expected of payments from then on (aware)
    handover: Path | None = None  # folder for files of postings to IMT; without it none are written
    handover_format: Literal["csv", "parquet"] = "csv"
    ack_minutes: float = Field(60, gt=0)  # a file not acknowledged by then is offered again

    @field_validator("keys")
    @classmethod
    def _references(cls, texts: list[str]) -> list[str]:
        return [_checked_reference(text) for text in texts]

    @field_validator("addresses")
    @classmethod
    def _networks(cls, texts: list[str]) -> list[str]:
        return _checked_networks(texts)

    @field_validator("pump_since")
    @classmethod
    def _aware(cls, moment: datetime | None) -> datetime | None:
        if moment is not None and moment.tzinfo is None:
            raise ValueError("needs a time zone, such as 2026-11-10T00:00:00Z")
        return moment


class Alerts(Section):
    """Where alerts go: Apprise URLs (json://, mailto://, slack://, msteams://, …) or references to them."""

    urls: list[str] = []


class Transport(Section):
    """Limits of one call to IC; seconds and bytes."""

    connect_seconds: float = Field(10, gt=0)
    deadline_seconds: float = Field(600, gt=0)
    max_bytes: int = Field(2_147_483_648, gt=0)
    max_ratio: int = Field(200, gt=1)
    tries: int = Field(3, ge=1, le=10)
    retry_seconds: float = Field(5, ge=0)
    max_retry_after_seconds: float = Field(300, ge=0)
    pause_seconds: float = Field(0.5, ge=0)
    soap: Literal["1.1", "1.2"] = "1.1"


class Sftp(Section):
    """The biller's SFTP directory at IC. The host key is pinned; an unknown one is refused."""

    host: str
    port: int = Field(22, ge=1, le=65535)
    username: str
    password: str = ""
    key: str = ""
    host_key: str
    directory: str = "/"
    connections: int = Field(4, ge=1, le=16)
    lanes: int = Field(2, ge=1, le=8)  # SFTP channels per connection; OpenSSH allows ten

    @field_validator("password", "key")
    @classmethod
    def _reference(cls, text: str) -> str:
        return _checked_reference(text) if text else text


class Outbound(Section):
    """What goes to IC: invoices and bill images. What IC has not published is an assumption and stands here."""

    layout: str = "assumed"  # a layout of tasks/invoicecloud/bif, or a TOML file beside the settings
    layout_overrides: dict[str, Any] = {}
    pdf_link: str = ""  # MIPS/APPS: https://…/{account_number}/{invoice_number}.pdf
    images: Path | None = None  # folder of IMT's bill images
    when_image_missing: Literal["hold", "send"] = "hold"
    source_names: Literal["checked", "free"] = "checked"  # must IMT's file bear the name that IC wants?
    image_name_pattern: str = r"[A-Za-z0-9-]{1,64}"  # of BID, account and invoice in an image's name
    settle_minutes: float = Field(30, gt=0)  # an upload without an answer is asked after not before
    looks_for_no: int = Field(2, ge=1, le=5)  # so many looks, settle_minutes apart, make a definite no
    not_found: str = "not found"  # IC's words for an invoice it does not have
    max_delete_share: float = Field(0.1, ge=0, le=1)  # of the live invoices, in one run
    max_deletes_always: int = Field(5, ge=0)  # so few may go whatever their share
    max_file_bytes: int = Field(268_435_456, gt=0)

    @field_validator("pdf_link")
    @classmethod
    def _link(cls, text: str) -> str:
        if text and not (text.startswith("https://") and "{invoice_number}" in text):
            raise ValueError(
                "must be an https address with {invoice_number} (and {account_number}, {bid}) in it"
            )
        return text

    @field_validator("image_name_pattern", "not_found")
    @classmethod
    def _pattern(cls, text: str) -> str:
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        return text


class Biller(Section):
    """One tenant: who it is at IC, where IC is, how its feeds differ from the catalogue."""

    product: Literal["spectrum", "mips-apps"]
    biller_guid: str = Field(pattern=_GUID)
    bid: str = Field(pattern=r"^[A-Za-z0-9]{1,32}$")
    web_service_key: str
    base_url: str
    time_zone: str
    invoice_format_guid: str = ""
    wsdl: Path | None = None
    drop_folder: Path | None = None  # IMT puts its files into <drop_folder>/invoices and /postings
    outbound: Outbound = Outbound()
    inbound: Inbound | None = None  # without it IC's calls for this biller are refused
    transport: Transport = Transport()
    sftp: Sftp | None = None
    feeds: dict[str, dict[str, Any]] = {}
    rules: dict[str, Any] = {}

    @field_validator("feeds")
    @classmethod
    def _feed_names(cls, feeds: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """'ach-rejects' and 'ach_rejects' are one feed; both together are a mistake."""
        names = [name.replace("-", "_") for name in feeds]
        if len(set(names)) < len(names):
            raise ValueError("one feed is configured twice, with a dash and with an underscore")
        return dict(zip(names, feeds.values(), strict=True))

    @field_validator("web_service_key")
    @classmethod
    def _reference(cls, text: str) -> str:
        return _checked_reference(text)

    @field_validator("base_url")
    @classmethod
    def _url(cls, text: str) -> str:
        if not re.match(r"^https?://[^/\s]+/", text if text.endswith("/") else text + "/"):
            raise ValueError("must be an http(s) address such as https://host/portal/webservices/")
        loopback = re.match(r"^http://(127\.\d+\.\d+\.\d+|localhost|\[::1\])(:\d+)?(/|$)", text)
        if text.startswith("http://") and not loopback:
            raise ValueError("must be https: the WebServiceKey travels in the body (http only on loopback)")
        return text if text.endswith("/") else text + "/"

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, text: str) -> str:
        if text not in available_timezones():
            raise ValueError("is no IANA time zone; write one such as America/Chicago")
        return text

    @property
    def zone(self) -> ZoneInfo:
        """The biller's business time zone."""
        return ZoneInfo(self.time_zone)
