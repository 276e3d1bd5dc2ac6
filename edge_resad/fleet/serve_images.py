"""Serves the receiver of pictures until it is stopped."""

from __future__ import annotations

import logging
import socket
import ssl

import uvicorn

from edge_resad.errors import SettingsError
from edge_resad.fleet.images import Receiver
from edge_resad.fleet.settings import ImagesSection
from edge_resad.messages import read_key


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
    family = socket.AF_INET6 if ":" in told.host else socket.AF_INET
    try:
        listener = socket.create_server((told.host, told.port), family=family)
    except OSError as error:
        raise SettingsError(
            f"pictures cannot be taken at {told.host}:{told.port}: {error.strerror}. Set [images] host and port."
        ) from error
    with listener:
        shown = told.host if ":" not in told.host else f"[{told.host}]"
        config = uvicorn.Config(
            receiver.app,
            log_level=logging.WARNING,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=3,
            limit_concurrency=200,
            ssl_certfile=told.certificate,
            ssl_keyfile=told.key,
        )
        try:
            config.load()
        except (ssl.SSLError, OSError) as error:
            raise SettingsError(
                f"[images] certificate and key cannot be used: {error}. They must be PEM files."
            ) from error
        assert config.ssl is not None
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
        print(f"https://{shown}:{listener.getsockname()[1]}/", flush=True)
        uvicorn.Server(config).run(sockets=[listener])
