"""The Biller Invoice File: layouts as data, one writer and one reader for all of them."""

from __future__ import annotations

from tasks.invoicecloud.bif.layout import FileFacts, Layout, line_numbers, load_layout
from tasks.invoicecloud.bif.parsing import Parsed, as_parsed, parse
from tasks.invoicecloud.bif.rendering import render
from tasks.invoicecloud.bif.troubles import trouble

__all__ = [
    "FileFacts", "Layout", "Parsed", "as_parsed", "line_numbers", "load_layout", "parse", "render", "trouble",
]  # fmt: skip
