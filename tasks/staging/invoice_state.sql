-- The state of every invoice that IMT ever told of: its last event, unless a later one replaced it. An invoice
-- that is only named as replaced has no facts of its own.
CREATE OR REPLACE VIEW imt.invoices AS
WITH own AS (
    SELECT * FROM imt.invoice_events
    QUALIFY row_number() OVER (PARTITION BY invoice_number ORDER BY occurred_at DESC, event_id DESC) = 1),
recalls AS (
    SELECT replaces_invoice_number AS invoice_number, account_number, invoice_number AS successor, occurred_at,
           first_seen_at, still_in_imt, event_id
    FROM imt.invoice_events WHERE event = 'REISSUED'
    QUALIFY row_number() OVER (PARTITION BY replaces_invoice_number ORDER BY occurred_at DESC, event_id DESC) = 1)
SELECT coalesce(o.invoice_number, r.invoice_number) AS invoice_number,
       coalesce(o.account_number, r.account_number) AS account_number,
       CASE WHEN o.invoice_number IS NULL OR r.occurred_at >= o.occurred_at THEN 'SUPERSEDED'
            WHEN o.event = 'CANCELLED' THEN 'CANCELLED'
            WHEN o.balance_due <= 0 THEN 'PAID' ELSE 'OPEN' END AS status,
       CASE WHEN o.invoice_number IS NULL OR r.occurred_at >= o.occurred_at THEN r.still_in_imt
            WHEN o.event = 'CANCELLED' THEN o.still_in_imt ELSE true END AS still_in_imt,
       CASE WHEN o.invoice_number IS NULL OR r.occurred_at >= o.occurred_at THEN r.successor END AS successor,
       CASE WHEN o.invoice_number IS NULL OR r.occurred_at >= o.occurred_at THEN r.occurred_at
            ELSE o.occurred_at END AS changed_at,
       CASE WHEN o.invoice_number IS NULL OR r.occurred_at >= o.occurred_at THEN r.first_seen_at
            ELSE o.first_seen_at END AS told_at,
       o.replaces_invoice_number, o.policy_number, o.invoice_type_id, o.invoice_date, o.due_date,
       o.total_amount_due, o.balance_due, o.minimum_amount_due, o.autopay_collection_date, o.allow_partial,
       o.agent_code, o.pdf_path, o.event AS last_event, o.event_id AS last_event_id
FROM own o FULL JOIN recalls r ON r.invoice_number = o.invoice_number;
