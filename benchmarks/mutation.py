"""`make mutate`: how many small faults put into the money rules the tests of tests/reconcile notice.

mutmut makes the faults, in a copy of the tree; nothing is left in the checkout. Each rule is mutated with the tests
that are about it; `--all-tests` takes the whole of tests/reconcile, which is slower by far. Warm processes run them
(mutation_worker): to start Python, Polars and pytest anew for each fault would take hours.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.mutants import FOLDER, MONEY, RULES, Fate, Worker, copy, write

console = Console()


@dataclass
class Tried:
    """A rule's mutants: all there are, and what became of those that were tried."""

    mutants: list[str]
    fates: dict[str, Fate] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def killed(self) -> int:
        return sum(fate.by != "" for fate in self.fates.values())


def main() -> int:
    """Prints mutants, killed ones and the score of each rule and of all; 1 if all together are below `--least`."""
    parser = argparse.ArgumentParser(prog="benchmarks.mutation")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--least", type=float, default=0.0, help="a score (0 to 100) that all together must reach"
    )
    parser.add_argument("--every", type=int, default=1, help="only every n-th mutant: quicker, less sure")
    parser.add_argument("--all-tests", action="store_true")
    parser.add_argument("--list", type=Path, help="a file that gets a line for each mutant tried")
    parser.add_argument("rules", nargs="*", help=f"the money rules, or some of: {', '.join(RULES)}")
    options = parser.parse_args()
    if unknown := set(options.rules) - set(RULES):
        parser.error(f"no rule {', '.join(sorted(unknown))}; there are {', '.join(RULES)}")
    wanted = [name for name in options.rules or MONEY if Path(FOLDER, f"{name}.py").exists()]
    words = {name: () if options.all_tests else RULES[name] for name in wanted}
    began = time.monotonic()
    found = mutate(Path.cwd(), words, options.processes, options.every, options.list)
    return _told(found, options.every, options.least, time.monotonic() - began)


def _told(found: dict[str, Tried], every: int, least: float, seconds: float) -> int:
    which = "all" if every == 1 else f"one in {every}"
    title = f"faults put into tasks/reconcile by mutmut: {which} tried, in {seconds / 60:.0f} min"
    shown = Table("rule", "mutants", "tried", "killed", "score", "seconds", title=title)
    for name, tried in found.items():
        alive = [
            f"{mutant} (differs in {fate.tests} tests)" for mutant, fate in tried.fates.items() if not fate.by
        ]
        console.print(f"{name}: {len(alive)} of {len(tried.fates)} survived", *alive, sep="\n  ")
        shown.add_row(*_row(name, [tried]))
    shown.add_section()
    shown.add_row(*_row("all", list(found.values())))
    console.print(shown)
    score = _score(list(found.values()))
    if score < least:
        console.print(f"{score:.1f} % is below {least:g} %")
    return 0 if score >= least else 1


def _row(name: str, tried: list[Tried]) -> list[str]:
    counts = [
        sum(len(t.mutants) for t in tried),
        sum(len(t.fates) for t in tried),
        sum(t.killed for t in tried),
    ]
    return [name, *map(str, counts), f"{_score(tried):.1f} %", f"{sum(t.seconds for t in tried):.0f}"]


def _score(tried: list[Tried]) -> float:
    return 100 * sum(t.killed for t in tried) / max(sum(len(t.fates) for t in tried), 1)


def mutate(
    root: Path, words: dict[str, tuple[str, ...]], processes: int, every: int, listed: Path | None = None
) -> dict[str, Tried]:
    """What became of every n-th mutant of each rule. One that runs out of time or crashes was noticed."""
    with tempfile.TemporaryDirectory(prefix="mutants") as folder, _progress() as progress:
        work = Path(folder)
        copy(root, work)
        found: dict[str, Tried] = {}
        with ThreadPoolExecutor(processes) as pool:
            shown = progress.add_task("mutants are written", total=len(words))
            for name, mutants in zip(words, pool.map(lambda name: write(work, name), words), strict=True):
                found[name] = Tried(mutants)
                progress.advance(shown)
            jobs: SimpleQueue[tuple[str, list[str]]] = SimpleQueue()
            chosen = {name: tried.mutants[::every] for name, tried in found.items()}
            for name in sorted(chosen, key=lambda name: -len(chosen[name])):
                # A rule's first line costs a run of its tests: whole rules, where there are enough of them.
                pieces = 1 if len(chosen) > processes else processes
                for first in range(pieces):
                    jobs.put((name, chosen[name][first::pieces]))
            total = sum(map(len, chosen.values()))
            shown = progress.add_task("mutants are tried", total=total)

            def noted(rule: str, mutant: str, fate: Fate) -> None:
                progress.advance(shown)
                if listed:
                    with listed.open("a") as lines:
                        print(json.dumps([rule, mutant, *fate]), file=lines)

            ends = [pool.submit(_work_off, Worker(work), words, jobs, found, noted) for _ in range(processes)]
            for end in ends:
                end.result()
        order = {name: {m: n for n, m in enumerate(tried.mutants)} for name, tried in found.items()}
        for name, tried in found.items():
            tried.fates = dict(sorted(tried.fates.items(), key=lambda pair: order[name][pair[0]]))
        return found


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console)


def _work_off(
    worker: Worker,
    words: dict[str, tuple[str, ...]],
    jobs: SimpleQueue[tuple[str, list[str]]],
    found: dict[str, Tried],
    noted: Callable[[str, str, Fate], None],
) -> None:
    """One thread, one worker process: jobs until there are none."""
    with contextlib.closing(worker):
        for rule, mutants in _each(jobs):
            began = time.monotonic()
            for mutant in mutants:
                fate = found[rule].fates[mutant] = worker.fate(rule, words[rule], mutant)
                noted(rule, mutant, fate)
            found[rule].seconds += time.monotonic() - began


def _each(jobs: SimpleQueue[tuple[str, list[str]]]) -> Iterator[tuple[str, list[str]]]:
    with contextlib.suppress(Empty):
        while True:
            yield jobs.get_nowait()


if __name__ == "__main__":
    sys.exit(main())
