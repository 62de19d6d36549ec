"""What became of one payment, invoice or account: the chain from all feeds, what is due next, what is broken and why."""

from __future__ import annotations

from tasks.explain.explain import command, explain, explain_snapshot

__all__ = ["command", "explain", "explain_snapshot"]
