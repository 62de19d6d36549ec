"""The mutants of `make mutate`: which rules have some, a copy of the tree that holds them, a process that tries them."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

# The money rules of tasks/reconcile, and words in the names of the test files that are about each.
MONEY = {
    "allocation": "split money_claims money_rows",
    "splits": "split money_claims",
    "keys": "matching money_parts money_claims",
    "postings": "postings matching ambiguous split misdirected money_claims money_verdicts",
    "settlements": "settlements ambiguous split money_claims money_verdicts",
    "returns": "returns rejects return_details split ambiguous money_returns money_rows money_claims",
    "double_pay": "double_pay money_twice money_rows",
    "dues": "calendar returns postings settlements misdirected money_verdicts money_dues",
    "verdicts": "postings returns settlements calendar taken_back misdirected split double_pay pushes draws "
    "clock_shift money_verdicts",
    "deposits": "deposit money_rows",
    "deposit_cover": "deposit money_parts",
    "deposit_breaks": "deposit money_rows",
    "taken_back": "taken_back return_details deposit_control money_returns money_parts",
    "chargeback_breaks": "taken_back money_returns money_parts money_rows",
    "refund_breaks": "taken_back money_returns money_parts money_rows",
    "return_breaks": "return_details money_returns money_parts money_rows",
    "return_rates": "rates money_parts",
    "money_side": "taken_back return_details rates money_parts",
}
# Others, measured when named.
BESIDE = {
    "banking_days": "calendar",
    "history": "break_history",
    "payment_breaks": "postings returns rejects",
    "settlement_breaks": "settlements",
}
RULES = {name: tuple(words.split()) for name, words in (MONEY | BESIDE).items()}
FOLDER = "tasks/reconcile"
_COPIED = ("benchmarks", "checks", "cli", "flows", "ops", "sandbox", "services", "tasks", "tests")
# mutmut writes a rule with all its mutants side by side; MUTANT_UNDER_TEST names the one that is at work.
_WRITE = """
import sys
from io import StringIO
from pathlib import Path
from mutmut.__main__ import write_all_mutants_to_file
path, out = Path(sys.argv[1]), StringIO()
write_all_mutants_to_file(out=out, source=path.read_text(), filename=path)
path.write_text(out.getvalue())
"""
_INI = "[pytest]\naddopts = --import-mode=importlib -q -p no:cacheprovider\nfilterwarnings = error\n"
_NAME = re.compile(r"\"(x\S*__mutmut_\d+)\"|'(x\S*__mutmut_\d+)'|^def (x\S*__mutmut_\d+)\(", re.MULTILINE)
_SECONDS, _START_SECONDS = 120, 600


class Fate(NamedTuple):
    """The test (or what else) that noticed a mutant, "" for none, and in how many tests it made any difference."""

    by: str
    tests: int = 0


def copy(root: Path, work: Path) -> None:
    """The tree, with settings of its own for pytest and mutmut."""
    skipped = shutil.ignore_patterns("__pycache__", "node_modules")
    for name in _COPIED:
        shutil.copytree(root / name, work / name, ignore=skipped)
    (work / "pytest.ini").write_text(_INI)
    (work / "setup.cfg").write_text("[mutmut]\nsource_paths = tasks\n")


def write(work: Path, rule: str) -> list[str]:
    """Puts a rule's mutants beside it; their names."""
    file = work / FOLDER / f"{rule}.py"
    subprocess.run([sys.executable, "-c", _WRITE, str(file)], cwd=work, check=True)
    return sorted({next(filter(None, match)) for match in _NAME.findall(file.read_text())}, key=_number)


def _number(name: str) -> tuple[str, int]:
    stem, _, number = name.rpartition("_")
    return stem, int(number)


class Worker:
    """A process of mutation_worker; started anew after a mutant that never ends or that ends it."""

    def __init__(self, work: Path) -> None:
        self._work, self._sound = work, set[str]()
        self._start()

    def fate(self, rule: str, words: tuple[str, ...], mutant: str) -> Fate:
        """What noticed the mutant, if anything did."""
        asked = {"rule": rule, "words": list(words), "mutant": mutant}
        if rule not in self._sound:
            found = self._ask(asked | {"mutant": ""}, _START_SECONDS)
            if found["failed"] or not found["tests"]:
                raise SystemExit(
                    f"{rule}: its tests fail without any mutant: {found['failed'] or 'there is none'}"
                )
            self._sound.add(rule)
        try:
            found = self._ask(asked, _SECONDS)
            return Fate(found["failed"], found["tests"])
        except (TimeoutError, EOFError, BrokenPipeError) as problem:
            self.close()
            self._start()
            return Fate("time ran out" if isinstance(problem, TimeoutError) else "the process ended")

    def _ask(self, asked: dict[str, Any], seconds: float) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer(seconds)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _start(self) -> None:
        env = {**os.environ, "PYTHONPATH": str(self._work), "POLARS_MAX_THREADS": "1"}
        env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        call = [sys.executable, "-m", "benchmarks.mutation_worker"]
        self._process = subprocess.Popen(
            call,
            cwd=self._work,
            env=env,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._sound.clear()
        self._answer(_START_SECONDS)

    def _answer(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            raise TimeoutError
        line = self._process.stdout.readline()
        if not line:
            raise EOFError
        answer: dict[str, Any] = json.loads(line)
        return answer
