"""The report in a real browser: it renders without an error and asks nobody for anything."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks.pull import staging_of
from tasks.report import write_report

CLOSE = datetime(2026, 10, 30, 23, tzinfo=UTC)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions",
    "--disable-domain-reliability", "--disable-client-side-phishing-detection", "--metrics-recording-only",
    "--disable-features=OptimizationHints,MediaRouter,AutofillServerCommunication,CertificateTransparencyComponentUpdater",
    "--enable-logging=stderr", "--v=0",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail(f"no Chromium found (tried {', '.join(BROWSERS)}); install the package chromium")
    return found


class Listener(http.server.ThreadingHTTPServer):
    """A proxy that serves nothing and remembers who asked for what."""

    asked: list[str]


class Handler(http.server.BaseHTTPRequestHandler):
    def _any(self) -> None:
        assert isinstance(self.server, Listener)
        self.server.asked.append(self.path)
        self.send_error(404)

    do_GET = do_POST = do_CONNECT = do_HEAD = _any

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def proxy() -> Iterator[Listener]:
    server = Listener(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def dump(browser: str, page: Path, proxy: Listener, profile: Path, *more: str) -> tuple[str, str]:
    """The rendered document and what the browser logged."""
    address = f"127.0.0.1:{proxy.server_address[1]}"
    done = subprocess.run(
        [browser, *QUIET, f"--user-data-dir={profile}", f"--proxy-server={address}", "--proxy-bypass-list=<-loopback>",
         *more, "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout, done.stderr


def of_the_page(asked: list[str]) -> list[str]:
    """Without what the browser itself asks its maker for at start-up."""
    makers = ("google.com", "googleapis.com", "gvt1.com", "gstatic.com")
    hosts = [path.split("//")[-1].split("/")[0].split(":")[0] for path in asked]
    return [host for host in hosts if not host.endswith(makers)]


def test_the_checks_see_what_they_look_for(browser: str, proxy: Listener, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<img src='http://tracker.example/x.png'><script>console.error('broken page')</script>")
    _, log = dump(browser, page, proxy, tmp_path / "profile")
    assert "tracker.example" in of_the_page(proxy.asked)
    assert "CONSOLE" in log
    assert "broken page" in log


@pytest.mark.parametrize("more", [[], ["--blink-settings=preferredColorScheme=0", "--window-size=480,2000"]])
def test_the_report_renders_clean(
    browser: str, proxy: Listener, day: Any, tmp_path: Path, more: list[str]
) -> None:
    settings = day.copy("close", tmp_path)
    with staging_of(settings, "acme").open() as connection:
        hostile = "<img src=http://tracker.example/x onerror=alert(1)><script>throw 1</script>"
        connection.execute("UPDATE recon.breaks SET sentence = sentence || $1", [hostile])
    document, log = dump(
        browser, write_report(settings, "acme", CLOSE).latest, proxy, tmp_path / "profile", *more
    )
    assert "CONSOLE" not in log
    assert of_the_page(proxy.asked) == []
    assert document.count("<article") == 20
    assert document.count("<svg") == 5
    assert document.rstrip().endswith("</html>")
    assert "<script" not in document
    assert "&lt;script&gt;throw 1" in document
