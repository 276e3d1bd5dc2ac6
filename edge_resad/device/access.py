"""Access to a broker: address, name, password and certificates, as the station file and the files it names say."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_resad.clock_floor import is_set
from edge_resad.device.settings import BrokerSection
from edge_resad.errors import SettingsError
from edge_resad.sections import read_password, read_tls


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a station's own certificate says of it."""

    common_name: str | None
    ends_s: float  # seconds since 1970


@dataclass(frozen=True, kw_only=True)
class Access:
    """How to reach a broker and who asks."""

    host: str
    port: int
    client_id: str
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None
    keepalive_s: int = 20
    connect_timeout_s: float = 5.0
    certificate: Certificate | None = None


def read_access(
    broker: BrokerSection,
    *,
    client_id: str,
    connect_timeout_s: float,
    device: str | None = None,
    now: float | None = None,
) -> Access:
    """What the settings and the files they name say now: read each time, a new password needs no restart.

    device: what the station's certificate must be called, where it is what proves who the station is.
    now: what the clock says, seconds since 1970; without it the system's.

    Raises:
        SettingsError: a file is missing or unfit.
    """
    clock = time.time() if now is None else now
    tls = read_tls(broker, look_at_dates=broker.without_clock != "connect" or is_set(clock))
    certificate = _certificate(broker.cert_file) if broker.cert_file is not None else None
    if certificate is not None and broker.username is None and device not in (None, certificate.common_name):
        raise SettingsError(
            f"[broker] cert_file = {broker.cert_file} is the certificate of {certificate.common_name!r} and this "
            f"station is {device!r}. Give it a certificate whose common name is [station] device, for brokers let a "
            "station write below its own name only."
        )
    return Access(
        host=broker.host,
        port=broker.port,
        client_id=client_id,
        username=broker.username,
        password=read_password(broker),
        tls=tls,
        certificate=certificate,
        keepalive_s=broker.keepalive_s,
        connect_timeout_s=connect_timeout_s,
    )


def _certificate(path: Path) -> Certificate | None:
    """What a PEM file's first certificate says; None where this Python cannot tell."""
    decode = getattr(ssl._ssl, "_test_decode_cert", None)  # type: ignore[attr-defined]  # the one decoder in the stdlib
    if decode is None:
        return None
    said: dict[str, Any] = decode(str(path))
    names = [value for pairs in said["subject"] for name, value in pairs if name == "commonName"]
    return Certificate(common_name=names[-1] if names else None, ends_s=ssl.cert_time_to_seconds(said["notAfter"]))
