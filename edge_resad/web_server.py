"""How our programs serve HTTP and HTTPS: one application at one address, until SIGTERM or SIGINT."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn


def listen(host: str, port: int) -> socket.socket:
    """Take an address; 0 is a port that is free.

    Raises:
        OSError: the address cannot be had.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OverflowError as error:
        raise OSError(str(error)) from error  # no such port


def web_server(
    app: Callable[..., Any], *, certificate: Path | None, key: Path | None, goodbye_s: int, most_connections: int
) -> uvicorn.Server:
    """What serves an application once it is run with a socket that listens.

    certificate, key: PEM files; without them it is HTTP.
    goodbye_s: how long answers that are on their way may take when it is stopped.

    Raises:
        OSError: certificate and key cannot be used.
    """
    config = uvicorn.Config(
        app,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=goodbye_s,
        limit_concurrency=most_connections,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return uvicorn.Server(config)


def run_server(server: uvicorn.Server, listener: socket.socket, host: str) -> None:
    """Say on standard output where it is, and serve until it is stopped. host: as the user wrote it."""
    shown = f"[{host}]" if ":" in host else host
    scheme = "https" if server.config.is_ssl else "http"
    print(f"{scheme}://{shown}:{listener.getsockname()[1]}/", flush=True)
    server.run(sockets=[listener])
