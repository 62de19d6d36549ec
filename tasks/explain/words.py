"""The links of a chain in plain words: a label of one word, and a line that tells the facts of the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from checks import ach_codes

Row = Mapping[str, Any]
LABELS = {
    "invoiced": "invoiced", "billed": "billed", "image": "image", "paid": "paid", "pushed": "pushed",
    "acknowledged": "handed over", "reported": "reported", "refunded": "refund paid", "posted": "posted", "settled": "settled",
    "deposited": "deposited", "returned": "returned", "chargeback": "chargeback", "refund": "refund", "set_aside": "set aside",
}  # fmt: skip
ORDER = list(LABELS)  # of steps of one moment
_RECORDS = {"A": "bill", "R": "recall at 0.00", "D": "delete"}
_CHARGEBACKS = {"RETRIEVAL": "the bank asks for papers", "FIRST": "disputed", "REVERSED": "dispute won, money back", "SECOND": "disputed again"}  # fmt: skip


def line(step: Row) -> str:
    """One step as a line for people; facts that are not known are left out."""
    return _LINES[step["step"]](step)


def _join(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)


def _with(word: str, value: Any) -> str | None:
    return None if value in (None, "") else f"{word} {value:,.2f}" if isinstance(value, Decimal) else f"{word} {value}"  # fmt: skip


def _invoiced(s: Row) -> str:
    return _join(f"IMT: {str(s['event']).lower()}", _with("invoice", s["invoice_number"]),
                 _with("replaces", s["replaces_invoice_number"]), _with("due", s["due_date"]))  # fmt: skip


def _billed(s: Row) -> str:
    what = _RECORDS.get(s["record_type"], s["record_type"])
    return _join(f"{what} of invoice {s['invoice_number']}: {str(s['state']).replace('_', ' ')}", s["reason"],
                 _with("receipt", s["receipt_id"]))  # fmt: skip


def _image(s: Row) -> str:
    return _join(f"bill image: {str(s['state']).replace('_', ' ')}", s["reason"])


def _paid(s: Row) -> str:
    status = s["status"] or ("APPROVED" if s["approved"] else "DECLINED")
    return _join(_with("by", s["tender"]), _with("through", s["payment_source"]), str(status).lower(),
                 _with("line", s["payment_line_no"]), _with("account", s["account_number"]),
                 _with("invoice", s["invoice_number"]), _with("fee", s["convenience_fee"]), _with("agent", s["agent_code"]),
                 _with("refund of", s["refund_of_guid"]))  # fmt: skip


def _pushed(s: Row) -> str:
    return _join("pushed by InvoiceCloud as " + ("approved" if s["approved"] else "declined"),
                 None if s["variant"] == 1 else f"content no. {s['variant']} under this id",
                 None if s["account_known"] else "IMT does not know the account",
                 _with("more than the open", s["open_balance"]) if s["above_balance"] else None)  # fmt: skip


def _acknowledged(s: Row) -> str:
    return f"IMT acknowledged the file of postings no. {s['handover_sequence']}"


def _reported(s: Row) -> str:
    if not s["present"]:
        return "no longer in the payment report"
    said = "in the payment report" if s["version"] == 1 else f"reported otherwise, version {s['version']}"
    return _join(said, None if s["approved"] else "declined", str(s["status"]).lower() if s["status"] else None,
                 _with("line", s["payment_line_no"]))  # fmt: skip


def _refunded(s: Row) -> str:
    return f"payment {s['payment_guid']} refunds it"


def _posted(s: Row) -> str:
    what = {
        "REVERSAL": "reversed",
        "REFUND": "refunded",
        "SUSPENSE": "in suspense",
        "TRANSFER": "transferred",
    }
    verb = what.get(s["kind"], "posted") if s["status"] == "POSTED" else f"{str(s['kind']).lower()} refused"
    return _join(f"IMT: {verb}, {s['posting_id']}", _with("account", s["account_number"]), _with("invoice", s["invoice_number"]),
                 _with("reason", s["reason"]), _with("takes back", s["reverses_posting_id"]), _with("found by", s["found_by"]))  # fmt: skip


def _settled(s: Row) -> str:
    kind = "" if s["transaction_type"] == "PAYMENT" else f"{str(s['transaction_type']).lower()} "
    return _join(
        f"{kind}in batch {s['settled_batch_id']}",
        f"{s['batch_item_count']} items over {s['batch_total']:,.2f}",
    )


def _deposited(s: Row) -> str:
    span = (
        str(s["settled_from"])
        if s["settled_from"] == s["settled_to"]
        else f"{s['settled_from']} to {s['settled_to']}"
    )
    off = s["residual_amount"]
    return _join(f"bank credit for what settled {span}", _with("expected", s["expected_amount"]),
                 _with("off by", off) if off else "to the cent")  # fmt: skip


def _returned(s: Row) -> str:
    name = dict(ach_codes.table().select("return_code", "code_name").iter_rows())
    return _join(f"{s['return_code']} {name.get(s['return_code'], 'unknown return code').lower()}",
                 _with("presentment", s["reject_sequence"]), _with("found by", s["found_by"]))  # fmt: skip


def _chargeback(s: Row) -> str:
    return _join(f"{_CHARGEBACKS.get(s['stage'], s['stage'])}, case {s['case_no']}", s["reason"], _with("answer by", s["respond_by"]))  # fmt: skip


def _refund(s: Row) -> str:
    return _join(f"refund {s['refund_id']} of the portal", s["reason"])


def _set_aside(s: Row) -> str:
    return _join(f"a row of {s['feed']} is set aside: {'; '.join(s['reasons'])}", "released since" if s["released_at"] else None)  # fmt: skip


_LINES: dict[str, Callable[[Row], str]] = {
    "invoiced": _invoiced, "billed": _billed, "image": _image, "paid": _paid, "pushed": _pushed,
    "acknowledged": _acknowledged, "reported": _reported, "refunded": _refunded, "posted": _posted, "settled": _settled,
    "deposited": _deposited, "returned": _returned, "chargeback": _chargeback, "refund": _refund, "set_aside": _set_aside,
}  # fmt: skip
