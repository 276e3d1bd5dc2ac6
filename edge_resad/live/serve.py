"""Serves the operator's page of one station until it is stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_resad.device.control import ControlClient
from edge_resad.errors import ControlError
from edge_resad.live.app import live_app
from edge_resad.live.guard import Guard, is_loopback, read_password
from edge_resad.web_server import listen, run_server, web_server

ANSWER_S = 3.0  # how long a station may take before the page says that it does not answer
GOODBYE_S = 6  # much longer: pages that are open are let go after their last look at the station


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
        ControlError: anybody could reach the page and there is no password, the port is taken, or the certificate and
            its key cannot be used.
    """
    if password_file is None and not is_loopback(host):
        raise ControlError(
            f"--host {host} shows the page, and its buttons, to the whole network. Give it a password: "
            "--password-file FILE; or leave --host out, and only this machine sees it."
        )
    password = None if password_file is None else read_password(password_file)
    client = ControlClient(control, timeout_s=ANSWER_S)
    app = Guard(live_app(client, station, lambda: server.should_exit), password=password, names=names)
    try:
        listener = listen(host, port)
    except OSError as error:
        why = error.strerror or str(error)
        raise ControlError(f"the page cannot be served at {host}:{port}: {why}. Choose another --port.") from error
    with listener:
        try:
            server = web_server(app, certificate=certificate, key=key, goodbye_s=GOODBYE_S, most_connections=100)
        except OSError as error:
            raise ControlError(f"--certificate and --key cannot be used: {error}. They must be PEM files.") from error
        run_server(server, listener, host)
