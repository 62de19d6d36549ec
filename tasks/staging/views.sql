-- Views for people, in a snapshot and behind the report. Each statement ends with ";" at a line's end.
-- Time is snapshot_info.as_of, never a clock. Days are days of the biller's zone.

-- One row per payment (per line of a split one): paid, posted, settled, returned, and the verdict of the last
-- reconcile run. A payment that came or changed after that run is NOT_COMPARED.
CREATE VIEW v_payment_chain AS
SELECT p.payment_guid, p.payment_line_no, p.account_number, p.invoice_number, p.tender, p.payment_source, p.agent_code,
       CAST(timezone(i.time_zone, p.payment_date) AS DATE) AS paid_on, p.payment_date AS paid_at, r.pushed_at,
       p.payment_amount, p.convenience_fee,
       p.approved AND NOT list_contains(i.void_statuses, coalesce(p.status, '')) AS accepted,
       r.posted_amount, r.reversed_amount, r.settled_amount, r.settled_date, r.settled_batch_id,
       r.returned_amount, r.reject_date AS returned_at,
       coalesce(r.state, 'NOT_COMPARED') AS state, r.state_reason, r.due_by, r.break_codes
FROM feed.payments p
CROSS JOIN snapshot_info i
LEFT JOIN recon.items r ON r.payment_guid = p.payment_guid AND r.payment_amount = p.payment_amount
    AND r.payment_line_no IS NOT DISTINCT FROM p.payment_line_no AND r.invoice_number IS NOT DISTINCT FROM p.invoice_number;

-- What a person must look at, gravest first.
CREATE VIEW v_open_breaks AS
SELECT b.severity, b.code, b.name, b.amount, b.sentence, b.account_number, b.invoice_number, b.payment_guid,
       b.subject, CAST(timezone(i.time_zone, b.occurred_at) AS DATE) AS occurred_on,
       CAST(timezone(i.time_zone, b.opened_at) AS DATE) AS opened_on,
       date_diff('day', CAST(timezone(i.time_zone, b.occurred_at) AS DATE), CAST(timezone(i.time_zone, i.as_of) AS DATE))
           AS age_days,
       date_diff('day', CAST(timezone(i.time_zone, b.opened_at) AS DATE), CAST(timezone(i.time_zone, i.as_of) AS DATE))
           AS open_days,
       b.age AS open_banking_days, b.due_at, b.reopened_count, b.break_id, b.evidence
FROM recon.breaks b CROSS JOIN snapshot_info i
WHERE b.state = 'open'
ORDER BY CASE b.severity WHEN 'HIGH' THEN 0 WHEN 'MED' THEN 1 ELSE 2 END, abs(b.amount) DESC, b.break_id;

-- Settled money that no payment report names, by declaration (CloudStore). Shown, never dropped.
CREATE VIEW v_excluded AS
WITH marked AS (
    SELECT e.name AS exclusion, e.support_origin, e.owner, e.expiry, s.*
    FROM feed.settlements s CROSS JOIN snapshot_info i
    JOIN snapshot_exclusions e ON s.payment_guid IS NULL
        AND e.expiry >= CAST(timezone(i.time_zone, i.as_of) AS DATE)
        AND starts_with(CASE e.column_name WHEN 'processor_reference' THEN s.processor_reference
                                           WHEN 'merchant_account' THEN s.merchant_account
                                           WHEN 'invoice_type' THEN s.invoice_type END, e.starts_with)
    QUALIFY row_number() OVER (PARTITION BY s.poll_id, s.row_no ORDER BY e.position DESC) = 1),
records AS (
    SELECT origin, lower(trim(processor_reference)) AS reference, amount, count(*) AS records
    FROM imt.postings
    WHERE status = 'POSTED' AND kind IN ('PAYMENT', 'SUSPENSE') AND trim(processor_reference) <> ''
    GROUP BY ALL)
SELECT m.exclusion, m.settled_date, m.settled_batch_id, m.tender, m.transaction_type, m.processor_reference,
       m.settled_amount, m.fee_amount, m.account_number, m.invoice_number,
       row_number() OVER (PARTITION BY m.support_origin, lower(trim(m.processor_reference)), m.settled_amount
                          ORDER BY m.settled_date, m.settled_batch_id, m.row_no) <= coalesce(r.records, 0) AS has_record,
       m.owner, m.expiry, m.poll_id, m.row_no
FROM marked m
LEFT JOIN records r ON r.origin = m.support_origin AND r.reference = lower(trim(m.processor_reference))
    AND r.amount = m.settled_amount;

-- Per day and tender: what was reported as paid that day, and what was settled that day. Settlement follows
-- payment by days, so `difference` moves; `unsettled_amount` is what is still open of the day's payments.
CREATE VIEW v_daily_cash AS
WITH reported AS (
    SELECT paid_on AS day, coalesce(tender, 'UNKNOWN') AS tender, count(DISTINCT payment_guid) AS payments,
           sum(payment_amount) AS reported_amount, sum(coalesce(convenience_fee, 0)) AS reported_fee_amount,
           sum(CASE WHEN coalesce(returned_amount, 0) = 0 AND payment_amount > 0
                    THEN payment_amount - coalesce(settled_amount, 0) ELSE 0 END) AS unsettled_amount
    FROM v_payment_chain WHERE accepted GROUP BY ALL),
items AS (
    SELECT s.settled_date AS day, coalesce(s.tender, 'UNKNOWN') AS tender, s.settled_amount, s.fee_amount,
           CASE WHEN x.exclusion = 'CLOUDSTORE' THEN 'cloudstore'
                WHEN x.exclusion IS NOT NULL THEN 'other'
                WHEN s.transaction_type = 'PAYMENT' THEN 'payment'
                WHEN s.transaction_type IN ('REJECT', 'CHARGEBACK') THEN 'reject' ELSE 'other' END AS part
    FROM feed.settlements s LEFT JOIN v_excluded x ON x.poll_id = s.poll_id AND x.row_no = s.row_no),
settled AS (
    SELECT day, tender, coalesce(sum(settled_amount) FILTER (part = 'payment'), 0) AS settled_amount,
           coalesce(sum(fee_amount), 0) AS fee_amount,
           coalesce(sum(settled_amount) FILTER (part = 'reject'), 0) AS reject_amount,
           coalesce(sum(settled_amount) FILTER (part = 'other'), 0) AS other_amount,
           coalesce(sum(settled_amount) FILTER (part = 'cloudstore'), 0) AS cloudstore_amount,
           sum(settled_amount) AS deposit_amount
    FROM items GROUP BY ALL)
SELECT coalesce(r.day, s.day) AS day, coalesce(r.tender, s.tender) AS tender,
       coalesce(r.payments, 0) AS payments,
       CAST(coalesce(r.reported_amount, 0) AS DECIMAL(18,2)) AS reported_amount,
       CAST(coalesce(r.reported_fee_amount, 0) AS DECIMAL(18,2)) AS reported_fee_amount,
       CAST(coalesce(r.unsettled_amount, 0) AS DECIMAL(18,2)) AS unsettled_amount,
       CAST(coalesce(s.settled_amount, 0) AS DECIMAL(18,2)) AS settled_amount,
       CAST(coalesce(s.fee_amount, 0) AS DECIMAL(18,2)) AS fee_amount,
       CAST(coalesce(s.reject_amount, 0) AS DECIMAL(18,2)) AS reject_amount,
       CAST(coalesce(s.cloudstore_amount, 0) AS DECIMAL(18,2)) AS cloudstore_amount,
       CAST(coalesce(s.other_amount, 0) AS DECIMAL(18,2)) AS other_amount,
       CAST(coalesce(s.deposit_amount, 0) AS DECIMAL(18,2)) AS deposit_amount,
       CAST(coalesce(r.reported_amount, 0) - coalesce(s.settled_amount, 0) AS DECIMAL(18,2)) AS difference
FROM reported r FULL JOIN settled s ON s.day = r.day AND s.tender = r.tender
ORDER BY day, tender;

-- Per feed (and file kind of IMT): how fresh, how far complete, what was set aside.
CREATE VIEW v_feed_health AS
WITH held AS (
    SELECT 'payments' AS feed, (SELECT count(*) FROM feed.payments) AS current_rows,
           (SELECT count(*) FROM quarantine.payments WHERE released_at IS NULL) AS quarantined
    UNION ALL SELECT 'settlements', (SELECT count(*) FROM feed.settlements),
           (SELECT count(*) FROM quarantine.settlements WHERE released_at IS NULL)
    UNION ALL SELECT 'ach_rejects', (SELECT count(*) FROM feed.ach_rejects),
           (SELECT count(*) FROM quarantine.ach_rejects WHERE released_at IS NULL)
    UNION ALL SELECT 'autopay', (SELECT count(*) FROM feed.autopay),
           (SELECT count(*) FROM quarantine.autopay WHERE released_at IS NULL)
    UNION ALL SELECT 'paperless', (SELECT count(*) FROM feed.paperless),
           (SELECT count(*) FROM quarantine.paperless WHERE released_at IS NULL)
    UNION ALL SELECT 'postings', (SELECT count(*) FROM imt.postings),
           (SELECT count(*) FROM quarantine.postings WHERE released_at IS NULL)
    UNION ALL SELECT 'invoice_events', (SELECT count(*) FROM imt.invoice_events),
           (SELECT count(*) FROM quarantine.invoice_events WHERE released_at IS NULL)),
polled AS (
    SELECT feed, max(finished_at) FILTER (status = 'ok') AS last_ok_at, count(*) AS polls,
           count(*) FILTER (status = 'suspect') AS suspect_polls, count(*) FILTER (status = 'failed') AS failed_polls,
           arg_max(reason, finished_at) FILTER (status <> 'ok') AS last_trouble
    FROM poll.runs GROUP BY feed)
SELECT h.feed, p.last_ok_at, w.watermark,
       CASE WHEN f.late_after_seconds IS NOT NULL
            THEN coalesce(i.as_of - p.last_ok_at > to_seconds(f.late_after_seconds), true) END AS late,
       h.current_rows, h.quarantined, coalesce(p.polls, 0) AS polls, coalesce(p.suspect_polls, 0) AS suspect_polls,
       coalesce(p.failed_polls, 0) AS failed_polls, p.last_trouble, f.interval_seconds
FROM held h CROSS JOIN snapshot_info i
LEFT JOIN polled p USING (feed) LEFT JOIN poll.watermarks w USING (feed) LEFT JOIN snapshot_feeds f USING (feed)
ORDER BY coalesce(f.position, 99), h.feed;

-- Changes of enrolment, from the versions: who joined, left, or changed. The first list ever is no change.
CREATE VIEW v_enrolment_events AS
WITH versions AS (
    SELECT 'autopay' AS list, account_number, invoice_type_id, version, version_seen_at AS seen_at, present,
           autopay AS enrolled, lag(autopay) OVER w AS was_enrolled, lag(present) OVER w AS was_present,
           min(version_seen_at) OVER () AS first_list_at,
           concat_ws(', ',
               CASE WHEN draw_offset_days IS DISTINCT FROM lag(draw_offset_days) OVER w THEN 'draw_offset_days' END,
               CASE WHEN payment_method IS DISTINCT FROM lag(payment_method) OVER w THEN 'payment_method' END,
               CASE WHEN method_last4 IS DISTINCT FROM lag(method_last4) OVER w THEN 'method_last4' END,
               CASE WHEN method_expiry IS DISTINCT FROM lag(method_expiry) OVER w THEN 'method_expiry' END,
               CASE WHEN next_collection_date IS DISTINCT FROM lag(next_collection_date) OVER w
                    THEN 'next_collection_date' END,
               CASE WHEN enrolled_at IS DISTINCT FROM lag(enrolled_at) OVER w THEN 'enrolled_at' END,
               CASE WHEN cancelled_at IS DISTINCT FROM lag(cancelled_at) OVER w THEN 'cancelled_at' END) AS changed
    FROM feed.autopay_versions
    WINDOW w AS (PARTITION BY account_number, invoice_type_id ORDER BY version)
    UNION ALL
    SELECT 'paperless', account_number, invoice_type_id, version, version_seen_at, present,
           paperless, lag(paperless) OVER w, lag(present) OVER w, min(version_seen_at) OVER (),
           concat_ws(', ',
               CASE WHEN registered IS DISTINCT FROM lag(registered) OVER w THEN 'registered' END,
               CASE WHEN registration_date IS DISTINCT FROM lag(registration_date) OVER w THEN 'registration_date' END,
               CASE WHEN email_bounced IS DISTINCT FROM lag(email_bounced) OVER w THEN 'email_bounced' END,
               CASE WHEN changed_at IS DISTINCT FROM lag(changed_at) OVER w THEN 'changed_at' END)
    FROM feed.paperless_versions
    WINDOW w AS (PARTITION BY account_number, invoice_type_id ORDER BY version))
SELECT seen_at, list, account_number, invoice_type_id,
       CASE WHEN NOT present THEN 'LEFT_THE_LIST'
            WHEN enrolled AND NOT coalesce(was_enrolled AND was_present, false) THEN 'ENROLLED'
            WHEN NOT enrolled AND coalesce(was_enrolled AND was_present, false) THEN 'CANCELLED'
            WHEN NOT coalesce(was_present, false) THEN 'LISTED'
            ELSE 'CHANGED' END AS event,
       enrolled, was_enrolled,
       CASE WHEN present AND was_present THEN coalesce(nullif(changed, ''),
            CASE WHEN enrolled = was_enrolled THEN 'contact data' END) END AS changed, version
FROM versions
WHERE NOT (version = 1 AND seen_at = first_list_at)
ORDER BY seen_at DESC, list, account_number;

-- One row per invoice: where it stands at IMT, what InvoiceCloud was sent of it, and what a look there last showed.
CREATE VIEW v_invoice_status AS
WITH newest AS (
    SELECT r.*, f.state AS file_state, f.receipt_id, f.kind FROM outbox.records r
    LEFT JOIN outbox.files f USING (file_id)
    WHERE r.state IN ('accepted', 'in_file', 'rejected', 'refused')
    QUALIFY row_number() OVER (PARTITION BY r.invoice_number ORDER BY r.composed_at DESC, r.file_id DESC, r.line_no DESC) = 1),
taken AS (
    SELECT invoice_number, arg_max(record_type, (composed_at, file_id, line_no)) AS record_type,
           arg_max(balance_due, (composed_at, file_id, line_no)) AS balance_due,
           arg_max(settled_at, (composed_at, file_id, line_no)) AS accepted_at, count(*) AS times_accepted
    FROM outbox.records WHERE state = 'accepted' GROUP BY ALL),
looked AS (
    SELECT invoice_number, max("at") AS looked_at, arg_max(found, "at") AS found, arg_max(balance_due, "at") AS balance_due
    FROM outbox.looks GROUP BY ALL),
pictured AS (
    SELECT invoice_number, arg_max(state, last_seen_at) AS image_state, max(sent_at) AS image_sent_at
    FROM outbox.images WHERE invoice_number IS NOT NULL GROUP BY ALL),
waits AS (SELECT invoice_number, min(reason) AS reason FROM outbox.held GROUP BY ALL),
numbers AS (SELECT invoice_number FROM imt.invoices UNION SELECT invoice_number FROM outbox.records)
SELECT n.invoice_number, coalesce(i.account_number, s.account_number) AS account_number,
       i.status AS imt_status, i.still_in_imt, i.successor, i.changed_at, i.due_date, i.balance_due AS imt_balance_due,
       CASE WHEN w.invoice_number IS NOT NULL THEN 'HELD'
            WHEN s.state = 'in_file' THEN CASE s.file_state WHEN 'undecided' THEN 'UNDECIDED' ELSE 'IN_FLIGHT' END
            WHEN s.state = 'rejected' THEN 'REJECTED'
            WHEN s.state = 'refused' THEN 'REFUSED'
            WHEN s.state IS NULL THEN 'NOT_SENT'
            WHEN s.record_type = 'A' THEN 'SENT' ELSE 'RECALLED' END AS sent_status,
       coalesce(w.reason, s.reason) AS sent_reason, s.record_type AS last_record_type, s.file_id AS last_file_id,
       s.receipt_id AS last_receipt_id, t.record_type AS accepted_record_type, t.balance_due AS accepted_balance_due,
       t.accepted_at, coalesce(t.times_accepted, 0) AS times_accepted, p.image_state, p.image_sent_at,
       l.looked_at, l.found AS found_at_ic, l.balance_due AS balance_at_ic
FROM numbers n
LEFT JOIN imt.invoices i USING (invoice_number)
LEFT JOIN newest s USING (invoice_number)
LEFT JOIN taken t USING (invoice_number)
LEFT JOIN looked l USING (invoice_number)
LEFT JOIN pictured p USING (invoice_number)
LEFT JOIN waits w USING (invoice_number)
ORDER BY n.invoice_number;

-- One row per payment that was pushed or reported: push, report, posting side by side. LOST: reported, never pushed,
-- though the Data Pump was on by then (pump_since); a push that comes after the report is late, not lost.
CREATE VIEW v_push_chain AS
WITH pushed AS (
    SELECT lower(payment_guid) AS guid, min(received_at) AS pushed_at, count(*) AS contents,
           arg_min(payment_amount, variant) AS pushed_amount, arg_min(approved, variant) AS push_approved,
           arg_min(account_number, variant) AS account_number, arg_min(invoice_number, variant) AS invoice_number,
           arg_min(agent_code, variant) AS agent_code, arg_min(account_known, variant) AS account_known,
           arg_min(above_balance, variant) AS above_balance, arg_min(open_balance, variant) AS open_balance,
           arg_min(handover_sequence, variant) AS handover_sequence, arg_min(acknowledged_at, variant) AS acknowledged_at
    FROM imt.pushes GROUP BY ALL),
reported AS (
    SELECT lower(payment_guid) AS guid, min(payment_date) AS paid_at, min(first_seen_at) AS first_reported_at,
           sum(payment_amount) AS reported_amount, bool_and(approved) AS approved, min(account_number) AS account_number,
           min(invoice_number) AS invoice_number, min(agent_code) AS agent_code
    FROM feed.payments GROUP BY ALL),
posted AS (
    SELECT lower(payment_guid) AS guid, sum(amount) AS posted_amount, min(posted_at) AS posted_at
    FROM imt.postings WHERE status = 'POSTED' AND payment_guid IS NOT NULL GROUP BY ALL)
SELECT coalesce(p.guid, r.guid) AS payment_guid,
       CASE WHEN r.guid IS NULL THEN 'NOT_REPORTED'
            WHEN p.guid IS NULL AND r.paid_at >= i.pump_since THEN 'LOST'
            WHEN p.guid IS NULL THEN 'NOT_EXPECTED'
            WHEN p.pushed_at > r.first_reported_at THEN 'LATE' ELSE 'PUSHED' END AS push_state,
       p.pushed_at, r.paid_at, r.first_reported_at, t.posted_at,
       CAST(p.pushed_amount AS DECIMAL(18,2)) AS pushed_amount, CAST(r.reported_amount AS DECIMAL(18,2)) AS reported_amount,
       CAST(t.posted_amount AS DECIMAL(18,2)) AS posted_amount, p.push_approved, r.approved,
       coalesce(r.account_number, p.account_number) AS account_number,
       coalesce(r.invoice_number, p.invoice_number) AS invoice_number, coalesce(r.agent_code, p.agent_code) AS agent_code,
       p.contents, p.account_known, p.open_balance, p.above_balance, p.handover_sequence, p.acknowledged_at
FROM pushed p FULL JOIN reported r ON r.guid = p.guid
CROSS JOIN snapshot_info i
LEFT JOIN posted t ON t.guid = coalesce(p.guid, r.guid);

-- Payments that agents took in (AgentConnect): each through report, push, posting and settlement.
CREATE VIEW v_agent_payments AS
WITH booked AS (
    SELECT lower(payment_guid) AS guid, any_value(agent_code) AS agent_code, sum(amount) AS amount, min(posted_at) AS posted_at
    FROM imt.postings WHERE status = 'POSTED' AND payment_guid IS NOT NULL GROUP BY ALL),
pushed AS (
    SELECT lower(payment_guid) AS guid, arg_min(agent_code, variant) AS agent_code, min(received_at) AS pushed_at
    FROM imt.pushes GROUP BY ALL)
SELECT coalesce(c.agent_code, u.agent_code, b.agent_code) AS agent_code, c.paid_at, c.paid_on, c.payment_guid, c.payment_line_no,
       c.account_number, c.invoice_number, c.tender, c.payment_amount, c.accepted, u.pushed_at, b.posted_at,
       c.posted_amount, c.settled_date, c.settled_batch_id, c.settled_amount, c.returned_at, c.returned_amount,
       c.state, c.state_reason, c.break_codes, u.agent_code AS pushed_agent_code, b.agent_code AS posted_agent_code
FROM v_payment_chain c
LEFT JOIN booked b ON b.guid = lower(c.payment_guid)
LEFT JOIN pushed u ON u.guid = lower(c.payment_guid)
WHERE c.payment_source = 'AGENTCONNECT' OR coalesce(c.agent_code, u.agent_code, b.agent_code) IS NOT NULL
ORDER BY agent_code, c.paid_at;

-- One row per agent: what came in through them, how far it got, what is broken.
CREATE VIEW v_agents AS
SELECT coalesce(agent_code, '(none)') AS agent_code, count(DISTINCT payment_guid) AS payments,
       count(DISTINCT payment_guid) FILTER (NOT accepted) AS declined,
       CAST(coalesce(sum(payment_amount) FILTER (accepted), 0) AS DECIMAL(18,2)) AS paid_amount,
       CAST(coalesce(sum(posted_amount), 0) AS DECIMAL(18,2)) AS posted_amount,
       CAST(coalesce(sum(settled_amount), 0) AS DECIMAL(18,2)) AS settled_amount,
       CAST(coalesce(sum(returned_amount), 0) AS DECIMAL(18,2)) AS returned_amount,
       count(DISTINCT payment_guid) FILTER (pushed_at IS NOT NULL) AS pushed,
       count(DISTINCT payment_guid) FILTER (break_codes IS NOT NULL) AS broken,
       CAST(coalesce(sum(payment_amount) FILTER (break_codes IS NOT NULL), 0) AS DECIMAL(18,2)) AS broken_amount,
       min(paid_on) AS first_paid_on, max(paid_on) AS last_paid_on
FROM v_agent_payments GROUP BY ALL ORDER BY agent_code;

-- What IC was told of balances, call by call, beside what IMT says now.
CREATE VIEW v_balance_calls AS
SELECT c.called_at, c.subject, c.form, c.invoice_number, coalesce(c.account_number, b.account_number) AS account_number,
       c.result, c.balance_answered, c.payable, c.known_as_of, c.latency_us,
       CASE WHEN c.subject = 'INVOICE' THEN greatest(b.balance, 0) END::DECIMAL(18,2) AS imt_balance,
       b.changed_at AS imt_changed_at, b.status AS imt_status
FROM imt.rtdr_calls c LEFT JOIN imt.balances b ON c.subject = 'INVOICE' AND b.invoice_number = c.invoice_number
ORDER BY c.called_at DESC, c.call_id DESC;
