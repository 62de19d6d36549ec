"""The state machine of a file. Every change of state is a move: written down first, then made.

composed ──▶ sending ──▶ accepted      IC took it; lines that it refused are rejected (B26)
   ▲            ├──────▶ refused       IC took nothing of it and said why (B26)
   │            ├──────▶ composed      the request certainly never got there
   │            └──────▶ unknown       no answer, or one that cannot be trusted: IC may have it
   ├──────── (a definite no) ──┤
   │                           ├──▶ accepted     every look says that IC has it
   │                           └──▶ undecided    looks disagree: a person decides
   └──── undecided, refused ──▶ accepted | composed | dropped      by a person only
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

ALLOWED: Mapping[str, frozenset[str]] = {
    "composed": frozenset({"sending", "dropped"}),
    "sending": frozenset({"accepted", "refused", "composed", "unknown"}),
    "unknown": frozenset({"unknown", "accepted", "composed", "undecided"}),
    "undecided": frozenset({"accepted", "composed", "dropped"}),
    "refused": frozenset({"composed", "dropped", "accepted"}),
    "accepted": frozenset(),
    "dropped": frozenset(),
}
OPEN = tuple(state for state, to_states in ALLOWED.items() if to_states)


@dataclass(frozen=True)
class Move:
    """One change of state. `n` counts a file's moves from 1.

    file: columns of outbox.files that change with it · rejected: (line_no, IC's words) · requeued: lines whose
    events wait again · by: `run`, `look`, or the person's name.
    """

    file_id: str
    n: int
    at: datetime
    from_state: str
    to_state: str
    by: str
    reason: str | None = None
    note: str | None = None
    file: dict[str, Any] = field(default_factory=dict)
    rejected: list[tuple[int, str]] = field(default_factory=list)
    requeued: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.to_state not in ALLOWED[self.from_state]:
            raise ValueError(f"no move from {self.from_state} to {self.to_state}")

    def as_dict(self) -> dict[str, Any]:
        """For the archive (JSON) and for staging."""
        return asdict(self)

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Move:
        """A line of the archive's move log; instants are read back as aware UTC."""
        known = dict(line)
        known["at"] = _instant(known["at"])
        known["file"] = {
            k: _instant(v) if k.endswith(("_at", "_after")) and v else v for k, v in known["file"].items()
        }
        known["rejected"] = [(int(number), str(words)) for number, words in known["rejected"]]
        return cls(**known)


def _instant(text: Any) -> datetime:
    return datetime.fromisoformat(str(text)).astimezone(UTC)
