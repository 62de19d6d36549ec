"""Faults in the bytes of an answer: cut, hostile, badly encoded, or packed."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable
from dataclasses import replace

from sandbox.answer import Answer
from sandbox.faults.answers import Scene
from sandbox.soap import CLOSING
from sandbox.wire_schema import REPORTS

_DECLARATION = b'<?xml version="1.0" encoding="utf-8"?>'


def _edit(change: Callable[[bytes, Scene], bytes]) -> Callable[[Answer, Scene], Answer]:
    """A fault that maps the body's bytes to other bytes and leaves the headers alone."""

    def apply(answer: Answer, scene: Scene) -> Answer:
        return answer.whole(change(answer.body(), scene))

    apply.__doc__ = change.__doc__
    return apply


def _fields(scene: Scene) -> list[bytes]:
    """Elements that text may be planted in, best first."""
    if "column" in scene.args:
        return [str(scene.args["column"]).encode()]
    report = REPORTS.get(scene.call.operation)
    names = [c.wire for c in report.columns if c.kind == "string"] if report else []
    best = [name for name in ("CustomerName", "EmailAddress") if name in names]
    return [name.encode() for name in best + names + ["ErrorMessage", "ReceiptID", "AccountNumber"]]


def _place(body: bytes, scene: Scene) -> tuple[int, int]:
    """Start and end of the first start tag that text may follow; the end of the body element else."""
    for name in _fields(scene):
        start = body.find(b"<" + name + b">")
        if start >= 0:
            return start, start + len(name) + 2
    end = body.find(CLOSING)
    return end, end


def _plant(body: bytes, scene: Scene, data: bytes) -> bytes:
    """`data` as the first content of a text field."""
    _, end = _place(body, scene)
    return body[:end] + data + body[end:]


def _doctype(body: bytes, doctype: str) -> bytes:
    return body.replace(_DECLARATION, _DECLARATION + doctype.encode(), 1)


def xxe(body: bytes, scene: Scene) -> bytes:
    """An external entity in a field: args.target file [default], http or parameter."""
    target = scene.args.get("target", "file")
    if target == "parameter":
        inner = f'<!ENTITY % p SYSTEM "{scene.base}/_sandbox/bait"> %p;'
        return _doctype(body, f"<!DOCTYPE soap:Envelope [{inner}]>")
    url = scene.args.get("url", f"{scene.base}/_sandbox/bait" if target == "http" else "file:///etc/hostname")
    return _doctype(_plant(body, scene, b"&x;"), f'<!DOCTYPE soap:Envelope [<!ENTITY x SYSTEM "{url}">]>')


def billion_laughs(body: bytes, scene: Scene) -> bytes:
    """Ten levels of entities, each ten times the one before."""
    levels = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    doctype = f'<!DOCTYPE soap:Envelope [<!ENTITY l0 "lol">{levels}]>'
    return _doctype(_plant(body, scene, b"&l9;"), doctype)


def quadratic_blowup(body: bytes, scene: Scene) -> bytes:
    """One entity of 100,000 characters used 2,000 times."""
    doctype = f'<!DOCTYPE soap:Envelope [<!ENTITY q "{"q" * 100_000}">]>'
    return _doctype(_plant(body, scene, b"&q;" * 2_000), doctype)


def dtd(body: bytes, _scene: Scene) -> bytes:
    """A document type that declares no entity."""
    return _doctype(body, "<!DOCTYPE soap:Envelope [<!ELEMENT Note ANY>]>")


def external_dtd(body: bytes, scene: Scene) -> bytes:
    """A document type kept elsewhere (the bait's URL)."""
    return _doctype(body, f'<!DOCTYPE soap:Envelope SYSTEM "{scene.base}/_sandbox/bait">')


def deep(body: bytes, scene: Scene) -> bytes:
    """args.depth [3000] nested elements in a field."""
    depth = scene.args.get("depth", 3_000)
    return _plant(body, scene, b"<d>" * depth + b"</d>" * depth)


def many_attributes(body: bytes, scene: Scene) -> bytes:
    """args.count [100,000] attributes on one element."""
    attributes = "".join(f' a{i}=""' for i in range(scene.args.get("count", 100_000))).encode()
    start, end = _place(body, scene)
    if start == end:
        return body
    return body[: end - 1] + attributes + body[end - 1 :]


def control_ref(body: bytes, scene: Scene) -> bytes:
    """A character reference that XML 1.0 forbids, as ASP.NET does send it."""
    return _plant(body, scene, b"&#x1;")


def raw_control(body: bytes, scene: Scene) -> bytes:
    """The byte 0x01 itself."""
    return _plant(body, scene, b"\x01")


def bad_utf8(body: bytes, scene: Scene) -> bytes:
    """Bytes that are no UTF-8."""
    return _plant(body, scene, b"\xc3\x28\xff")


def nul(body: bytes, scene: Scene) -> bytes:
    """A zero byte."""
    return _plant(body, scene, b"\x00")


def trailing_junk(body: bytes, _scene: Scene) -> bytes:
    """Text and an element after the envelope."""
    return body + b"\r\njunk after the end <more/>"


def bom(body: bytes, _scene: Scene) -> bytes:
    """A UTF-8 byte order mark in front (legal)."""
    return b"\xef\xbb\xbf" + body


def truncate_between_tags(body: bytes, scene: Scene) -> bytes:
    """Cut after a row in the middle; the Content-Length is that of the cut body."""
    report = REPORTS.get(scene.call.operation)
    ends = (
        [found.end() for found in re.finditer(rb"</" + report.row.encode() + rb">", body)] if report else []
    )
    return body[: ends[(len(ends) - 1) // 2]] if ends else body[: body.find(CLOSING)]


def utf16(answer: Answer, _scene: Scene) -> Answer:
    """The same text in UTF-16 with a byte order mark, truly declared."""
    text = answer.body().decode().replace('encoding="utf-8"', 'encoding="utf-16"', 1)
    kind = (answer.content_type or "").replace("utf-8", "utf-16")
    return answer.whole(text.encode("utf-16"), content_type=kind)


def _packed(answer: Answer, body: bytes) -> Answer:
    return answer.whole(body, headers=answer.headers | {"Content-Encoding": "gzip"})


def packed(answer: Answer, _scene: Scene) -> Answer:
    """gzip, correct."""
    return _packed(answer, gzip.compress(answer.body(), mtime=0))


def gzip_cut(answer: Answer, _scene: Scene) -> Answer:
    """gzip, its second half missing."""
    body = gzip.compress(answer.body(), mtime=0)
    return _packed(answer, body[: len(body) // 2])


def gzip_no_trailer(answer: Answer, _scene: Scene) -> Answer:
    """gzip without its last eight bytes (checksum and length)."""
    return _packed(answer, gzip.compress(answer.body(), mtime=0)[:-8])


def gzip_bomb(answer: Answer, scene: Scene) -> Answer:
    """args.size_mb [300] megabytes of blanks in a field, packed to about a thousandth."""
    body = answer.body()
    _, end = _place(body, scene)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    blanks = b" " * 1_000_000
    parts = [packer.compress(body[:end])]
    parts += [packer.compress(blanks) for _ in range(scene.args.get("size_mb", 300))]
    parts += [packer.compress(body[end:]), packer.flush()]
    return _packed(replace(answer, parts=[]), b"".join(parts))


BODY_KINDS: dict[str, Callable[[Answer, Scene], Answer]] = {
    "xxe": _edit(xxe),
    "billion_laughs": _edit(billion_laughs),
    "quadratic_blowup": _edit(quadratic_blowup),
    "dtd": _edit(dtd),
    "external_dtd": _edit(external_dtd),
    "deep": _edit(deep),
    "many_attributes": _edit(many_attributes),
    "control_ref": _edit(control_ref),
    "raw_control": _edit(raw_control),
    "bad_utf8": _edit(bad_utf8),
    "nul": _edit(nul),
    "trailing_junk": _edit(trailing_junk),
    "bom": _edit(bom),
    "truncate_between_tags": _edit(truncate_between_tags),
    "utf16": utf16,
    "gzip": packed,
    "gzip_cut": gzip_cut,
    "gzip_no_trailer": gzip_no_trailer,
    "gzip_bomb": gzip_bomb,
}
