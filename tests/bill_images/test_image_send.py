"""Images go into the archive first and from there to a real SFTP server."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.openssh import Server, free_port, openssh
from tasks.bill_images import examine, keep, send_images
from tasks.bill_images.keep import archived, keep_images
from tasks.errors import SettingsError, StorageTrouble, Unreachable
from tasks.outbox.model import IMAGES
from tasks.settings import Biller

AT = datetime(2026, 11, 10, 12, tzinfo=UTC)
NEVER = pl.DataFrame(schema={"image_name": pl.String, "sha256": pl.String, "bytes": pl.Int64})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with openssh(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def served(tmp_path: Path) -> Path:
    (tmp_path / "served").mkdir()
    return tmp_path / "served"


@pytest.fixture
def biller(
    server: Server, served: Path, images: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Biller]:
    monkeypatch.setenv("SFTP_KEY", server.client_key.read_text())

    def make(**change: Any) -> Biller:
        sftp = {
            "host": "127.0.0.1", "port": server.port, "username": server.user, "key": "env:SFTP_KEY",
            "host_key": server.host_key, "directory": str(served),
        }  # fmt: skip
        return Biller(
            product="spectrum", biller_guid="11111111-2222-3333-4444-555555555555", bid="1234",
            web_service_key="env:KEY", base_url="https://ic.invalid", time_zone="America/Chicago",
            sftp=sftp | change, outbound=images.outbound(),
        )  # fmt: skip

    return make


@pytest.fixture
def seen(images: Any, wanted: Any) -> Callable[[int], pl.DataFrame]:
    """seen(n) → n good images, looked at."""

    def look(count: int) -> pl.DataFrame:
        names = [(f"A{n}", f"I{n}", f"1234_A{n}_I{n}.pdf") for n in range(count)]
        for _, _, name in names:
            if not (images.folder / name).exists():
                images.put(name)
        found = examine(images.outbound(), "1234", wanted(*names))
        assert set(found["state"]) == {"ok"}
        return found

    return look


def test_sent_images_are_rows_archived_and_at_the_server(
    biller: Any, seen: Any, served: Path, tmp_path: Path, images: Any
) -> None:
    steps: list[tuple[int, int]] = []
    good = seen(12)
    rows = send_images(biller(), tmp_path / "archive", good, NEVER, AT, lambda *step: steps.append(step))
    assert dict(rows.schema) == dict(IMAGES)
    assert rows["image_id"].to_list() == good["image_id"].to_list()
    assert set(rows["state"]) == {"sent"}
    assert set(rows["sent_at"]) == set(rows["first_seen_at"]) == set(rows["last_seen_at"]) == {AT}
    assert steps == [(n + 1, 12) for n in range(12)]
    for name, digest in rows.select("image_name", "sha256").iter_rows():
        content = (served / name).read_bytes()
        assert content == (images.folder / name).read_bytes()
        assert content == archived(tmp_path / "archive", digest).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
    assert (tmp_path / "archive").stat().st_mode & 0o077 == 0
    assert not list((tmp_path / "archive").rglob("*.part"))


def test_what_was_sent_and_is_there_is_not_sent_again(
    biller: Any, seen: Any, served: Path, tmp_path: Path, images: Any
) -> None:
    first = send_images(biller(), tmp_path / "archive", seen(4), NEVER, AT)
    before = {path.name: path.stat().st_ino for path in served.iterdir()}
    other = images.folder / "1234_A1_I1.pdf"
    other.write_bytes(other.read_bytes().replace(b"A1", b"XX"))  # as long as before, with other bytes
    (served / "1234_A2_I2.pdf").unlink()
    second = send_images(biller(), tmp_path / "archive", seen(4), first, AT)
    assert set(second["state"]) == {"sent"}
    after = {path.name: path.stat().st_ino for path in served.iterdir()}
    same = [after[name] == before[name] for name in sorted(before)]
    assert same == [True, False, False, True]
    assert (served / "1234_A1_I1.pdf").read_bytes() == other.read_bytes()


def test_after_a_kill_what_is_there_counts_as_sent(
    biller: Any, seen: Any, served: Path, tmp_path: Path
) -> None:
    send_images(biller(), tmp_path / "archive", seen(3), NEVER, AT)  # and killed before it was written down
    before = {path.name: path.stat().st_ino for path in served.iterdir()}
    rows = send_images(biller(), tmp_path / "archive", seen(3), NEVER, AT)
    assert set(rows["state"]) == {"sent"}
    assert {path.name: path.stat().st_ino for path in served.iterdir()} == before


def test_an_image_that_changed_after_the_look_fails_alone(
    biller: Any, seen: Any, served: Path, tmp_path: Path, images: Any
) -> None:
    good = seen(3)
    images.put("1234_A1_I1.pdf", b"%PDF-another bill%%EOF")
    (images.folder / "1234_A2_I2.pdf").unlink()
    rows = send_images(biller(), tmp_path / "archive", good, NEVER, AT)
    assert rows["state"].to_list() == ["sent", "failed", "failed"]
    assert rows["reason"].to_list()[1:] == [
        "the file changed after it was looked at",
        "there is no such file in the images folder",
    ]
    assert rows["sent_at"].to_list() == [AT, None, None]
    assert [path.name for path in served.iterdir()] == ["1234_A0_I0.pdf"]
    assert len(list((tmp_path / "archive").rglob("*.pdf"))) == 1


def test_a_refused_image_says_why(biller: Any, seen: Any, served: Path, tmp_path: Path) -> None:
    (served / "1234_A1_I1.pdf" / "x").mkdir(parents=True)
    rows = send_images(biller(), tmp_path / "archive", seen(3), NEVER, AT)
    assert rows["state"].to_list() == ["sent", "failed", "sent"]
    assert rows["reason"][1].endswith("(refused)")
    gone = send_images(biller(directory=str(served / "none")), tmp_path / "archive", seen(2), NEVER, AT)
    assert gone["reason"].to_list() == ["the SFTP directory does not exist (no_directory)"] * 2


def test_without_a_server_the_images_are_archived_and_nothing_is_claimed(
    biller: Any, seen: Any, tmp_path: Path
) -> None:
    with pytest.raises(Unreachable):
        send_images(biller(port=free_port()), tmp_path / "archive", seen(2), NEVER, AT)
    assert len(list((tmp_path / "archive").rglob("*.pdf"))) == 2


def test_without_sftp_settings_nothing_is_tried(biller: Any, seen: Any, tmp_path: Path) -> None:
    without = biller().model_copy(update={"sftp": None})
    with pytest.raises(SettingsError, match=r"\[sftp\]"):
        send_images(without, tmp_path / "archive", seen(1), NEVER, AT)


def test_a_full_archive_stops_before_anything_is_sent(
    biller: Any, seen: Any, served: Path, tmp_path: Path, file_limit: Callable[[int], None], images: Any
) -> None:
    images.put("1234_A0_I0.pdf", b"%PDF-" + b"x" * 500_000 + b"%%EOF")
    good = seen(2)
    file_limit(100_000)
    with pytest.raises(StorageTrouble, match="archive"):
        send_images(biller(), tmp_path / "archive", good, NEVER, AT)
    assert not list(served.iterdir())
    assert not list((tmp_path / "archive").rglob("*.part"))


def test_the_same_bytes_are_kept_once(images: Any, tmp_path: Path) -> None:
    digest = hashlib.sha256(images.put("a.pdf", b"%PDF-same%%EOF").read_bytes()).hexdigest()
    images.put("b.pdf", b"%PDF-same%%EOF")
    pairs = [("a.pdf", digest), ("b.pdf", digest), ("a.pdf", digest)]
    assert keep_images(tmp_path / "archive", images.folder, pairs) == {}
    assert len(list((tmp_path / "archive").rglob("*.pdf"))) == 1
    assert keep_images(tmp_path / "archive", images.folder, [("gone.pdf", digest)]) == {}  # kept already


def test_nothing_is_kept_of_an_image_that_is_swapped_for_a_link(images: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret.pdf"
    secret.write_bytes(b"%PDF-secret%%EOF")
    (images.folder / "1234_A_I.pdf").symlink_to(secret)
    digest = hashlib.sha256(secret.read_bytes()).hexdigest()
    said = keep_images(tmp_path / "archive", images.folder, [("1234_A_I.pdf", digest)])
    assert said == {("1234_A_I.pdf", digest): "the path does not stay in the images folder"}
    assert not list((tmp_path / "archive").rglob("*.pdf"))


def test_every_image_is_flushed_to_the_disk_before_it_gets_its_name(
    images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    lock, real = threading.Lock(), keep.os.fsync
    rename = Path.replace

    def fsync(handle: int) -> None:
        with lock:
            events.append("flush")
        real(handle)

    def replace(self: Path, target: Path) -> Path:
        with lock:
            assert events.count("flush") > events.count("name")
            events.append("name")
        return rename(self, target)

    monkeypatch.setattr(keep.os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    pairs = [(f"{n}.pdf", hashlib.sha256(images.put(f"{n}.pdf").read_bytes()).hexdigest()) for n in range(20)]
    assert keep_images(tmp_path / "archive", images.folder, pairs) == {}
    assert events.count("name") == 20
    assert events[-1] == "flush"  # the folders, so that the names last
