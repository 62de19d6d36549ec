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

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tasks.errors import SettingsError
from tasks.invoicecloud.catalogue import FeedSpec, feed_names, feed_spec
from tasks.nearest import unknown_keys
from tasks.sections import SECRET, Alerts, Biller, Inbound, Outbound, Service, Sftp, Storage, Transport

DEFAULT_FILE = "icflows.toml"
__all__ = [
    "Biller", "Inbound", "Outbound", "Service", "Settings", "Sftp", "Transport", "load_settings", "secret", "table_name",
]  # fmt: skip


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
    service: Service = Service()
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

    def folder(self, which: Literal["staging", "archive", "snapshots", "reports", "service"]) -> Path:
        """An absolute storage folder."""
        path: Path = getattr(self.storage, which)
        return (self.file.parent / path).resolve()


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
    for key in ("certificate", "certificate_key"):
        _below(data.get("service"), key, path.parent)
    for biller in data.get("billers", {}).values():
        if isinstance(biller, dict):
            _below(biller, "wsdl", path.parent)
            _below(biller, "drop_folder", path.parent)
            _below(biller.get("outbound"), "images", path.parent)
            _below(biller.get("inbound"), "handover", path.parent)
    try:
        settings = Settings(**{**data, "file": path})
    except ValidationError as error:
        raise SettingsError(unknown_keys(error, Settings, path.name)) from None
    for name, biller in settings.billers.items():
        for feed in biller.feeds:
            settings.feed(name, table_name(feed))
    return settings


def _below(table: Any, key: str, folder: Path) -> None:
    """A relative path in the file starts at the file."""
    if isinstance(table, dict) and isinstance(table.get(key), str):
        table[key] = str(folder / table[key])


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
    match = SECRET.match(reference)
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
    return [secret(url).get_secret_value() if SECRET.match(url) else url for url in settings.alerts.urls]
