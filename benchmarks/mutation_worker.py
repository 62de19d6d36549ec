"""One warm process of `make mutate`: has everything imported, takes mutants by line, says what became of each.

stdin: a JSON line {"rule": module, "words": [in the names of the test files], "mutant": name or ""}. Answer, a JSON
line on stdout: {"failed": the test that noticed it or ""}. Tests that noticed a mutant of the same function come first.
A rule's first line has no mutant: its tests must pass then.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import pytest
from _pytest.runner import runtestprotocol

from benchmarks.mutation_memo import PACKAGE, Asked, Call, Memo

TESTS = "tests/reconcile"


class Serving:
    """The pytest plugin: in place of running the collected tests once, it serves mutants until stdin ends."""

    def __init__(self, answers: TextIO, memo: Memo) -> None:
        self._answers, self._memo = answers, memo
        self._first: dict[str, list[str]] = {}
        self._asked: dict[str, Asked] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._say({"ready": len(session.items)})
        for line in sys.stdin:
            asked = json.loads(line)
            items = [item for item in session.items if about(Path(item.path).stem, asked["words"])]
            failed, tests = self._noticed(items, asked["rule"], asked["mutant"])
            self._say({"failed": failed, "tests": tests})
        return True

    def _noticed(self, items: list[pytest.Item], rule: str, mutant: str) -> tuple[str, int]:
        """The first test that fails ("" for none), and how many ran: those to which the mutant makes a difference.

        Without a mutant all run, and what they ask of the rule is noted.
        """
        self._memo.mutated, module = f"{PACKAGE}.{rule}", import_module(f"{PACKAGE}.{rule}")
        self._memo.forget_keys()
        for found in vars(module).values():
            if hasattr(found, "cache_clear"):
                found.cache_clear()
        if not mutant:
            return self._listened(items, rule), len(items)
        first = self._first.setdefault(f"{rule}.{mutant.rpartition('__mutmut_')[0]}", [])
        place = {name: number for number, name in enumerate(first)}
        items = sorted(items, key=lambda item: place.get(item.nodeid, len(place)))
        os.environ["MUTANT_UNDER_TEST"] = f"{self._memo.mutated}.{mutant}"
        ran = 0
        try:
            for ran, item in enumerate(self._reached(items, rule, mutant), 1):
                if not _passes(item):
                    first[:] = [item.nodeid, *(name for name in first if name != item.nodeid)]
                    return item.nodeid, ran
        finally:
            os.environ["MUTANT_UNDER_TEST"] = ""
        return "", ran

    def _listened(self, items: list[pytest.Item], rule: str) -> str:
        asked = self._asked[rule] = Asked()
        try:
            for item in items:
                self._memo.listen(item.nodeid, asked)
                if not _passes(item):
                    return item.nodeid
        finally:
            self._memo.listen("", None)
        return ""

    def _reached(self, items: list[pytest.Item], rule: str, mutant: str) -> Iterator[pytest.Item]:
        """The tests of which the mutant answers a call otherwise. A method may be called past its module: all."""
        asked, told = self._asked[rule], dict[Call, bool]()
        method = mutant.startswith("xǁ") and not mutant.startswith("xǁ_")

        def other(call: Call) -> bool:
            if call not in told:
                told[call] = self._memo.differs(call, asked)
            return told[call]

        for item in items:
            calls = asked.by_test.get(item.nodeid, set())
            if method or item.nodeid in asked.unknown or any(map(other, calls)):
                yield item

    def _say(self, said: dict[str, Any]) -> None:
        print(json.dumps(said), file=self._answers, flush=True)


def _passes(item: pytest.Item) -> bool:
    """Set up, run, torn down by itself: nothing of a fixture outlives it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return all(not report.failed for report in runtestprotocol(item, log=False, nextitem=None))


def about(stem: str, words: list[str]) -> bool:
    """Whether a test file is taken: one of the words is in its name; without words all are."""
    return "properties" not in stem and (not words or any(word in stem for word in words))


def main() -> int:
    """Runs pytest in this process; what tests print goes nowhere."""
    answers = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.environ["MUTANT_UNDER_TEST"] = ""
    import_module(PACKAGE)
    memo = Memo()
    memo.install()
    return pytest.main(["-s", "--tb=native", "--assert=plain", TESTS], plugins=[Serving(answers, memo)])


if __name__ == "__main__":
    sys.exit(main())
