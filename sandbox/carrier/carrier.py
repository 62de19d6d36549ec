"""A generated carrier on disk: its tables, its answer sheet, and what IMT had exported by a moment."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path

import polars as pl

from sandbox.carrier import deposits
from sandbox.carrier.images import FOLDER
from sandbox.carrier.returns import SIGNED_BEFORE
from sandbox.carrier.span import local_date
from sandbox.clock import iso, parse_moment

CSV_STAMP = "%Y-%m-%dT%H:%M:%SZ"
_ABOUT = "carrier.json"
# Tables that `bank_until` writes and the kinds that `icflows load` has for them; names of files where they differ.
_EXPORTS = {
    "bank_lines": "deposits",
    "chargebacks": "chargebacks",
    "refunds": "refunds",
    "enrolment_flags": "enrolment-flags",
}
_FILES = {"bank_lines": "deposits"}


@dataclass(frozen=True)
class Carrier:
    """A generated carrier: its folder and how it was made. Times are aware UTC."""

    folder: Path
    seed: int
    accounts: int
    days: int
    payments: int
    start: datetime
    close: datetime

    def table(self, name: str) -> pl.DataFrame:
        """One of its Parquet tables, e.g. `payments`, `imt_postings`, `truth`."""
        return pl.read_parquet(self.folder / f"{name}.parquet")

    def truth(self) -> pl.DataFrame:
        """The answer sheet: code, subject, amount, account_number, invoice_number, note."""
        return self.table("truth")

    def imt_until(self, as_of: datetime, out: Path) -> tuple[Path, Path]:
        """IMT's exports as they were at `as_of`: (postings CSV, CSV of invoice events) in `out`; beside them
        `imt_adjustments.csv`."""
        out.mkdir(parents=True, exist_ok=True)
        booked = self.table("imt_postings").filter(pl.col("posted_at") <= as_of)
        billed = self.table("imt_invoices").filter(pl.col("occurred_at") <= as_of)
        booked.write_csv(out / "imt_postings.csv", datetime_format=CSV_STAMP)
        billed.write_csv(out / "imt_invoices.csv", datetime_format=CSV_STAMP)
        self.adjustments_until(as_of, out)
        return out / "imt_postings.csv", out / "imt_invoices.csv"

    def adjustments_until(self, as_of: datetime, out: Path) -> Path:
        """IMT's adjustments as it had exported them by `as_of`: a CSV in `out`."""
        out.mkdir(parents=True, exist_ok=True)
        told = self.table("imt_adjustments").filter(pl.col("visible_at") <= as_of).drop("visible_at")
        told.write_csv(out / "imt_adjustments.csv", datetime_format=CSV_STAMP)
        return out / "imt_adjustments.csv"

    def bank_until(self, as_of: datetime, out: Path) -> dict[str, Path]:
        """What the bank, InvoiceCloud's portal and IMT export besides, as of `as_of`, in `out`: paths by kind of
        `icflows load` (`deposits` as CSV, `deposits-bai2` the same lines, `chargebacks`, `refunds`,
        `enrolment-flags`). The flags are those of the close, whenever they are asked for."""
        out.mkdir(parents=True, exist_ok=True)
        paths = {}
        for name, kind in _EXPORTS.items():
            table = self.folder / f"{name}.parquet"
            rows = pl.read_parquet(table) if table.is_file() else None
            if rows is None:  # nothing of the kind is planted
                continue
            if "visible_at" in rows.columns:
                rows = rows.filter(pl.col("visible_at") <= as_of).drop("visible_at")
            paths[kind] = out / f"{_FILES.get(name, name)}.csv"
            rows.write_csv(paths[kind], datetime_format=CSV_STAMP)
            if name == "bank_lines":
                paths["deposits-bai2"] = out / "deposits.bai2"
                paths["deposits-bai2"].write_text(deposits.bai2(rows), encoding="ascii")
        return paths

    def to_sign_off(self) -> list[date]:
        """The days that whoever plays this carrier signs off three days before the close (local dates): what
        comes back on them after that is a B21."""
        late = self.truth().filter(pl.col("code") == "B21").select(original_payment_guid="subject")
        back = self.table("ach_rejects").join(late, on="original_payment_guid", how="semi")
        day = local_date("original_payment_date")
        signed = back.filter(pl.col("reject_date") > self.close - SIGNED_BEFORE).select(day).to_series()
        return signed.unique().sort().to_list()

    def lost_pushes(self, since: datetime | None = None) -> pl.DataFrame:
        """Payments (made from `since` on) whose push never comes: payment_guid, payment_date, payment_amount
        (USD), posted: whether IMT booked it all the same; if not, it is a B01 of the answer sheet."""
        posted = self.table("imt_postings")["payment_guid"].drop_nulls().unique()
        lost = self.table("pushes").filter(pl.col("lost") & (pl.col("payment_date") >= (since or self.start)))
        return lost.select(
            "payment_guid",
            "payment_date",
            "payment_amount",
            pl.col("payment_guid").is_in(posted.implode()).alias("posted"),
        )

    @property
    def images(self) -> Path:
        """The folder of bill images; only there when some were asked for."""
        return self.folder / FOLDER

    def images_until(self, as_of: datetime, out: Path) -> Path:
        """Copies the images that IMT had made by `as_of` into `out`, those that belong to nothing too.

        The whole folder (`images`) holds those of later invoices as well.
        """
        out.mkdir(parents=True, exist_ok=True)
        told = self.table("imt_invoices").select("pdf_path", "occurred_at").drop_nulls()
        early = set(told.filter(pl.col("occurred_at") <= as_of)["pdf_path"])
        later = set(told["pdf_path"]) - early
        for path in self.images.iterdir():
            if path.name not in later and not (out / path.name).exists():
                shutil.copyfile(path, out / path.name)
        return out

    def write_about(self) -> None:
        """Keep how it was made, for `open`."""
        about = asdict(self) | {"start": iso(self.start), "close": iso(self.close)}
        del about["folder"]
        (self.folder / _ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> Carrier:
        """A carrier that was generated before."""
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        start, close = (parse_moment(about.pop(name)) for name in ("start", "close"))
        return cls(folder=folder, start=start, close=close, **about)
