"""Runs the service: the store opened, uvicorn with our protocol, TLS by certificate files, an end in good order."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from services.app import build_app
from services.protocol import HEAD_BYTES, Protocol
from services.telling import Telling
from tasks.errors import SettingsError
from tasks.inbound.balances import Balances
from tasks.inbound.store import open_store
from tasks.sections import Service
from tasks.settings import Settings

Ready = Callable[[str], None]
_KEEP_ALIVE_SECONDS = 15
_STOP_SECONDS = 10


def serve(
    settings: Settings,
    host: str | None = None,
    port: int | None = None,
    ready: Ready | None = None,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Serves until SIGTERM or SIGINT; then answers what it took, writes the last calls, and returns.

    `ready(address)` is called once it listens (default: prints the address). `host` and `port` win over [service];
    port 0 picks a free one. Raises SettingsError (keys, certificate, no TLS beyond loopback, port taken),
    StorageTrouble, StagingDamaged.
    """
    service = settings.service
    host, port = host or service.host, service.port if port is None else port
    context = _tls(service)
    if context is None and not _is_loopback(host):
        raise SettingsError(
            "[service] needs certificate and certificate_key: keys would travel in the open (plain HTTP: loopback only)"
        )
    listening = _listen(host, port)
    try:
        with closing(open_store(settings)) as store, closing(Balances(store)) as answers:
            app = build_app(settings, store, clock=clock, answers=answers)
            address = f"{'https' if context else 'http'}://{_shown(host)}:{listening.getsockname()[1]}"
            gc.freeze()  # what is here now stays: no collection while it serves need look at it
            server_of(app, service, listening, context, partial(ready or _say, address)).run()
    finally:
        gc.unfreeze()
        listening.close()


def server_of(
    app: ASGIApp,
    service: Service,
    listening: socket.socket,
    context: ssl.SSLContext | None,
    ready: Callable[[], None],
) -> Server:
    """uvicorn around `app`, as it is set up here for real and in tests and benchmarks; run() it."""
    config = uvicorn.Config(
        app, http=Protocol, ws="none", loop="asyncio", lifespan="on", log_config=None, access_log=False,
        proxy_headers=False, server_header=False, timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_STOP_SECONDS, h11_max_incomplete_event_size=HEAD_BYTES,
    )  # fmt: skip
    return Server(config, service, listening, context, ready)


class Server(uvicorn.Server):
    """uvicorn's server with time-outs for TLS too, quiet about itself, and an exit code of 0 after SIGTERM."""

    def __init__(
        self, config: uvicorn.Config, service: Service, listening: socket.socket,
        context: ssl.SSLContext | None, ready: Callable[[], None],
    ) -> None:  # fmt: skip
        super().__init__(config)
        self._service, self._listening, self._context, self._ready = service, listening, context, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        """Listens. A TLS handshake has as long as a head."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise SettingsError("the service could not start")
        service = self._service
        make = partial(
            Protocol, self.config, self.server_state, self.lifespan.state,
            head_seconds=service.head_seconds, body_seconds=service.body_seconds, max_connections=service.max_connections, telling=Telling(),
        )  # fmt: skip
        seconds = service.head_seconds if self._context else None
        listener = await asyncio.get_running_loop().create_server(
            make, sock=self._listening, ssl=self._context, backlog=self.config.backlog,
            ssl_handshake_timeout=seconds, ssl_shutdown_timeout=seconds,
        )  # fmt: skip
        self.servers = [listener]
        self.started = True
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """A signal ends the service in order; it is not raised again afterwards."""
        self.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP: asyncio sets TCP_NODELAY on such sockets alone, and without it each answer waits 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return listening


def _tls(service: Service) -> ssl.SSLContext | None:
    if not service.certificate or not service.certificate_key:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(service.certificate, service.certificate_key, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"[service] certificate and certificate_key cannot be read as PEM files ({type(error).__name__})"
        ) from None
    return context


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _say(address: str) -> None:
    print(f"icflows serves {address}", flush=True)
