"""Who may come in: a biller's key, an address of its list, and not too many wrong keys before.

A wrong key, a missing one and an unknown biller get one and the same answer after the same work. Of a caller that
gave too many wrong keys no key is looked at any more until the time is over, so that it learns nothing.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from services.reply import Refused, Visit
from tasks.settings import Settings, secret

_REMEMBERED = 10_000  # addresses; the one unheard longest is forgotten first
_NOBODY = (sha256(b"no biller has this key").digest(), sha256(b"nor this one").digest())
Network = IPv4Network | IPv6Network


class Throttle:
    """Counts wrong keys per address: `limit` within `seconds`, then the address waits for the end of that time."""

    def __init__(self, limit: int, seconds: float, monotonic: Callable[[], float]) -> None:
        self._limit, self._seconds, self._monotonic = limit, seconds, monotonic
        self._wrong: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def check(self, address: str) -> None:
        """Raises Refused 429 for an address that must wait."""
        since, count = self._wrong.get(address, (0.0, 0))
        if count < self._limit:
            return
        left = since + self._seconds - self._monotonic()
        if left > 0:
            raise Refused(
                429, "too many wrong keys; wait", "throttled", ((b"retry-after", b"%d" % (int(left) + 1)),)
            )
        del self._wrong[address]

    def wrong(self, address: str) -> None:
        """Counts one more."""
        now = self._monotonic()
        since, count = self._wrong.pop(address, (now, 0))
        if now - since > self._seconds:
            since, count = now, 0
        self._wrong[address] = (since, count + 1)
        if len(self._wrong) > _REMEMBERED:
            self._wrong.popitem(last=False)


class Gate:
    """The keys of all billers that IC may call for, resolved once. Raises SettingsError for one that is not there."""

    def __init__(self, settings: Settings, monotonic: Callable[[], float]) -> None:
        service = settings.service
        self._throttle = Throttle(service.wrong_keys, service.wrong_keys_seconds, monotonic)
        self._proxies = _networks(service.trusted_proxies)
        self._inbound = {name: b.inbound for name, b in settings.billers.items() if b.inbound}
        self._keys = {
            name: tuple(_digest(secret(key).get_secret_value()) for key in inbound.keys)
            for name, inbound in self._inbound.items()
        }
        self._headers = {name: inbound.header.lower().encode() for name, inbound in self._inbound.items()}
        self._addresses = {name: _networks(inbound.addresses) for name, inbound in self._inbound.items()}

    def admit(self, visit: Visit) -> None:
        """Sets the visit's biller and prefix. Without a biller in the path any biller's key will do.

        Raises Refused 429 (unread), 401, or 403: the key is right, the address is not on the biller's list.
        """
        address = self._caller(visit)
        household = _household(address)
        self._throttle.check(household)
        asked = visit.scope["path_params"]
        names = [str(asked["biller"])] if "biller" in asked else sorted(self._keys)
        found = [name for name in names if self._fits(visit, name, asked.get("key"))]
        if not found:
            self._throttle.wrong(household)
            raise Refused(
                401,
                "no such biller, or a wrong key",
                "wrong_key",
                ((b"www-authenticate", b'Basic realm="icflows"'),),
            )
        listed = self._addresses[found[0]]
        if listed and not _within(address, listed):
            raise Refused(403, "this address may not call", "address")
        visit.biller = found[0]
        visit.prefix = f"/k/{asked['key']}" if "key" in asked else ""

    def _fits(self, visit: Visit, biller: str, path_key: str | None) -> bool:
        given = path_key or visit.header(self._headers.get(biller, b"x-service-key")) or _authorization(visit)
        digest, fits = _digest(given), False
        for key in self._keys.get(biller, _NOBODY):  # to the end, whichever fits
            fits |= hmac.compare_digest(digest, key)
        return fits and bool(given)

    def _caller(self, visit: Visit) -> str:
        """The address that counts: the peer's, or what a trusted proxy says of its own peer."""
        peer = visit.scope["client"]
        address = _plain(peer[0]) if peer else ""
        if not self._proxies or not _within(address, self._proxies):
            return address
        told = [value for name, value in visit.scope["headers"] if name == b"x-forwarded-for"]
        for hop in reversed(b",".join(told).decode("latin-1").split(",")):
            try:
                address = str(ip_address(hop.strip()))
            except ValueError:
                break
            if not _within(address, self._proxies):
                break
        return _plain(address)


def _authorization(visit: Visit) -> str:
    """The key of `Authorization`: Bearer's token; Basic's password, or its user if the password is empty."""
    scheme, _, value = visit.header(b"authorization").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return password or user


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogateescape")).digest()


@lru_cache(1024)
def _plain(address: str) -> str:
    """IPv4 in IPv6's clothes is IPv4."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)


@lru_cache(1024)
def _household(address: str) -> str:
    """What counts wrong keys together: an IPv6 caller commonly owns its whole /64."""
    return (
        str(ip_network(f"{address}/64", strict=False)) if ":" in address and "%" not in address else address
    )


def _networks(texts: Sequence[str]) -> tuple[Network, ...]:
    return tuple(ip_network(text, strict=False) for text in texts)


def _within(address: str, networks: Sequence[Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
