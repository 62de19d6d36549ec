"""Faults that replace the answer: the operation itself is not carried out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sandbox import soap
from sandbox.answer import Answer, html
from sandbox.invoicecloud import InvoiceCloud, fault_answer, success_false
from sandbox.soap import Call
from sandbox.wire_schema import FLAT, NAMESPACE, REPORTS, SERVICES

LOGIN_PAGE = (
    '<!DOCTYPE html><html><head><title>Sign in</title></head><body><form action="/login" method="post">'
    "<p>Your session has expired.<br>Please sign in.</p><input name=user><input name=password type=password>"
    "</form></body></html>"
)
TEXTS = {
    "timeout": "Timeout expired. The timeout period elapsed prior to completion of the operation or the "
    "server is not responding.",
    "deadlock": "Transaction (Process ID 64) was deadlocked on lock resources with another process and has "
    "been chosen as the deadlock victim. Rerun the transaction.",
}


@dataclass(frozen=True)
class Scene:
    """All that a replacing fault may look at. `base` is the URL that the caller used."""

    call: Call
    cloud: InvoiceCloud
    args: dict[str, Any]
    base: str
    previous: tuple[Call, datetime] | None = None


def _server_fault(scene: Scene, message: str, status: int) -> Answer:
    text = (
        "System.Web.Services.Protocols.SoapException: Server was unable to process request. ---> "
        f"System.Data.SqlClient.SqlException: {message}\n   --- End of inner exception stack trace ---"
    )
    return fault_answer(scene.call.version, "Server", text, status)


def fault_500(scene: Scene) -> Answer:
    """A soap:Server fault with HTTP 500; args.message."""
    message = scene.args.get("message", "Object reference not set to an instance of an object.")
    return _server_fault(scene, message, 500)


def fault_200(scene: Scene) -> Answer:
    """The same fault with HTTP 200."""
    return fault_500(scene).whole(fault_500(scene).body(), status=200)


def fault_timeout(scene: Scene) -> Answer:
    """A database time-out, or a deadlock with args.text = "deadlock"."""
    return _server_fault(scene, TEXTS[scene.args.get("text", "timeout")], 500)


def refused(scene: Scene) -> Answer:
    """Success=false, args.message; a fault for the operations that have no Success."""
    message = str(scene.args.get("message", "An unexpected error occurred"))
    call = scene.call
    if call.operation in FLAT:
        shown = soap.application_fault(SERVICES[call.operation], call.operation, message)
        return fault_answer(call.version, shown.who, shown.text)
    content = success_false(call.operation, message)
    return Answer([soap.envelope(call.version, content)], content_type=soap.CONTENT_TYPE[call.version])


def http_429(scene: Scene) -> Answer:
    """429; args.retry_after (seconds or a date, None leaves the header out)."""
    return _retry_later(scene, 429, "Too Many Requests")


def http_503(scene: Scene) -> Answer:
    """503; args.retry_after as above; args.html for a page instead of plain text."""
    return _retry_later(scene, 503, "Service Unavailable")


def _retry_later(scene: Scene, status: int, title: str) -> Answer:
    after = scene.args.get("retry_after", 1)
    headers = {} if after is None else {"Retry-After": str(after)}
    if scene.args.get("html"):
        page = f"<html><head><title>{title}</title></head><body><h2>{title}</h2><hr></body></html>"
        return Answer([page.encode()], status, "text/html; charset=us-ascii", headers)
    return Answer([title.encode()], status, "text/plain; charset=utf-8", headers)


def http_401(_scene: Scene) -> Answer:
    """401 with a Basic challenge."""
    return html(
        "<html><body>401 - Unauthorized</body></html>", 401, WWW_Authenticate='Basic realm="invoicecloud"'
    )


def login_html(_scene: Scene) -> Answer:
    """The login page, with 200."""
    return html(LOGIN_PAGE)


def redirect_login(scene: Scene) -> Answer:
    """302 to the login page."""
    target = f"{scene.base}/login.aspx?ReturnUrl=%2f{SERVICES[scene.call.operation]}.asmx"
    return html("<html><body>Object moved</body></html>", 302, Location=target)


def html_with_entity(_scene: Scene) -> Answer:
    """A maintenance page that is no well-formed XML."""
    page = "<html><body><h1>Maintenance&nbsp;window</h1><p>Back at 6&nbsp;AM &copy; 2026</body></html>"
    return html(page)


def wrong_envelope(scene: Scene) -> Answer:
    """A well-formed answer whose Envelope is of no SOAP version."""
    whole = (
        _regular(scene).body().replace(soap.ENVELOPE[scene.call.version].encode(), b"urn:example:not-soap")
    )
    return Answer([whole], content_type=soap.CONTENT_TYPE[scene.call.version])


def other_operation(scene: Scene) -> Answer:
    """The right answer to another question; args.operation, else the next report."""
    names = list(REPORTS)
    position = names.index(scene.call.operation) if scene.call.operation in REPORTS else 0
    other = REPORTS[scene.args.get("operation", names[(position + 2) % len(names)])]
    bounds = None
    if other.window:
        given = scene.call.parameters
        known = [given[name] for name in ("FromGMT", "ToGMT", "FromDate", "ToDate") if name in given]
        bounds = dict(
            zip(other.window, known or ["2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z"], strict=False)
        )
    call = Call(other.name, scene.call.version, scene.call.parameters | (bounds or {}))
    return scene.cloud.answer(call)


def no_result(scene: Scene) -> Answer:
    """The Response element without a Result."""
    return _bare(scene, "")


def null_result(scene: Scene) -> Answer:
    """A Result that is nil."""
    return _bare(scene, f'<{scene.call.operation}Result xsi:nil="true" />')


def _bare(scene: Scene, inner: str) -> Answer:
    name = scene.call.operation
    space = NAMESPACE.format(service=SERVICES[name])
    content = f'<{name}Response xmlns="{space}">{inner}</{name}Response>'
    return Answer(
        [soap.envelope(scene.call.version, content)], content_type=soap.CONTENT_TYPE[scene.call.version]
    )


def same_bytes(scene: Scene) -> Answer:
    """The previous answer of this operation once more, whatever is asked now."""
    call, moment = scene.previous or (scene.call, None)
    return scene.cloud.answer(replace(call, version=scene.call.version), moment)


def _regular(scene: Scene) -> Answer:
    return scene.cloud.answer(scene.call)


ANSWER_KINDS: dict[str, Callable[[Scene], Answer]] = {
    "fault_500": fault_500,
    "fault_200": fault_200,
    "fault_timeout": fault_timeout,
    "success_false": refused,
    "http_429": http_429,
    "http_503": http_503,
    "http_401": http_401,
    "login_html": login_html,
    "redirect_login": redirect_login,
    "html_with_entity": html_with_entity,
    "wrong_envelope": wrong_envelope,
    "other_operation": other_operation,
    "no_result": no_result,
    "null_result": null_result,
    "same_bytes": same_bytes,
}
