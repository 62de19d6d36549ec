"""A SOAP service at one address: its WSDL on GET ?wsdl, its operations on POST, SOAP 1.1 and 1.2 alike."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from services.house import House
from services.limits import require_type
from services.reply import XML, Refused, Reply, Visit
from tasks.invoicecloud.call import (
    CONTENT_TYPES,
    CallRefused,
    SoapCall,
    Value,
    escape_text,
    read_call,
    render,
    render_fault,
)

Result = Sequence[tuple[str, Value]]
Operation = Callable[[Visit, SoapCall], Awaitable[Result]]
_TYPES = ("text/xml", "application/soap+xml")
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
_WSDLS = Path(__file__).parent / "wsdl"


@dataclass(frozen=True)
class SoapService:
    """`name` is the WSDL's file name and the last part of the address; `operations` by their names."""

    house: House
    name: str
    namespace: str
    operations: Mapping[str, Operation]

    async def serve(self, visit: Visit) -> Reply:
        """Answers one request. A call that is not served gets a fault that names nothing of what was sent."""
        if visit.scope["method"] == "GET":
            return self._describe(visit)
        require_type(visit, _TYPES)
        body = await self.house.body(visit)
        try:
            call = read_call(body, visit.content_type, visit.header(b"soapaction"), self.namespace)
            operation = self.operations.get(call.operation)
            if operation is None:
                raise CallRefused("there is no such operation", reason="operation", soap=call.soap)
        except CallRefused as refused:
            self.house.telling.tell(refused.reason, f"a call was refused: {refused.text}")
            fault = render_fault(refused.soap, refused.code, refused.text)
            return Reply(refused.http_status, CONTENT_TYPES[refused.soap], fault)
        result = await operation(visit, call)
        return Reply(200, CONTENT_TYPES[call.soap], render(call.soap, self.namespace, call.operation, result))

    def _describe(self, visit: Visit) -> Reply:
        if visit.scope["query_string"].lower() != b"wsdl":
            raise Refused(404, "ask with ?wsdl for the description, or post a call", "path")
        place = f"{base_address(self.house, visit)}{visit.prefix}/{visit.biller}/{self.name}.asmx"
        return Reply(
            200, XML, _wsdl(self.name).replace("{location}", escape_text(place).replace('"', "")).encode()
        )


def base_address(house: House, visit: Visit) -> str:
    """Where the service is for this caller: [service].public_url, or the host that the caller used."""
    if house.settings.service.public_url:
        return house.settings.service.public_url.rstrip("/")
    host = visit.header(b"host")
    if not _HOST.fullmatch(host):
        name, port = visit.scope["server"]
        host = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    return f"{visit.scope['scheme']}://{host}"


@cache
def _wsdl(name: str) -> str:
    return (_WSDLS / f"{name}.wsdl").read_text("utf-8")
