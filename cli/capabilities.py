"""`icflows capabilities`: the integration document's table, with what this build does for each row."""

from __future__ import annotations

from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from cli.options import Json
from cli.show import OK, console, emit_json
from tasks.capabilities import PRODUCTS, Capability, Claim, capabilities

_STYLES = {"works": "green", "partly": "yellow", "not supported": "red", "not planned": "dim"}


def show_capabilities(as_json: Json = False) -> int:
    """The integration comparison: today, with Spectrum, and what this build does of each."""
    rows = capabilities()
    if as_json:
        emit_json([_plain(row) for row in rows])
        return OK
    console.print(_document(rows))
    console.print(_build(rows))
    counts = {product: [row.claims()[product].does for row in rows].count("works") for product in PRODUCTS}
    told = ", ".join(f"{count} of {len(rows)} for {product}" for product, count in counts.items())
    console.print(f"Works: {told}.", markup=False)
    return OK


def _plain(row: Capability) -> dict[str, Any]:
    return row.model_dump(by_alias=True) | {"name": row.name}


def _document(rows: tuple[Capability, ...]) -> Table:
    headings = ("feature", "current: MIPS/APPS", "future: Spectrum", "conversion")
    lines = [(row.name, row.current, row.future, row.conversion) for row in rows]
    return _table(
        "IMT and InvoiceCloud, as the document has it", headings, [list(map(escape, line)) for line in lines]
    )


def _build(rows: tuple[Capability, ...]) -> Table:
    headings = ("feature", "product", "this build", "what and by what")
    lines = []
    for row in rows:
        mips, spectrum = row.claims().values()
        if mips == spectrum:
            lines.append([escape(row.name), "both", *_cells(mips)])
            continue
        lines.append([escape(row.name), "mips-apps", *_cells(mips)])
        lines.append(["", "spectrum", *_cells(spectrum)])
    return _table("What this build does", headings, lines)


def _cells(claim: Claim) -> list[str]:
    by = f" ({', '.join(claim.by)})" if claim.by else ""
    style = _STYLES[claim.does]
    return [f"[{style}]{claim.does}[/]", escape(claim.words + by)]


def _table(title: str, headings: tuple[str, ...], lines: list[list[str]]) -> Table:
    """Long cells are folded at words; cli.show.table folds only its last column."""
    made = Table(
        title=title, title_justify="left", title_style="bold", header_style="bold", box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0), show_lines=False,
    )  # fmt: skip
    for heading in headings:
        made.add_column(heading, overflow="fold")
    for line in lines:
        made.add_row(*line)
    return made


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command("capabilities")(show_capabilities)
