"""To the minute: when a link of the chain falls due, and what its proof needs."""

from __future__ import annotations

from typing import Any

import pytest


def codes(w: Any) -> list[str]:
    return [code for code, _, _ in w.found() if code not in ("B36", "B10")]


@pytest.mark.parametrize(("to", "found"), [((22, 59), []), ((23, 0), ["B01"])])
def test_b01_needs_postings_up_to_the_due_time_and_no_longer(
    world: Any, moment: Any, to: tuple[int, int], found: list[str]
) -> None:
    w = world()
    w.payment()
    w.poll("payments", moment(1, month=8), w.as_of)
    w.poll("postings", moment(1, month=8), moment(5, *to))
    assert codes(w) == found


@pytest.mark.parametrize(
    ("until", "returns_to", "found"),
    [
        ((15, 4, 59), None, []),
        ((15, 5, 0), None, ["B05"]),
        ((20, 0, 0), (15, 4, 59), []),
        ((20, 0, 0), (15, 5, 0), ["B05"]),
    ],
)
def test_a_reversal_waits_for_its_return_until_the_third_banking_day(
    world: Any, moment: Any, until: Any, returns_to: Any, found: list[str]
) -> None:
    """Reversed on the 9th; the 12th is a holiday, so the 13th and 14th are its two days."""
    w = world(as_of=moment(*until))
    w.chain(tender="EFT")
    w.posting(1, "-100.00", moment(9, 18), kind="REVERSAL")
    for feed in ("payments", "settlements", "ach_rejects"):
        w.poll(
            feed, moment(1, month=8), moment(*returns_to) if returns_to and feed == "ach_rejects" else w.as_of
        )
    assert codes(w) == found


def test_b16_is_due_after_the_first_presentment(world: Any, moment: Any) -> None:
    for day, found in ((13, []), (14, ["B16"])):
        w = world(as_of=moment(day, 20))
        w.chain(tender="EFT")
        w.returned(at=moment(9))
        w.returned(at=moment(13, 16), reject_sequence=2)
        assert codes(w) == found


@pytest.mark.parametrize(("to", "found"), [((14, 4, 59), []), ((14, 5, 0), ["B16"])])
def test_b16_needs_postings_up_to_its_due_time(
    world: Any, moment: Any, to: tuple[int, int, int], found: list[str]
) -> None:
    w = world()
    w.chain(tender="EFT")
    w.returned(at=moment(9))
    for feed in ("payments", "settlements", "ach_rejects", "postings"):
        w.poll(feed, moment(1, month=8), moment(*to) if feed == "postings" else w.as_of)
    assert codes(w) == found
