"""The guard before the page: who may look, from where, and that nobody else's page presses its buttons."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_resad.errors import ControlError

LEAST_PASSWORD = 8  # letters
WRONG_S = 0.5  # how long a wrong password waits for its answer

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """Stands before an application.

    It answers under names of its own alone: a foreign site whose owner points its name at this machine would otherwise
    speak with the page through a visitor's browser.
    """

    def __init__(self, app: ASGIApp, *, password: str | None, names: Iterable[str] = ()) -> None:
        """names: of this machine, beside its own and every address."""
        self._app = app
        self._password = None if password is None else _digest(password)
        own = {"localhost", socket.gethostname().lower()}
        self._names = {*own, *(f"{name}.local" for name in own), *(name.lower() for name in names)}
        self._one_by_one = asyncio.Lock()  # who guesses passwords waits for everybody else who does

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = await self._refusal(scope["method"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, send_guarded)

    async def _refusal(self, method: str, headers: Headers) -> Response | None:
        if not self._is_ours(headers.get("host", "")):
            return PlainTextResponse(
                "This page does not go by that name. Ask for it by its address, or start it with --name.\n", 421
            )
        if method not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("No such thing can be done here.\n", 405)
        if method == "POST" and not _is_from_here(headers):
            return PlainTextResponse("Another site asked for this. It was not done.\n", 403)
        if self._password is not None and not self._is_let_in(headers.get("authorization", "")):
            if "authorization" in headers:
                async with self._one_by_one:
                    await asyncio.sleep(WRONG_S)
            return PlainTextResponse(
                "The station's password, please.\n",
                401,
                {"www-authenticate": 'Basic realm="edge-resad", charset="UTF-8"'},
            )
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _is_let_in(self, authorization: str) -> bool:
        kind, _, encoded = authorization.partition(" ")
        if kind.lower() != "basic" or self._password is None:
            return False
        try:
            _, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        return bool(colon) and hmac.compare_digest(_digest(password), self._password)


def new_token() -> str:
    """What stands in the page's forms and no other site can know."""
    return secrets.token_urlsafe(24)


def read_password(path: Path) -> str:
    """The password in a file.

    Raises:
        ControlError: there is none, or it is too short.
    """
    try:
        password = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ControlError(f"--password-file {path} cannot be read: {why}. Check the path and its rights.") from error
    if len(password) < LEAST_PASSWORD:
        raise ControlError(
            f"the password in {path} has {len(password)} letters, expected at least {LEAST_PASSWORD}. "
            "Write a longer one."
        )
    return password


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_from_here(headers: Headers) -> bool:
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode()).digest()
