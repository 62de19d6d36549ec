-- What each invoice owes by IMT's own figures: its last event, and what was adjusted and posted after it. Money in
-- suspense is not on the invoice yet. A credit is negative here; to InvoiceCloud it goes out as 0.00.
CREATE OR REPLACE VIEW imt.balances AS
WITH adjusted AS (
    SELECT a.invoice_number, sum(a.amount) AS amount, max(a.occurred_at) AS last_at, max(a.first_seen_at) AS told_at
    FROM imt.adjustments a JOIN imt.invoices i ON i.invoice_number = a.invoice_number
    WHERE a.occurred_at > i.changed_at GROUP BY ALL),
posted AS (
    SELECT p.invoice_number, sum(p.amount) AS amount, max(p.posted_at) AS last_at, max(p.first_seen_at) AS told_at
    FROM imt.postings p JOIN imt.invoices i ON i.invoice_number = p.invoice_number
    WHERE p.status = 'POSTED' AND p.kind <> 'SUSPENSE' AND p.posted_at > i.changed_at GROUP BY ALL)
SELECT i.invoice_number, i.account_number, i.status, i.successor, i.invoice_type_id, i.invoice_date, i.due_date,
       i.total_amount_due, i.minimum_amount_due, i.autopay_collection_date, i.allow_partial, i.agent_code,
       i.balance_due AS event_balance, coalesce(a.amount, 0)::DECIMAL(18,2) AS adjusted_amount,
       coalesce(p.amount, 0)::DECIMAL(18,2) AS posted_amount,
       CASE WHEN i.status IN ('SUPERSEDED', 'CANCELLED') THEN 0
            ELSE i.balance_due + coalesce(a.amount, 0) - coalesce(p.amount, 0) END::DECIMAL(18,2) AS balance,
       greatest(i.changed_at, a.last_at, p.last_at) AS changed_at,
       greatest(i.told_at, a.told_at, p.told_at) AS told_at
FROM imt.invoices i
LEFT JOIN adjusted a ON a.invoice_number = i.invoice_number
LEFT JOIN posted p ON p.invoice_number = i.invoice_number;

-- Per account: what its invoices owe together (credits count), and adjustments that name no invoice.
CREATE OR REPLACE VIEW imt.account_balances AS
WITH of_invoices AS (
    SELECT account_number, sum(balance) AS amount, count(*) FILTER (status = 'OPEN') AS open_invoices,
           max(changed_at) AS changed_at
    FROM imt.balances GROUP BY ALL),
of_account AS (
    SELECT account_number, sum(amount) AS amount, max(occurred_at) AS changed_at
    FROM imt.adjustments WHERE invoice_number IS NULL GROUP BY ALL)
SELECT coalesce(i.account_number, a.account_number) AS account_number,
       coalesce(i.amount, 0)::DECIMAL(18,2) AS invoices_amount, coalesce(a.amount, 0)::DECIMAL(18,2) AS account_amount,
       (coalesce(i.amount, 0) + coalesce(a.amount, 0))::DECIMAL(18,2) AS balance,
       coalesce(i.open_invoices, 0) AS open_invoices, greatest(i.changed_at, a.changed_at) AS changed_at
FROM of_invoices i FULL JOIN of_account a ON a.account_number = i.account_number;
