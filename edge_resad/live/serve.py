"""Serves the operator's page of one station until it is stopped."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from edge_resad.device.control import ControlClient
from edge_resad.errors import ControlError
from edge_resad.live.app import live_app
from edge_resad.live.guard import Guard, is_loopback, read_password

ANSWER_S = 3.0  # how long a station may take before the page says that it does not answer


def serve(
    control: Path,
    *,
    station: str,
    host: str = "127.0.0.1",
    port: int = 8080,
    password_file: Path | None = None,
    names: Sequence[str] = (),
    certificate: Path | None = None,
    key: Path | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    control: the station's socket. station: its file, as sentences name it.
    names: under which this machine is known, beside its own.

    Raises:
        ControlError: anybody could reach the page and there is no password, or the port is taken.
    """
    if password_file is None and not is_loopback(host):
        raise ControlError(
            f"--host {host} shows the page, and its buttons, to the whole network. Give it a password: "
            "--password-file FILE; or leave --host out, and only this machine sees it."
        )
    password = None if password_file is None else read_password(password_file)
    client = ControlClient(control, timeout_s=ANSWER_S)
    app = Guard(live_app(client, station, lambda: server.should_exit), password=password, names=names)
    listener = _listener(host, port)
    with listener:
        shown = host if ":" not in host else f"[{host}]"
        print(f"{'https' if certificate else 'http'}://{shown}:{listener.getsockname()[1]}/", flush=True)
        config = uvicorn.Config(
            app,
            log_level=logging.WARNING,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
            limit_concurrency=100,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        server = uvicorn.Server(config)
        server.run(sockets=[listener])


def _listener(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ControlError(f"the page cannot be served at {host}:{port}: {why}. Choose another --port.") from error
