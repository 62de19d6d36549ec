"""`make bench`: prints ratios to public tools on the same bytes in the same run, and says what misses its target."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import bif, pump, reconcile, rtdr, sftp
from benchmarks.bodies import body

_BIG, _SMALL = 1_000_000, 50_000
Row = tuple[str, str, str, str, str]
console = Console()


def contestant(name: str, path: Path) -> dict[str, float]:
    """One fresh process, one fresh folder."""
    with tempfile.TemporaryDirectory() as folder:
        call = [sys.executable, "-m", "benchmarks.contestants", name, str(path), folder]
        output = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


def xmllint(path: Path) -> float:
    """Seconds of libxml2's streaming reader over the bytes; its process does nothing else."""
    started = time.perf_counter()
    subprocess.run(["xmllint", "--stream", "--noout", str(path)], check=True)
    return time.perf_counter() - started


def main() -> int:
    """Alternates the contestants, so that a drift of the machine's speed hits both; medians of the pairs."""
    parser = argparse.ArgumentParser(prog="benchmarks")
    parser.add_argument("--data", type=Path, default=Path("var/benchmarks"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--big", type=int, default=_BIG)
    parser.add_argument("--payments", type=int, default=reconcile.BIG, help="of the section reconcile")
    parser.add_argument("sections", nargs="*", help=f"all, or some of: {', '.join(SECTIONS)}")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    rows = [row for name in options.sections or SECTIONS for row in SECTIONS[name](options)]
    shown = Table(
        "what",
        "measured",
        "ratio",
        "target",
        "met",
        title="icflows against public tools, same bytes, same run",
    )
    for row in rows:
        shown.add_row(*row)
    console.print(shown)
    return 0 if all(row[4] != "no" for row in rows) else 1


def reports(options: argparse.Namespace) -> list[Row]:
    """What comes in: a big window, a small one."""
    rows: list[Row] = []
    if shutil.which("xmllint"):
        rows += big_window(options.data, options.big, options.runs)
    else:
        console.print("xmllint is not installed (Debian: libxml2-utils); the big window is left out")
    return rows + small_window(options.data, options.runs)


def big_window(folder: Path, payments: int, runs: int) -> list[Row]:
    """A DataSet of a million payments: bytes on disk to staged, against xmllint --stream --noout."""
    console.print(f"making a DataSet of {payments:,} payments …")
    path = body(folder, payments)
    ours, theirs = [], []
    for number in range(runs):
        theirs.append(xmllint(path))
        ours.append(contestant("icflows", path))
        console.print(f"  run {number + 1}: xmllint {theirs[-1]:.2f} s, icflows {ours[-1]['seconds']:.2f} s")
    ratio = statistics.median(mine["seconds"] / other for mine, other in zip(ours, theirs, strict=True))
    peak = max(mine["peak_mib"] for mine in ours)
    seconds = statistics.median(mine["seconds"] for mine in ours)
    what = f"{payments:,} payments, {path.stat().st_size / 1e6:.0f} MB, to staged"
    return [
        (what, f"{seconds:.2f} s", f"{ratio:.2f} × xmllint", "≤ 3 ×", "yes" if ratio <= 3 else "no"),
        ("peak memory of that process", f"{peak:.0f} MiB", "", "< 1536 MiB", "yes" if peak < 1536 else "no"),
    ]


# contestant, which end of ours is compared, least ratio (None: shown for information)
_SMALL_PAIRS = (("zeep", "read", 40), ("zeep", "icflows", None), ("dlt", "icflows", 50))
_ENDS = {"read": "read and checked", "icflows": "staged"}


def small_window(folder: Path, runs: int) -> list[Row]:
    """50,000 payments. zeep ends with Python objects, dlt starts from ready dicts and ends merged in DuckDB."""
    path = body(folder, _SMALL)
    rows = []
    for name, ours, least in _SMALL_PAIRS:
        pairs = []
        for number in range(runs):
            mine, other = contestant(ours, path)["seconds"], contestant(name, path)["seconds"]
            pairs.append((mine, other))
            console.print(f"  run {number + 1}: {name} {other:.2f} s, icflows {_ENDS[ours]} {mine:.3f} s")
        ratio = statistics.median(other / mine for mine, other in pairs)
        seconds = statistics.median(other for _, other in pairs)
        met = "–" if least is None else "yes" if ratio >= least else "no"
        target = "" if least is None else f"≥ {least} ×"
        what = f"{_SMALL:,} payments: {name}; icflows {_ENDS[ours]}"
        rows.append((what, f"{seconds:.2f} s", f"icflows {ratio:.0f} × faster", target, met))
    return rows


SECTIONS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "reports": reports,
    "bif": lambda options: bif.section(options.big, options.runs),
    "sftp": lambda options: sftp.section(options.runs),
    "rtdr": lambda options: rtdr.section(options.data, options.runs, options.big),
    "pump": lambda options: pump.section(options.runs),
    "reconcile": lambda options: reconcile.section(options.payments),
}

if __name__ == "__main__":
    sys.exit(main())
