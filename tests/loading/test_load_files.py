"""Files from IMT: read exactly, loaded once, archived, refused with their name."""

from __future__ import annotations

import csv
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.errors import BadAnswer, IcflowsError, SchemaDrift, SettingsError
from tasks.loading import load_file

POSTING = {
    "posting_id": "P1", "system": "SPECTRUM", "payment_guid": "00000000-0000-0000-0000-000000abc001",
    "account_number": "0012345", "amount": "120.50", "kind": "PAYMENT", "origin": "IC", "status": "POSTED",
    "posted_at": "2026-11-01T06:00:00Z", "effective_date": "2026-11-01",
}  # fmt: skip
INVOICE = {
    "invoice_number": "INV-1", "account_number": "0012345", "invoice_date": "2026-11-01", "due_date": "",
    "total_amount_due": "120.50", "balance_due": "120.5", "event_id": "E1", "event": "NEW",
    "occurred_at": "2026-11-01T00:00:00-06:00", "replaces_invoice_number": "", "still_in_imt": "",
}  # fmt: skip


@pytest.fixture
def load(office: Any, tmp_path: Path) -> Any:
    """load(kind, rows or bytes or frame, name) → LoadResult."""

    def loading(kind: str, content: Any, name: str = "file.csv", at: datetime | None = None) -> Any:
        path = tmp_path / name
        if isinstance(content, pl.DataFrame):
            content.write_parquet(path)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(dict.fromkeys(k for row in content for k in row)))
                writer.writeheader()
                writer.writerows(content)
        return load_file(office.settings, "acme", kind, path, at or office.at)

    return loading


def _typed(**change: Any) -> pl.DataFrame:
    row = POSTING | {
        "amount": Decimal("120.50"), "posted_at": datetime(2026, 11, 1, 6, tzinfo=UTC), "effective_date": date(2026, 11, 1)
    }  # fmt: skip
    return pl.DataFrame([row | change])


def test_a_csv_is_read_to_the_exact_values(load: Any, office: Any) -> None:
    result = load("postings", [POSTING, POSTING | {"posting_id": "P2", "amount": "-3.1", "kind": "REVERSAL"}])
    assert (result.status, result.rows_new, result.sum_in, result.warnings) == (
        "ok",
        2,
        Decimal("117.40"),
        [],
    )
    first, second = office.rows("SELECT * FROM imt.postings ORDER BY posting_id")
    assert (first["account_number"], first["amount"], second["amount"]) == (
        "0012345",
        Decimal("120.50"),
        Decimal("-3.10"),
    )
    assert first["posted_at"] == datetime(2026, 11, 1, 6, tzinfo=UTC)
    assert (first["effective_date"], first["policy_number"], first["source_form"]) == (
        date(2026, 11, 1),
        None,
        "file",
    )


def test_the_state_of_an_invoice_is_its_last_event(load: Any, office: Any) -> None:
    paid = INVOICE | {
        "event_id": "E2",
        "event": "CHANGED",
        "balance_due": "0",
        "occurred_at": "2026-11-02T00:00:00Z",
    }
    load("invoices", [paid, INVOICE, INVOICE | {"event_id": "E3", "invoice_number": "INV-2"}])
    first, second = office.rows("SELECT * FROM imt.invoices ORDER BY 1")
    assert (first["due_date"], first["balance_due"], first["status"]) == (None, Decimal("0.00"), "PAID")
    assert (first["changed_at"], first["still_in_imt"]) == (datetime(2026, 11, 2, tzinfo=UTC), True)
    assert (second["status"], second["balance_due"]) == ("OPEN", Decimal("120.50"))
    assert second["changed_at"] == datetime(2026, 11, 1, 6, tzinfo=UTC)


def test_a_reissue_takes_the_place_of_the_old_invoice_until_a_later_event_of_it(
    load: Any, office: Any
) -> None:
    reissue = INVOICE | {
        "event_id": "E2", "event": "REISSUED", "invoice_number": "INV-1R", "replaces_invoice_number": "INV-1",
        "still_in_imt": "false", "occurred_at": "2026-11-02T00:00:00Z",
    }  # fmt: skip
    cancelled = INVOICE | {
        "event_id": "E3", "event": "CANCELLED", "invoice_number": "INV-2", "still_in_imt": "true",
    }  # fmt: skip
    load(
        "invoices",
        [
            reissue,
            INVOICE,
            cancelled,
            reissue | {"event_id": "E4", "invoice_number": "N", "replaces_invoice_number": "INV-0"},
        ],
    )
    states = "SELECT invoice_number, status, successor, still_in_imt FROM imt.invoices ORDER BY 1"
    assert [tuple(row.values()) for row in office.rows(states)] == [
        ("INV-0", "SUPERSEDED", "N", False), ("INV-1", "SUPERSEDED", "INV-1R", False), ("INV-1R", "OPEN", None, True),
        ("INV-2", "CANCELLED", None, True), ("N", "OPEN", None, True),
    ]  # fmt: skip
    back = INVOICE | {"event_id": "E5", "event": "CHANGED", "occurred_at": "2026-11-03T00:00:00Z"}
    load("invoices", [back], at=office.at + timedelta(hours=1))
    assert office.rows(states)[1]["status"] == "OPEN"


def test_loading_a_file_again_changes_nothing(load: Any, office: Any) -> None:
    load("postings", [POSTING])
    before = office.dump()
    again = load("postings", [POSTING])
    assert (again.rows_new, again.rows_unchanged) == (0, 1)
    after = office.dump()
    del before["poll.watermarks"], after["poll.watermarks"]
    assert after == before


def test_an_amendment_is_a_version_and_a_missing_row_is_no_deletion(load: Any, office: Any) -> None:
    load("postings", [POSTING, POSTING | {"posting_id": "P2"}])
    result = load("postings", [POSTING | {"status": "REFUSED"}], at=office.at + timedelta(hours=1))
    assert (result.rows_amended, result.rows_gone) == (1, 0)
    rows = office.rows("SELECT posting_id, status, version FROM imt.postings ORDER BY 1")
    assert [tuple(row.values()) for row in rows] == [("P1", "REFUSED", 2), ("P2", "POSTED", 1)]


def test_parquet_and_csv_are_the_same_rows(load: Any) -> None:
    load("postings", [POSTING])
    result = load("postings", _typed(), "file.parquet")
    assert (result.rows_unchanged, result.rows_new, result.rows_amended) == (1, 0, 0)


@pytest.mark.parametrize("suffix", [".csv", ".CSV"])
def test_bytes_are_archived_before_they_are_read(suffix: str, load: Any, office: Any) -> None:
    content = b"rubbish\n1\n"
    with pytest.raises(SchemaDrift):
        load("postings", content, f"file{suffix}")
    (run,) = office.runs()
    assert (run["status"], run["reason"], run["operation"]) == ("failed", "schema_drift", f"file{suffix}")
    assert office.archive.body_path(run["poll_id"], ".csv").read_bytes() == content


BAD_CELLS = [
    {"amount": "1e3"}, {"amount": "1.005"}, {"amount": "1,000.00"}, {"amount": "NaN"}, {"amount": ""}, {"amount": "$5"},
    {"account_number": "=1+1"}, {"account_number": "../../x"}, {"account_number": "a\nb"}, {"account_number": "a\x00b"},
    {"account_number": "1" * 260}, {"account_number": "1\u202e2"}, {"kind": "GIFT"}, {"amount": "-5.00"},
    {"posted_at": "2026-11-01T06:00:00"}, {"posted_at": "01.11.2026"}, {"effective_date": "2026-02-30"}, {"posting_id": ""},
]  # fmt: skip


@pytest.mark.parametrize("change", BAD_CELLS, ids=ascii)
def test_a_bad_cell_sets_its_row_aside(change: dict[str, str], load: Any, office: Any) -> None:
    result = load("postings", [POSTING | change, POSTING | {"posting_id": "P2"}])
    assert (result.rows_in, result.rows_new, result.rows_quarantined) == (2, 1, 1)
    (held,) = office.rows("SELECT raw, reasons FROM quarantine.postings")
    ((name, value),) = change.items()
    assert json.loads(held["raw"])[name] == (value or None)
    assert held["reasons"]
    assert load("postings", [POSTING | {"posting_id": change.get("posting_id") or "P1"}]).rows_new == 1


def test_a_cured_row_is_released(load: Any, office: Any) -> None:
    load("postings", [POSTING | {"amount": "1e3"}])
    assert load("postings", [POSTING]).rows_new == 1
    assert office.rows("SELECT count(*) AS n FROM quarantine.postings WHERE released_at IS NULL") == [
        {"n": 0}
    ]


def test_a_byte_order_mark_and_windows_line_ends(load: Any) -> None:
    lines = [",".join(POSTING), ",".join(POSTING.values())]
    result = load("postings", b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\n")
    assert (result.rows_new, result.warnings) == (1, [])


def test_an_unknown_column_is_warned_of(load: Any) -> None:
    result = load("postings", [POSTING | {"extra": "x"}])
    assert (result.rows_new, result.warnings) == (1, ["unknown column extra: not loaded"])


def test_an_empty_file_with_a_header_is_no_rows(load: Any) -> None:
    assert load("postings", (",".join(POSTING) + "\n").encode()).rows_in == 0


REFUSED: list[tuple[str, Any, str, type[IcflowsError]]] = [
    ("no bytes", b"", "f.csv", BadAnswer),
    (
        "latin-1",
        (",".join(POSTING) + "\n").encode() + "é".join(POSTING.values()).encode("latin-1") + b"\n",
        "f.csv",
        BadAnswer,
    ),
    (
        "too many cells",
        (",".join(POSTING) + "\n" + ",".join([*POSTING.values(), "x"]) + "\n").encode(),
        "f.csv",
        BadAnswer,
    ),
    ("column gone", (",".join(list(POSTING)[1:]) + "\n").encode(), "f.csv", SchemaDrift),
    ("cut parquet", b"PAR1 and then nothing", "f.parquet", BadAnswer),
    ("other suffix", b"x", "f.xlsx", BadAnswer),
    ("money as float", _typed(amount=120.5), "f.parquet", SchemaDrift),
    ("time without zone", _typed(posted_at=datetime(2026, 11, 1)), "f.parquet", SchemaDrift),
]


@pytest.mark.parametrize(("what", "content", "name", "error"), REFUSED, ids=[case[0] for case in REFUSED])
def test_a_file_that_is_none_is_refused_by_name(
    what: str, content: Any, name: str, error: type[IcflowsError], load: Any, office: Any
) -> None:
    with pytest.raises(error) as caught:
        load("postings", content, name)
    assert str(caught.value).startswith(f"acme / postings / {name}: ")
    assert office.rows("SELECT count(*) AS n FROM imt.postings_versions") == [{"n": 0}]


def test_three_decimals_in_parquet_are_set_aside(load: Any) -> None:
    frame = _typed().with_columns(pl.lit("120.505").cast(pl.Decimal(18, 3)).alias("amount"))
    assert load("postings", frame, "file.parquet").rows_quarantined == 1
    exact = _typed().with_columns(pl.lit("120.500").cast(pl.Decimal(18, 3)).alias("amount"))
    assert load("postings", exact, "file.parquet").rows_new == 1


def test_what_is_not_there_and_what_is_unknown(office: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no file"):
        load_file(office.settings, "acme", "postings", tmp_path / "none.csv", office.at)
    with pytest.raises(
        SettingsError,
        match="there is no file kind 'prices'; known: adjustments, chargebacks, deposits, enrolment-flags, invoices, open-at-ic, postings, refunds, spectrum-invoices",
    ):
        load_file(office.settings, "acme", "prices", tmp_path / "none.csv", office.at)


GUID = "00000000-0000-0000-0000-000000abc001"
DISPUTE = {
    "chargeback_id": "C1-FIRST", "case_no": "C1", "stage": "FIRST", "chargeback_date": "2026-11-05",
    "payment_guid": GUID, "amount": "120.50",
}  # fmt: skip
REFUND = {"refund_id": "F1", "refund_date": "2026-11-05", "processor_reference": "PR-1", "amount": "20.00"}
FLAG = {
    "account_number": "0012345",
    "list": "AUTOPAY",
    "enrolled": "true",
    "changed_at": "2026-11-05T06:00:00Z",
}
LINE = {"value_date": "2026-11-05", "amount": "-3.50", "text": "FEE"}


def test_the_bank_and_the_portal_are_loaded_as_their_contracts_say(load: Any, office: Any) -> None:
    assert (
        load("chargebacks", [DISPUTE, DISPUTE | {"chargeback_id": "C1-REV", "stage": "REVERSED"}]).rows_new
        == 2
    )
    assert load("refunds", [REFUND]).sum_in == Decimal("20.00")
    assert load("deposits", [LINE, LINE, LINE | {"amount": "3.50"}]).rows_new == 3
    assert load("deposits", [LINE, LINE]).rows_unchanged == 2
    assert load("enrolment-flags", [FLAG, FLAG | {"list": "PAPERLESS"}]).rows_new == 2
    later = load("enrolment-flags", [FLAG], at=office.at + timedelta(hours=1))
    assert (later.rows_unchanged, later.rows_gone) == (1, 1)


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("chargebacks", DISPUTE | {"payment_guid": ""}), ("chargebacks", DISPUTE | {"stage": "LOST"}),
        ("chargebacks", DISPUTE | {"amount": "-1.00"}), ("refunds", REFUND | {"amount": "-1.00"}),
        ("refunds", REFUND | {"refund_date": "11/05/2026"}), ("enrolment-flags", FLAG | {"enrolled": "yes"}),
        ("enrolment-flags", FLAG | {"list": "SMS"}), ("deposits", LINE | {"amount": "3.505"}),
        ("deposits", LINE | {"value_date": ""}),
    ],
)  # fmt: skip
def test_a_bad_row_of_the_bank_or_the_portal_is_set_aside(kind: str, row: Any, load: Any) -> None:
    result = load(kind, [row])
    assert (result.rows_in, result.rows_new, result.rows_quarantined) == (1, 0, 1)
    assert result.reasons


@pytest.mark.parametrize("kind", ["postings", "chargebacks"])
def test_only_deposits_may_be_a_statement(kind: str, load: Any) -> None:
    with pytest.raises(BadAnswer, match=r"only \.csv and \.parquet are read"):
        load(kind, b"01,S,R,261110,0200,1,,,2/\n", "day.bai2")


def test_a_table_of_the_bank_without_its_columns_is_refused(load: Any) -> None:
    with pytest.raises(SchemaDrift, match="columns are missing: amount;"):
        load("deposits", b"value_date,text\n2026-11-05,X\n")
