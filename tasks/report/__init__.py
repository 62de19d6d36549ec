"""write_report: the last run on one HTML page, for a finance person who has a minute.

One file, nothing fetched: styles and charts (SVG) are inside, there is no script, and the page's own
policy forbids requests. Everything that comes from data is escaped. No name, e-mail or address of a
customer is on it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tasks.dated_files import DatedFiles
from tasks.report.collect import Facts, collect
from tasks.report.page import render
from tasks.settings import Settings

__all__ = ["Facts", "ReportResult", "collect", "render", "reports_of", "write_report"]


@dataclass(frozen=True)
class ReportResult:
    """Where the report lies."""

    path: Path
    latest: Path
    bytes: int


def reports_of(settings: Settings, biller: str) -> DatedFiles:
    """The biller's report folder. Reports are small and kept."""
    settings.biller(biller)
    return DatedFiles(settings.folder("reports") / biller, "html", settings.storage.lock_timeout_seconds)


def write_report(settings: Settings, biller: str, as_of: datetime) -> ReportResult:
    """Writes <reports>/<biller>/<UTC>.html and latest.html from staging. Raises Retry when it cannot be written."""
    files = reports_of(settings, biller)
    files.path(as_of)  # refuses a moment without a zone before any work is done
    html = render(collect(settings, biller, as_of.astimezone(UTC))).encode()
    with files.replacing(as_of) as part, part.open("wb") as file:
        file.write(html)
        file.flush()
        os.fsync(file.fileno())
    return ReportResult(files.path(as_of), files.latest, len(html))
