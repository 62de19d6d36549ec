"""The service's own store: what InvoiceCloud pushed and asked, and what IMT says is owed. SQLite or PostgreSQL.

Single rows that must be on the disk before they are answered: so no DuckDB. Times are microseconds since 1970 in
UTC, money is cents, days are ISO text: both databases keep these alike. Every table begins with the biller.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData()
_SERIAL = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up by itself for INTEGER alone


def _biller() -> Column[str]:
    return Column("biller", String, primary_key=True)


# One content of one pushed payment. push_id = payment_guid (lower case) + "-" + variant.
pushes = Table(
    "pushes",
    metadata,
    _biller(),
    Column("push_id", String, primary_key=True),
    Column("payment_guid", String, nullable=False),
    Column("variant", Integer, nullable=False),
    Column("content_sha256", String, nullable=False),  # over the fields that were read, in one order
    Column("received_at", BigInteger, nullable=False),
    Column("last_seen_at", BigInteger, nullable=False),
    Column("times_seen", Integer, nullable=False),
    Column("form", String, nullable=False),
    Column("payment_date", BigInteger, nullable=False),
    Column("account_number", String),
    Column("invoice_number", String),
    Column("payment_amount", BigInteger, nullable=False),
    Column("convenience_fee", BigInteger),
    Column("approved", Boolean, nullable=False),
    *(
        Column(name, String)
        for name in (
            "payment_type_id", "tender", "card_type", "payment_source", "payment_message", "payment_description",
            "biller_reference", "agent_code", "customer_name", "address", "city", "state_code", "zip", "remote_ip",
        )
    ),
    Column("account_known", Boolean, nullable=False),
    Column("open_balance", BigInteger),
    Column("above_balance", Boolean, nullable=False),
    Column("posted_at", BigInteger),  # when a refresh saw IMT's posting of it: the balance holds it then
    Column("handover_sequence", BigInteger),
    Column("acknowledged_at", BigInteger),
    Column("revision", Integer, nullable=False, server_default="1"),  # grows with each change
    Column("staged_revision", Integer, nullable=False, server_default="0"),  # what staging has of it
    UniqueConstraint("biller", "payment_guid", "variant"),
    UniqueConstraint("biller", "payment_guid", "content_sha256"),
)  # fmt: skip
_OPEN = text("posted_at IS NULL AND approved")
Index(
    "pushes_of_invoice", pushes.c.biller, pushes.c.invoice_number, sqlite_where=_OPEN, postgresql_where=_OPEN
)
Index(
    "pushes_of_account", pushes.c.biller, pushes.c.account_number, sqlite_where=_OPEN, postgresql_where=_OPEN
)
UNSTAGED = text("staged_revision < revision")
Index("pushes_unstaged", pushes.c.biller, sqlite_where=UNSTAGED, postgresql_where=UNSTAGED)
# SQLite takes a partial index only for a query in the same words: so they have names.
LOOSE = text("handover_sequence IS NULL AND approved AND variant = 1")
Index("pushes_loose", pushes.c.biller, sqlite_where=LOOSE, postgresql_where=LOOSE)
FLAGGED = text("(variant > 1 OR above_balance OR NOT account_known)")
Index("pushes_flagged", pushes.c.biller, pushes.c.received_at, sqlite_where=FLAGGED, postgresql_where=FLAGGED)
_HANDED = text("handover_sequence IS NOT NULL")
Index(
    "pushes_handed",
    pushes.c.biller,
    pushes.c.handover_sequence,
    sqlite_where=_HANDED,
    postgresql_where=_HANDED,
)

# A push that could not be read: its fields as they came. Not acknowledged to InvoiceCloud, never lost.
unread = Table(
    "unread",
    metadata,
    _biller(),
    Column("sha256", String, primary_key=True),
    Column("kind", String, nullable=False),  # payments, autopay, paperless
    Column("form", String, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("last_seen_at", BigInteger, nullable=False),
    Column("times_seen", Integer, nullable=False),
    Column("fields", String, nullable=False),  # JSON: contract column → text as it came
    Column("reasons", String, nullable=False),  # JSON list of words; no value in them
    Column("staged", Boolean, nullable=False, server_default=false()),
)

enrolment_pushes = Table(
    "enrolment_pushes",
    metadata,
    _biller(),
    Column("push_id", String, primary_key=True),
    Column("list", String, nullable=False),
    Column("account_number", String, nullable=False),
    Column("invoice_type_id", String),
    Column("enrolled", Boolean, nullable=False),
    Column("occurred_at", BigInteger),
    Column("received_at", BigInteger, nullable=False),
    Column("last_seen_at", BigInteger, nullable=False),
    Column("times_seen", Integer, nullable=False),
    Column("payment_method", String),
    Column("email", String),
    Column("handover_sequence", BigInteger),
    Column("acknowledged_at", BigInteger),
    Column("revision", Integer, nullable=False, server_default="1"),
    Column("staged_revision", Integer, nullable=False, server_default="0"),
)
Index(
    "enrolments_of_account",
    enrolment_pushes.c.biller, enrolment_pushes.c.list, enrolment_pushes.c.account_number,
)  # fmt: skip

# Enrolment pushes that were refused (Spectrum): counted, for the alert.
refusals = Table(
    "refusals",
    metadata,
    _biller(),
    Column("list", String, primary_key=True),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("times", Integer, nullable=False),
    Column("told_times", Integer, nullable=False, server_default="0"),
)

calls = Table(
    "calls",
    metadata,
    Column("number", _SERIAL, primary_key=True, autoincrement=True),
    Column("biller", String, nullable=False),
    Column("called_at", BigInteger, nullable=False),
    Column("subject", String, nullable=False),
    Column("form", String, nullable=False),
    Column("account_number", String),
    Column("invoice_number", String),
    Column("result", String, nullable=False),
    Column("balance_answered", BigInteger),
    Column("payable", Boolean),
    Column("known_as_of", BigInteger),
    Column("latency_us", Integer, nullable=False),
    Column("staged", Boolean, nullable=False, server_default=false()),
    sqlite_autoincrement=True,
)
UNSTAGED_CALLS = text("NOT staged")
Index("calls_unstaged", calls.c.biller, sqlite_where=UNSTAGED_CALLS, postgresql_where=UNSTAGED_CALLS)

# What IMT says of each invoice (imt.balances), and of each account beyond its invoices.
balances = Table(
    "balances",
    metadata,
    _biller(),
    Column("invoice_number", String, primary_key=True),
    Column("account_number", String, nullable=False),
    Column("status", String, nullable=False),
    Column("successor", String),
    Column("invoice_type_id", String),
    Column("invoice_date", String),
    Column("due_date", String),
    Column("autopay_collection_date", String),
    Column("total_amount_due", BigInteger),
    Column("minimum_amount_due", BigInteger),
    Column("allow_partial", Boolean),
    Column("balance", BigInteger, nullable=False),
    Column("changed_at", BigInteger),
    sqlite_with_rowid=False,
)
Index("balances_of_account", balances.c.biller, balances.c.account_number)
accounts = Table(
    "accounts",
    metadata,
    _biller(),
    Column("account_number", String, primary_key=True),
    Column(
        "account_amount", BigInteger, nullable=False
    ),  # what names no invoice of it (imt.account_balances)
    sqlite_with_rowid=False,
)
# Loads of staging that the balances hold already, and how fresh IMT's figures are.
applied = Table("applied", metadata, _biller(), Column("load_id", String, primary_key=True))
freshness = Table(
    "freshness",
    metadata,
    _biller(),
    Column("known_as_of", BigInteger),  # IMT was last heard then
    Column("refreshed_at", BigInteger),
    Column("alive_at", BigInteger),  # the service's heartbeat
)

# Files of postings (and enrolments) for IMT. The bytes stay here, so that the same file can be offered again.
handovers = Table(
    "handovers",
    metadata,
    _biller(),
    Column("sequence", BigInteger, primary_key=True),
    Column("kind", String, nullable=False),  # postings, enrolments
    Column("file_name", String, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("sha256", String, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("offered_at", BigInteger),
    Column("times_offered", Integer, nullable=False, server_default="0"),
    Column("acknowledged_at", BigInteger),
    Column("refused_at", BigInteger),
    Column("message", String),
)
