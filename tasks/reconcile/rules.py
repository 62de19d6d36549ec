"""Rules of reconcile: rules.toml with a biller's overrides on top. Facts are data, behaviour is code."""

from __future__ import annotations

import difflib
import string
import tomllib
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal
from zoneinfo import available_timezones

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tasks.bank.csv_map import CsvMap
from tasks.errors import SettingsError
from tasks.nearest import unknown_keys

# What a sentence may speak of; each class fills those that it knows, the others print as "-".
FACTS = (
    "account", "action", "amount", "batch", "batch_total", "count", "date", "detail", "due", "exclusion", "file",
    "held", "ic_status", "imt_status", "invoice", "item_count", "line", "message", "net", "other", "payment_amount",
    "posted_account", "posted_invoice", "pushed", "record_type", "return_code", "since", "subject", "successor",
    "tender", "what",
)  # fmt: skip


class Section(BaseModel):
    """Frozen, and no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Code(Section):
    """One break class. `guard` = the feeds that must be complete before a break of it is closed."""

    name: str = Field(min_length=1)
    severity: Literal["LOW", "MED", "HIGH"]
    sentence: str = Field(min_length=1)
    sentences: dict[str, str] = {}  # where one class is found in several ways: the words for the others
    guard: tuple[str, ...] = ()
    grace_hours: float = Field(0, ge=0)
    grace_banking_days: int = Field(0, ge=0)
    grace_by_tender: dict[str, int] = {}
    grace_by_state: dict[str, float] = {}  # hours, where states of one class wait differently
    within_hours: float = Field(0, ge=0)  # two of a kind: so far apart at most, through one channel
    within_minutes: float = Field(0, ge=0)  # … and through different channels
    high_from_banking_days: int = Field(0, ge=0)  # HIGH from so many banking days on
    at_least: int = Field(1, ge=1)  # rows that it takes to show a break of the class
    high_within_banking_days: int = Field(0, ge=0)  # HIGH where the next draw is so near
    setup_banking_days: int = Field(0, ge=0)  # so long before a draw an enrolment must stand
    untold_hours: float | None = Field(None, ge=0)  # a change IC has not heard of is a break after so long

    @field_validator("sentence")
    @classmethod
    def _facts(cls, text: str) -> str:
        for name in placeholders(text):
            if name not in FACTS:
                raise ValueError(f"unknown fact '{{{name}}}'{_nearest(name, FACTS)}")
        return text

    @field_validator("sentences")
    @classmethod
    def _all_facts(cls, texts: dict[str, str]) -> dict[str, str]:
        return {name: cls._facts(text) for name, text in texts.items()}


class Feed(Section):
    """How often a feed is polled."""

    interval_hours: float = Field(gt=0)


class Finality(Section):
    """When a settled payment can no longer come back: calendar days, then banking days."""

    calendar_days: int = Field(ge=0)
    banking_days: int = Field(0, ge=0)


class Exclusion(Section):
    """Rows of a feed that no payment report names. Void after `expiry`: then they count as unidentified."""

    feed: Literal["settlements"]
    column: Literal["processor_reference", "merchant_account", "invoice_type"]
    starts_with: str = Field(min_length=1)
    support_origin: str
    owner: str = Field(min_length=1)
    expiry: date


class Reasons(Section):
    """What IMT writes as the reason of a posting that takes money back, in capitals."""

    returned: tuple[str, ...]
    charged_back: tuple[str, ...]
    refunded: tuple[str, ...]


class WeakKey(Section):
    """What a payment and a posting have in common besides the amount, so that a person may look. Void after `expiry`."""

    rank: int = Field(ge=1)  # 1 is the strongest
    same: tuple[
        Literal["account", "invoice", "account_digits", "invoice_digits", "reference_plain", "guid_plain",
                "account_as_invoice", "invoice_as_account"], ...,
    ] = Field(min_length=1)  # fmt: skip
    within_days: int = Field(ge=0, le=60)  # calendar days between payment and posting, either way
    words: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    expiry: date


class Suggestions(Section):
    """Which weak keys suggest a posting, and for how long a suggestion stands in place of the breaks."""

    after_banking_days: int = Field(ge=0)
    keys: dict[str, WeakKey]


class ReturnRates(Section):
    """How shares of returned debits are watched; the limits themselves are in checks/ach_return_codes.toml."""

    days: int = Field(ge=1)
    tenders: tuple[str, ...]
    alert_share: Decimal = Field(gt=0, le=1)


class DepositRules(Section):
    """How InvoiceCloud's deposits are found and what they are made of."""

    text_pattern: str = Field(min_length=1)  # regular expression on the bank's words
    account_last4: tuple[str, ...] = ()  # empty: lines of any account
    lag_banking_days: int = Field(ge=0)
    usual_lag_banking_days: int = Field(ge=0)
    covers_dates: int = Field(ge=1)
    tolerance: Decimal = Field(ge=0, decimal_places=2)
    fees: Literal["none", "added", "deducted"]
    exclusions_in_deposit: bool
    returns_in_batches: bool | None = None  # unset: as the settlements feed shows
    chargebacks_in_batches: bool | None = None
    refunds_in_batches: bool | None = None
    csv: CsvMap = CsvMap()  # how the bank writes its CSV

    @field_validator("text_pattern")
    @classmethod
    def _pattern(cls, text: str) -> str:
        try:
            pl.Series([""]).str.contains(text)
        except pl.exceptions.ComputeError as problem:
            raise ValueError("is no regular expression") from problem
        return text


class Rules(Section):
    """All rules of one biller."""

    zone: str
    tolerance: Decimal = Field(ge=0, decimal_places=2)
    fee_model: Literal["absorbed", "payer_paid_separate", "payer_paid_included"]
    void_statuses: tuple[str, ...]
    returned_statuses: tuple[str, ...]
    reversal_wait_banking_days: int = Field(ge=0)
    orphan_lookback_days: int = Field(ge=0)
    late_factor: float = Field(gt=0)
    pump_since: datetime | None = None  # pushes are expected of payments from then on; none before
    push_wait_hours: float = Field(gt=0)
    feeds: dict[str, Feed]
    finality: dict[str, Finality]
    exclusions: dict[str, Exclusion]
    deposits: DepositRules
    reasons: Reasons
    suggestions: Suggestions
    return_rates: ReturnRates
    codes: dict[str, Code]

    @field_validator("zone")
    @classmethod
    def _zone(cls, text: str) -> str:
        if text not in _zones():
            raise ValueError("is no IANA time zone; write one such as America/Chicago")
        return text

    @field_validator("pump_since")
    @classmethod
    def _aware(cls, moment: datetime | None) -> datetime | None:
        if moment is not None and moment.tzinfo is None:
            raise ValueError("needs a time zone, such as 2026-11-10T00:00:00Z")
        return moment

    def tender_grace(self, code: str) -> dict[str, int]:
        """Banking days of grace by tender; `default` for a tender without a line of its own."""
        rule = self.codes[code]
        return {"default": rule.grace_banking_days, **rule.grace_by_tender}

    def due_at(self, code: str, since: str) -> pl.Expr:
        """When a row known since `since` falls due: the class's hours, or those of the row's `state`."""
        rule = self.codes[code]
        hours = pl.lit(rule.grace_hours)
        if rule.grace_by_state:
            own = {state: float(value) for state, value in rule.grace_by_state.items()}
            hours = pl.col("state").replace_strict(own, default=rule.grace_hours, return_dtype=pl.Float64)
        return pl.col(since) + pl.duration(seconds=hours * 3600)


def overdue(due: str, since: str, as_of: datetime) -> pl.Expr:
    """Is a row past its due time? Exactly at it, not yet; without any grace, from the first moment."""
    return (pl.col(due) < pl.lit(as_of, pl.Datetime("us", "UTC"))) | (pl.col(due) <= pl.col(since))


def tender_days(grace: dict[str, int]) -> pl.Expr:
    """Banking days for the row's tender; `default` for any other."""
    return pl.col("tender").replace_strict(grace, default=grace["default"], return_dtype=pl.Int64)


def placeholders(sentence: str) -> list[str]:
    """Names between braces, in order."""
    try:
        return [name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None]
    except ValueError as problem:
        raise ValueError(f"sentence cannot be read: {problem}") from problem


def load_rules(overrides: Mapping[str, Any] | None = None) -> Rules:
    """rules.toml with `overrides` merged in, table by table. A wrong key: SettingsError, with the nearest."""
    defaults = _defaults()
    merged = _merge(defaults, overrides or {})
    for table in ("codes", "feeds"):  # closed sets; tenders and exclusions may be added
        for name in merged[table] if isinstance(merged[table], Mapping) else ():
            if name not in defaults[table]:
                raise SettingsError(f"rules: unknown key '{table}.{name}'{_nearest(name, defaults[table])}")
    try:
        return Rules.model_validate(merged)
    except ValidationError as problem:
        raise SettingsError(unknown_keys(problem, Rules, "rules")) from None


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


@cache
def _defaults() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("rules.toml").read_text("utf-8"))


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"
