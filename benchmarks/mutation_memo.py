"""Answers kept between test runs that differ in one function only: what a fault cannot reach is not worked out again.

reconcile() is pure: a function of tasks.reconcile gives the same answer to the same frames, rules and times. So a call
is answered from memory if its module, with all that it imports, does not hold the mutant at work. And what the tests
ask of the rule is kept: a mutant that answers each call of a test as the rule does cannot fail it.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import wraps
from types import ModuleType
from typing import Any

import polars as pl
from pydantic import BaseModel

PACKAGE = "tasks.reconcile"
_PLAIN = (str, int, float, bool, Decimal, date, datetime, timedelta, type(None))
_MOST_ROWS, _MOST_ANSWERS, _MOST_KEYS = 500, 30_000, 20_000
Call = tuple[str, bytes]


class _NoKey(Exception):
    """A value that has no key: a function, a long frame."""


@dataclass
class Asked:
    """What the tests ask of one module from outside: each call with its answer, and which calls are a test's.

    A test that asks what has no key, or is answered with a word in the log, is among `unknown`.
    """

    calls: dict[Call, tuple[Callable[[], Any], bytes]] = field(default_factory=dict)
    by_test: dict[str, set[Call]] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)


class Memo:
    """Stands before the public functions of tasks.reconcile. `mutated` names the module with the mutant at work."""

    def __init__(self) -> None:
        self.mutated = ""
        self._asked: Asked | None = None
        self._test, self._inside = "", False
        self._said = 0  # log records so far
        self._answers: dict[Call, Any] = {}
        self._keys: dict[int, tuple[Any, bytes]] = {}
        self._reach: dict[str, set[str]] = {}

    def install(self) -> None:
        """Replaces the functions in every module of the package: once, before the tests import them."""
        logging.setLogRecordFactory(self._logged)
        modules = {n: m for n, m in sys.modules.items() if n.startswith(f"{PACKAGE}.") or n == PACKAGE}
        self._reach = _closures({name: _imports(module) for name, module in modules.items()})
        wrapped: dict[int, Callable[..., Any]] = {}
        for module in modules.values():
            for name, found in list(vars(module).items()):
                if not _public(name, found):
                    continue
                if id(found) not in wrapped:
                    wrapped[id(found)] = self._before(found)
                setattr(module, name, wrapped[id(found)])

    def forget_keys(self) -> None:
        """Between mutants: objects may be gone, and their ids used anew."""
        self._keys.clear()
        if len(self._answers) > _MOST_ANSWERS:
            self._answers.clear()

    def listen(self, test: str, asked: Asked | None) -> None:
        """From now on `asked` notes what `test` asks of the module `mutated`; None: no more."""
        self._test, self._asked = test, asked

    def differs(self, call: Call, asked: Asked) -> bool:
        """Whether the mutant at work answers a call otherwise than the rule did."""
        again, answer = asked.calls[call]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                return self._key(again()) != answer
            except Exception:
                return True

    def _logged(self, *args: Any, **more: Any) -> logging.LogRecord:
        self._said += 1
        return logging.LogRecord(*args, **more)

    def _before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        module, name = function.__module__, f"{function.__module__}.{function.__name__}"
        reach = self._reach[module]

        @wraps(function)
        def asked(*args: Any, **more: Any) -> Any:
            if self._asked and module == self.mutated and not self._inside:
                return self._noted(self._asked, name, function, args, more)
            if self.mutated in reach:
                return function(*args, **more)
            try:
                key = name, self._key((args, more))
            except _NoKey:
                return function(*args, **more)
            if key in self._answers:
                return self._answers[key]
            before, answer = self._said, function(*args, **more)
            if before == self._said:  # what was logged is logged each time
                self._answers[key] = answer
            return answer

        return asked

    def _noted(
        self, asked: Asked, name: str, function: Callable[..., Any], args: Any, more: dict[str, Any]
    ) -> Any:
        self._inside, before = True, self._said
        try:
            call = name, self._key((args, more))
            answer = function(*args, **more)
            if before != self._said:
                asked.unknown.add(self._test)
            asked.calls[call] = (lambda: function(*args, **more)), self._key(answer)
            asked.by_test.setdefault(self._test, set()).add(call)
        except _NoKey:
            asked.unknown.add(self._test)
            return function(*args, **more)
        except Exception:
            asked.unknown.add(self._test)
            raise
        finally:
            self._inside = False
        return answer

    def _key(self, value: Any) -> bytes:
        if isinstance(value, _PLAIN):
            return f"{type(value).__name__} {value!r}".encode()
        if isinstance(value, tuple | list):
            return _digest(type(value).__name__, *map(self._key, value))
        if isinstance(value, set | frozenset):
            return _digest("set", *sorted(map(self._key, value)))
        if isinstance(value, Mapping):
            return _digest("mapping", *(self._key(part) for pair in value.items() for part in pair))
        if id(value) not in self._keys:
            if len(self._keys) > _MOST_KEYS:
                self._keys.clear()
            self._keys[id(value)] = value, self._key_of_object(value)
        return self._keys[id(value)][1]

    def _key_of_object(self, value: Any) -> bytes:
        if isinstance(value, pl.Series):
            value = value.to_frame()
        if isinstance(value, pl.DataFrame):
            if value.height > _MOST_ROWS:
                raise _NoKey
            return _digest("frame", repr(value.schema).encode(), repr(value.rows()).encode())
        if isinstance(value, pl.Expr):
            return _digest("expression", value.meta.serialize())
        if isinstance(value, BaseModel):
            return _digest(type(value).__name__, repr(value).encode())
        if type(value).__module__.startswith(PACKAGE):
            return _digest(type(value).__name__, self._key(vars(value)))
        raise _NoKey


def _digest(kind: str, *parts: bytes) -> bytes:
    found = hashlib.blake2b(kind.encode(), digest_size=16)
    for part in parts:
        found.update(len(part).to_bytes(4) + part)
    return found.digest()


def _public(name: str, found: Any) -> bool:
    own = inspect.isfunction(found) and found.__module__.startswith(PACKAGE)
    return own and not name.startswith(("_", "x_"))


def _imports(module: ModuleType) -> set[str]:
    """The modules of the package that a module has taken something from."""
    taken = {m.__name__ if isinstance(m, ModuleType) else _home(m) for m in vars(module).values()}
    return {name for name in taken if name.startswith(PACKAGE)}


def _home(found: Any) -> str:
    return str(getattr(found, "__module__", None) or "")


def _closures(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    closures = {}
    for name in imports:
        reached, new = {name}, {name}
        while new:
            new = {other for one in new for other in imports.get(one, set())} - reached
            reached |= new
        closures[name] = reached
    return closures
