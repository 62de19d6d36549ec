"""The control endpoint under /_sandbox/: faults, calls, clock, health, and the alert listener."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sandbox.answer import Answer
from sandbox.clock import iso, parse_moment
from sandbox.exchange import Exchange
from sandbox.faults import KINDS, OPERATIONS, Fault


class Control:
    """Answers in JSON. A wrong request gets 400 and the reason."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._routes: dict[tuple[str, str], Callable[[Any], Any]] = {
            ("POST", "faults"): self._add_fault,
            ("GET", "faults"): lambda _: exchange.faults.waiting(),
            ("DELETE", "faults"): self._clear_faults,
            ("GET", "calls"): lambda _: exchange.log.calls(),
            ("DELETE", "calls"): self._clear_calls,
            ("GET", "imported"): lambda _: exchange.cloud.imports.imported(exchange.cloud.data),
            ("POST", "clock"): self._set_clock,
            ("GET", "clock"): lambda _: {"now": iso(exchange.cloud.clock.now())},
            ("GET", "health"): lambda _: self._health(),
            ("POST", "hook"): self._hook,
            ("GET", "hook"): lambda _: exchange.log.hooks(),
            ("GET", "bait"): self._bait,
        }

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """The answer to a control request; 404 for an unknown route."""
        route = self._routes.get((method, path.removeprefix("/_sandbox/").rstrip("/")))
        if route is None:
            return _json({"error": f"no {method} {path}"}, 404)
        try:
            return _json(route(json.loads(body) if body else None))
        except (ValueError, KeyError, TypeError) as error:
            return _json({"error": str(error) or type(error).__name__}, 400)

    def _add_fault(self, posted: Any) -> dict[str, object]:
        fault = Fault(
            kind=str(posted["kind"]),
            operation=str(posted.get("operation", "*")),
            times=int(posted.get("times", 1)),
            args=dict(posted.get("args") or {}),
        )
        self.add_fault(fault)
        return {"ok": True}

    def add_fault(self, fault: Fault) -> None:
        """Switch a fault on; ValueError for an unknown kind or operation."""
        if fault.kind not in KINDS:
            raise ValueError(f"unknown fault kind {fault.kind!r}; known: {', '.join(sorted(KINDS))}")
        if fault.operation not in OPERATIONS:
            raise ValueError(f"unknown operation {fault.operation!r}; known: {', '.join(sorted(OPERATIONS))}")
        self._exchange.faults.add(fault)

    def _clear_faults(self, _: Any) -> dict[str, object]:
        self._exchange.faults.clear()
        return {"ok": True}

    def _clear_calls(self, _: Any) -> dict[str, object]:
        self._exchange.log.clear()
        return {"ok": True}

    def _set_clock(self, posted: Any) -> dict[str, object]:
        now = posted.get("now")
        self._exchange.cloud.clock.set(None if now is None else parse_moment(str(now)))
        return {"now": iso(self._exchange.cloud.clock.now())}

    def _health(self) -> dict[str, object]:
        log = self._exchange.log
        return {"ok": True, "now": iso(self._exchange.cloud.clock.now()), "baited": log.baited}

    def _hook(self, posted: Any) -> dict[str, object]:
        self._exchange.log.add_hook(posted)
        return {"ok": True}

    def _bait(self, _: Any) -> dict[str, object]:
        self._exchange.log.take_bait()
        return {"bait": True}


def _json(content: Any, status: int = 200) -> Answer:
    return Answer([json.dumps(content, default=str).encode()], status, "application/json; charset=utf-8")
