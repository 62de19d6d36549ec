"""What pushed payments of one batch are to the store, and what IMT's balances say of them when they come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, String, bindparam, func, select, text, union

from tasks.inbound.model import Push, Taken
from tasks.inbound.settle import Settled
from tasks.inbound.tables import accounts, balances, pushes

_OF, _NAMES = bindparam("of", type_=String), bindparam("names", expanding=True, type_=String)
# Built once: for a single push, building them anew would take as long as running them.
_CONTENTS = select(pushes.c.payment_guid, pushes.c.content_sha256, pushes.c.variant).where(
    pushes.c.biller == _OF, pushes.c.payment_guid.in_(_NAMES)
)
_INVOICES = select(balances.c.invoice_number, balances.c.account_number, balances.c.balance).where(
    balances.c.biller == _OF, balances.c.invoice_number.in_(_NAMES)
)
_WAITING = (
    select(pushes.c.invoice_number, func.sum(pushes.c.payment_amount))
    # in these words, or SQLite does not see that the index is for this
    .where(pushes.c.biller == _OF, text("posted_at IS NULL AND approved"), pushes.c.variant == 1)
    .where(pushes.c.invoice_number.in_(_NAMES))
    .group_by(pushes.c.invoice_number)
)
_ACCOUNTS = union(
    *(
        select(table.c.account_number).where(table.c.biller == _OF, table.c.account_number.in_(_NAMES))
        for table in (accounts, balances)
    )
)


def settle_payments(connection: Connection, biller: str, items: Sequence[Push], at: int) -> Settled:
    """A payment is known by GUID and content; other content under a known GUID is its next variant."""
    settled = Settled()
    known = _known(connection, biller, {item.payment_guid for item in items})
    fresh: list[tuple[Push, int]] = []
    for item in items:
        variants = known[item.payment_guid]
        variant = variants.get(item.content_sha256)
        receipt = f"{item.payment_guid}-{variant or len(variants) + 1}"
        if variant:
            settled.again[receipt] += 1
            settled.taken.append(Taken("known", receipt))
            continue
        fresh.append((item, len(variants) + 1))
        settled.taken.append(Taken("conflict" if variants else "new", receipt))
        variants[item.content_sha256] = len(variants) + 1
    if fresh:
        owed = _owed(connection, biller, [item for item, _ in fresh])
        settled.rows = [_row(item, variant, owed, at) for item, variant in fresh]
    return settled


def _known(connection: Connection, biller: str, guids: set[str]) -> dict[str, dict[str, int]]:
    """GUID → content → variant, of what is stored."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for guid, content, variant in connection.execute(_CONTENTS, {"of": biller, "names": sorted(guids)}):
        found[guid][content] = variant
    return found


@dataclass
class _Owed:
    """invoices: number → (account, what IMT says) · pushed: invoice → pushed, not posted yet; grows with the batch."""

    invoices: dict[str, tuple[str, int]]
    pushed: defaultdict[str, int]
    accounts: set[str]


def _owed(connection: Connection, biller: str, items: Sequence[Push]) -> _Owed:
    numbers = {item.values["invoice_number"] for item in items} - {None}
    owed = _Owed({}, defaultdict(int), set())
    if numbers:
        rows = connection.execute(_INVOICES, {"of": biller, "names": sorted(numbers)})
        owed.invoices = {number: (account, balance) for number, account, balance in rows}
    if owed.invoices:
        waiting = connection.execute(_WAITING, {"of": biller, "names": sorted(owed.invoices)})
        owed.pushed.update({number: int(amount) for number, amount in waiting})
    unplaced = [item.values for item in items if item.values["invoice_number"] not in owed.invoices]
    unsure = {values["account_number"] for values in unplaced} - {None}
    if unsure:
        owed.accounts = set(connection.scalars(_ACCOUNTS, {"of": biller, "names": sorted(unsure)}))
    return owed


def _row(item: Push, variant: int, owed: _Owed, at: int) -> dict[str, Any]:
    """A row of tables.pushes. A decline is above nothing: no money moves. Money on a dead invoice is above its 0.00."""
    values = dict(item.values)
    invoice, amount = values["invoice_number"], values["payment_amount"]
    account, balance = owed.invoices.get(invoice, (None, None))
    left = None if balance is None else balance - owed.pushed[invoice]
    counts = values["approved"] and variant == 1
    if balance is not None and counts:
        owed.pushed[invoice] += amount
    values["account_number"] = values["account_number"] or account
    return values | {
        "biller": item.biller, "push_id": f"{item.payment_guid}-{variant}", "variant": variant,
        "content_sha256": item.content_sha256, "form": item.form,
        "received_at": at, "last_seen_at": at, "times_seen": 1,
        "account_known": account is not None or values["account_number"] in owed.accounts,
        "open_balance": left, "above_balance": left is not None and values["approved"] and amount > max(left, 0),
    }  # fmt: skip
