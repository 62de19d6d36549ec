"""One line of `icflows doctor`, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass

from cli.show import console

_MARKS = {
    "ok": "[green]ok  [/]",
    "warn": "[yellow]warn[/]",
    "fail": "[bold red]FAIL[/]",
    "person": "[cyan]look[/]",
}


@dataclass(frozen=True)
class Finding:
    """state is ok, warn, fail, or person (nobody but a person can see it); `cure` says what to do."""

    what: str
    state: str
    words: str
    cure: str = ""


def show(finding: Finding, label: str = "cure") -> None:
    """One line, and a second one with what to do."""
    console.print(f"{_MARKS[finding.state]} {finding.what}", end="  ")
    console.print(finding.words, markup=False)
    if finding.cure:
        console.print(f"       {label}: {finding.cure}", markup=False, style="yellow")
