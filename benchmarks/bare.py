"""`python -m benchmarks.bare FILE`: a bare Starlette app that answers the same bytes to every POST, until terminated."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def main() -> None:
    """uvicorn set up as `icflows serve` sets it up: h11 on asyncio, no access log, no Server header."""
    body = Path(sys.argv[1]).read_bytes()

    async def answer(_: Request) -> Response:
        return Response(body, media_type="text/xml")

    app = Starlette(routes=[Route("/{rest:path}", answer, methods=["POST"])])
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(2048)
    print(f"bare serves http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        app, http="h11", ws="none", loop="asyncio", lifespan="off", log_config=None, access_log=False,
        proxy_headers=False, server_header=False,
    )  # fmt: skip
    uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    main()
