"""The Data Pump's receiver: InvoiceCloud's pushes as form, JSON or SOAP. Stored first, answered then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

from services.fields import FORM, form_fields, json_fields
from services.house import RETRY_SOON, Handler, House
from services.limits import require_type
from services.reply import JSON, Refused, Reply, Visit, as_json, as_result, is_json
from services.soap import Operation, Result, SoapService
from tasks.errors import StagingDamaged, StorageTrouble
from tasks.inbound.enrolments import read_enrolment
from tasks.inbound.model import EnrolmentList, PushForm, Taken
from tasks.inbound.pushes import read_push
from tasks.invoicecloud.call import SoapCall

NAMESPACE = "urn:icflows:datapump"
Kind = Literal["payments", "autopay", "paperless"]
OPERATIONS: dict[str, Kind] = {
    "PostPayment": "payments",
    "PostAutoPay": "autopay",
    "PostPaperless": "paperless",
}
Fields = Mapping[str, str | None]
NOT_TAKEN = "this biller takes no pushes of AutoPay and paperless"


async def take(house: House, visit: Visit, kind: Kind, form: PushForm, fields: Fields) -> Taken:
    """Reads and stores one push; it is on the disk when this returns.

    Raises Refused 403 (Spectrum and an enrolment: counted, alerted) and 503 (not stored: InvoiceCloud must repeat).
    """
    try:
        if kind == "payments":
            return await house.writer.take(read_push(house.settings, visit.biller, form, fields))
        which = cast(EnrolmentList, kind.upper())
        if house.biller(visit).product == "spectrum":
            await house.writer.refuse(visit.biller, which)
            raise Refused(403, NOT_TAKEN, "enrolment")
        return await house.writer.take(read_enrolment(house.settings, visit.biller, form, which, fields))
    except (StorageTrouble, StagingDamaged) as error:
        raise Refused(503, "the push is not stored; send it again", error.reason, RETRY_SOON) from None


def post(house: House, kind: Kind) -> Handler:
    """The handler of POST …/datapump/<kind>: 200 with the receipt, 422 with the reasons of what cannot be read."""

    async def handle(visit: Visit) -> Reply:
        require_type(visit, (FORM, JSON))
        body = await house.body(visit)
        json = is_json(visit.content_type)
        fields = json_fields(body) if json else form_fields(body)
        return _told(await take(house, visit, kind, "json" if json else "form", fields), json)

    return handle


def _told(taken: Taken, json: bool) -> Reply:
    if taken.verdict != "unread":
        if json:
            return as_json(200, {"success": True, "receipt": taken.receipt})
        return as_result(200, [("Success", "true"), ("Receipt", taken.receipt)])
    if json:
        return as_json(422, {"success": False, "reasons": list(taken.reasons)})
    return as_result(422, [("Success", "false"), ("ErrorMessage", "; ".join(taken.reasons))])


def soap_service(house: House) -> SoapService:
    """The same as SOAP: errors of the trade are Success=false, as InvoiceCloud's own services answer."""
    operations = {name: _operation(house, kind) for name, kind in OPERATIONS.items()}
    return SoapService(house, "DataPump", NAMESPACE, operations)


def _operation(house: House, kind: Kind) -> Operation:
    async def operate(visit: Visit, call: SoapCall) -> Result:
        try:
            taken = await take(house, visit, kind, "soap", call.fields)
        except Refused as refused:
            if refused.status != 403:
                raise
            house.telling.tell(refused.kind, f"refused: {refused.words}")
            return [("Success", "false"), ("ErrorMessage", refused.words)]
        if taken.verdict == "unread":
            return [("Success", "false"), ("ErrorMessage", "; ".join(taken.reasons))]
        return [("Success", "true"), ("Receipt", taken.receipt)]

    return operate
