"""Proof that a report's bytes are a whole, harmless, well-formed report, before a row counts.

xml2arrow reads bytes to columns fast but forgives: a body cut between two tags, junk behind the
envelope, illegal character references. So every body passes here first:

1. scan    UTF-8 only, no DTD, no tag over TAG_LIMIT (100,000 attributes hold a parser for minutes);
           the start tags of the row element are counted in the bytes: parsed rows must agree.
2. strict  one SAX pass of libxml2 without tree and without Python callbacks (1.7 s for 620 MB); it
           refuses anything cut, malformed, or nested deeper than 256.
3. clean   only if that failed: illegal character references (ASP.NET sends &#x1;) become U+FFFD, are
           counted, and the copy is proven again.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxml import etree

from tasks.errors import BadAnswer, TruncatedAnswer

TAG_LIMIT = 8192
_BLOCK = TAG_LIMIT // 2
_CHUNK = 8 << 20
_REFERENCE = re.compile(rb"&#(x[0-9a-fA-F]{1,8}|[0-9]{1,10});")


@dataclass(frozen=True)
class Proven:
    """A body that may be parsed. `path` is the body or its cleaned copy."""

    path: Path
    rows: int
    replaced_references: int


class _NoTree:
    """A SAX target that wants no events: libxml2 checks every byte and builds nothing."""

    def close(self) -> None:
        return None


def prove(path: Path, row_element: str) -> Proven:
    """Checks the body at `path`. Raises BadAnswer (hostile, malformed) or TruncatedAnswer (cut)."""
    if path.stat().st_size == 0:
        raise TruncatedAnswer("the answer has no body", reason="no_body")
    with path.open("rb") as file:
        _refuse_prolog(file.read(1 << 20))
    rows = scan(path, row_element)
    try:
        _strict(path)
    except BadAnswer:
        clean, replaced = _cleaned(path)
        if not replaced:
            raise
        _strict(clean)
        return Proven(clean, rows, replaced)
    return Proven(path, rows, 0)


def tree(data: bytes) -> etree._Element:
    """The root of a small answer that passed the same refusals as `prove`, all of it read and well-formed."""
    if not data:
        raise TruncatedAnswer("the answer has no body", reason="no_body")
    _refuse_prolog(data[: 1 << 20])
    _refuse_long_tag(b"", data)
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False, recover=False,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise _judged(error) from None


def _refuse_prolog(start: bytes) -> None:
    """Encoding and document type stand before the root element; later ones are malformed anyway."""
    root = re.search(rb"<[A-Za-z_]", start)
    prolog = start[: root.start() if root else None]
    if prolog[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in prolog[:64]:
        raise BadAnswer("the answer is not UTF-8", reason="encoding")
    if b"<!DOCTYPE" in prolog or b"<!ENTITY" in prolog:
        raise BadAnswer("the answer declares a document type; reports have none", reason="dtd")
    declared = re.search(rb"encoding\s*=\s*[\"']([A-Za-z0-9._-]+)", prolog)
    if declared and declared[1].lower() not in (b"utf-8", b"us-ascii"):
        raise BadAnswer("the answer is not UTF-8", reason="encoding")


def scan(path: Path, row_element: str) -> int:
    """Counts the start tags of `row_element`. Raises BadAnswer for a tag over TAG_LIMIT."""
    name = re.escape(row_element.encode())
    plain, prefixed = (
        re.compile(rb"<" + name + rb"[ >/\r\n\t]"),
        re.compile(rb"<[\w.-]+:" + name + rb"[ >/\r\n\t]"),
    )
    rows, kept = 0, b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            _refuse_long_tag(kept, chunk)
            text = kept + chunk
            # The tail is looked at again with the next chunk: leave its last tag to that look.
            cut = text.rfind(b"<") if len(chunk) == _CHUNK else len(text)
            cut = max(cut, len(text) - TAG_LIMIT)
            rows += len(plain.findall(text, 0, cut)) or len(prefixed.findall(text, 0, cut))
            kept = text[cut:]
    return rows + (len(plain.findall(kept)) or len(prefixed.findall(kept)))


def _refuse_long_tag(kept: bytes, chunk: bytes) -> None:
    """A tag longer than TAG_LIMIT covers a whole block without '<'; so may a long text."""
    for start in range(0, len(chunk), _BLOCK):
        if chunk.find(b"<", start, start + _BLOCK) < 0:
            text = (kept if start < TAG_LIMIT else b"") + chunk[max(0, start - TAG_LIMIT) : start + _BLOCK]
            opened = text.rfind(b"<")
            if opened >= 0 and text.find(b">", opened) < 0 and len(text) - opened > _BLOCK:
                raise BadAnswer(f"a tag is longer than {_BLOCK} bytes", reason="huge_tag")


def _legal(reference: bytes) -> bool:
    code = int(reference[1:], 16) if reference[:1] in b"xX" else int(reference)
    return (
        code in (9, 10, 13)
        or 0x20 <= code <= 0xD7FF
        or 0xE000 <= code <= 0xFFFD
        or 0x10000 <= code <= 0x10FFFF
    )


def _cleaned(path: Path) -> tuple[Path, int]:
    """A copy beside the body with U+FFFD in place of illegal references, and how many there were.

    The archive keeps the original. Only a body that failed the strict pass comes here.
    """
    copy, replaced = path.with_suffix(".clean.xml"), 0
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        copy.open("wb") as out,
    ):
        done = 0
        for match in _REFERENCE.finditer(data):
            if not _legal(match[1]):
                out.write(data[done : match.start()])
                out.write(b"\xef\xbf\xbd")
                done, replaced = match.end(), replaced + 1
        out.write(data[done:])
    if not replaced:
        copy.unlink()
    return copy, replaced


def _strict(path: Path) -> None:
    target: Any = _NoTree()
    parser = etree.XMLParser(
        target=target, resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False, recover=False
    )
    try:
        etree.parse(str(path), parser)
    except etree.XMLSyntaxError as error:
        raise _judged(error) from None
    except OSError as error:  # lxml's way to say that bytes are no UTF-8
        if "Invalid bytes" not in str(error):
            raise
        raise BadAnswer("the answer has bytes that are no UTF-8", reason="malformed") from None


def _judged(error: etree.XMLSyntaxError) -> Exception:
    """libxml2's complaint without its quotation of the text (rows, personal data)."""
    line, column = error.position
    code: int = getattr(error, "code", 0)
    place = f"libxml2 error {code}, line {line}, column {column}"
    cut = (etree.ErrorTypes.ERR_TAG_NOT_FINISHED, etree.ErrorTypes.ERR_GT_REQUIRED)
    if code in cut:
        return TruncatedAnswer(f"the answer ends too early ({place})")
    return BadAnswer(f"the answer is not well-formed XML ({place})", reason="malformed")
