"""What a deploy did."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class DeployResult:
    """What a deploy did (with dry_run: would do), by name: `deployment pull-feed/payments-acme`, …"""

    server: str = ""
    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    pruned: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """False if Prefect held exactly this already."""
        return bool(self.created or self.updated or self.pruned)

    def note(self, what: str, *, new: bool, differs: bool) -> None:
        """Files one thing under created, updated or unchanged."""
        (self.created if new else self.updated if differs else self.unchanged).append(what)
