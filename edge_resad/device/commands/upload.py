"""An upload: one file to a server by HTTPS, going on where an earlier try ended, and checked when it is there."""

from __future__ import annotations

import base64
import hashlib
import http.client
import logging
import random
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edge_resad.errors import ControlError

log = logging.getLogger(__name__)

TRIES = 8  # in a row without any progress
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
TIMEOUT_S = 20.0  # for one answer of the server
_CHUNK = 64 * 1024
_FOR_EVER = (400, 401, 403, 405, 411, 413, 415, 422)  # answers that a further try would only repeat


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """A file that a server has."""

    size_bytes: int
    sha256: str
    resumed_from: int  # bytes that an earlier try had sent


class _Refused(Exception):
    """The server says no for good."""


class Upload:
    """Sends one file. The server says by HEAD how much of it it has, and takes the rest by PUT with Content-Range."""

    def __init__(
        self,
        file: Path,
        url: str,
        *,
        content_type: str,
        token: str | None,
        context: ssl.SSLContext,
        stop: threading.Event,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._file = file
        self._url = urlsplit(url)
        self._content_type = content_type
        self._token = token
        self._context = context
        self._stop = stop
        self._first_pause_s = first_pause_s

    def run(self) -> Uploaded:
        """Send it, with pauses and further tries where the network or the server fails.

        Raises:
            ControlError: it cannot be sent; the sentence says why.
        """
        try:
            content = self._file.read_bytes()  # a frame: it may be removed from the album while we send it
        except OSError as gone:
            raise ControlError(
                f"the picture cannot be read: {gone.strerror}. It may have made room for others."
            ) from gone
        digest = hashlib.sha256(content)
        headers = {
            "Repr-Digest": f"sha-256=:{base64.b64encode(digest.digest()).decode()}:",
            "Upload-Length": str(len(content)),
        }
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        resumed_from: int | None = None
        last, vain, pause_s, why = -1, 0, self._first_pause_s, ""
        while vain < TRIES:
            try:
                offset = self._offset(headers)
                resumed_from = offset if resumed_from is None else resumed_from
                if offset > last:
                    vain, pause_s = 0, self._first_pause_s
                last = offset
                self._put(content, offset, headers)
                return Uploaded(size_bytes=len(content), sha256=digest.hexdigest(), resumed_from=resumed_from)
            except _Refused as refused:
                raise ControlError(f"the server at {self._url.netloc} does not take the picture: {refused}.") from None
            except ssl.SSLCertVerificationError as error:
                raise ControlError(
                    f"the server at {self._url.netloc} cannot be trusted: {error.verify_message}. "
                    "Check [commands] upload_ca_file and the server's certificate."
                ) from error
            except (OSError, http.client.HTTPException) as error:
                why = str(error) or type(error).__name__
                log.info("the upload to %s was cut: %s; it goes on", self._url.netloc, why)
            vain += 1
            if self._stop.wait(random.uniform(0.5, 1.0) * pause_s):
                raise ControlError("the station stops; the picture goes on where it was when it is asked for again.")
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        raise ControlError(
            f"the picture could not be sent to {self._url.netloc} in {TRIES} tries ({why}). Ask for it again later: "
            "what the server has is not sent again."
        )

    def _offset(self, headers: dict[str, str]) -> int:
        """How much of it the server has."""
        status, said, _ = self._ask("HEAD", None, headers)
        if status == 404:
            return 0
        if status != 200:
            _check(status, said)
        offset = int(said.get("Upload-Offset", "0"))
        if offset >= int(headers["Upload-Length"]) and said.get("Upload-Complete", "?1") != "?1":
            raise OSError("the server has all of it and has not looked at it yet")
        return offset

    def _put(self, content: bytes, offset: int, headers: dict[str, str]) -> None:
        if offset == len(content) and offset:
            return
        about = {
            "Content-Type": self._content_type,
            "Content-Length": str(len(content) - offset),
            "Content-Range": f"bytes {offset}-{len(content) - 1}/{len(content)}",
        }
        status, said, _ = self._ask("PUT", self._pieces(content, offset), {**headers, **about})
        if status not in (200, 201, 204):
            _check(status, said)

    def _pieces(self, content: bytes, offset: int) -> Iterator[bytes]:
        for start in range(offset, len(content), _CHUNK):
            if self._stop.is_set():
                raise OSError("the station stops")
            yield content[start : start + _CHUNK]

    def _ask(
        self, method: str, body: Iterator[bytes] | None, headers: dict[str, str]
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPSConnection(
            self._url.hostname or "", self._url.port or 443, timeout=TIMEOUT_S, context=self._context
        )
        try:
            path = self._url.path or "/"
            target = f"{path}?{self._url.query}" if self._url.query else path
            try:
                connection.request(method, target, body=body, headers=headers)
            except (BrokenPipeError, ConnectionResetError):
                if connection.sock is None:
                    raise  # else it may have answered before it hung up, as with a picture that is too large
            answer = connection.getresponse()
            said = answer.read(4096)
            if said and answer.status >= 400 and "X-Says" not in answer.headers:
                answer.headers["X-Says"] = said.decode("utf-8", "replace").partition("\n")[0][:200]
            return answer.status, answer.headers, said
        finally:
            connection.close()


def _check(status: int, said: http.client.HTTPMessage) -> None:
    says = f"{status} {said.get('X-Says', '') or http.client.responses.get(status, '')}".strip()
    if status in _FOR_EVER:
        raise _Refused(says)
    raise OSError(f"the server answers {says}")


def upload_context(ca_file: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer that trusts this authority, or those of the system.

    Raises:
        ControlError: the file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (ssl.SSLError, OSError) as error:
        raise ControlError(
            f"[commands] upload_ca_file = {ca_file} cannot be used: {error}. It must be a PEM file."
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
