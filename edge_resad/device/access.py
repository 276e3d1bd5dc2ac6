"""Access to a broker: address, name, password and certificates, as the station file and the files it names say."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_resad.device.clock_floor import is_set
from edge_resad.device.settings import BrokerSection
from edge_resad.errors import SettingsError

_NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module has no name for


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
    tls = _tls(broker, time.time() if now is None else now)
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
        password=_password(broker),
        tls=tls,
        certificate=certificate,
        keepalive_s=broker.keepalive_s,
        connect_timeout_s=connect_timeout_s,
    )


def _password(broker: BrokerSection) -> str | None:
    if broker.password_file is None:
        return None
    return _read(broker.password_file, "password_file").rstrip("\r\n")


def _tls(broker: BrokerSection, now: float) -> ssl.SSLContext | None:
    if broker.ca_file is None:
        return None
    for name, path in _tls_files(broker):
        _read(path, name)
    try:
        context = ssl.create_default_context(cafile=broker.ca_file)
        context.sslsocket_class = _TidySocket
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if broker.without_clock == "connect" and not is_set(now):
            context.verify_flags |= _NO_CHECK_TIME  # who signed it and for whom is looked at all the same
        if broker.cert_file is not None:
            context.load_cert_chain(broker.cert_file, broker.key_file)
    except (ssl.SSLError, OSError) as error:
        files = ", ".join(f"{name} = {path}" for name, path in _tls_files(broker))
        raise SettingsError(f"[broker] {files} cannot be used for TLS: {error}. They must be PEM files.") from error
    return context


def _certificate(path: Path) -> Certificate | None:
    """What a PEM file's first certificate says; None where this Python cannot tell."""
    decode = getattr(ssl._ssl, "_test_decode_cert", None)  # type: ignore[attr-defined]  # the one decoder in the stdlib
    if decode is None:
        return None
    said: dict[str, Any] = decode(str(path))
    names = [value for pairs in said["subject"] for name, value in pairs if name == "commonName"]
    return Certificate(common_name=names[-1] if names else None, ends_s=ssl.cert_time_to_seconds(said["notAfter"]))


class _TidySocket(ssl.SSLSocket):
    """Closes itself when the handshake fails, which the MQTT client leaves to chance."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def _tls_files(broker: BrokerSection) -> Iterator[tuple[str, Path]]:
    files = (("ca_file", broker.ca_file), ("cert_file", broker.cert_file), ("key_file", broker.key_file))
    return ((name, path) for name, path in files if path is not None)


def _read(path: Path, setting: str) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(
            f"[broker] {setting} = {path} cannot be read: {why}. Check the path and its rights."
        ) from error
