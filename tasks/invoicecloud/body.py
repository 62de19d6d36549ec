"""Proof that a report's bytes are a whole, harmless, well-formed report, before a row counts.

xml2arrow reads bytes to columns fast but forgives: a body cut between two tags, junk behind the
envelope, illegal character references. So every body passes here first:

1. prefilter  UTF-8 only, no DTD, no tag over TAG_LIMIT (100,000 attributes hold a parser for minutes),
              no nesting over DEPTH_LIMIT;
              illegal character references (ASP.NET sends &#x1;) become U+FFFD and are counted.
2. strict     one SAX pass of libxml2 without tree and without Python callbacks: 1.7 s for 610 MB.
3. count      the start tags of the row element are counted in the bytes; parsed rows must agree.
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
DEPTH_LIMIT = 100
_BLOCK = 384
_NESTED = re.compile(rb"(?:<[A-Za-z_][^<>]*(?<!/)>\s*){%d}" % DEPTH_LIMIT)
_FEED = 8 << 20
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
    replaced = 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _refuse_prolog(data)
        if _scan(path, data):
            replaced = sum(not _legal(match[1]) for match in _REFERENCE.finditer(data))
        if replaced:
            path = _cleaned(data, path)
    _strict(path)
    return Proven(path, count_rows(path, row_element), replaced)


def _refuse_prolog(data: mmap.mmap) -> None:
    """Encoding and document type stand before the root element; later ones are malformed anyway."""
    root = re.search(rb"<[A-Za-z_]", data)
    prolog = data[: root.start() if root else min(len(data), 1 << 20)]
    if prolog[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in prolog[:64]:
        raise BadAnswer("the answer is not UTF-8", reason="encoding")
    if b"<!DOCTYPE" in prolog or b"<!ENTITY" in prolog:
        raise BadAnswer("the answer declares a document type; reports have none", reason="dtd")
    declared = re.search(rb"encoding\s*=\s*[\"']([A-Za-z0-9._-]+)", prolog)
    if declared and declared[1].lower() not in (b"utf-8", b"us-ascii"):
        raise BadAnswer("the answer is not UTF-8", reason="encoding")


def _scan(path: Path, data: mmap.mmap) -> bool:
    """True if there are character references at all. Raises BadAnswer for a tag over TAG_LIMIT."""
    references = False
    with path.open("rb") as file:
        offset = 0
        while chunk := file.read(_FEED):
            references = references or chunk.find(b"&#") >= 0 or chunk.endswith(b"&")
            for start in range(0, len(chunk) - _BLOCK + 1, _BLOCK):
                # Report rows close a tag every few bytes. A block without any end tag may be part of a
                # long tag or of deep nesting, or of a long text: only such blocks are looked at.
                if (
                    chunk.find(b"</", start, start + _BLOCK) < 0
                    and chunk.find(b"/>", start, start + _BLOCK) < 0
                ):
                    _refuse_odd_block(data, offset + start)
            offset += len(chunk)
    return references


def _refuse_odd_block(data: mmap.mmap, start: int) -> None:
    opened = data.rfind(b"<", max(0, start - TAG_LIMIT), start + _BLOCK)
    if opened >= 0 and len(data) - opened > TAG_LIMIT and data.find(b">", opened, opened + TAG_LIMIT) < 0:
        raise BadAnswer(f"a tag is longer than {TAG_LIMIT} bytes", reason="huge_tag")
    if _NESTED.search(data[max(0, start - 4096) : start + 4096]):
        raise BadAnswer(f"elements are nested more than {DEPTH_LIMIT} deep", reason="too_deep")


def _legal(reference: bytes) -> bool:
    code = int(reference[1:], 16) if reference[:1] in b"xX" else int(reference)
    return (
        code in (9, 10, 13)
        or 0x20 <= code <= 0xD7FF
        or 0xE000 <= code <= 0xFFFD
        or 0x10000 <= code <= 0x10FFFF
    )


def _cleaned(data: mmap.mmap, path: Path) -> Path:
    """A copy beside the body with U+FFFD in place of illegal references; the archive keeps the original."""
    copy = path.with_suffix(".clean.xml")
    with copy.open("wb") as out:
        done = 0
        for match in _REFERENCE.finditer(data):
            if not _legal(match[1]):
                out.write(data[done : match.start()])
                out.write(b"\xef\xbf\xbd")
                done = match.end()
        out.write(data[done:])
    return copy


def _strict(path: Path) -> None:
    target: Any = _NoTree()
    parser = etree.XMLParser(
        target=target,
        resolve_entities=False,
        no_network=True,
        huge_tree=False,
        load_dtd=False,
        recover=False,
    )
    try:
        with path.open("rb") as file:
            while chunk := file.read(_FEED):
                parser.feed(chunk)
        parser.close()
    except etree.XMLSyntaxError as error:
        raise _judged(error) from None


def _judged(error: etree.XMLSyntaxError) -> Exception:
    """libxml2's complaint without its quotation of the text (rows, personal data)."""
    line, column = error.position
    code: int = getattr(error, "code", 0)
    place = f"libxml2 error {code}, line {line}, column {column}"
    cut = (etree.ErrorTypes.ERR_TAG_NOT_FINISHED, etree.ErrorTypes.ERR_GT_REQUIRED)
    if code in cut:
        return TruncatedAnswer(f"the answer ends too early ({place})")
    return BadAnswer(f"the answer is not well-formed XML ({place})", reason="malformed")


def count_rows(path: Path, row_element: str) -> int:
    """Start tags of `row_element` in the bytes (with or without attributes, prefix allowed)."""
    name = re.escape(row_element.encode())
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        plain = len(re.findall(rb"<" + name + rb"[ >/\r\n\t]", data))
        return plain or len(re.findall(rb"<[\w.-]+:" + name + rb"[ >/\r\n\t]", data))
