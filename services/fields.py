"""A form post or a JSON object → field name → text. JSON's numbers stay the text they were sent as: no floats."""

from __future__ import annotations

import json
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from services.reply import Refused

FORM = "application/x-www-form-urlencoded"
_MAX_FIELDS = 200


def form_fields(body: bytes) -> dict[str, str | None]:
    """Raises Refused 400 for what is no form in UTF-8, or names a field twice."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS,
            strict_parsing=bool(body),
        )  # fmt: skip
    except ValueError:
        raise _unreadable(f"the body is no form in UTF-8 of at most {_MAX_FIELDS} fields") from None
    return _once(pairs)


def json_fields(body: bytes) -> dict[str, str | None]:
    """Raises Refused 400 for what is no flat object in UTF-8, or names a field twice."""
    try:
        text = body.decode("utf-8")
        pairs = json.loads(
            text, object_pairs_hook=_Pairs, parse_float=str, parse_int=str, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        raise _unreadable("the body is no JSON in UTF-8") from None
    if not isinstance(pairs, _Pairs) or len(pairs) > _MAX_FIELDS:
        raise _unreadable(f"the body is no JSON object of at most {_MAX_FIELDS} fields")
    return _once([(name, _text(value)) for name, value in pairs])


class _Pairs(list[tuple[str, Any]]):
    """An object's members as they came, so that a name that is there twice is seen."""


def _no_constant(_: str) -> NoReturn:
    raise ValueError


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, str):
        return value
    raise _unreadable("a field holds a list or an object")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, str | None]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise _unreadable("a field is there twice")
    try:
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _unreadable("a field holds half a character") from None
    return fields


def _unreadable(words: str) -> Refused:
    return Refused(400, words, "body")
