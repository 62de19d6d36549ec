"""IMT's import of the files that hand pushed payments over: checked against their control files, booked once."""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

import polars as pl

# lose: the file vanishes unread · refuse: told so, nothing booked · delay: left lying this time ·
# silent: booked, but the answer never gets written · short: booked, but answered with a row less
Fault = Literal["lose", "refuse", "delay", "silent", "short"]
_CONTROL = ".control.json"


@dataclass(frozen=True)
class Imported:
    """What became of one file: taken, known (booked before), refused (why in `message`), left (faults, a gap)."""

    file: str
    sequence: int
    outcome: Literal["taken", "known", "refused", "left"]
    rows: int = 0
    message: str = ""


class Imt:
    """Reads the hand-over folder of one biller. What it booked is kept in memory: `booked`, one row per receipt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: dict[str, dict[str, Any]] = {}
        self._seen: dict[int, str] = {}
        self._faults: list[Fault] = []
        self.doubles = 0  # receipts that came in more than one file

    def fault(self, kind: Fault, times: int = 1) -> None:
        """The next `times` files fare so."""
        self._faults += [kind] * times

    @property
    def booked(self) -> pl.DataFrame:
        """Every row that was booked, texts as in the file (`sequence` of it besides); columns of both kinds."""
        rows = list(self._rows.values())
        return pl.DataFrame(rows, infer_schema_length=None) if rows else pl.DataFrame({"receipt": []})

    def run(self) -> list[Imported]:
        """One round: every file whose control file is there, in order. A gap in the numbers stops it until it is
        filled; a file that was refused leaves none."""
        done = []
        for path in sorted(
            self.folder.glob(f"*{_CONTROL}"), key=lambda found: _control(found).get("sequence", 0)
        ):
            control = _control(path)
            if not control or not (self.folder / str(control["file"])).is_file():
                continue
            done.append(self._import(control))
        return done

    def _import(self, control: dict[str, Any]) -> Imported:
        name, sequence = str(control["file"]), int(control["sequence"])
        fault = self._faults.pop(0) if self._faults else None
        before = max(self._seen, default=0)
        if fault == "delay" or sequence > before + 1:
            return Imported(name, sequence, "left", message=fault or f"number {before + 1} is missing")
        if fault == "lose":
            for path in (self.folder / name, self.folder / f"{name}{_CONTROL}"):
                path.unlink()
            return Imported(name, sequence, "left", message=fault)
        content = (self.folder / name).read_bytes()
        wrong = "the importer is down" if fault == "refuse" else self._wrong(control, content)
        if wrong:
            self._seen.setdefault(sequence, "")
            self._answer(control, "refused", wrong)
            return Imported(name, sequence, "refused", message=wrong)
        known = self._seen.get(sequence) == control["sha256"]
        if not known:
            self._book(_rows(name, content), sequence)
            self._seen[sequence] = str(control["sha256"])
        if fault != "silent":
            self._answer(control | ({"rows": control["rows"] - 1} if fault == "short" else {}), "taken", "")
        return Imported(name, sequence, "known" if known else "taken", int(control["rows"]), fault or "")

    def _wrong(self, control: dict[str, Any], content: bytes) -> str:
        """Why the file is not what its control file says; empty if it is."""
        if self._seen.get(control["sequence"]) not in (None, "", control["sha256"]):
            return "another file had this number"
        if hashlib.sha256(content).hexdigest() != control["sha256"]:
            return "the checksum differs"
        rows = _rows(str(control["file"]), content)
        if rows.height != control["rows"]:
            return "the number of rows differs"
        amount = rows["amount"].to_list() if "amount" in rows.columns else []
        try:
            agrees = sum(map(Decimal, amount), Decimal(0)) == Decimal(str(control["amount"]))
        except InvalidOperation:
            agrees = False
        return "" if agrees else "the sum of amounts differs"

    def _book(self, rows: pl.DataFrame, sequence: int) -> None:
        for row in rows.with_columns(sequence=pl.lit(sequence)).iter_rows(named=True):
            self.doubles += row["receipt"] in self._rows
            self._rows.setdefault(row["receipt"], row)

    def _answer(self, control: dict[str, Any], status: str, message: str) -> None:
        """Renamed into place, so that half an answer is never read."""
        told = {name: control[name] for name in ("sequence", "rows", "amount", "sha256")} | {"status": status}
        if message:
            told["message"] = message
        folder = self.folder / "acks"
        folder.mkdir(exist_ok=True)
        path = folder / f"{control['file']}.ack.json"
        path.with_suffix(".part").write_text(json.dumps(told), encoding="utf-8")
        os.replace(path.with_suffix(".part"), path)


def _control(path: Path) -> dict[str, Any]:
    """A control file's content; nothing when it vanished meanwhile or is no JSON."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _rows(name: str, content: bytes) -> pl.DataFrame:
    """All columns as text."""
    if name.endswith(".parquet"):
        return pl.read_parquet(io.BytesIO(content)).cast(pl.String)
    return pl.read_csv(io.BytesIO(content), infer_schema=False)
