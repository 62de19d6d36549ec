"""B38: one break per feed, for its layout or for unknown codes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl

ZERO = Decimal("0.00")


def drift(w: Any, moment: Any, feed: str = "payments", kind: str = "layout", **more: Any) -> None:
    w.add(
        "drifts",
        **{"feed": feed, "kind": kind, "at": moment(29), "detail": "column Amount is missing."} | more,
    )


def test_one_break_per_feed(world: Any, moment: Any) -> None:
    w = world()
    drift(w, moment)
    drift(w, moment, at=moment(30))
    drift(w, moment, "settlements")
    assert w.found() == [("B38", "payments", ZERO), ("B38", "settlements", ZERO)]
    row = w.run().breaks.filter(pl.col("subject") == "payments").row(0, named=True)
    assert row["sentence"] == (
        "Feed payments has another layout since 2026-10-29 10:00: column Amount is missing. Nothing of such an answer is "
        "staged; its bytes are kept."
    )
    assert row["severity"] == "HIGH"


def test_unknown_codes_are_told_unless_the_layout_is(world: Any, moment: Any) -> None:
    w = world()
    drift(w, moment, kind="codes", detail="tender: 3 rows with an unknown code")
    assert w.found() == [("B38", "payments", ZERO)]
    assert "holds codes that are not known" in w.told("B38")
    drift(w, moment)
    assert w.found() == [("B38", "payments", ZERO)]
    assert "has another layout" in w.told("B38")


def test_nothing_drifted_and_files_of_imt_are_no_feed(world: Any, moment: Any) -> None:
    w = world()
    drift(w, moment, "postings")
    assert w.found() == []


def test_no_words(world: Any, moment: Any) -> None:
    w = world()
    drift(w, moment, detail=None)
    assert "no reason given" in w.told("B38")
