-- The time line of payments, link by link. `asked` (guid, lower case) names them. One query per block; a block whose
-- tables are not there (an older snapshot) is left out. Every block gives guid, step, source, and "at" (an instant) or
-- "day" (a day of the biller's calendar); poll_id and row_no (or file and row_no) lead back to the archive. Columns
-- besides are facts of the step. Names, addresses and e-mails are never read.

-- step invoiced: imt.invoice_events
SELECT n.guid, 'invoiced' AS step, e.occurred_at AS "at", e.balance_due AS amount, e.event, e.invoice_number,
       e.replaces_invoice_number, e.due_date, 'imt.invoice_events' AS source, e.poll_id, e.row_no, e.version
FROM imt.invoice_events e JOIN named n ON e.invoice_number = n.invoice_number OR e.replaces_invoice_number = n.invoice_number

-- step billed: outbox.records, outbox.files
SELECT n.guid, 'billed' AS step, coalesce(r.settled_at, f.answered_at, f.sent_at, r.composed_at) AS "at",
       r.balance_due AS amount, r.record_type, r.invoice_number, r.state, r.reason, f.file_name, f.receipt_id,
       'outbox.records' AS source, r.file_id AS file, r.line_no AS row_no
FROM outbox.records r JOIN named n USING (invoice_number) LEFT JOIN outbox.files f ON f.file_id = r.file_id

-- step image: outbox.images
SELECT n.guid, 'image' AS step, coalesce(i.sent_at, i.last_seen_at) AS "at", i.invoice_number, i.state, i.image_name,
       i.reason, 'outbox.images' AS source, i.image_name AS file
FROM outbox.images i JOIN named n USING (invoice_number)

-- step paid: feed.payments
SELECT guid, 'paid' AS step, payment_date AS "at", payment_amount AS amount, payment_line_no, tender, payment_source,
       approved, status, convenience_fee, account_number, invoice_number, agent_code, refund_of_guid,
       'feed.payments' AS source, poll_id, row_no, version
FROM reported

-- step pushed: imt.pushes
SELECT a.guid, 'pushed' AS step, p.received_at AS "at", p.payment_amount AS amount, p.approved, p.variant, p.form,
       p.account_number, p.invoice_number, p.account_known, p.above_balance, p.open_balance, p.push_id,
       'imt.pushes' AS source, p.poll_id, p.row_no, p.version
FROM imt.pushes p JOIN asked a ON lower(p.payment_guid) = a.guid

-- step acknowledged: imt.pushes
SELECT a.guid, 'acknowledged' AS step, p.acknowledged_at AS "at", p.payment_amount AS amount, p.handover_sequence,
       p.push_id, 'imt.pushes' AS source, p.poll_id, p.row_no, p.version
FROM imt.pushes p JOIN asked a ON lower(p.payment_guid) = a.guid WHERE p.acknowledged_at IS NOT NULL

-- step reported: feed.payments_versions
SELECT a.guid, 'reported' AS step, v.version_seen_at AS "at", v.payment_amount AS amount, v.payment_line_no, v.status,
       v.approved, v.present, v.invoice_number, v.account_number, 'feed.payments' AS source, v.poll_id, v.row_no, v.version
FROM feed.payments_versions v JOIN asked a ON lower(v.payment_guid) = a.guid

-- step refunded: feed.payments
SELECT a.guid, 'refunded' AS step, p.payment_date AS "at", p.payment_amount AS amount, p.payment_guid, p.status,
       'feed.payments' AS source, p.poll_id, p.row_no, p.version
FROM feed.payments p JOIN asked a ON lower(p.refund_of_guid) = a.guid

-- step posted: imt.postings
SELECT f.guid, 'posted' AS step, l.posted_at AS "at", l.amount, l.kind, l.status, l.reason, l.posting_id,
       l.account_number, l.invoice_number, l.reverses_posting_id, l.system, f.found_by, 'imt.postings' AS source,
       l.poll_id, l.row_no, l.version
FROM imt.postings l JOIN found_postings f USING (posting_id)

-- step settled: feed.settlements
SELECT coalesce(a.guid, n.guid) AS guid, 'settled' AS step, s.settled_date AS "day", s.settled_amount AS amount,
       s.transaction_type, s.settled_batch_id, s.tender, s.fee_amount, s.batch_total, s.batch_item_count,
       'feed.settlements' AS source, s.poll_id, s.row_no, s.version
FROM feed.settlements s LEFT JOIN asked a ON lower(s.payment_guid) = a.guid
LEFT JOIN (SELECT DISTINCT guid, reference FROM named WHERE reference <> '') n
    ON s.payment_guid IS NULL AND lower(trim(s.processor_reference)) = n.reference
WHERE coalesce(a.guid, n.guid) IS NOT NULL

-- step deposited: recon.deposits, imt.bank_lines
WITH dates AS (
    SELECT DISTINCT a.guid, s.settled_date FROM feed.settlements s JOIN asked a ON lower(s.payment_guid) = a.guid
    WHERE s.transaction_type = 'PAYMENT')
SELECT t.guid, 'deposited' AS step, d.value_date AS "day", d.bank_amount AS amount, d.deposit_id, d.line_id,
       d.state, d.settled_from, d.settled_to, d.expected_amount, d.residual_amount, d.detail,
       CASE WHEN b.line_id IS NULL THEN 'recon.deposits' ELSE 'imt.bank_lines' END AS source, b.poll_id, b.row_no, b.version
FROM recon.deposits d JOIN dates t ON t.settled_date BETWEEN d.settled_from AND d.settled_to
LEFT JOIN imt.bank_lines b ON b.line_id = d.line_id
WHERE d.line_id IS NOT NULL

-- step returned: feed.ach_rejects
SELECT coalesce(a.guid, n.guid) AS guid, 'returned' AS step, j.reject_date AS "at", -j.reject_amount AS amount,
       j.return_code, j.return_reason, j.reject_sequence, j.reject_fee, j.account_number, j.invoice_number,
       CASE WHEN a.guid IS NULL THEN 'account, invoice and amount' END AS found_by,
       'feed.ach_rejects' AS source, j.poll_id, j.row_no, j.version
FROM feed.ach_rejects j LEFT JOIN asked a ON lower(j.original_payment_guid) = a.guid
LEFT JOIN (SELECT DISTINCT guid, account_number, invoice_number, amount, CAST(payment_date AS DATE) AS paid_on FROM named) n
    ON j.original_payment_guid IS NULL AND n.account_number = j.account_number AND n.amount = j.reject_amount
    AND n.invoice_number IS NOT DISTINCT FROM j.invoice_number
    AND abs(date_diff('day', CAST(j.original_payment_date AS DATE), n.paid_on)) <= 1
WHERE coalesce(a.guid, n.guid) IS NOT NULL

-- step chargeback: imt.chargebacks
SELECT n.guid, 'chargeback' AS step, c.chargeback_date AS "day", CASE WHEN c.stage IN ('FIRST', 'SECOND') THEN -c.amount
       ELSE c.amount END AS amount, c.stage, c.case_no, c.reason, c.respond_by, 'imt.chargebacks' AS source, c.poll_id,
       c.row_no, c.version
FROM imt.chargebacks c JOIN (SELECT DISTINCT guid, reference FROM named UNION SELECT guid, NULL FROM asked) n
    ON lower(c.payment_guid) = n.guid OR (c.payment_guid IS NULL AND lower(trim(c.processor_reference)) = n.reference)
QUALIFY row_number() OVER (PARTITION BY n.guid, c.chargeback_id) = 1

-- step refund: imt.refunds
SELECT n.guid, 'refund' AS step, r.refund_date AS "day", -r.amount AS amount, r.refund_id, r.reason, r.tender,
       'imt.refunds' AS source, r.poll_id, r.row_no, r.version
FROM imt.refunds r JOIN (SELECT DISTINCT guid, reference FROM named UNION SELECT guid, NULL FROM asked) n
    ON lower(r.payment_guid) = n.guid OR (r.payment_guid IS NULL AND lower(trim(r.processor_reference)) = n.reference)
QUALIFY row_number() OVER (PARTITION BY n.guid, r.refund_id) = 1

-- step set_aside: quarantine.payments, quarantine.settlements, quarantine.ach_rejects, quarantine.postings
WITH held AS (
    SELECT 'payments' AS feed, * FROM quarantine.payments UNION ALL SELECT 'settlements', * FROM quarantine.settlements
    UNION ALL SELECT 'ach_rejects', * FROM quarantine.ach_rejects UNION ALL SELECT 'postings', * FROM quarantine.postings)
SELECT a.guid, 'set_aside' AS step, q.first_seen_at AS "at", q.feed, list_sort(q.reasons) AS reasons, q.released_at,
       'quarantine.' || q.feed AS source, q.poll_id, q.row_no
FROM held q JOIN asked a ON contains(lower(q.raw::VARCHAR), a.guid)
