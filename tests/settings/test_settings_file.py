"""icflows.toml: wrong settings are refused at start with the field's name and the cure."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import SettingsError
from tasks.settings import alert_urls, load_settings, secret, table_name

GOOD: dict[str, Any] = {
    "product": "spectrum",
    "biller_guid": "11111111-2222-3333-4444-555555555555",
    "bid": "1234",
    "web_service_key": "env:ACME_WEB_SERVICE_KEY",
    "base_url": "https://example.test/portal/webservices/",
    "time_zone": "America/Chicago",
}
SFTP = {"host": "h", "username": "u", "host_key": "ssh-ed25519 AAAA"}


@pytest.fixture
def write(tmp_path: Path, to_toml: Any) -> Any:
    """write(biller keys, other sections) → the settings read back."""

    def writing(biller: dict[str, Any] | None = None, name: str = "acme", **sections: Any) -> Any:
        changed = {k: v for k, v in (GOOD | (biller or {})).items() if v is not None}
        file = tmp_path / "icflows.toml"
        file.write_text(to_toml(sections | {"billers": {name: changed}}), "utf-8")
        return load_settings(file)

    return writing


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"produkt": "x"}, "unknown key 'billers.acme.produkt'; did you mean 'product'?"),
    ({"biller_gid": "x"}, "did you mean 'biller_guid'?"),
    ({"transport": {"deadline": 3}}, "did you mean 'deadline_seconds'?"),
    ({"sftp": SFTP | {"hostkey": "x"}}, "did you mean 'host_key'?"),
    ({"zzzz": 1}, "known: product, biller_guid"),
    ({"product": "mips"}, "billers.acme.product"),
    ({"product": None}, "billers.acme.product: Field required"),
    ({"biller_guid": "123"}, "billers.acme.biller_guid"),
    ({"bid": "../x"}, "billers.acme.bid"),
    ({"bid": ""}, "billers.acme.bid"),
    ({"web_service_key": "a-real-key-in-the-file"}, "must be 'env:NAME' or 'secret-block:NAME'"),
    ({"web_service_key": "env:"}, "must be 'env:NAME'"),
    ({"base_url": "http://example.test/"}, "must be https"),
    ({"base_url": "http://127.0.0.1@example.test/"}, "must be https"),
    ({"base_url": "http://127.0.0.1.example.test/"}, "must be https"),
    ({"base_url": "http://localhost.example.test/"}, "must be https"),
    ({"base_url": "ftp://127.0.0.1/"}, "must be an http(s) address"),
    ({"base_url": "example.test"}, "must be an http(s) address"),
    ({"time_zone": "Central"}, "is no IANA time zone"),
    ({"transport": {"deadline_seconds": 0}}, "billers.acme.transport.deadline_seconds"),
    ({"transport": {"tries": 0}}, "billers.acme.transport.tries"),
    ({"transport": {"soap": "1.3"}}, "billers.acme.transport.soap"),
    ({"transport": {"max_bytes": "many"}}, "billers.acme.transport.max_bytes"),
    ({"sftp": {"host": "h"}}, "billers.acme.sftp.username"),
    ({"sftp": SFTP | {"port": 70_000}}, "billers.acme.sftp.port"),
    ({"sftp": SFTP | {"password": "hunter2-in-the-file"}}, "billers.acme.sftp.password"),
    ({"feeds": {"payment": {"form": "soap"}}}, "there is no feed 'payment'"),
    ({"feeds": {"payments": {"form": "paper"}}}, "[billers.acme.feeds.payments]"),
    ({"feeds": "all"}, "billers.acme.feeds"),
]


@pytest.mark.parametrize(("change", "words"), WRONG, ids=str)
def test_a_wrong_setting_is_refused(change: dict[str, Any], words: str, write: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        write(change)
    message = str(caught.value)
    assert words in message
    assert "icflows.toml" in message or "feed" in message
    assert "a-real-key-in-the-file" not in message
    assert "hunter2-in-the-file" not in message


SECTIONS: list[tuple[dict[str, Any], str]] = [
    ({"storag": {"staging": "x"}}, "did you mean 'storage'?"),
    ({"storage": {"stagin": "x"}}, "did you mean 'staging'?"),
    ({"storage": {"keep_snapshots": 0}}, "storage.keep_snapshots"),
    ({"storage": {"lock_timeout_seconds": -1}}, "storage.lock_timeout_seconds"),
    ({"alerts": {"url": ["x"]}}, "did you mean 'urls'?"),
    ({"alerts": {"urls": "json://x"}}, "alerts.urls"),
]


@pytest.mark.parametrize(("sections", "words"), SECTIONS, ids=str)
def test_a_wrong_section_is_refused(sections: dict[str, Any], words: str, write: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        write(**sections)
    assert words in str(caught.value)


def test_every_mistake_is_told_at_once(write: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        write({"produkt": "x", "time_zone": "Mars", "bid": "?"})
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("name", ["ACME", "a/b", "../x", "a b", "-a", "", "a" * 33, "ä"])
def test_a_billers_name_names_files(name: str, write: Any) -> None:
    with pytest.raises(SettingsError, match="names files"):
        write(name=name)


def test_no_biller_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "icflows.toml").write_text("[billers]\n")
    with pytest.raises(SettingsError, match="billers"):
        load_settings(tmp_path / "icflows.toml")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8090/", "http://localhost:1/x", "http://[::1]:80/", "https://a.test/x"]
)
def test_http_is_for_loopback_and_https_for_all(url: str, write: Any) -> None:
    assert write({"base_url": url}).biller("acme").base_url == url if url.endswith("/") else f"{url}/"


def test_the_file_that_is_not_there_and_the_one_that_is_no_toml(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no settings file at .*--config"):
        load_settings(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("billers = [")
    with pytest.raises(SettingsError, match="not readable as TOML"):
        load_settings(tmp_path / "bad.toml")
    (tmp_path / "latin.toml").write_bytes(b'x = "\xe4"')
    with pytest.raises(SettingsError, match="not readable as TOML"):
        load_settings(tmp_path / "latin.toml")


def test_the_file_may_be_named_by_the_environment(
    write: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = write().file
    monkeypatch.setenv("ICFLOWS_CONFIG", str(file))
    monkeypatch.chdir("/")
    assert load_settings().file == file
    monkeypatch.delenv("ICFLOWS_CONFIG")
    monkeypatch.chdir(tmp_path)
    assert load_settings().file == file


def test_relative_folders_start_at_the_settings_file(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    settings = write(storage={"staging": "a/b", "archive": "/abs/olute"})
    assert settings.folder("staging") == tmp_path / "a" / "b"
    assert settings.folder("archive") == Path("/abs/olute")
    assert settings.folder("snapshots") == tmp_path / "var" / "snapshots"


def test_the_environment_wins_over_the_file(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICFLOWS__STORAGE__KEEP_DAYS", "7")
    monkeypatch.setenv("ICFLOWS__BILLERS__ACME__BID", "9999")
    monkeypatch.setenv("ICFLOWS__BILLERS__ACME__TRANSPORT__TRIES", "2")
    settings = write(storage={"keep_days": 3, "keep_snapshots": 5})
    assert (settings.storage.keep_days, settings.storage.keep_snapshots) == (7, 5)
    assert (settings.biller("acme").bid, settings.biller("acme").product) == ("9999", "spectrum")
    assert settings.biller("acme").transport.tries == 2


def test_a_wrong_value_in_the_environment_is_refused_too(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICFLOWS__STORAGE__KEEP_DAYS", "many")
    with pytest.raises(SettingsError, match=r"storage\.keep_days"):
        write()


def test_settings_are_frozen(write: Any) -> None:
    settings = write()
    with pytest.raises(ValueError, match="frozen"):
        settings.storage.keep_days = 1
    with pytest.raises(ValueError, match="frozen"):
        settings.biller("acme").bid = "1"


def test_an_unknown_biller_lists_the_known_ones(write: Any) -> None:
    with pytest.raises(SettingsError, match=r"there is no biller 'other' in .*known: acme"):
        write().biller("other")


def test_an_unknown_feed_lists_the_known_ones() -> None:
    assert table_name("ach-rejects") == "ach_rejects"
    with pytest.raises(
        SettingsError, match="there is no feed 'refunds'; known: payments, settlements, ach-rejects"
    ):
        table_name("refunds")


@pytest.mark.parametrize("written", ["ach_rejects", "ach-rejects"])
def test_an_override_counts_under_both_spellings_of_its_feed(written: str, write: Any) -> None:
    settings = write({"feeds": {written: {"form": "soap"}}})
    assert settings.feed("acme", "ach_rejects").form == "soap"


def test_a_relative_wsdl_folder_starts_at_the_settings_file(
    office: Any, ic: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tasks.invoicecloud.client import WSDL_FOLDER

    office.folder.mkdir(exist_ok=True)
    (office.folder / "wsdl").mkdir()
    (office.folder / "wsdl" / "CloudReporting.wsdl").write_bytes(
        (WSDL_FOLDER / "CloudReporting.wsdl").read_bytes()
    )
    office.configure(wsdl="wsdl")
    monkeypatch.chdir("/")
    assert office.pull().status == "ok"


def test_a_secret_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "canary-value")
    value = secret("env:SOME_KEY")
    assert value.get_secret_value() == "canary-value"
    assert "canary" not in repr(value) + str(value)
    monkeypatch.setenv("SOME_KEY", "")
    with pytest.raises(SettingsError, match="SOME_KEY is not set; export it"):
        secret("env:SOME_KEY")
    with pytest.raises(SettingsError, match="env:NAME"):
        secret("canary-value")


def test_a_secret_block_that_cannot_be_read_names_itself_and_the_cure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Prefect's API is nowhere: the answer is one sentence, not a trace of an HTTP library."""
    import subprocess
    import sys

    code = (
        "from tasks.settings import secret\nfrom tasks.errors import SettingsError\n"
        "try:\n    secret('secret-block:acme-key')\nexcept SettingsError as error:\n    print('told:', error)"
    )
    environment = os.environ | {
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_CLIENT_MAX_RETRIES": "0",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.stdout.startswith("told: the Prefect Secret block 'acme-key' cannot be read"), done.stderr[
        -300:
    ]
    assert "env:NAME" in done.stdout


def test_alert_urls_may_be_secrets(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "json://token@127.0.0.1/x")
    assert alert_urls(write(alerts={"urls": ["env:HOOK", "json://127.0.0.1/y"]})) == [
        "json://token@127.0.0.1/x",
        "json://127.0.0.1/y",
    ]


def test_the_repositorys_own_file_is_valid() -> None:
    settings = load_settings(Path(__file__).parents[2] / "icflows.toml")
    assert list(settings.billers) == ["acme"]
