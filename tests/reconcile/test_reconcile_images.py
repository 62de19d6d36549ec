"""B31: bills without an image, images without a bill, images that could not be sent or named."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

STATES = ["missing", "unreadable", "empty", "not_pdf", "failed", "bad_name", "orphan"]


def image(w: Any, state: str, at: Any, **more: Any) -> None:
    row = {"image_id": f"I{len(w.rows['images'])}", "state": state, "image_name": "1234_0012345678_INV-1.pdf"}
    row |= {"account_number": "0012345678", "invoice_number": "INV-1", "source": "bills/a.pdf"}
    w.add("images", **(row | {"first_seen_at": at, "last_seen_at": at} | more))


@pytest.mark.parametrize("state", STATES)
def test_each_state_is_told_once_its_grace_is_over(world: Any, moment: Any, state: str) -> None:
    w = world()
    image(w, state, moment(5))
    subject = "1234_0012345678_INV-1.pdf" if state == "orphan" else "INV-1"
    assert w.found() == [("B31", subject, Decimal("0.00"))]
    assert w.run().breaks["severity"].to_list() == ["MED"]
    assert "-." not in w.told("B31")


@pytest.mark.parametrize(
    ("state", "hours"),
    [("missing", 2), ("unreadable", 2), ("empty", 2), ("not_pdf", 2), ("failed", 2), ("orphan", 24)],
)
def test_grace_to_the_second(world: Any, moment: Any, state: str, hours: int) -> None:
    for seconds, found in ((-1, 0), (0, 0), (1, 1)):
        w = world(as_of=moment(5) + timedelta(hours=hours, seconds=seconds))
        image(w, state, moment(5), last_seen_at=w.as_of)
        assert len(w.found()) == found


def test_a_bad_name_does_not_wait(world: Any, moment: Any) -> None:
    w = world(as_of=moment(5))
    image(w, "bad_name", moment(5), image_name=None, reason="account holds an underscore.")
    assert w.told("B31") == (
        "Bill image of invoice INV-1 (account …5678): no name can be made of it that leads back to one bill "
        "(account holds an underscore). Correct the number or the file's name in IMT."
    )


def test_sent_is_no_gap_and_heals_an_older_one_only(world: Any, moment: Any) -> None:
    w = world()
    image(w, "sent", moment(5), sent_at=moment(6))
    assert w.found() == []
    image(w, "missing", moment(5), last_seen_at=moment(6))
    assert w.found() == []
    image(w, "not_pdf", moment(7), source="bills/b.pdf")
    assert w.found() == [("B31", "INV-1", Decimal("0.00"))]


def test_an_invoice_that_died_since_needs_no_image(world: Any, moment: Any) -> None:
    w = world()
    w.invoice("INV-1", "CANCELLED", moment(6))
    image(w, "missing", moment(5))
    assert w.found() == []
    image(w, "failed", moment(7))
    assert w.found() == [("B31", "INV-1", Decimal("0.00"))]


def test_two_gaps_of_one_invoice_are_one_break(world: Any, moment: Any) -> None:
    w = world()
    image(w, "empty", moment(6))
    image(w, "missing", moment(5))
    assert w.found() == [("B31", "INV-1", Decimal("0.00"))]
    assert "the PDF is not there" in w.told("B31")


@pytest.mark.parametrize(
    ("more", "subject"),
    [
        ({"image_name": None, "source": "drop/x/Ä 1.pdf"}, "Ä 1.pdf"),
        ({"image_name": None, "source": r"drop\x\b.pdf"}, "b.pdf"),
        ({"image_name": None, "source": None}, "I0"),
    ],
)
def test_an_orphan_is_named_by_its_file(world: Any, moment: Any, more: Any, subject: str) -> None:
    w = world()
    image(w, "orphan", moment(5), invoice_number=None, account_number=None, **more)
    assert w.found() == [("B31", subject, Decimal("0.00"))]
    assert w.told("B31").startswith(f"Bill image of file {subject}: no invoice goes with it. ")


def test_a_state_of_tomorrow_is_a_gap_too(world: Any, moment: Any) -> None:
    w = world()
    image(w, "too_large", moment(5))
    assert ": too_large. See the log" in w.told("B31")
