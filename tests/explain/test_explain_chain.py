"""The chain of a payment from all feeds: complete, in order, traceable, and what is due next."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from tasks.explain.due import due_next
from tasks.pull import archive_of, staging_of
from tasks.reconcile import load_rules
from tasks.staging import timeline
from tasks.staging.query import frame

STEPS = ["paid", "posted", "settled"]


def labels(chain: dict[str, Any]) -> list[str]:
    return [step["step"] for step in chain["steps"]]


def words(chain: dict[str, Any], step: str) -> list[str]:
    return [line["words"] for line in chain["steps"] if line["step"] == step]


def test_a_return_that_is_not_reversed_is_told_in_order_with_its_break(seen: Any) -> None:
    item = seen.one("break_codes = 'B16'")
    chain = seen.chain(item["payment_guid"].upper())
    told = [name for name in labels(chain) if name not in ("invoiced", "reported")]
    assert told[:2] == ["paid", "posted"]
    assert "returned" in told
    at = [step["at"] or datetime.combine(step["day"], datetime.max.time(), UTC) for step in chain["steps"]]
    assert at == sorted(at)
    (broken,) = chain["breaks"]
    assert (chain["state"], broken["code"]) == ("BROKEN", "B16")
    assert broken["history"][0]["what"] == "opened"
    assert broken["evidence"]["payment"]["payment_guid"] == item["payment_guid"]
    assert broken["evidence"]["payment"]["payment_amount"] == str(item["payment_amount"])


def test_every_chain_adds_up_to_the_verdict(seen: Any) -> None:
    items = pl.DataFrame(
        seen.rows("SELECT * FROM recon.items WHERE payment_line_no IS NULL"), infer_schema_length=None
    )
    guids = items["payment_guid"].str.to_lowercase().to_list()
    with staging_of(seen.settings, "acme").open() as connection:
        found = timeline.steps(connection, guids)
    steps = pl.DataFrame(
        [
            {name: row.get(name) for name in ("guid", "step", "amount", "kind", "status", "transaction_type")}
            for row in found
        ],
        infer_schema_length=None,
    )
    paid = steps.filter(pl.col("step") == "paid")
    assert sorted(paid["guid"]) == sorted(guids)
    settled = (
        steps.filter(step="settled", transaction_type="PAYMENT").group_by("guid").agg(pl.col("amount").sum())
    )
    own = items.filter(pl.col("settled_amount") != 0).select(guid=pl.col("payment_guid").str.to_lowercase(), of_run="settled_amount")  # fmt: skip
    both = own.join(settled, on="guid", how="full", coalesce=True)
    assert both.height > 400
    assert both.filter(pl.col("amount").ne_missing(pl.col("of_run"))).is_empty()
    posted = steps.filter(
        pl.col("step") == "posted", pl.col("status") == "POSTED", pl.col("kind") == "PAYMENT"
    )
    single = items.filter(pl.col("break_codes").is_null(), pl.col("posted_amount") != 0)
    joined = single.select(guid=pl.col("payment_guid").str.to_lowercase(), of_run="posted_amount").join(
        posted.group_by("guid").agg(pl.col("amount").sum()), on="guid", how="left"
    )
    assert joined.filter(pl.col("amount").ne_missing(pl.col("of_run"))).is_empty()


def test_each_break_of_a_payment_stands_in_its_chain(seen: Any) -> None:
    broken = seen.rows("SELECT payment_guid, string_agg(DISTINCT break_codes, ',') AS codes FROM recon.items WHERE break_codes IS NOT NULL GROUP BY 1")  # fmt: skip
    assert len(broken) > 20
    for row in broken[:12]:
        codes = {
            found["code"] for found in seen.chain(row["payment_guid"])["breaks"] if found["state"] == "open"
        }
        assert set(row["codes"].split(",")) <= codes


def test_each_step_is_found_in_the_archive(seen: Any) -> None:
    archive = archive_of(seen.settings, "acme")
    chain = seen.chain(seen.one("state = 'MATCHED_PROVISIONAL'")["payment_guid"])
    assert set(STEPS) <= set(labels(chain))
    for step in chain["steps"]:
        note = archive.read_note(step["source"]["poll_id"])
        assert note is not None
        assert note.operation == step["source"]["file"]
        if step["step"] == "posted":
            kept = pl.read_csv(archive.body_path(note.poll_id, note.suffix), infer_schema=False)
            row = kept.row(step["source"]["row_no"] - 1, named=True)
            assert row["posting_id"] == step["facts"]["posting_id"]


def test_what_is_due_next_is_what_the_run_says(seen: Any) -> None:
    item = seen.one("state = 'MATCHED_PROVISIONAL'")
    assert seen.chain(item["payment_guid"])["next"] == [
        {"what": "return window closes; final then", "due_by": item["due_by"], "overdue": False}
    ]
    waiting = seen.one("state = 'IN_FLIGHT' AND due_by IS NOT NULL")
    (first, *_) = seen.chain(waiting["payment_guid"])["next"]
    assert (first["what"], first["due_by"]) == (waiting["state_reason"], waiting["due_by"])
    late = seen.about(waiting["payment_guid"], as_of=waiting["due_by"] + timedelta(days=1))["chains"][0]
    assert late["next"][0]["overdue"]
    assert seen.chain(seen.one("state = 'EXPLAINED'")["payment_guid"])["next"] == []


def test_due_days_are_banking_days_over_a_holiday() -> None:
    paid = {"step": "paid", "settled_date": None}
    item = {
        "state": "IN_FLIGHT", "state_reason": "not posted yet", "due_by": datetime(2026, 11, 25, 20, tzinfo=UTC),
        "approved": True, "tender": "EFT", "settled_date": None, "payment_date": datetime(2026, 11, 25, 15, tzinfo=UTC),
    }  # fmt: skip
    rules, now = load_rules({"zone": "America/Chicago"}), datetime(2026, 11, 25, 16, tzinfo=UTC)
    posting, settlement = due_next([item], [paid], rules, now, deposits=True)
    assert posting["what"] == "not posted yet"
    # Wednesday, then Thanksgiving and a weekend: the 4th banking day is Wednesday, and it ends at midnight.
    assert settlement["due_by"] == datetime(2026, 12, 3, 6, tzinfo=UTC)
    settled = item | {"state": "MATCHED_PROVISIONAL", "settled_date": date(2026, 11, 27), "due_by": datetime(2027, 1, 29, tzinfo=UTC)}  # fmt: skip
    credit, window = due_next([settled], [paid], rules, now, deposits=True)
    assert (credit["what"], credit["due_by"]) == (
        "bank credit of the batch",
        datetime(2026, 12, 2, 6, tzinfo=UTC),
    )
    assert window["due_by"] == datetime(2027, 1, 29, tzinfo=UTC)
    assert [line["what"] for line in due_next([settled], [paid], rules, now, deposits=False)] == [
        window["what"]
    ]


def test_links_from_every_side_stand_in_the_chain(asked: Any) -> None:
    item = asked.one("state = 'MATCHED_PROVISIONAL' AND settled_date IS NOT NULL")
    guid, paid = item["payment_guid"], item["payment_date"]
    money = item["payment_amount"]
    after = paid + timedelta(hours=1)
    asked.put(
        "imt.pushes_versions", push_id="U1", payment_guid=guid.upper(), variant=1, received_at=after, form="soap",
        payment_date=paid, account_number=item["account_number"], payment_amount=money, approved=True,
        account_known=True, above_balance=True, open_balance=Decimal("1.00"), handover_sequence=3, acknowledged_at=after,
        customer_name="Canaryname pushed",
    )  # fmt: skip
    asked.put("outbox.files", file_id="F1", state="accepted", file_name="f.bif", sent_at=paid, answered_at=paid, receipt_id="R-9")  # fmt: skip
    asked.put(
        "outbox.records", record_id="F1-1", file_id="F1", line_no=4, record_type="A", invoice_number=item["invoice_number"],
        account_number=item["account_number"], balance_due=money, state="accepted", composed_at=paid, settled_at=paid,
        customer_name="Canaryname billed",
    )  # fmt: skip
    asked.put("outbox.images", image_id="M1", state="missing", image_name="x.pdf", invoice_number=item["invoice_number"], last_seen_at=paid)  # fmt: skip
    asked.put(
        "imt.chargebacks_versions", chargeback_id="C1", case_no="77", stage="FIRST", chargeback_date=date(2026, 10, 29),
        payment_guid=guid, amount=money, reason="fraud",
    )  # fmt: skip
    asked.put("imt.refunds_versions", refund_id="X1", refund_date=date(2026, 10, 29), payment_guid=guid, amount=Decimal("2.00"))  # fmt: skip
    asked.put(
        "quarantine.payments", quarantine_id="q", poll_id="P", row_no=1, reasons=["payment_amount is no amount"],
        raw=f'{{"PaymentGUID": "{guid}", "CustomerName": "Canaryname held"}}', first_seen_at=asked.close,
        last_seen_at=asked.close, times_seen=1,
    )  # fmt: skip
    chain = asked.chain(guid)
    assert words(chain, "pushed") == ["pushed by InvoiceCloud as approved, more than the open 1.00"]
    assert words(chain, "acknowledged") == ["IMT acknowledged the file of postings no. 3"]
    assert words(chain, "billed") == [f"bill of invoice {item['invoice_number']}: accepted, receipt R-9"]
    assert words(chain, "image") == ["bill image: missing"]
    assert words(chain, "chargeback") == ["disputed, case 77, fraud"]
    assert words(chain, "refund") == ["refund X1 of the portal"]
    assert words(chain, "set_aside") == ["a row of payments is set aside: payment_amount is no amount"]
    amounts = {step["step"]: step["amount"] for step in chain["steps"]}
    assert (amounts["chargeback"], amounts["refund"]) == (-money, Decimal("-2.00"))
    billed = next(step for step in chain["steps"] if step["step"] == "billed")
    assert (billed["source"]["file"], billed["source"]["row_no"]) == ("F1", 4)
    assert "Canaryname" not in str(chain)


def test_a_restated_row_and_one_that_is_gone_are_told_version_by_version(asked: Any) -> None:
    item = asked.one("state = 'MATCHED_PROVISIONAL'")
    (before,) = asked.rows(
        f"SELECT * FROM feed.payments_versions WHERE payment_guid = '{item['payment_guid']}'"
    )
    later = {"version_seen_at": asked.close + timedelta(hours=1), "is_current": False}
    asked.put(
        "feed.payments_versions", **(before | later | {"version": 2, "payment_amount": Decimal("1.00")})
    )
    asked.put("feed.payments_versions", **(before | later | {"version": 3, "present": False}))
    assert words(asked.chain(item["payment_guid"]), "reported") == [
        "in the payment report", "reported otherwise, version 2", "no longer in the payment report"
    ]  # fmt: skip


def test_a_deposit_is_told_with_what_it_covers(asked: Any) -> None:
    item = asked.one("state = 'MATCHED_PROVISIONAL' AND settled_date IS NOT NULL")
    with staging_of(asked.settings, "acme").open() as connection:
        assert timeline.has(connection, "recon.deposits")
    settled, credit = item["settled_date"], Decimal("500.00")
    asked.put(
        "imt.bank_lines_versions", line_id="L1", value_date=settled, amount=credit, text="INVOICE CLOUD"
    )
    asked.put(
        "recon.deposits", deposit_id="D1", line_id="L1", value_date=settled, settled_from=settled - timedelta(days=2),
        settled_to=settled, bank_amount=credit, expected_amount=Decimal("500.01"), residual_amount=Decimal("-0.01"),
        state="OFF",
    )  # fmt: skip
    (step,) = [step for step in asked.chain(item["payment_guid"])["steps"] if step["step"] == "deposited"]
    assert (step["day"], step["amount"], step["source"]["row_no"]) == (settled, credit, 7)
    assert step["words"].endswith("expected 500.01, off by -0.01")


def test_breaks_of_its_batch_stand_beside_its_own(seen: Any) -> None:
    (one,) = seen.rows(
        """SELECT b.break_id, i.payment_guid FROM recon.breaks b JOIN recon.items i ON i.settled_batch_id = b.subject
           WHERE b.code = 'B12' AND i.state = 'MATCHED_PROVISIONAL' ORDER BY ALL LIMIT 1"""
    )
    chain = seen.chain(one["payment_guid"])
    assert one["break_id"] in [row["break_id"] for row in chain["breaks_beside"]]
    assert chain["breaks"] == []


def test_a_payment_that_no_report_names_has_a_chain_too(seen: Any) -> None:
    (orphan,) = seen.rows("SELECT payment_guid, subject FROM recon.breaks WHERE code = 'B18' AND payment_guid IS NOT NULL LIMIT 1")  # fmt: skip
    chain = seen.chain(orphan["payment_guid"])
    assert "returned" in labels(chain)
    assert [row["code"] for row in chain["breaks"]] == ["B18"]
    assert chain["next"][0]["what"] == "its line in the payment report"


def test_key3_matches_are_told_as_such(asked: Any) -> None:
    item = asked.one(
        "state = 'MATCHED_PROVISIONAL' AND match_rule = 'key1' AND payment_source <> 'AGENTCONNECT'"
    )
    guid = item["payment_guid"]
    with staging_of(asked.settings, "acme").open() as connection:
        changed = f"payment_guid = '{guid}'"
        connection.execute(f"UPDATE imt.postings_versions SET payment_guid = NULL, processor_reference = NULL WHERE {changed}")  # fmt: skip
        posted = frame(connection, f"SELECT match_rule FROM recon.items WHERE {changed}")[
            "match_rule"
        ].to_list()
        assert posted == ["key1"]
    assert words(asked.chain(guid), "posted") == []
    with staging_of(asked.settings, "acme").open() as connection:
        connection.execute(
            f"""CREATE TEMP TABLE told AS SELECT * REPLACE ('key3' AS match_rule) FROM recon.items WHERE {changed};
                DELETE FROM recon.judged WHERE {changed};
                DELETE FROM recon.sides WHERE payment IN (SELECT rowid FROM feed.payments_versions WHERE {changed});
                INSERT INTO recon.judged FROM told"""
        )
    (told,) = words(asked.chain(guid), "posted")
    assert told.endswith("found by account, invoice and amount")
