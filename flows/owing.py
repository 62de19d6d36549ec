"""What is owed, brought to the service: after each file of IMT that changes it, and every few minutes in any case."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from flows.engine import task
from flows.pull_feed import may_pass
from tasks.errors import Retry
from tasks.settings import Settings, load_settings

log = logging.getLogger(__name__)
KINDS = ("invoice_events", "adjustments", "postings")  # files that change what is owed


@task(name="refresh-balances", retries=2, retry_delay_seconds=(5, 30), retry_condition=may_pass)
def refresh_balances(settings_file: str, biller: str, as_of: datetime) -> dict[str, Any]:
    """Staging → the service's store; only what new loads touched. Counts, no figures."""
    from tasks.inbound.refresh import refresh  # SQLAlchemy: 0.2 s that billers without calls do not need

    return refresh(load_settings(settings_file), biller, as_of).__dict__


def refresh_after(settings: Settings, biller: str, kind: str, as_of: datetime) -> dict[str, Any] | None:
    """After a file was loaded: None if nobody asks for balances. Trouble that may pass is left to the next run."""
    if kind not in KINDS or settings.biller(biller).inbound is None:
        return None
    try:
        return refresh_balances(str(settings.file), biller, as_of)
    except Retry as error:
        log.warning("%s: balances were not refreshed (%s); collect-pushes tries again", biller, error.reason)
        return {"error": error.reason}
