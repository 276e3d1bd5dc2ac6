"""Serves the receiver of pictures until it is stopped."""

from __future__ import annotations

from edge_resad.errors import SettingsError
from edge_resad.fleet.images import Receiver
from edge_resad.fleet.settings import ImagesSection
from edge_resad.messages import read_key
from edge_resad.web_server import listen, run_server, web_server


def serve_images(told: ImagesSection) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SettingsError: [images] lacks a certificate, its key or keys of roles, or the address is taken.
    """
    if told.certificate is None or told.key is None or not told.keys:
        raise SettingsError(
            "[images] needs certificate, key and keys: pictures are taken by HTTPS alone, and from stations alone. "
            "edge-resad fleet key makes the keys."
        )
    receiver = Receiver(
        told.folder,
        [read_key(file) for file in told.keys],
        max_bytes=told.max_mb * 10**6,
        min_free_bytes=told.min_free_mb * 10**6,
    )
    try:
        listener = listen(told.host, told.port)
    except OSError as error:
        why = error.strerror or str(error)
        raise SettingsError(
            f"pictures cannot be taken at {told.host}:{told.port}: {why}. Set [images] host and port."
        ) from error
    with listener:
        certificate, key = told.certificate, told.key
        try:
            server = web_server(receiver.app, certificate=certificate, key=key, goodbye_s=3, most_connections=200)
        except OSError as error:
            raise SettingsError(
                f"[images] certificate and key cannot be used: {error}. They must be PEM files."
            ) from error
        run_server(server, listener, told.host)
