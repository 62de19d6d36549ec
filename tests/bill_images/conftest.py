"""IMT's folder of bill images, and settings that point at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.settings import Outbound

PDF = b"%PDF-1.7\n1 0 obj << >> endobj\ntrailer << >>\n%%EOF\n"


@dataclass
class Images:
    """The folder; `put` writes a whole PDF with content of its own."""

    folder: Path

    def put(self, name: str, content: bytes | None = None) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            PDF.replace(b"<< >>", name.encode(errors="replace"), 1) if content is None else content
        )
        return path

    def outbound(self, **change: Any) -> Outbound:
        return Outbound(images=self.folder, **change)


@pytest.fixture
def images(tmp_path: Path) -> Images:
    (tmp_path / "images").mkdir()
    return Images(tmp_path / "images")


@pytest.fixture
def wanted() -> Callable[..., pl.DataFrame]:
    """wanted((account, invoice, path), …)"""
    schema = {"account_number": pl.String, "invoice_number": pl.String, "pdf_path": pl.String}
    return lambda *rows: pl.DataFrame(list(rows), schema=schema, orient="row")
