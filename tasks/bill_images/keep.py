"""Archived bill images, by what is in them: <archive>/images/<first two of sha256>/<sha256>.pdf."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tasks.archive import sync_folder, translated_os_errors
from tasks.bill_images.folder import MOST_BYTES, Refused, inside, open_regular

_CHUNK = 1 << 20
_WORKERS = 8  # each waits for the disk; together they share its flushes


def archived(archive_folder: Path, sha256: str) -> Path:
    """Where the image with these bytes lies, once it is kept."""
    return archive_folder / "images" / sha256[:2] / f"{sha256}.pdf"


def keep_images(
    archive_folder: Path, images: Path, wanted: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """Copies (path below `images`, sha256) into the archive, durably; returns the trouble of those that could not be.

    A file that is not what it was when it was looked at is a trouble of that file. Raises StorageTrouble.
    """
    todo = sorted(
        {(source, digest) for source, digest in wanted if not archived(archive_folder, digest).exists()}
    )
    folders = {archived(archive_folder, digest).parent for _, digest in todo}
    with translated_os_errors("archive"):
        archive_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (archive_folder / "images").mkdir(mode=0o700, exist_ok=True)
        for folder in folders:
            folder.mkdir(mode=0o700, exist_ok=True)
        with ThreadPoolExecutor(_WORKERS) as pool:
            said = list(
                pool.map(lambda pair: _keep(images, pair[0], archived(archive_folder, pair[1])), todo)
            )
        for folder in [*folders, archive_folder / "images", archive_folder] if todo else []:
            sync_folder(folder)
    return {pair: trouble for pair, trouble in zip(todo, said, strict=True) if trouble}


def _keep(images: Path, source: str, target: Path) -> str | None:
    part = target.with_name(f".{target.stem}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        handle = open_regular(inside(images, source))
    except Refused as refused:
        return refused.reason
    try:
        with os.fdopen(handle, "rb") as file, part.open("wb") as out:
            digest, left = hashlib.sha256(), MOST_BYTES
            while left >= 0 and (chunk := file.read(_CHUNK)):
                digest.update(chunk)
                out.write(chunk)
                left -= len(chunk)
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != target.stem:
            return "the file changed after it was looked at"
        part.replace(target)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    return None
