"""The house's rules, as tests: import direction, one place per vendor, contracts, README, module size."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A package may import itself and what stands right of it; sandbox and benchmarks stand apart.
ORDER = ["cli", "ops", "flows", "tasks", "checks"]
ALLOWED = {name: set(ORDER[ORDER.index(name) :]) for name in ORDER} | {"sandbox": {"sandbox"}}
ALLOWED["cli"] |= {"sandbox", "services"}
ALLOWED["services"] = {"services", "tasks", "checks"}
ALLOWED["benchmarks"] = {"benchmarks", "sandbox", "services", "tasks", "checks"}
OWN = {*ORDER, "sandbox", "benchmarks", "tests", "services"}
# Vendor → where it may be imported.
VENDORS = {
    "zeep": ("tasks/invoicecloud/", "benchmarks/"),
    "xml2arrow": ("tasks/invoicecloud/",),
    "lxml": ("tasks/invoicecloud/", "sandbox/", "benchmarks/"),
    "paramiko": ("tasks/sftp/",),
    "duckdb": ("tasks/staging/", "benchmarks/"),
    "apprise": ("tasks/alerts.py",),
    "prefect": ("flows/", "ops/", "tasks/settings.py"),
    "asyncssh": ("sandbox/",),
    "sqlalchemy": ("tasks/inbound/",),
    "psycopg": ("tasks/inbound/",),
    "bai2": ("tasks/bank/",),
    "starlette": ("services/", "benchmarks/"),
    "fastapi": ("services/", "benchmarks/"),
    "uvicorn": ("services/", "benchmarks/"),
}
MODULES = sorted(path for name in ALLOWED for path in (ROOT / name).rglob("*.py"))


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    return found


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_point_one_way(path: Path) -> None:
    home = relative(path).split("/")[0]
    own = {name.split(".")[0] for name in imports(path)} & OWN
    assert own <= ALLOWED[home], f"{relative(path)} may not import {sorted(own - ALLOWED[home])}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_vendors_stay_home(path: Path) -> None:
    name = relative(path)
    for vendor in {module.split(".")[0] for module in imports(path)} & set(VENDORS):
        assert name.startswith(VENDORS[vendor]), f"{name} imports {vendor}; it belongs to {VENDORS[vendor]}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_modules_are_short(path: Path) -> None:
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= 300, f"{relative(path)} has {lines} lines"


def test_no_module_is_named_after_a_package() -> None:
    names = {path.stem for path in (ROOT / "flows").rglob("*.py")}
    assert not names & {*OWN, "json", "time", "logging", "queue", "select", "signal", "types"}


def test_there_are_modules_to_look_at() -> None:
    assert len(MODULES) > 60


def test_every_feed_has_a_contract_and_a_column_map() -> None:
    from checks.contracts import FEEDS
    from tasks.invoicecloud.catalogue import feed_names, feed_spec

    assert set(feed_names()) == set(FEEDS)
    for name in feed_names():
        assert feed_spec(name).columns


def test_every_staged_table_comes_from_a_contract(tmp_path: Path) -> None:
    from checks.contracts import FEEDS, IMT
    from tasks.staging.query import frame
    from tasks.staging.store import Staging

    with Staging(tmp_path, "acme").open() as connection:
        names = frame(
            connection,
            "SELECT schema_name || '.' || table_name AS name FROM duckdb_tables() WHERE schema_name IN ('feed', 'imt')",
        )["name"].to_list()
    expected = {f"feed.{n}_versions" for n in FEEDS} | {f"imt.{n}_versions" for n in IMT}
    assert set(names) == expected


def test_readme_names_every_command_and_flow() -> None:
    from cli.main import app

    readme = (ROOT / "README.md").read_text("utf-8")
    commands = [
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    ]
    missing = [name for name in commands if f"icflows {name}" not in readme]
    flows = [p.stem for p in (ROOT / "flows").glob("*.py") if "@flow" in p.read_text("utf-8")]
    missing += [name for name in flows if name not in readme]
    assert len(commands) >= 11
    assert flows
    assert not missing, f"README.md does not name: {missing}"


def test_data_dictionary_is_up_to_date() -> None:
    from tasks.dictionary import dictionary

    written = (ROOT / "docs" / "data-dictionary.md").read_text("utf-8")
    assert written == dictionary(), "make docs writes it anew"


def test_lock_is_hashed_and_names_no_host() -> None:
    for name in ("requirements.lock", "requirements-duckdb14.lock"):
        text = (ROOT / name).read_text("utf-8")
        assert not re.search(r"https?:|index-url|find-links|@ file", text), name
        assert re.search(r"^[a-z0-9._-]+==", text, re.M)
        blocks = re.split(r"\n(?=[a-zA-Z0-9])", text.strip())
        assert all("--hash=sha256:" in block for block in blocks), name


def test_no_index_host_in_tracked_files() -> None:
    pattern = re.compile(r"(pypi|pythonhosted|npmjs)\.org", re.I)
    places = [
        p
        for p in ROOT.rglob("*")
        if p.is_file() and p.suffix in {".py", ".toml", ".yaml", ".md", ".lock", ""}
    ]
    skipped = {".venv", ".venv-duckdb14", ".git", "var", "node_modules"}
    own = [
        p for p in places if not skipped & set(p.relative_to(ROOT).parts) and p != Path(__file__).resolve()
    ]
    assert len(own) > 100
    assert not [relative(p) for p in own if pattern.search(p.read_text("utf-8", errors="ignore"))]
