"""Settings: icflows.toml, environment, Prefect Secret blocks. The only reader of any of them.

Frozen once read. Unknown keys are refused with the nearest known one; a wrong value names its field.
Secrets are references (`env:NAME`, `secret-block:NAME`), resolved only at the moment of use.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tasks.errors import SettingsError
from tasks.invoicecloud.catalogue import FeedSpec, feed_names, feed_spec
from tasks.nearest import unknown_keys

DEFAULT_FILE = "icflows.toml"
_SECRET = re.compile(r"^(env|secret-block):([A-Za-z0-9_-]+)$")
_GUID = r"^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Storage(Section):
    """Folders; relative ones start at the settings file."""

    staging: Path = Path("var/staging")
    archive: Path = Path("var/archive")
    snapshots: Path = Path("var/snapshots")
    reports: Path = Path("var/reports")
    keep_snapshots: int = Field(48, ge=1)
    keep_days: int = Field(30, ge=1)
    mask_personal_data: bool = True
    lock_timeout_seconds: float = Field(60, ge=0)


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

    @field_validator("password", "key")
    @classmethod
    def _reference(cls, text: str) -> str:
        return _checked_reference(text) if text else text


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


class Settings(BaseSettings):
    """All of icflows.toml. Environment variables ICFLOWS__SECTION__KEY win over the file."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="ICFLOWS__",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )
    file: Path
    storage: Storage = Storage()
    alerts: Alerts = Alerts()
    billers: dict[str, Biller] = Field(min_length=1)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file; no .env files, no secret folders."""
        return env_settings, init_settings

    @field_validator("billers")
    @classmethod
    def _names(cls, billers: dict[str, Biller]) -> dict[str, Biller]:
        for name in billers:
            if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", name):
                raise ValueError(
                    f"'{name}': a biller's name is lower case letters, digits and dashes (it names files)"
                )
        return billers

    def biller(self, name: str) -> Biller:
        """The biller called `name`; SettingsError lists the known ones."""
        if name not in self.billers:
            raise SettingsError(
                f"there is no biller '{name}' in {self.file}; known: {', '.join(sorted(self.billers))}"
            )
        return self.billers[name]

    def only_biller(self) -> str:
        """The name of the one biller there is; SettingsError if there are several."""
        if len(self.billers) > 1:
            raise SettingsError(
                f"which biller? name it with --biller; known: {', '.join(sorted(self.billers))}"
            )
        return next(iter(self.billers))

    def feed(self, biller: str, feed: str) -> FeedSpec:
        """The catalogue's entry with this biller's override."""
        where = f"{self.file.name} [billers.{biller}.feeds.{feed}]"
        return feed_spec(feed, self.biller(biller).feeds.get(feed), where=where)

    def folder(self, which: Literal["staging", "archive", "snapshots", "reports"]) -> Path:
        """An absolute storage folder."""
        path: Path = getattr(self.storage, which)
        return (self.file.parent / path).resolve()


def _checked_reference(text: str) -> str:
    if not _SECRET.match(text):
        raise ValueError("must be 'env:NAME' or 'secret-block:NAME'; a key never stands in a file")
    return text


def table_name(feed: str) -> str:
    """'ach-rejects' (as typed) → 'ach_rejects' (the table); SettingsError if there is no such feed."""
    name = feed.replace("-", "_")
    if name not in feed_names():
        known = ", ".join(n.replace("_", "-") for n in feed_names())
        raise SettingsError(f"there is no feed '{feed}'; known: {known}")
    return name


def load_settings(file: Path | str | None = None) -> Settings:
    """Reads and checks the settings file (argument, else ICFLOWS_CONFIG, else icflows.toml).

    Raises SettingsError with one line per problem: file, field, cause, nearest known key.
    """
    path = Path(file or os.environ.get("ICFLOWS_CONFIG") or DEFAULT_FILE).resolve()
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"no settings file at {path}; write one (README, Settings) or name it with --config"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not readable as TOML: {error}") from None
    _refuse_unknown_variables(path)
    for biller in data.get("billers", {}).values():
        if isinstance(biller, dict) and isinstance(biller.get("wsdl"), str):
            biller["wsdl"] = str(path.parent / biller["wsdl"])
    try:
        settings = Settings(**{**data, "file": path})
    except ValidationError as error:
        raise SettingsError(unknown_keys(error, Settings, path.name)) from None
    for name, biller in settings.billers.items():
        for feed in biller.feeds:
            settings.feed(name, table_name(feed))
    return settings


def _refuse_unknown_variables(path: Path) -> None:
    """A misspelt ICFLOWS__… variable would be passed over in silence."""
    known = [name for name in Settings.model_fields if name != "file"]
    for name in os.environ:
        section = name.removeprefix("ICFLOWS__").split("__")[0].lower()
        if name.startswith("ICFLOWS__") and section not in known:
            near = difflib.get_close_matches(section, known, n=1, cutoff=0.5)
            hint = f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"
            raise SettingsError(f"{path.name}: environment variable {name} names no section{hint}")


def secret(reference: str) -> SecretStr:
    """Resolves `env:NAME` or `secret-block:NAME`. Raises SettingsError naming the reference, never the value."""
    match = _SECRET.match(reference)
    if not match:
        raise SettingsError("a secret must be given as 'env:NAME' or 'secret-block:NAME'")
    kind, name = match.groups()
    if kind == "env":
        value = os.environ.get(name, "")
        if not value:
            raise SettingsError(f"the environment variable {name} is not set; export it before the run")
        return SecretStr(value)
    return SecretStr(_secret_block(name))


def _secret_block(name: str) -> str:
    from prefect.blocks.system import Secret  # only a reference of this kind costs Prefect's import

    try:
        return str(Secret.load(name, _sync=True).get())  # type: ignore[union-attr, call-arg]
    except Exception as error:  # no API, no block, no right: Prefect, httpx and pydantic each have their own
        raise SettingsError(
            f"the Prefect Secret block '{name}' cannot be read ({type(error).__name__}); "
            f"create it in the UI under Blocks, or use env:NAME"
        ) from None


def alert_urls(settings: Settings) -> list[str]:
    """Apprise URLs with references resolved."""
    return [secret(url).get_secret_value() if _SECRET.match(url) else url for url in settings.alerts.urls]
