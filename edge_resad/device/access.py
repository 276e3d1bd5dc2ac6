"""Access to a broker: address, name, password and certificates, as the station file and the files it names say."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_resad.device.settings import BrokerSection
from edge_resad.errors import SettingsError


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


def read_access(broker: BrokerSection, *, client_id: str, connect_timeout_s: float) -> Access:
    """What the settings and the files they name say now: read each time, a new password needs no restart.

    Raises:
        SettingsError: a file is missing or unfit.
    """
    return Access(
        host=broker.host,
        port=broker.port,
        client_id=client_id,
        username=broker.username,
        password=_password(broker),
        tls=_tls(broker),
        keepalive_s=broker.keepalive_s,
        connect_timeout_s=connect_timeout_s,
    )


def _password(broker: BrokerSection) -> str | None:
    if broker.password_file is None:
        return None
    return _read(broker.password_file, "password_file").rstrip("\r\n")


def _tls(broker: BrokerSection) -> ssl.SSLContext | None:
    if broker.ca_file is None:
        return None
    for name, path in _tls_files(broker):
        _read(path, name)
    try:
        context = ssl.create_default_context(cafile=broker.ca_file)
        context.sslsocket_class = _TidySocket
        if broker.cert_file is not None:
            context.load_cert_chain(broker.cert_file, broker.key_file)
    except (ssl.SSLError, OSError) as error:
        files = ", ".join(f"{name} = {path}" for name, path in _tls_files(broker))
        raise SettingsError(f"[broker] {files} cannot be used for TLS: {error}. They must be PEM files.") from error
    return context


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
