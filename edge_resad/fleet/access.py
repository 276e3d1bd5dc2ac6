"""Access to the broker: password and certificates, as the fleet file and the files it names say now."""

from __future__ import annotations

import ssl
from pathlib import Path

from edge_resad.errors import SettingsError
from edge_resad.fleet.settings import BrokerSection


def read_password(broker: BrokerSection) -> str | None:
    """The password; read each time, so that a new one needs no restart."""
    if broker.password_file is None:
        return None
    try:
        return broker.password_file.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable("password_file", broker.password_file, error) from error


def read_tls(broker: BrokerSection) -> ssl.SSLContext | None:
    """TLS 1.2 or newer with the authority and, where there is one, the certificate of the fleet file."""
    if broker.ca_file is None:
        return None
    named = {"ca_file": broker.ca_file, "cert_file": broker.cert_file, "key_file": broker.key_file}
    for name, path in named.items():
        try:
            if path is not None:
                path.read_bytes()
        except OSError as error:
            raise _unreadable(name, path, error) from error
    try:
        context = ssl.create_default_context(cafile=broker.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.sslsocket_class = _TidySocket
        if broker.cert_file is not None:
            context.load_cert_chain(broker.cert_file, broker.key_file)
    except (ssl.SSLError, OSError) as error:
        files = ", ".join(f"{name} = {path}" for name, path in named.items() if path is not None)
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


def _unreadable(setting: str, path: Path | None, error: Exception) -> SettingsError:
    why = error.strerror if isinstance(error, OSError) else "it is not text"
    return SettingsError(f"[broker] {setting} = {path} cannot be read: {why}. Check the path and its rights.")
