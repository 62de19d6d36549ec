"""The exception tree. Vendor errors are translated into it once, where the vendor lives.

    IcflowsError                 everything this project raises on purpose
    ├── Retry                    may pass by itself: the whole window is asked for again
    │   ├── NotSent              certainly never taken: no connection, or 429; may be sent again at once
    │   ├── Unreachable          no connection, reset, closed without an answer
    │   ├── DeadlineExceeded     the total deadline ran out (hang, stall, drip)
    │   ├── Throttled            429 or 503; carries the seconds the server asked for
    │   ├── ServerTrouble        a SOAP fault or HTTP 5xx that names a time-out or deadlock
    │   ├── TruncatedAnswer      fewer bytes than promised, cut gzip, unfinished chunk
    │   ├── StagingBusy          another process holds the biller's staging
    │   └── StorageTrouble       the disk is full or refuses to write; works again when there is space
    └── Stop                     a person must look: asking again changes nothing
        ├── SettingsError        a setting is wrong; names the field and the cure
        ├── CredentialError      key or login refused (never retried: lock-out)
        ├── RequestRefused       the server understood and refused (window, operation)
        ├── BadAnswer            bytes that are no report: hostile, malformed, of another operation
        ├── SchemaDrift          a column of the contract is missing or has another type
        ├── StagingDamaged       the store and its journal disagree
        └── ControlTotalError    counts or sums do not balance between two steps
A wrong row raises nothing: it is set aside by `checks.quarantine` with its reasons.
"""

from __future__ import annotations


class IcflowsError(Exception):
    """Base of all. `reason` is a short machine word that goes into poll.runs and alerts."""

    reason = "error"

    def __init__(self, message: str, *, reason: str | None = None, http_status: int | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status
        if reason:
            self.reason = reason


class Retry(IcflowsError):
    """May pass by itself; nothing was staged."""

    reason = "retry"


class NotSent(Retry):
    """The request was certainly not taken: no byte of it left, or the server turned it away unread.

    `retry_after` in seconds, as far as the server said.
    """

    reason = "not_sent"

    def __init__(
        self, message: str, *, retry_after: float | None = None, http_status: int | None = None
    ) -> None:
        super().__init__(message, http_status=http_status)
        self.retry_after = retry_after


class Unreachable(Retry):
    reason = "unreachable"


class DeadlineExceeded(Retry):
    reason = "deadline"


class Throttled(Retry):
    """429 or 503. `retry_after` in seconds, as far as the server said."""

    reason = "throttled"

    def __init__(self, message: str, *, retry_after: float | None, http_status: int) -> None:
        super().__init__(message, reason=f"http_{http_status}", http_status=http_status)
        self.retry_after = retry_after


class ServerTrouble(Retry):
    reason = "server_trouble"


class TruncatedAnswer(Retry):
    reason = "truncated"


class StagingBusy(Retry):
    reason = "staging_busy"


class StorageTrouble(Retry):
    reason = "disk_full"


class Stop(IcflowsError):
    """Asking again changes nothing: a person must look."""

    reason = "stop"


class SettingsError(Stop):
    reason = "settings"


class CredentialError(Stop):
    reason = "credentials"


class RequestRefused(Stop):
    reason = "refused"


class BadAnswer(Stop):
    reason = "bad_answer"


class SchemaDrift(Stop):
    reason = "schema_drift"


class StagingDamaged(Stop):
    reason = "staging_damaged"


class ControlTotalError(Stop):
    reason = "control_total"
