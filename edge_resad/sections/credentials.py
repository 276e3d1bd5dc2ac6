"""Passwords and certificates, as a file of settings and the files it names say now."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

from edge_resad.errors import SettingsError
from edge_resad.sections.broker import BrokerAddress

_NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module has no name for


def read_password(broker: BrokerAddress) -> str | None:
    """The password; read each time, so that a new one needs no restart.

    Raises:
        SettingsError: its file is missing or no text.
    """
    if broker.password_file is None:
        return None
    return _read(broker.password_file, "password_file").rstrip("\r\n")


def read_tls(broker: BrokerAddress, *, look_at_dates: bool = True) -> ssl.SSLContext | None:
    """TLS 1.2 or newer with the authority and, where there is one, our certificate; None without an authority.

    look_at_dates: of certificates; who signed one and for whom is looked at all the same.

    Raises:
        SettingsError: a file is missing or unfit.
    """
    if broker.ca_file is None:
        return None
    for name, path in _files(broker):
        _read(path, name)
    try:
        context = ssl.create_default_context(cafile=broker.ca_file)
        context.sslsocket_class = _TidySocket
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not look_at_dates:
            context.verify_flags |= _NO_CHECK_TIME
        if broker.cert_file is not None:
            context.load_cert_chain(broker.cert_file, broker.key_file)
    except (ssl.SSLError, OSError) as error:
        files = ", ".join(f"{name} = {path}" for name, path in _files(broker))
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


def _files(broker: BrokerAddress) -> Iterator[tuple[str, Path]]:
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
