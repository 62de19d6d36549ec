"""The service as a process of its own, and other companies' SOAP stacks that call it: Node's `soap`, PHP's SoapClient."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tasks.inbound import tables
from tasks.inbound.store import Store, open_store
from tasks.inbound.values import microseconds
from tasks.settings import load_settings

HERE = Path(__file__).parent
GUID = "11111111-2222-3333-4444-555555555555"
KEYS = {"acme": "canary-spectrum-key", "zeta": "canary-mips-key", "late": "canary-late-key"}
ROW = {
    "biller": "acme", "account_number": "0042", "status": "OPEN", "successor": None, "invoice_type_id": "1",
    "invoice_date": "2026-11-01", "due_date": "2026-12-01", "autopay_collection_date": None,
    "total_amount_due": 5000, "minimum_amount_due": 1000, "allow_partial": True, "balance": 5000,
}  # fmt: skip
DEAD = {"balance": 0, "status": "SUPERSEDED", "due_date": None}
# acme: what IMT says of each invoice; amounts in cents.
OWED: list[dict[str, Any]] = [
    ROW
    | {"invoice_number": "INV-1", "autopay_collection_date": "2026-11-28", "balance": 123_456_789_012_345},
    ROW
    | {
        "invoice_number": "INV-2",
        "due_date": "2026-12-02",
        "allow_partial": False,
        "minimum_amount_due": None,
    },
    ROW | DEAD | {"invoice_number": "INV-0", "successor": "INV-1"},
    ROW | DEAD | {"invoice_number": "INV-X", "status": "CANCELLED", "account_number": "0077"},
    ROW | {"invoice_number": "INV-P", "status": "PAID", "balance": 0, "account_number": "0077"},
    *(ROW | {"invoice_number": f"PUSH-{n}", "account_number": f"09{n}", "balance": 10_000} for n in range(8)),
]


@dataclass
class Served:
    """The service at `url`; its store, open beside it; what IMT was heard last (UTC, whole seconds)."""

    url: str
    store: Store
    known_as_of: datetime
    guid: str = GUID
    keys: dict[str, str] = field(default_factory=lambda: KEYS)

    def base(self, biller: str = "acme", *, key_in_path: bool = False) -> str:
        """The address below which a biller's endpoints are."""
        return f"{self.url}/k/{KEYS[biller]}/{biller}" if key_in_path else f"{self.url}/{biller}"

    def rows(self, table: str, where: str = "1 = 1") -> list[dict[str, Any]]:
        """Rows of the store in the order of their keys."""
        of = tables.metadata.tables[table]
        with self.store.reading() as connection:
            found = connection.execute(of.select().order_by(*of.primary_key.columns).where(text(where)))
            return [row._asdict() for row in found]

    def run(self, sql: str) -> None:
        """One statement that changes the store."""
        with self.store.writing() as connection:
            connection.exec_driver_sql(sql)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, to_toml: Callable[..., str]) -> Iterator[Served]:
    """acme (Spectrum) and zeta (MIPS/APPS) heard IMT a minute ago, late a day ago. Wrong keys are not throttled."""
    folder = tmp_path_factory.mktemp("served")
    biller = {
        "bid": "1", "biller_guid": GUID, "time_zone": "America/Chicago", "base_url": "https://ic.invalid/",
        "web_service_key": "env:KEY_ACME",
    }  # fmt: skip
    billers = {
        name: biller | {"product": product, "inbound": {"keys": [f"env:KEY_{name.upper()}"]}}
        for name, product in (("acme", "spectrum"), ("zeta", "mips-apps"), ("late", "spectrum"))
    }
    file = folder / "icflows.toml"
    service = {"wrong_keys": 100_000, "body_seconds": 20, "head_seconds": 20}
    file.write_text(to_toml({"service": service, "billers": billers}), "utf-8")
    known = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
    with closing(open_store(load_settings(file))) as store:
        _fill(store, known)
        with _process(file) as url:
            yield Served(url, store, known)


def _fill(store: Store, known: datetime) -> None:
    heard = {"acme": known, "zeta": known, "late": known - timedelta(days=1)}
    with store.writing() as connection:
        connection.execute(tables.balances.insert(), OWED)
        connection.execute(
            tables.freshness.insert(),
            [{"biller": name, "known_as_of": microseconds(at)} for name, at in heard.items()],
        )


@contextmanager
def _process(file: Path) -> Iterator[str]:
    """`python -m services` on a free port of loopback; the address it says it serves. Its log tells no secrets."""
    command = [sys.executable, "-m", "services", "--config", str(file), "--port", "0"]
    keys = {f"KEY_{name.upper()}": key for name, key in KEYS.items()}
    with (file.parent / "log").open("w+", encoding="utf-8") as log:
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=HERE.parent.parent,
            env=os.environ | keys,
        ) as running:
            assert running.stdout
            line = running.stdout.readline()
            try:
                assert line.startswith("icflows serves http://127.0.0.1:"), line
                yield line.split()[-1]
            finally:
                running.terminate()
                ended = running.wait(30)
                log.seek(0)
                said = log.read()
                print(said)
    assert ended == 0
    assert "canary" not in said.lower()


Ask = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def node() -> Ask:
    """Node's soap package: a list of calls → a list of what it understood."""
    if not shutil.which("node"):
        pytest.fail("this test needs Node; on Debian: apt install nodejs npm")
    if not (HERE / "node" / "node_modules" / "soap").is_dir():
        pytest.fail(
            "this test needs Node's soap package: npm ci --prefix tests/clients/node (`make test` does it)"
        )
    return lambda calls: _client("node", HERE / "node" / "call.js", calls)


@pytest.fixture(scope="session")
def php() -> Ask:
    """PHP's SoapClient: a list of calls → a list of what it understood."""
    if not shutil.which("php"):
        pytest.fail("this test needs PHP; on Debian: apt install php-cli php-soap")
    has_soap = subprocess.run(
        ["php", "-r", 'exit(class_exists("SoapClient") ? 0 : 1);'], check=False, timeout=60
    )
    if has_soap.returncode:
        pytest.fail("this test needs PHP's SoapClient; on Debian: apt install php-soap")
    return lambda calls: _client("php", HERE / "php" / "call.php", calls)


def _client(program: str, script: Path, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ran = subprocess.run(
        [program, str(script)],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    answers: list[dict[str, Any]] = json.loads(ran.stdout)
    assert len(answers) == len(calls)
    return answers
