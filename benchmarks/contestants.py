"""One contestant per process: `python -m benchmarks.contestants NAME BODY FOLDER` prints seconds, rows, peak memory.

The clock runs from the bytes on disk to the contestant's end product. Each contestant first does the same work on
a body of four rows, in another folder: imports, thread pools and first-use costs are nobody's time.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Work = Callable[[], int]
WARM = (
    Path(__file__).parents[1]
    / "tests"
    / "data"
    / "wire"
    / "PaymentReportingDataSetFromGMT.soap11.response.xml"
)
_AT = datetime(2026, 10, 30, 23, tzinfo=UTC)


def icflows(body: Path, folder: Path) -> Work:
    """Bytes → proven → typed → contract → quarantine → control totals → DuckDB, checkpointed and acknowledged."""
    from checks.contracts import FEEDS
    from tasks.archive import Poll
    from tasks.invoicecloud.catalogue import feed_spec
    from tasks.invoicecloud.report import read_report
    from tasks.stage import stage_report
    from tasks.staging.merge import Target
    from tasks.staging.store import Staging

    feed = feed_spec("payments")
    poll = Poll("20261030T230000Z-payments-1", "acme", "payments", "dataset", "Report", None, None, _AT)
    target = Target("feed", "payments", FEEDS["payments"], ("payment_guid",))

    def work() -> int:
        report = read_report(body, feed, "dataset", "America/Chicago")
        staged = stage_report(Staging(folder, "acme"), poll, feed, target, report)
        return staged.counts.rows_new

    return work


def read(body: Path, _: Path) -> Work:
    """Bytes → proven → typed → contract: what a deserialiser does, and the checks; nothing is stored."""
    from checks.contracts import FEEDS
    from checks.quarantine import split
    from tasks.invoicecloud.catalogue import feed_spec
    from tasks.invoicecloud.report import read_report

    feed = feed_spec("payments")

    def work() -> int:
        report = read_report(body, feed, "dataset", "America/Chicago")
        return split(report.rows, FEEDS["payments"], ["payment_guid"]).good.height

    return work


def zeep(body: Path, _: Path) -> Work:
    """zeep's own deserialiser on the typed list inside the WSDL's types, or on the DataSet's any-elements."""
    import zeep as library
    from lxml import etree

    wsdl = Path(__file__).parents[1] / "tasks" / "invoicecloud" / "wsdl" / "CloudReporting.wsdl"
    client = library.Client(str(wsdl), settings=library.Settings(strict=True, xml_huge_tree=True))  # type: ignore[no-untyped-call]
    binding: Any = client.service._binding
    operation = binding.get("PaymentReportingDataSetFromGMT")

    def work() -> int:
        envelope = etree.fromstring(body.read_bytes(), etree.XMLParser(huge_tree=True))
        answer = operation.process_reply(envelope)
        return len(answer["_value_1"][0]["_value_2"]["_value_1"])

    return work


def dlt(body: Path, folder: Path) -> Work:
    """A dlt pipeline that merges the same rows into DuckDB; the rows are given to it as ready dicts."""
    os.environ.update(
        RUNTIME__DLTHUB_TELEMETRY="false", DLT_DATA_DIR=str(folder / "dlt"), RUNTIME__LOG_LEVEL="CRITICAL"
    )
    import dlt as library

    from tasks.invoicecloud.catalogue import feed_spec
    from tasks.invoicecloud.report import read_report

    rows = read_report(body, feed_spec("payments"), "dataset", "America/Chicago").rows.to_dicts()
    destination = library.destinations.duckdb(str(folder / "dlt.duckdb"))
    pipeline = library.pipeline(
        f"payments{len(rows)}", destination=destination, dataset_name="feed", pipelines_dir=str(folder / "p")
    )

    def work() -> int:
        pipeline.run(rows, table_name="payments", write_disposition="merge", primary_key="payment_guid")
        return len(rows)

    return work


def main() -> None:
    """Runs one contestant and prints one line of JSON."""
    name, body, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    make = {"icflows": icflows, "read": read, "zeep": zeep, "dlt": dlt}[name]
    (folder / "warm").mkdir()
    make(WARM, folder / "warm")()
    work = make(body, folder)
    started = time.perf_counter()
    rows = work()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"seconds": seconds, "rows": rows, "peak_mib": peak}) + "\n")


if __name__ == "__main__":
    main()
