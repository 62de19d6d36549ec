-- Views for people on the work of finance, in a snapshot and behind the report; rules as in views.sql.

-- One row per break ever found, with where the work on it stands: what waits for somebody first.
-- `found`: the program's own state, open while the last run finds it. `amount_then`: what it was when the last word was said.
CREATE VIEW v_break_work AS
WITH last AS (
    SELECT * FROM recon.work_events QUALIFY row_number() OVER (PARTITION BY break_id ORDER BY sequence DESC) = 1),
decided AS (
    SELECT break_id, version, arg_max("by", sequence) AS decided_by, max("at") AS decided_at
    FROM recon.work_events WHERE action IN ('resolved', 'accepted') GROUP BY ALL),
signed AS (
    SELECT break_id, version, arg_max("by", sequence) AS signed_by, max("at") AS signed_at
    FROM recon.work_events WHERE action = 'signed' GROUP BY ALL),
noted AS (
    SELECT break_id, arg_max(note, sequence) AS last_note FROM recon.work_events WHERE note IS NOT NULL GROUP BY ALL)
SELECT b.break_id, b.code, b.name, b.severity, b.amount, b.sentence, b.state AS found,
       coalesce(l.state, 'open') AS work_state, coalesce(l.version, 1) AS version, l.owner,
       b.state = 'open' AND coalesce(l.state, 'open') IN ('open', 'in_work') AS needs_work,
       coalesce(l.state, 'open') IN ('resolved', 'accepted') AS needs_sign_off,
       l.action AS last_action, l."by" AS last_by, l."at" AS last_at, n.last_note, l.amount AS amount_then,
       d.decided_by, d.decided_at, s.signed_by, s.signed_at, b.account_number, b.invoice_number, b.payment_guid, b.subject,
       CAST(timezone(i.time_zone, coalesce(b.occurred_at, b.opened_at)) AS DATE) AS occurred_on,
       CAST(timezone(i.time_zone, b.opened_at) AS DATE) AS opened_on, b.age AS open_banking_days, b.due_at, b.reopened_count
FROM recon.breaks b CROSS JOIN snapshot_info i
LEFT JOIN last l USING (break_id)
LEFT JOIN decided d ON d.break_id = l.break_id AND d.version = l.version AND l.state IN ('resolved', 'accepted', 'signed_off')
LEFT JOIN signed s ON s.break_id = l.break_id AND s.version = l.version AND l.state = 'signed_off'
LEFT JOIN noted n ON n.break_id = b.break_id
ORDER BY needs_work DESC, needs_sign_off DESC, CASE b.severity WHEN 'HIGH' THEN 0 WHEN 'MED' THEN 1 ELSE 2 END,
         abs(b.amount) DESC, b.break_id;

-- Breaks that the last run found, by banking days since the item happened, severity and state of the work. Five weekdays a
-- week since a Monday, less the holidays among them.
CREATE VIEW v_break_ageing AS
WITH days AS (
    SELECT w.severity, w.work_state, w.amount, w.occurred_on AS since, CAST(timezone(i.time_zone, i.as_of) AS DATE) AS today
    FROM v_break_work w CROSS JOIN snapshot_info i WHERE w.found = 'open'),
counted AS (
    SELECT severity, work_state, amount, greatest(
        5 * ((today - DATE '2000-01-03') // 7) + least((today - DATE '2000-01-03') % 7 + 1, 5)
        - 5 * ((since - DATE '2000-01-03') // 7) - least((since - DATE '2000-01-03') % 7 + 1, 5)
        - (SELECT count(*) FROM snapshot_holidays h WHERE h.day > since AND h.day <= today), 0) AS age
    FROM days),
buckets AS (
    SELECT * FROM (VALUES (1, '0-1', 0, 1), (2, '2-3', 2, 3), (3, '4-7', 4, 7), (4, '8-30', 8, 30), (5, '31-60', 31, 60),
                          (6, '61+', 61, 1000000)) AS t (position, bucket, low, high))
SELECT b.position, b.bucket, c.severity, c.work_state, count(*) AS breaks, CAST(sum(abs(c.amount)) AS DECIMAL(18,2)) AS amount
FROM counted c JOIN buckets b ON c.age BETWEEN b.low AND b.high
GROUP BY ALL ORDER BY b.position, c.severity, c.work_state;

-- The figures of the last run, beside those of the run before it.
CREATE VIEW v_kpis AS
WITH runs AS (
    SELECT run_id, row_number() OVER (ORDER BY max(as_of) DESC, run_id DESC) AS rank FROM recon.kpis GROUP BY run_id)
SELECT k.position, k.name, k.part, k.value, k.unit, b.value AS value_before, k.as_of, k.run_id
FROM recon.kpis k JOIN runs r ON r.run_id = k.run_id AND r.rank = 1
LEFT JOIN runs q ON q.rank = 2
LEFT JOIN recon.kpis b ON b.run_id = q.run_id AND b.name = k.name AND b.part IS NOT DISTINCT FROM k.part
ORDER BY k.position;

-- What came, changed or went after its period was closed. It counts in the open period; the closed one stands as it was.
CREATE VIEW v_late_items AS
WITH items AS (
    SELECT 'payment' AS kind, payment_guid AS item, payment_guid, account_number, invoice_number, payment_amount AS amount,
           CAST(timezone(i.time_zone, payment_date) AS DATE) AS day, first_seen_at, version_seen_at, version, present, poll_id, row_no
    FROM feed.payments_versions CROSS JOIN snapshot_info i WHERE is_current
    UNION ALL
    SELECT 'settlement', settled_batch_id, payment_guid, account_number, invoice_number, settled_amount, settled_date,
           first_seen_at, version_seen_at, version, present, poll_id, row_no
    FROM feed.settlements_versions WHERE is_current
    UNION ALL
    SELECT 'return', return_code, original_payment_guid, account_number, invoice_number, reject_amount,
           CAST(timezone(i.time_zone, reject_date) AS DATE), first_seen_at, version_seen_at, version, present, poll_id, row_no
    FROM feed.ach_rejects_versions CROSS JOIN snapshot_info i WHERE is_current
    UNION ALL
    SELECT 'posting', posting_id, payment_guid, account_number, invoice_number, amount,
           CAST(timezone(i.time_zone, posted_at) AS DATE), first_seen_at, version_seen_at, version, present, poll_id, row_no
    FROM imt.postings_versions CROSS JOIN snapshot_info i WHERE is_current
    UNION ALL
    SELECT 'chargeback', chargeback_id, payment_guid, account_number, invoice_number, amount, chargeback_date,
           first_seen_at, version_seen_at, version, present, poll_id, row_no
    FROM imt.chargebacks_versions WHERE is_current
    UNION ALL
    SELECT 'refund', refund_id, payment_guid, account_number, invoice_number, amount, refund_date,
           first_seen_at, version_seen_at, version, present, poll_id, row_no
    FROM imt.refunds_versions WHERE is_current
    UNION ALL
    SELECT 'bank line', line_id, NULL, NULL, NULL, amount, value_date,
           first_seen_at, version_seen_at, version, present, poll_id, row_no
    FROM imt.bank_lines_versions WHERE is_current)
SELECT p.period, p.closed_at, t.kind, t.item, t.day,
       CASE WHEN NOT t.present THEN 'gone' WHEN t.first_seen_at > p.closed_at THEN 'new' ELSE 'changed' END AS change,
       t.amount, t.payment_guid, t.account_number, t.invoice_number, t.first_seen_at, t.version_seen_at, t.version,
       t.poll_id, t.row_no
FROM items t JOIN recon.periods p ON t.day BETWEEN p.first_day AND p.last_day AND t.version_seen_at > p.closed_at
ORDER BY p.period, t.kind, t.version_seen_at, t.item;
