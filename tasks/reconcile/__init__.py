"""Payments against postings, settlements and returns: pure Polars, frames in, frames out."""

from __future__ import annotations

from tasks.reconcile.banking_days import BankingCalendar
from tasks.reconcile.compare import StateTotalsError, reconcile
from tasks.reconcile.feeds import complete_feeds
from tasks.reconcile.history import advance
from tasks.reconcile.model import (
    ACH_REJECTS,
    BREAKS,
    EVENTS,
    HISTORY,
    ITEMS,
    PAYMENTS,
    POLLS,
    POSTINGS,
    SETTLEMENTS,
    STATES,
    TOTALS,
    Inputs,
    Outcome,
    empty,
)
from tasks.reconcile.rules import Rules, load_rules

__all__ = [
    "ACH_REJECTS",
    "BREAKS",
    "EVENTS",
    "HISTORY",
    "ITEMS",
    "PAYMENTS",
    "POLLS",
    "POSTINGS",
    "SETTLEMENTS",
    "STATES",
    "TOTALS",
    "BankingCalendar",
    "Inputs",
    "Outcome",
    "Rules",
    "StateTotalsError",
    "advance",
    "complete_feeds",
    "empty",
    "load_rules",
    "reconcile",
]
