"""The guard before the page: who may look, from where, and that nobody else's page presses its buttons."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import math
import secrets
import socket
import time
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_resad.errors import ControlError
from edge_resad.live.guesses import Guesses

LEAST_PASSWORD = 8  # letters

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

    An address that has guessed too often has to wait, whatever it says, for a right password that is let in at once
    would tell a guesser all the same. A browser that was let in before has a cookie by which it is known, so that who
    guesses from its address is not its trouble. The cookie opens nothing without the password.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        password: str | None,
        names: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """names: of this machine, beside its own and every address."""
        self._app = app
        self._password = None if password is None else _digest(password)
        own = {"localhost", socket.gethostname().lower()}
        self._names = {*own, *(f"{name}.local" for name in own), *(name.lower() for name in names)}
        self._clock = clock
        self._guesses = Guesses()
        self._known = new_token()  # what a browser that was let in says beside the password

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        asked = Headers(scope=scope)
        cookie = f"edge-resad-{(scope.get('server') or ('', 0))[1]}"  # a machine's stations share its cookies
        is_known = _is_same(_cookie(asked, cookie), self._known)
        refusal = self._refusal(scope["method"], asked, (scope.get("client") or ("", 0))[0], is_known)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if self._password is not None and refusal is None and not is_known:
                    secure = "; Secure" if scope["scheme"] == "https" else ""
                    headers.append("set-cookie", f"{cookie}={self._known}; Path=/; HttpOnly; SameSite=Strict{secure}")
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await (refusal or self._app)(scope, receive, send_guarded)

    def _refusal(self, method: str, headers: Headers, address: str, is_known: bool) -> Response | None:
        if not self._is_ours(headers.get("host", "")):
            return PlainTextResponse(
                "This page does not go by that name. Ask for it by its address, or start it with --name.\n", 421
            )
        if method not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("No such thing can be done here.\n", 405)
        if method == "POST" and not _is_from_here(headers):
            return PlainTextResponse("Another site asked for this. It was not done.\n", 403)
        return None if self._password is None else self._unwelcome(headers, address, is_known)

    def _unwelcome(self, headers: Headers, address: str, is_known: bool) -> Response | None:
        """Why who asks is not let in without a password, or with this one; None: he is."""
        has_one, now = "authorization" in headers, self._clock()
        wait_s = self._guesses.wait_s(address, now) if has_one and not is_known else 0.0
        if wait_s > 0:
            seconds = math.ceil(wait_s)
            return PlainTextResponse(
                f"Too many wrong passwords came from {address}. Wait {seconds} seconds, then load this again.\n",
                429,
                {"retry-after": str(seconds), "connection": "close"},
            )
        if self._is_let_in(headers.get("authorization", "")):
            return None
        if has_one:
            self._guesses.wrong(address, now)
        return PlainTextResponse(
            "The station's password, please.\n",
            401,
            {"www-authenticate": 'Basic realm="edge-resad", charset="UTF-8"'},
        )

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


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _is_same(said: str, secret: str) -> bool:
    return hmac.compare_digest(said.encode(), secret.encode())


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode()).digest()
