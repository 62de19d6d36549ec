"""Turns pydantic's complaints into sentences a person can act on: field, cause, nearest known key."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) is not None or isinstance(annotation, types.UnionType):
        for part in typing.get_args(annotation):
            yield from _models(part)


def _known_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Keys that are allowed where `path` (without its last step) leads."""
    current: list[type[BaseModel]] = [model]
    for step in path[:-1]:
        fields = [f for m in current for n, f in m.model_fields.items() if step in (n, f.alias)]
        current = [m for f in fields for m in _models(f.annotation)] or current
    return [f.alias or name for m in current for name, f in m.model_fields.items()]


def unknown_keys(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """One line per complaint. Values are not shown: they may be secrets."""
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        path = problem["loc"]
        name = ".".join(str(step) for step in path)
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(path[-1]), _known_at(model, path), n=1, cutoff=0.5)
            hint = f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(_known_at(model, path))}"
            lines.append(f"{where}: unknown key '{name}'{hint}")
        else:
            lines.append(f"{where}: {name or 'value'}: {problem['msg']}")
    return "\n".join(lines)
