"""Writes docs/data-dictionary.md from contracts and catalogue: `python -m tasks.dictionary > docs/data-dictionary.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from checks.contracts import FEEDS, IMT, Contract
from checks.describe import columns
from tasks.invoicecloud.catalogue import FeedSpec, feed_spec
from tasks.loading import KINDS
from tasks.staging.schema import LINEAGE, POLL_RUNS

_HEAD = """# Data dictionary

Made from the contracts (`checks/contracts/`) and the feed catalogue (`tasks/invoicecloud/`); do not edit:
`make docs` writes it anew and a test compares. Money is DECIMAL(18,2) in USD, instants are UTC.
"""


def dictionary() -> str:
    """The whole page as Markdown."""
    return "\n".join([_HEAD, *_feeds(), *_imt(), *_shared()]) + "\n"


def _feeds() -> Iterator[str]:
    for name, contract in FEEDS.items():
        spec = feed_spec(name)
        forms = ", ".join(f"{form.operation} ({kind})" for kind, form in spec.forms.items())
        yield f"## feed.{name}\n\n{_first_line(contract)} Key: {', '.join(spec.key)}. From {forms}.\n"
        yield from _table(contract, spec)
        yield f"\n`feed.{name}_versions` has every version, `quarantine.{name}` the rows set aside.\n"


def _imt() -> Iterator[str]:
    kinds = {table: kind for kind, table in KINDS.items()}
    for name, contract in IMT.items():
        how = (
            f"Loaded by `icflows load {kinds[name]} FILE`" if name in kinds else "Received by `icflows serve`"
        )
        yield f"## imt.{name}\n\n{_first_line(contract)} {how}.\n"
        yield from _table(contract, None)
        yield ""


def _first_line(contract: type[Contract]) -> str:
    module = sys.modules[contract.__module__].__doc__ or ""
    own = contract.__dict__.get("__doc__") or ""
    many = contract.__module__.endswith(("invoices", "inbound", "bank"))
    return (own if many else module).splitlines()[0]


def _table(contract: type[Contract], spec: FeedSpec | None) -> Iterator[str]:
    yield (
        "| column | type | null | from IC's | meaning |\n|---|---|---|---|---|"
        if spec
        else "| column | type | null | meaning |\n|---|---|---|---|"
    )
    for column in columns(contract):
        words = column.description + (" **(personal data, masked in snapshots)**" if column.pii else "")
        source = spec.columns.get(column.name) if spec else None
        cells = [column.name, column.sql_type, "yes" if column.nullable else "no"]
        cells += [f"{source.source} ({source.read})" if source else "–"] if spec else []
        yield "| " + " | ".join([*cells, words]) + " |"


def _shared() -> Iterator[str]:
    yield "## Columns that every feed and IMT table has besides\n"
    yield "| column | type |\n|---|---|"
    yield from (f"| {name} | {kind.removesuffix(' NOT NULL')} |" for name, kind in LINEAGE.items())
    yield "\n## poll.runs\n\nOne row per poll of one window, and per file from IMT.\n"
    yield "| column | type |\n|---|---|"
    yield from (f"| {name} | {kind.removesuffix(' NOT NULL')} |" for name, kind in POLL_RUNS.items())


if __name__ == "__main__":
    sys.stdout.write(dictionary())
