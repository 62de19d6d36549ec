"""Any order of events, adjustments, postings, pushes and refreshes: the answers are those of a plain model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

INVOICES, ACCOUNTS, GUIDS = ("I1", "I2", "I3"), ("A1", "A2"), 3
NOON = datetime.fromisoformat("2026-11-10T12:00:00+00:00")
KEYS = {"invoice_events": "event_id", "adjustments": "adjustment_id", "postings": "posting_id"}
PUSHED_MINUTES = 120
Fact = dict[str, Any]


def guid(number: int) -> str:
    return f"aaaaaaaa-0000-0000-0000-{number:012d}"


@dataclass
class Model:
    """What IMT told (`facts`), what of it the store was given (`told`), and what IC pushed."""

    facts: dict[str, dict[str, Fact]] = field(default_factory=lambda: {kind: {} for kind in KEYS})
    told: dict[str, dict[str, Fact]] = field(default_factory=lambda: {kind: {} for kind in KEYS})
    pushes: dict[str, Fact] = field(default_factory=dict)

    def load(self, kind: str, rows: Iterable[Fact]) -> None:
        self.facts[kind] |= {row[KEYS[kind]]: row for row in rows}

    def push(self, payment_guid: str, push: Fact) -> None:
        if payment_guid not in self.pushes:
            known = self.invoices().get(push["invoice_number"])
            self.pushes[payment_guid] = push | {"posted": False}
            self.pushes[payment_guid]["account_number"] = push["account_number"] or (known or {}).get(
                "account"
            )

    def refresh(self) -> None:
        self.told = deepcopy(self.facts)
        for payment_guid, push in self.pushes.items():
            push["posted"] |= any(
                p["payment_guid"] == payment_guid
                and p["status"] == "POSTED"
                and p["kind"] not in ("REVERSAL", "REFUND")
                for p in self.told["postings"].values()
            )

    def counted(self) -> list[Fact]:
        """Postings that lower what is owed."""
        every = self.told["postings"]
        idle = {n for n, p in every.items() if p["kind"] == "SUSPENSE" or p["status"] == "REFUSED"}
        return [p for n, p in every.items() if n not in idle and p["reverses_posting_id"] not in idle]

    def invoices(self) -> dict[str, Fact]:
        """number → account, state (live, SUPERSEDED, CANCELLED), since, successor, balance in cents."""
        found = {}
        events = list(self.told["invoice_events"].values())
        for number in INVOICES:
            order: Callable[[Fact], Any] = lambda event: (event["occurred_at"], event["event_id"])  # noqa: E731
            own = max((e for e in events if e["invoice_number"] == number), key=order, default=None)
            recall = max(
                (e for e in events if e["replaces_invoice_number"] == number), key=order, default=None
            )
            if not own and not recall:
                continue
            if recall and (not own or recall["occurred_at"] >= own["occurred_at"]):
                found[number] = {"account": (own or recall)["account_number"], "state": "SUPERSEDED", "balance": 0,
                                 "since": recall["occurred_at"], "successor": recall["invoice_number"]}  # fmt: skip
                continue
            assert own
            dead = own["event"] == "CANCELLED"
            found[number] = {"account": own["account_number"], "state": "CANCELLED" if dead else "live",
                             "since": own["occurred_at"], "successor": None}  # fmt: skip
            found[number]["balance"] = 0 if dead else self._after(number, own)
        return found

    def _after(self, number: str, own: Fact) -> int:
        later = [a for a in self.told["adjustments"].values() if a["invoice_number"] == number]
        grown = sum(a["amount"] for a in later if a["occurred_at"] > own["occurred_at"])
        paid = [p for p in self.counted() if p["invoice_number"] == number]
        return int(
            own["balance_due"] + grown - sum(p["amount"] for p in paid if p["posted_at"] > own["occurred_at"])
        )

    def beside(self, account: str, invoices: Mapping[str, Fact]) -> tuple[int, bool]:
        """Cents that stand on the account beside its invoices, and whether there is anything of that kind."""
        moved = {
            p["payment_guid"] for p in self.told["postings"].values()
            if p["status"] == "POSTED" and p["kind"] == "TRANSFER" and p["amount"] > 0 and p["invoice_number"]
        } - {None}  # fmt: skip
        still = [p for p in self.counted() if p["payment_guid"] not in moved]
        loose = [p for p in still if not p["invoice_number"] and p["account_number"] == account]
        loose = [p for p in loose if p["origin"] != "CLOUDSTORE"]
        named = [
            a
            for a in self.told["adjustments"].values()
            if not a["invoice_number"] and a["account_number"] == account
        ]
        amount = sum(a["amount"] for a in named) - sum(p["amount"] for p in loose)
        for number, invoice in invoices.items():
            if invoice["account"] == account and invoice["state"] != "live":
                came = [
                    p for p in still if p["invoice_number"] == number and p["posted_at"] > invoice["since"]
                ]
                amount -= max(0, sum(p["amount"] for p in came))
        return amount, bool(loose or named)

    def open_pushes(self, at: datetime) -> list[Fact]:
        since = at - timedelta(minutes=PUSHED_MINUTES)
        return [
            p for p in self.pushes.values() if p["approved"] and not p["posted"] and p["received_at"] > since
        ]

    def invoice(self, number: str, at: datetime) -> tuple[Any, ...] | None:
        invoices = self.invoices()
        if number not in invoices:
            return None
        found = invoices[number]
        pushed = sum(p["amount"] for p in self.open_pushes(at) if p["invoice_number"] == number)
        left = max(0, found["balance"] - pushed) if found["state"] == "live" else 0
        reason = "" if left else "paid" if found["state"] == "live" else found["state"].lower()
        successor, seen = found["successor"], {number}
        while successor and invoices[successor]["state"] == "SUPERSEDED" and successor not in seen:
            seen.add(successor)
            successor = invoices[successor]["successor"]
        alive = successor and invoices[successor]["state"] == "live"
        return left, left > 0, reason, successor if alive else None, found["account"]

    def account(self, account: str, at: datetime) -> tuple[Any, ...] | None:
        invoices = self.invoices()
        beside, named = self.beside(account, invoices)
        mine = {number: one for number, one in invoices.items() if one["account"] == account}
        if not mine and not named:
            return None
        waiting = self.open_pushes(at)
        pushed = sum(p["amount"] for p in waiting if p["invoice_number"] in mine)
        pushed += sum(
            p["amount"]
            for p in waiting
            if p["account_number"] == account and p["invoice_number"] not in invoices
        )
        left = max(0, sum(one["balance"] for one in mine.values()) + beside - pushed)
        listed = {
            n: self.invoice(n, at)[0]
            for n, one in mine.items()
            if one["state"] == "live" and one["balance"] > 0
        }  # type: ignore[index]
        return left, left > 0, listed


hours = st.integers(0, 5).map(lambda n: NOON - timedelta(hours=5 - n))
cents = st.integers(0, 9).map(lambda n: n * 1_000 + 1)
signed = st.integers(-9, 9).map(lambda n: n * 1_000)
maybe_invoice = st.sampled_from((*INVOICES, None))
maybe_guid = st.sampled_from((*map(guid, range(GUIDS)), None))


@st.composite
def event(draw: Any) -> Fact:
    number, kind = (
        draw(st.sampled_from(INVOICES)),
        draw(st.sampled_from(("NEW", "CHANGED", "REISSUED", "CANCELLED"))),
    )
    others = [other for other in INVOICES if other != number]
    return {
        "event_id": draw(st.sampled_from([f"E{n}" for n in range(8)])), "event": kind, "invoice_number": number,
        "account_number": draw(st.sampled_from(ACCOUNTS)), "occurred_at": draw(hours), "balance_due": draw(cents | signed),
        "replaces_invoice_number": draw(st.sampled_from(others)) if kind == "REISSUED" else None,
        "still_in_imt": True if kind in ("REISSUED", "CANCELLED") else None,
    }  # fmt: skip


@st.composite
def adjustment(draw: Any) -> Fact:
    return {
        "adjustment_id": draw(st.sampled_from([f"D{n}" for n in range(5)])), "invoice_number": draw(maybe_invoice),
        "account_number": draw(st.sampled_from(ACCOUNTS)), "amount": draw(signed), "occurred_at": draw(hours),
    }  # fmt: skip


@st.composite
def posting(draw: Any) -> Fact:
    kind = draw(
        st.sampled_from(("PAYMENT", "PAYMENT", "PAYMENT", "REVERSAL", "REFUND", "SUSPENSE", "TRANSFER"))
    )
    amount = draw(cents)
    if kind in ("REVERSAL", "REFUND") or (kind == "TRANSFER" and draw(st.booleans())):
        amount = -amount
    return {
        "posting_id": draw(st.sampled_from([f"P{n}" for n in range(8)])), "kind": kind, "amount": amount,
        "account_number": draw(st.sampled_from(ACCOUNTS)), "invoice_number": draw(maybe_invoice),
        "payment_guid": draw(maybe_guid), "posted_at": draw(hours),
        "origin": draw(st.sampled_from(("IC", "IC", "CLOUDSTORE"))),
        "status": draw(st.sampled_from(("POSTED", "POSTED", "POSTED", "REFUSED"))),
        "reverses_posting_id": draw(st.sampled_from(("P0", "P1", "P2"))) if kind == "REVERSAL" else None,
    }  # fmt: skip


@st.composite
def push(draw: Any) -> Fact:
    return {
        "guid": draw(st.sampled_from([guid(n) for n in range(GUIDS)])), "amount": draw(cents),
        "invoice_number": draw(st.sampled_from((*INVOICES, "I9", None))),
        "account_number": draw(st.sampled_from((*ACCOUNTS, None))), "approved": draw(st.sampled_from((True, True, False))),
        "received_at": draw(hours),
    }  # fmt: skip


FACTS = {"invoice_events": event, "adjustments": adjustment, "postings": posting}
loads = st.sampled_from(list(FACTS)).flatmap(
    lambda kind: st.tuples(
        st.just(kind), st.lists(FACTS[kind](), min_size=1, max_size=6, unique_by=lambda row: row[KEYS[kind]])
    )
)
steps = st.one_of(loads, loads, st.tuples(st.just("push"), push()), st.just(("refresh", None)))


def wire(row: Fact) -> Fact:
    """Cents as IMT's files have them."""
    money = ("amount", "balance_due")
    return {name: Decimal(value) / 100 if name in money else value for name, value in row.items()} | (
        {"minimum_amount_due": Decimal(5), "total_amount_due": Decimal(200)} if "event" in row else {}
    )


def compare(books: Any, model: Model) -> None:
    for number in (*INVOICES, "I9"):
        answer, wanted = (
            books.invoice(number, NOON, pushed_minutes=PUSHED_MINUTES),
            model.invoice(number, NOON),
        )
        assert answer.result == ("answered" if wanted else "unknown")
        if wanted:
            of = answer.of
            assert (100 * of.balance_due, of.payable, of.reason, of.successor, of.account_number) == wanted
            assert 0 <= (of.minimum_amount_due or 0) <= of.balance_due
    for account in ACCOUNTS:
        answer, wanted = (
            books.account(account, NOON, pushed_minutes=PUSHED_MINUTES),
            model.account(account, NOON),
        )
        assert answer.result == ("answered" if wanted else "unknown")
        if wanted:
            of = answer.of
            assert (100 * of.balance_due, of.payable) == wanted[:2]
            assert {one.invoice_number: 100 * one.balance_due for one in of.invoices} == wanted[2]


def stored(books: Any) -> tuple[list[Any], list[Any]]:
    return books.rows("balances"), books.rows("accounts")


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(plan=st.lists(steps, min_size=3, max_size=14), turn=st.randoms(use_true_random=False))
def test_answers_are_those_of_the_model(shared_books: Any, plan: list[tuple[str, Any]], turn: Any) -> None:
    books, model = shared_books, Model()
    books.clear()
    books.load("invoice_events", {"event_id": "E99", "invoice_number": "I99", "account_number": "A99"})
    books.refresh(NOON)  # IMT was heard
    for what, value in plan:
        if what == "refresh":
            books.refresh(NOON)
            model.refresh()
        elif what == "push":
            books.push(
                value["guid"], value["amount"], value["received_at"], invoice_number=value["invoice_number"],
                account_number=value["account_number"], approved=value["approved"],
            )  # fmt: skip
            model.push(value["guid"], value)
        else:
            books.load(what, *map(wire, value))
            model.load(what, value)
        compare(books, model)
    books.refresh(NOON)
    model.refresh()
    compare(books, model)
    incremental = stored(books)
    assert books.refresh(NOON, everything=True).full
    assert stored(books) == incremental
    books.clear()  # the same facts in another order, in other files
    books.load("invoice_events", {"event_id": "E99", "invoice_number": "I99", "account_number": "A99"})
    facts = [(kind, row) for kind, rows in model.facts.items() for row in rows.values()]
    turn.shuffle(facts)
    for start in range(0, len(facts), 3):
        for kind in KEYS:
            if some := [wire(row) for of, row in facts[start : start + 3] if of == kind]:
                books.load(kind, *some)
        if turn.random() < 0.3:
            books.refresh(NOON)
    books.refresh(NOON)
    assert stored(books) == incremental
