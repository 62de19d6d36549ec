"""`make mutate`: how many small faults put into the money rules the tests of tests/reconcile notice.

mutmut makes the faults. Runs in a folder of its own, so that nothing is left in the checkout. Each rule is mutated with the tests that are
about it; `--all-tests` takes the whole of tests/reconcile, which is slower by far.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

# A rule of tasks/reconcile and the words in the names of the test files that are about it.
RULES: dict[str, tuple[str, ...]] = {
    "allocation": ("split",),
    "banking_days": ("calendar",),
    "double_pay": ("double_pay",),
    "dues": ("calendar", "returns", "postings", "settlements"),
    "history": ("break_history",),
    "keys": ("matching",),
    "payment_breaks": ("postings", "returns", "rejects"),
    "returns": ("returns", "rejects"),
    "settlement_breaks": ("settlements",),
    "splits": ("split",),
    "verdicts": ("postings", "returns", "settlements", "calendar"),
    # Rules that came with the deposit control; left out where they are not there.
    "deposits": ("deposit",),
    "deposit_breaks": ("deposit",),
    "return_breaks": ("return",),
    "refund_breaks": ("refund",),
    "chargeback_breaks": ("chargeback",),
}
_FOLDER, _TESTS = "tasks/reconcile", "tests/reconcile"
_COPIED = ("checks", "cli", "flows", "ops", "sandbox", "services", "tasks", "tests")
# mutmut writes the rule with all its mutants side by side; MUTANT_UNDER_TEST names the one that is at work. Its own
# runner forks workers, which hang or die once Polars has started its threads: here each mutant has a process.
_WRITE = """
import sys
from io import StringIO
from pathlib import Path
from mutmut.__main__ import write_all_mutants_to_file
path, out = Path(sys.argv[1]), StringIO()
write_all_mutants_to_file(out=out, source=path.read_text(), filename=path)
path.write_text(out.getvalue())
"""
_NAME = re.compile(r"\"(x\S*__mutmut_\d+)\"|'(x\S*__mutmut_\d+)'|^def (x\S*__mutmut_\d+)\(", re.MULTILINE)
_KILLED, _SURVIVED, _TIMED_OUT, _SECONDS = "killed", "survived", "timed out", 300
console = Console()


def main() -> int:
    """Prints mutants, killed ones and the score of each rule; 1 if a score is below `--least`."""
    parser = argparse.ArgumentParser(prog="benchmarks.mutation")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--least", type=float, default=0.0, help="a score (0 to 100) that each rule must reach"
    )
    parser.add_argument(
        "--every", type=int, default=1, help="only every n-th mutant of a rule: quicker, less sure"
    )
    parser.add_argument("--all-tests", action="store_true")
    parser.add_argument("rules", nargs="*", help=f"all, or some of: {', '.join(RULES)}")
    options = parser.parse_args()
    if unknown := set(options.rules) - set(RULES):
        parser.error(f"no rule {', '.join(sorted(unknown))}; there are {', '.join(RULES)}")
    root = Path.cwd()
    wanted = [name for name in options.rules or RULES if (root / _FOLDER / f"{name}.py").exists()]
    shown = Table(
        "rule", "mutants", "tried", "killed", "score", title="faults put into tasks/reconcile by mutmut"
    )
    scores = []
    for name in wanted:
        words = () if options.all_tests else RULES[name]
        made, fates = mutate(root, name, words, options.processes, options.every)
        killed = sum(fate != _SURVIVED for fate in fates.values())
        scores.append(100 * killed / max(len(fates), 1))
        shown.add_row(name, str(made), str(len(fates)), str(killed), f"{scores[-1]:.1f} %")
        alive = [mutant for mutant, fate in fates.items() if fate == _SURVIVED]
        console.print(f"{name}: {scores[-1]:.1f} % of {len(fates)}", *alive, sep="\n  survived: ")
    console.print(shown)
    return 0 if all(found >= options.least for found in scores) else 1


def mutate(
    root: Path, rule: str, words: tuple[str, ...], processes: int, every: int
) -> tuple[int, dict[str, str]]:
    """How many mutants there are, and what became of each that was tried. One that runs out of time was noticed."""
    with tempfile.TemporaryDirectory(prefix="mutants") as folder:
        work = Path(folder)
        skipped = shutil.ignore_patterns("__pycache__", "node_modules")
        for name in _COPIED:
            shutil.copytree(root / name, work / name, ignore=skipped)
        shutil.copyfile(root / "pyproject.toml", work / "pyproject.toml")
        (work / "setup.cfg").write_text("[mutmut]\nsource_paths = tasks\n")
        file = work / _FOLDER / f"{rule}.py"
        files = sorted(path.name for path in (work / _TESTS).glob("test_*.py") if about(path.stem, words))
        tests = [f"{_TESTS}/{name}" for name in files if "properties" not in name or not words]
        subprocess.run([sys.executable, "-c", _WRITE, str(file)], cwd=work, check=True)
        found = {next(filter(None, match)) for match in _NAME.findall(file.read_text())}
        names = [f"tasks.reconcile.{rule}.{name}" for name in sorted(found, key=_number)]
        if _fate(work, tests, "") != _SURVIVED:
            raise SystemExit(f"{rule}: its tests fail without any mutant: {', '.join(tests)}")
        tried = names[::every]
        with ThreadPoolExecutor(processes) as pool:
            fates = pool.map(lambda name: _fate(work, tests, name), tried)
            return len(names), dict(zip(tried, fates, strict=True))


def _fate(work: Path, tests: list[str], mutant: str) -> str:
    env = os.environ | {"MUTANT_UNDER_TEST": mutant, "PYTHONPATH": str(work), "POLARS_MAX_THREADS": "1"}
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    call = [sys.executable, "-m", "pytest", "-n0", "-x", "-q", "--no-header", "--tb=line", *tests]
    try:
        run = subprocess.run(call, check=False, cwd=work, env=env, capture_output=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return _TIMED_OUT
    if run.returncode and not mutant:
        console.print(run.stdout.decode()[-2000:], run.stderr.decode()[-2000:])
    return _SURVIVED if run.returncode == 0 else _KILLED


def _number(name: str) -> tuple[str, int]:
    stem, _, number = name.rpartition("_")
    return stem, int(number)


def about(stem: str, words: tuple[str, ...]) -> bool:
    """Whether a test file is taken: one of the words is in its name; without words all are."""
    return not words or any(word in stem for word in words)


if __name__ == "__main__":
    sys.exit(main())
