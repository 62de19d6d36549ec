"""What the way out needs: layout, presentment, images, the drop folder, and files that wait for a person."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cli.finding import Finding
from tasks.errors import IcflowsError
from tasks.invoicecloud.bif import load_layout
from tasks.outbox.overview import WAITS_FOR_A_PERSON, open_files
from tasks.pull import staging_of
from tasks.settings import Biller, Settings


def outbound(settings: Settings, name: str) -> Iterator[Finding]:
    """All findings of one biller's way out."""
    biller = settings.biller(name)
    yield _layout(settings, name, biller)
    yield _presentment(name, biller)
    if biller.product == "spectrum" or biller.outbound.images:
        yield _images(name, biller)
    if biller.drop_folder:
        yield _drop_folder(name, biller.drop_folder)
    yield from _open_files(settings, name)


def _layout(settings: Settings, name: str, biller: Biller) -> Finding:
    what, out = f"{name}: BIF layout", biller.outbound
    try:
        layout = load_layout(out.layout, out.layout_overrides, settings.file.parent)
    except IcflowsError as error:
        return Finding(what, "fail", str(error), f"correct [billers.{name}.outbound] layout or its overrides")
    return Finding(what, "ok", f"{layout.name}, {layout.shape}, {len(layout.record)} fields a record")


def _presentment(name: str, biller: Biller) -> Finding:
    """What a record must carry so that IC can show the bill; without it nothing is sent."""
    what, link = f"{name}: bill presentment", biller.outbound.pdf_link
    if biller.product == "spectrum":
        if not biller.invoice_format_guid:
            cure = f"add invoice_format_guid to [billers.{name}], as IC gave it for PDF extraction"
            return Finding(what, "warn", "no invoice_format_guid; invoices cannot be sent", cure)
        if link:
            words = "outbound.pdf_link is set, and a spectrum biller's records carry none"
            return Finding(what, "warn", words, "take pdf_link out, or correct the product")
        return Finding(what, "ok", "invoice_format_guid is set")
    if not link:
        cure = f"add pdf_link to [billers.{name}.outbound]"
        return Finding(what, "warn", "no outbound.pdf_link; invoices cannot be sent", cure)
    return Finding(what, "ok", "outbound.pdf_link is set")


def _images(name: str, biller: Biller) -> Finding:
    what, folder = f"{name}: bill images", biller.outbound.images
    if folder is None:
        cure = f"add images to [billers.{name}.outbound], the folder of IMT's PDFs"
        return Finding(what, "warn", "no outbound.images; bills go out without images", cure)
    if biller.sftp is None:
        return Finding(what, "fail", "outbound.images without SFTP", f"add [billers.{name}.sftp]")
    return _folder(what, folder, "outbound.images", os.R_OK | os.X_OK, "readable")


def _drop_folder(name: str, folder: Path) -> Finding:
    """Files are moved below it, so it must be writable."""
    return _folder(f"{name}: drop folder", folder, "drop_folder", os.R_OK | os.W_OK | os.X_OK, "writable")


def _folder(what: str, folder: Path, key: str, rights: int, word: str) -> Finding:
    if not folder.is_dir():
        return Finding(what, "fail", f"{folder} is not there", f"create or mount it, or correct {key}")
    if not os.access(folder, rights):
        return Finding(
            what, "fail", f"{folder} is not {word}", "give the account that runs icflows the right"
        )
    return Finding(what, "ok", f"{folder} is {word}")


def _open_files(settings: Settings, name: str) -> Iterator[Finding]:
    """Nothing is said where staging cannot be opened: its own finding says why."""
    what = f"{name}: outbox"
    if not staging_of(settings, name).path.exists():
        return
    try:
        states = open_files(settings, name)
    except IcflowsError:
        return
    told = ", ".join(f"{count} {state}" for state, count in states.items()) or "every file is settled"
    waits = any(state in WAITS_FOR_A_PERSON for state in states)
    cure = f"icflows outbox --biller {name}, then icflows outbox decide" if waits else ""
    yield Finding(what, "warn" if waits else "ok", told, cure)
