"""IMT's import in the sandbox: hand-over files are checked, answered and booked once."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sandbox.imt import Imt


def offer(folder: Path, sequence: int, receipts: list[str], form: str = "csv", **wrong: Any) -> str:
    """Writes a file of postings with its control file; its name."""
    folder.mkdir(exist_ok=True)
    name = f"postings-acme-{sequence:08d}.{form}"
    frame = pl.DataFrame({"receipt": receipts, "amount": [f"{n + 1}.50" for n in range(len(receipts))]})
    path = folder / name
    if form == "csv":
        frame.write_csv(path)
    else:
        frame.with_columns(pl.col("amount").cast(pl.Decimal(18, 2))).write_parquet(path)
    control = {
        "sequence": sequence, "kind": "postings", "file": name, "rows": len(receipts),
        "amount": str(sum(map(Decimal, frame["amount"]), Decimal(0))),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "made_at": "2026-10-30T23:00:00Z",
    }  # fmt: skip
    (folder / f"{name}.control.json").write_text(json.dumps(control | wrong))
    return name


def ack(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "acks" / f"{name}.ack.json").read_text())
    return found


def outcomes(imt: Imt) -> list[tuple[int, str]]:
    return [(done.sequence, done.outcome) for done in imt.run()]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_file_is_taken_once_and_answered_as_often_as_it_is_offered(form: str, tmp_path: Path) -> None:
    imt = Imt(tmp_path)
    name = offer(tmp_path, 1, ["a-1", "b-1"], form)
    assert outcomes(imt) == [(1, "taken")]
    told = ack(tmp_path, name)
    assert (told["sequence"], told["rows"], told["amount"], told["status"]) == (1, 2, "4.00", "taken")
    (tmp_path / "acks" / f"{name}.ack.json").unlink()
    assert outcomes(imt) == [(1, "known")]
    assert ack(tmp_path, name) == told
    assert (imt.booked["receipt"].to_list(), imt.doubles) == (["a-1", "b-1"], 0)
    assert imt.booked["amount"].to_list() == ["1.50", "2.50"]


def test_a_receipt_in_two_files_is_booked_once_and_counted(tmp_path: Path) -> None:
    imt = Imt(tmp_path)
    offer(tmp_path, 1, ["a-1"])
    offer(tmp_path, 2, ["a-1", "c-1"])
    assert outcomes(imt) == [(1, "taken"), (2, "taken")]
    assert (imt.booked.height, imt.doubles) == (2, 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rows": 3}, "rows"),
        ({"amount": "4.01"}, "amounts"),
        ({"amount": "x"}, "amounts"),
        ({"sha256": "0"}, "checksum"),
    ],
)
def test_what_the_control_file_denies_is_refused(wrong: dict[str, Any], message: str, tmp_path: Path) -> None:
    imt = Imt(tmp_path)
    name = offer(tmp_path, 1, ["a-1", "b-1"], **wrong)
    (done,) = imt.run()
    assert (done.outcome, message in done.message) == ("refused", True)
    assert ack(tmp_path, name)["status"] == "refused"
    assert imt.booked.height == 0
    offer(tmp_path, 1, ["a-1", "b-1"])
    offer(tmp_path, 2, ["c-1"])
    assert outcomes(imt) == [(1, "taken"), (2, "taken")]
    offer(tmp_path, 2, ["d-1"])
    assert outcomes(imt) == [(1, "known"), (2, "refused")]


def test_a_gap_stops_the_import_and_half_an_offer_is_not_seen(tmp_path: Path) -> None:
    imt = Imt(tmp_path)
    offer(tmp_path, 2, ["b-1"])
    name = offer(tmp_path, 1, ["a-1"])
    control = tmp_path / f"{name}.control.json"
    text = control.read_text()
    control.unlink()
    assert outcomes(imt) == [(2, "left")]
    control.write_text(text[:20])
    assert outcomes(imt) == [(2, "left")]
    control.write_text(text)
    assert outcomes(imt) == [(1, "taken"), (2, "taken")]


def test_files_fare_as_they_are_told(tmp_path: Path) -> None:
    imt = Imt(tmp_path)
    for kind in ("delay", "refuse", "silent", "short"):
        imt.fault(kind)  # type: ignore[arg-type]
    name = offer(tmp_path, 1, ["a-1"])
    answers = tmp_path / "acks" / f"{name}.ack.json"
    assert outcomes(imt) == [(1, "left")]
    assert not answers.exists()
    assert outcomes(imt) == [(1, "refused")]
    assert (ack(tmp_path, name)["status"], imt.booked.height) == ("refused", 0)
    answers.unlink()
    assert outcomes(imt) == [(1, "taken")]
    assert not answers.exists()
    assert outcomes(imt) == [(1, "known")]
    assert ack(tmp_path, name)["rows"] == 0
    assert outcomes(imt) == [(1, "known")]
    assert (ack(tmp_path, name)["rows"], imt.booked.height, imt.doubles) == (1, 1, 0)
    imt.fault("lose")
    second = offer(tmp_path, 2, ["b-1"])
    imt.fault("delay")
    assert [done.outcome for done in imt.run()] == ["left", "left"]  # the first file met the fault
    assert not (tmp_path / name).exists()
    assert (tmp_path / second).exists()
