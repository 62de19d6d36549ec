"""Every image is looked at before it goes; one bad image spoils no other; nothing outside the folder is opened."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.bill_images import examine, folder, orphans
from tasks.errors import SettingsError
from tasks.settings import Outbound


def test_a_good_image_among_bad_ones(images: Any, wanted: Any) -> None:
    good = images.put("1234_A1_I1.pdf")
    images.put("1234_A2_I2.pdf", b"")
    images.put("1234_A3_I3.pdf", b"<html>not found</html>%%EOF")
    images.put("1234_A4_I4.pdf", good.read_bytes()[:-10])
    rows = wanted(
        ("A1", "I1", "1234_A1_I1.pdf"), ("A2", "I2", "1234_A2_I2.pdf"), ("A3", "I3", "1234_A3_I3.pdf"),
        ("A4", "I4", "1234_A4_I4.pdf"), ("A5", "I5", "1234_A5_I5.pdf"), ("A6", "I6", None), ("A7", "I7", "  "),
        ("A_8", "I8", "1234_A_8_I8.pdf"),
    )  # fmt: skip
    seen = examine(images.outbound(), "1234", rows)
    assert seen["state"].to_list() == [
        "ok", "empty", "not_pdf", "not_pdf", "missing", "missing", "missing", "bad_name"
    ]  # fmt: skip
    first = seen.row(0, named=True)
    content = good.read_bytes()
    assert (first["bytes"], first["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert first["image_id"] == hashlib.sha256(b"1234_A1_I1.pdf").hexdigest()[:16]
    assert first["source"] == first["image_name"] == "1234_A1_I1.pdf"
    assert [reason is None for reason in seen["reason"]] == [True] + [False] * 7
    assert seen["image_id"].n_unique() == 8


def test_no_rows_and_no_folder(images: Any, wanted: Any) -> None:
    assert examine(images.outbound(), "1234", wanted()).is_empty()
    with pytest.raises(SettingsError, match=r"outbound\.images"):
        examine(Outbound(), "1234", wanted())
    gone = Outbound(images=images.folder / "none")
    seen = examine(gone, "1234", wanted(("A", "I", "1234_A_I.pdf")))
    assert seen["state"].to_list() == ["unreadable"]
    assert orphans(gone, "1234", pl.Series([], dtype=pl.String)).is_empty()


HOSTILE = [
    "/etc/passwd", "../secret.pdf", "sub/../../secret.pdf", "sub/..", "1234_A_I.pdf\0.txt", "\0", "a\nb.pdf", "~/x",
    "x" * 300, "sub/" + "y" * 251 + ".pdf", "out/secret.pdf", "link.pdf", "loop.pdf", "sub", "pipe.pdf", ".", "/", "//",
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.parametrize("names", ["checked", "free"])
def test_hostile_paths_never_lead_out(
    path: str, names: str, images: Any, wanted: Any, tmp_path: Path
) -> None:
    secret = b"%PDF-1.7 of somebody else %%EOF"
    (tmp_path / "secret.pdf").write_bytes(secret)
    (images.folder / "sub").mkdir()
    (images.folder / "out").symlink_to(tmp_path)
    (images.folder / "link.pdf").symlink_to(tmp_path / "secret.pdf")
    (images.folder / "loop.pdf").symlink_to(images.folder / "loop.pdf")
    os.mkfifo(images.folder / "pipe.pdf")
    seen = examine(images.outbound(source_names=names), "1234", wanted(("A", "I", path)))
    row = seen.row(0, named=True)
    assert row["state"] in {"unreadable", "missing"}
    assert row["sha256"] is None
    assert all(character.isprintable() for character in row["source"])


def test_what_may_not_be_read_is_unreadable(
    images: Any, wanted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    images.put("1234_A_I.pdf")
    images.put("1234_B_I.pdf")
    real = os.open

    def closed(path: Any, *rest: Any) -> int:  # root may read everything, so the refusal is played
        if str(path).endswith("1234_A_I.pdf"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *rest)

    monkeypatch.setattr(folder.os, "open", closed)
    rows = wanted(("A", "I", "1234_A_I.pdf"), ("B", "I", "1234_B_I.pdf"))
    seen = examine(images.outbound(), "1234", rows)
    assert seen["state"].to_list() == ["unreadable", "ok"]
    assert seen["reason"][0] == "the file cannot be opened (PermissionError)"


def test_a_file_beyond_the_cap_is_not_read(images: Any, wanted: Any) -> None:
    with images.put("1234_A_I.pdf").open("ab") as file:
        file.truncate(folder.MOST_BYTES + 1)
    row = examine(images.outbound(), "1234", wanted(("A", "I", "1234_A_I.pdf"))).row(0, named=True)
    assert (row["state"], row["sha256"]) == ("unreadable", None)


@pytest.mark.parametrize(
    "own_name", ["1234_B_I.pdf", "1234_A_J.pdf", "9999_A_I.pdf", "scan0001.pdf", "1234_a_i.pdf"]
)
def test_a_file_that_bears_another_name_might_be_another_persons_bill(
    own_name: str, images: Any, wanted: Any
) -> None:
    images.put(own_name)
    rows = wanted(("A", "I", own_name))
    assert examine(images.outbound(), "1234", rows)["state"].to_list() == ["bad_name"]
    assert examine(images.outbound(source_names="free"), "1234", rows)["state"].to_list() == ["ok"]


def test_a_link_inside_the_folder_is_known_by_what_it_leads_to(images: Any, wanted: Any) -> None:
    images.put("2026/1234_B_J.pdf")
    images.put("2026/1234_A_I.pdf")
    (images.folder / "1234_A_I.pdf").symlink_to(images.folder / "2026" / "1234_B_J.pdf")
    (images.folder / "new").mkdir()
    (images.folder / "new" / "1234_A_I.pdf").symlink_to(images.folder / "2026" / "1234_A_I.pdf")
    rows = wanted(("A", "I", "1234_A_I.pdf"), ("A", "I", "new/1234_A_I.pdf"), ("A", "I", "2026/1234_A_I.pdf"))
    seen = examine(images.outbound(), "1234", rows)
    assert seen["state"].to_list() == ["bad_name", "ok", "ok"]


def test_free_names_but_one_file_for_two_accounts_is_refused(images: Any, wanted: Any) -> None:
    images.put("scan.pdf")
    images.put("other.pdf")
    rows = wanted(
        ("A", "1", "scan.pdf"), ("B", "2", "scan.pdf"), ("C", "3", "other.pdf"), ("C", "4", "other.pdf")
    )
    seen = examine(images.outbound(source_names="free"), "1234", rows)
    assert seen["state"].to_list() == ["bad_name", "bad_name", "ok", "ok"]


def test_orphans_are_what_nobody_names(images: Any) -> None:
    for name in ("1234_A_I.pdf", "1234_B_J.pdf", "2026/1234_C_K.pdf", "holiday.PDF", "9999_A_I.pdf"):
        images.put(name)
    for name in (".1234_D_L.pdf", "1234_E_M.pdf.part", "~1234_F_N.pdf", "notes.txt", ".hidden/1234_G_O.pdf"):
        images.put(name)
    (images.folder / "loop").symlink_to(images.folder)
    found = orphans(images.outbound(), "1234", pl.Series(["1234_A_I.pdf", None]))
    assert found.select("image_name", "source", "account_number", "invoice_number").rows() == [
        ("1234_B_J.pdf", "1234_B_J.pdf", "B", "J"),
        ("1234_C_K.pdf", "2026/1234_C_K.pdf", "C", "K"),
        ("9999_A_I.pdf", "9999_A_I.pdf", "A", "I"),
        ("holiday.PDF", "holiday.PDF", None, None),
    ]
    assert set(found["state"]) == {"orphan"}
    assert found["image_id"].n_unique() == 4
    assert found["reason"].to_list()[2] == "the name is not BID_ACCOUNT_INVOICE.pdf of this biller"


def test_an_orphan_whose_name_is_no_text_is_shown_safely(images: Any) -> None:
    bad = os.fsencode(images.folder) + b"/\xff\x1b[2J\n.pdf"
    with open(bad, "wb"):  # noqa: PTH123
        pass
    found = orphans(images.outbound(), "1234", pl.Series([], dtype=pl.String))
    assert found.height == 1
    assert found["image_name"][0].isprintable() or "\ufffd" in found["image_name"][0]
    assert "\x1b" not in found["image_name"][0]


def test_free_names_say_nothing_of_orphans(images: Any) -> None:
    images.put("scan.pdf")
    free = images.outbound(source_names="free")
    assert orphans(free, "1234", pl.Series([], dtype=pl.String)).is_empty()
