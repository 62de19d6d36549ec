-- What each invoice owes by IMT's own figures: its last event, and what was adjusted and posted after it (at the
-- event's own moment: the event holds it already). Money in suspense is not on the invoice yet, so what takes it out
-- of suspense is not either. A credit is negative here; to InvoiceCloud it goes out as 0.00.
CREATE OR REPLACE VIEW imt.balances AS
WITH adjusted AS (
    SELECT a.invoice_number, sum(a.amount) AS amount, max(a.occurred_at) AS last_at, max(a.first_seen_at) AS told_at
    FROM imt.adjustments a JOIN imt.invoices i ON i.invoice_number = a.invoice_number
    WHERE a.occurred_at > i.changed_at GROUP BY ALL),
idle AS (SELECT posting_id FROM imt.postings WHERE kind = 'SUSPENSE' OR status = 'REFUSED'),
posted AS (
    SELECT p.invoice_number, sum(p.amount) AS amount, max(p.posted_at) AS last_at, max(p.first_seen_at) AS told_at
    FROM imt.postings p JOIN imt.invoices i ON i.invoice_number = p.invoice_number
    WHERE p.status = 'POSTED' AND p.kind <> 'SUSPENSE' AND p.posted_at > i.changed_at
      AND NOT EXISTS (SELECT 1 FROM idle WHERE idle.posting_id = p.reverses_posting_id)
    GROUP BY ALL),
summed AS (
    SELECT i.*, coalesce(a.amount, 0)::DECIMAL(18,2) AS adjusted_amount,
           coalesce(p.amount, 0)::DECIMAL(18,2) AS posted_amount,
           CASE WHEN i.status IN ('SUPERSEDED', 'CANCELLED') THEN 0
                ELSE i.balance_due + coalesce(a.amount, 0) - coalesce(p.amount, 0) END::DECIMAL(18,2) AS balance,
           greatest(i.changed_at, a.last_at, p.last_at) AS last_at, greatest(i.told_at, a.told_at, p.told_at) AS heard_at
    FROM imt.invoices i
    LEFT JOIN adjusted a ON a.invoice_number = i.invoice_number
    LEFT JOIN posted p ON p.invoice_number = i.invoice_number)
SELECT invoice_number, account_number,
       CASE WHEN status IN ('SUPERSEDED', 'CANCELLED') THEN status
            WHEN balance > 0 THEN 'OPEN' ELSE 'PAID' END AS status,
       successor, invoice_type_id, invoice_date, due_date, total_amount_due, minimum_amount_due,
       autopay_collection_date, allow_partial, agent_code, balance_due AS event_balance, adjusted_amount, posted_amount,
       balance, last_at AS changed_at, heard_at AS told_at
FROM summed;

-- Per account: what its invoices owe together (credits count), and what stands beside them: adjustments and postings
-- that name no invoice, and money that came for an invoice after its recall. Such money stays there until a TRANSFER
-- brings it to an invoice. A recalled invoice never asks for money, and CloudStore sells goods, no bills.
CREATE OR REPLACE VIEW imt.account_balances AS
WITH idle AS (SELECT posting_id FROM imt.postings WHERE kind = 'SUSPENSE' OR status = 'REFUSED'),
moved AS (
    SELECT DISTINCT lower(payment_guid) AS payment_guid FROM imt.postings
    WHERE status = 'POSTED' AND kind = 'TRANSFER' AND amount > 0 AND invoice_number IS NOT NULL),
beside AS (
    SELECT p.account_number, p.invoice_number, p.amount, p.posted_at FROM imt.postings p
    WHERE p.status = 'POSTED' AND p.kind <> 'SUSPENSE'
      AND NOT EXISTS (SELECT 1 FROM idle WHERE idle.posting_id = p.reverses_posting_id)
      AND NOT EXISTS (SELECT 1 FROM moved WHERE moved.payment_guid = lower(p.payment_guid))
      AND (p.invoice_number IS NOT NULL OR p.origin <> 'CLOUDSTORE')),
late AS (
    SELECT i.account_number, greatest(sum(p.amount), 0) AS amount, max(p.posted_at) AS changed_at
    FROM imt.invoices i JOIN beside p ON p.invoice_number = i.invoice_number
    WHERE i.status IN ('SUPERSEDED', 'CANCELLED') AND p.posted_at > i.changed_at
    GROUP BY i.account_number, i.invoice_number),
of_account AS (
    SELECT account_number, sum(amount) AS amount, max(changed_at) AS changed_at FROM (
        SELECT account_number, amount, occurred_at AS changed_at FROM imt.adjustments WHERE invoice_number IS NULL
        UNION ALL SELECT account_number, -amount, posted_at FROM beside WHERE invoice_number IS NULL
        UNION ALL SELECT account_number, -amount, changed_at FROM late)
    GROUP BY ALL),
of_invoices AS (
    SELECT account_number, sum(balance) AS amount, count(*) FILTER (status = 'OPEN') AS open_invoices,
           max(changed_at) AS changed_at
    FROM imt.balances GROUP BY ALL)
SELECT coalesce(i.account_number, a.account_number) AS account_number,
       coalesce(i.amount, 0)::DECIMAL(18,2) AS invoices_amount, coalesce(a.amount, 0)::DECIMAL(18,2) AS account_amount,
       (coalesce(i.amount, 0) + coalesce(a.amount, 0))::DECIMAL(18,2) AS balance,
       coalesce(i.open_invoices, 0) AS open_invoices, greatest(i.changed_at, a.changed_at) AS changed_at
FROM of_invoices i FULL JOIN of_account a ON a.account_number = i.account_number;
