"""BAI2 statements: money to the cent and the right way round, ids that stay, files that are none refused."""

from __future__ import annotations

import random
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tasks.archive import Archive
from tasks.dropping import waiting_files
from tasks.errors import BadAnswer
from tasks.imt_files import read_file
from tasks.loading import load_file
from tasks.replay import replay

# The example of the BAI2 standard's kind: two groups, three accounts, a value date, spread availability, 88s.
STANDARD = """\
01,122099999,123456789,261110,0200,1,,,2/
02,031001234,122099999,1,261109,2359,USD,2/
03,0975312468,,010,500000,,,190,70000000,4,0/
88,110,70000000,15,D,2,0,20000000,1,50000000/
16,142,250000,1,REF-1,C1,INVOICE CLOUD DEPOSIT
88,SETTLED 1109
16,475,120050,,CHK-1,,CHECK PAID/
16,165,100,V,261112,,REF-2,,LATER, WITH A COMMA
49,140870150,7/
03,1234-9999,USD/
16,115,10000000,S,5000000,4000000,1000000/
88,AX13612,B096132,LOCKBOX
49,10000000,4/
98,150870150,2,13/
02,031001234,122099999,1,261110,2400,,2/
03,0975312468/
49,0,2/
98,0,1,4/
99,150870150,2,19/
"""


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """read(text or bytes, name) → Report of imt.bank_lines."""

    def reading(content: str | bytes, name: str = "day.bai2") -> Any:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_file(path, "bank_lines", "America/Chicago")

    return reading


def statement(*lines: str, group: str = "1", currency: str = "", account: str = "0012345678") -> str:
    """A file of one account with these 16 (and 88) records; its totals are right."""
    total = sum(int(line.split(",")[2] or 0) for line in lines if line.startswith("16"))
    body = [f"03,{account},{currency}/", *lines, f"49,{total},{len(lines) + 2}/"]
    inner = ["02,R,O,{},261109,2359,USD,2/".format(group), *body, f"98,{total},1,{len(body) + 2}/"]  # noqa: UP032
    return "\n".join(["01,S,R,261110,0200,1,,,2/", *inner, f"99,{total},1,{len(inner) + 2}/", ""])


def test_lines_of_several_accounts_and_groups(read: Any) -> None:
    report = read(STANDARD)
    rows = report.rows.drop("line_id", "row_no").rows()
    assert rows == [
        ("2468", date(2026, 11, 9), Decimal("2500.00"), "142", "REF-1", "C1", "INVOICE CLOUD DEPOSIT SETTLED 1109"),
        ("2468", date(2026, 11, 9), Decimal("-1200.50"), "475", "CHK-1", None, "CHECK PAID"),
        ("2468", date(2026, 11, 12), Decimal("1.00"), "165", "REF-2", None, "LATER, WITH A COMMA"),
        ("9999", date(2026, 11, 9), Decimal("100000.00"), "115", "AX13612", "B096132", "LOCKBOX"),
    ]  # fmt: skip
    assert (report.rows_in, report.unread.height, report.warnings) == (4, 0, [])
    assert report.rows["line_id"].n_unique() == 4


def test_windows_line_ends_blanks_and_two_files_in_one(read: Any) -> None:
    padded = "\r\n".join(f"{line:<90}" for line in STANDARD.splitlines()) + "\r\n\x1a"
    assert read(padded).rows.equals(read(STANDARD).rows)
    other = statement("16,142,5,,R,,T")
    assert read(STANDARD + other).rows["amount"].sum() == Decimal("101300.55")


def test_the_same_line_has_one_id_in_every_file_and_equal_lines_have_two(read: Any) -> None:
    twin, other = "16,142,5000,,R1,,DEPOSIT", "16,142,5000,,R2,,DEPOSIT"
    early = read(statement(twin)).rows
    whole = read(statement(other, twin, twin)).rows
    ids = whole["line_id"].to_list()
    assert len(set(ids)) == 3
    assert early["line_id"].to_list() == [ids[1]]
    assert "0012345678" not in "".join(ids)
    csv = "value_date,amount,type_code,bank_account_last4,bank_reference,text\n2026-11-09,50.0,142,5678,R1,DEPOSIT\n"
    assert read(csv, "day.csv").rows["line_id"].to_list() == [ids[1]]


def test_a_csv_keeps_its_own_ids_and_gets_those_that_it_lacks(read: Any) -> None:
    head = "line_id,value_date,amount,text\n"
    rows = read(head + "OWN,2026-11-09,1.00,A\n,2026-11-09,-1.00,A\n,2026-11-09,1.00,A\n", "day.csv").rows
    own, debit, credit = rows["line_id"].to_list()
    assert own == "OWN"
    assert debit != credit
    assert rows["amount"].sum() == Decimal("1.00")


ASIDE = [
    (statement("16,921,500,,R,,T"), "type code 921 says neither"),
    (statement("16,400,500,,R,,T"), "type code 400 is a total"),
    (statement("16,142,-500,,R,,T"), "sign of its own"),
    (statement("16,142,500,,R,,T", currency="EUR"), "in EUR, not in USD"),
    (statement("16,142,500,,R,,T", group="3"), "corrects what the bank sent"),
    (statement("16,142,500,,R,,T", group="2"), "deletes what the bank sent"),
    (statement("16,142,500,,R,,T", group="4"), "a test of the bank"),
]


@pytest.mark.parametrize(("content", "reason"), ASIDE, ids=[case[1] for case in ASIDE])
def test_what_is_not_known_is_set_aside_with_its_reason(content: str, reason: str, read: Any) -> None:
    report = read(content)
    assert (report.rows.height, report.unread.height, report.raw.height) == (0, 1, 1)
    assert reason in report.unread["reasons"].item()[0]


def test_lines_that_tell_of_no_money_are_left_out_with_a_warning(read: Any) -> None:
    report = read(statement("16,890,,,R,,WORDS", "16,142,500,,R,,T"))
    assert report.rows["amount"].to_list() == [Decimal("5.00")]
    assert report.warnings == ["1 lines of type 890 tell of no money: not loaded"]


def test_an_old_alphabet_is_read_with_a_warning(read: Any) -> None:
    report = read(statement("16,142,500,,R,,CAFÉ").encode("latin-1"))
    assert report.rows["text"].item() == "CAFÉ"
    assert "Latin-1" in report.warnings[0]


def changed(before: str, after: str) -> str:
    assert before in STANDARD
    return STANDARD.replace(before, after, 1)


REFUSED: list[tuple[str, str | bytes, str]] = [
    ("empty", b"", "no records"),
    ("binary", bytes(range(256)) * 40, "control characters"),
    ("csv", "line_id,amount\n1,2\n", "line 1 is no record"),
    ("cut at a line", STANDARD[: STANDARD.index("16,475")], "it is cut"),
    ("no end record", STANDARD[: STANDARD.index("99,150870150")], "it is cut"),
    ("goes on after its end", STANDARD + "16,142,5,,R,,T\n", "record 16 after 99"),
    ("continues its end", STANDARD + "88,MORE\n", "continues nothing"),
    ("a continuation first", "88,MORE\n" + STANDARD, "continues nothing"),
    ("account total", changed("49,140870150", "49,140870151"), "sums to 140870150 cents"),
    ("group total", changed("98,150870150", "98,150870151"), "the group that begins"),
    ("file total", changed("99,150870150", "99,150870151"), "the file that begins"),
    ("amount", changed("16,475,120050", "16,475,120051"), "sums to 140870151 cents"),
    ("account records", changed("49,140870150,7", "49,140870150,8"), "number of records"),
    ("groups", changed("99,150870150,2", "99,150870150,3"), "number of parts"),
    ("accounts", changed("98,150870150,2", "98,150870150,1"), "number of parts"),
    ("a line lost", changed("88,SETTLED 1109\n", ""), "number of records"),
    ("an amount in words", changed("16,475,120050", "16,475,1_200"), "no number of cents"),
    ("Arabic digits", changed("16,475,120050", "16,475,١٢٠٠٥٠"), "no number of cents"),
    ("decimals", changed("16,475,120050", "16,475,1200.50"), "no number of cents"),
    ("a day that is none", changed("261109,2359", "261399,2359"), "form that BAI2 does not know"),
    ("an unknown funds type", changed("250000,1,REF-1", "250000,Q,REF-1"), "form that BAI2 does not know"),
    ("an older version", changed("1,,,2/", "1,,,1/"), "Only BAI version 2"),
    ("other records", changed("16,475", "17,475"), "is no record"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "content", "words"), REFUSED, ids=[case[0] for case in REFUSED])
def test_a_file_that_is_no_whole_statement_is_refused(
    what: str, content: str | bytes, words: str, read: Any
) -> None:
    with pytest.raises(BadAnswer, match=words) as caught:
        read(content)
    assert str(caught.value).startswith("day.bai2 ")
    assert "INVOICE CLOUD" not in str(caught.value)


def test_damage_is_refused_or_changes_no_money(read: Any) -> None:
    rng, whole = random.Random(5), read(STANDARD).rows
    kept = 0
    for _ in range(300):
        content = bytearray(STANDARD.encode())
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(len(content))] = rng.choice(b"019/,\n8AZ ")
        try:
            report = read(bytes(content))
        except BadAnswer:
            continue
        kept += 1
        read_in = [*report.rows["amount"].to_list(), *report.unread["amount"].to_list()]
        assert sum(abs(amount) for amount in read_in) == whole["amount"].abs().sum()
    assert 0 < kept < 200


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.bai"
    with path.open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(BadAnswer, match="larger than 64 MiB"):
        read_file(path, "bank_lines", "UTC")


def test_the_drop_folder_takes_statements_as_deposits_only(tmp_path: Path) -> None:
    for kind in ("deposits", "refunds"):
        (tmp_path / kind).mkdir()
        for name in ("a.bai", "b.BAI2", "c.txt", "d.csv", "e.xlsx"):
            (tmp_path / kind / name).write_text("x")
    found = [f"{kind}/{path.name}" for kind, path in waiting_files(tmp_path, quiet_seconds=0)]
    assert found == ["deposits/a.bai", "deposits/b.BAI2", "deposits/c.txt", "deposits/d.csv", "refunds/d.csv"]


def test_a_statement_is_loaded_archived_and_replayed(office: Any, tmp_path: Path) -> None:
    office.configure()
    path = tmp_path / "day.BAI2"
    path.write_text(STANDARD)
    loaded = load_file(office.settings, "acme", "deposits", path, office.at)
    assert (loaded.rows_new, loaded.sum_in) == (4, Decimal("101300.50"))
    more = statement(
        "16,142,250000,1,REF-1,C1,INVOICE CLOUD DEPOSIT SETTLED 1109", "16,921,1,,,,X", account="2468"
    )
    path.with_name("next.txt").write_text(more)
    again = load_file(office.settings, "acme", "deposits", path.with_name("next.txt"), office.at)
    assert (again.rows_unchanged, again.rows_new, again.rows_quarantined) == (1, 0, 1)
    cut = path.with_name("cut.bai")
    cut.write_text(STANDARD[:200])
    with pytest.raises(BadAnswer, match=r"^acme / bank_lines / cut\.bai: .* is no whole BAI2 statement"):
        load_file(office.settings, "acme", "deposits", cut, office.at)
    failed = office.rows("SELECT poll_id, reason FROM poll.runs WHERE status = 'failed'")
    assert [run["reason"] for run in failed] == ["bad_file"]
    archive: Archive = office.archive
    assert archive.body_path(failed[0]["poll_id"], ".bai").read_text() == STANDARD[:200]
    before = office.dump("imt.bank_lines_versions", "quarantine.bank_lines")
    assert replay(office.settings, "acme", office.at).failed == 1
    assert office.dump("imt.bank_lines_versions", "quarantine.bank_lines") == before
