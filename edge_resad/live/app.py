"""The page as a web application: what a browser asks for, and what it may have done."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from edge_resad.device.control import ControlClient, is_text
from edge_resad.errors import ControlError
from edge_resad.live.guard import new_token
from edge_resad.live.view import Seen, View

LOOK_S = 0.08  # between two looks at the station: with what else it takes a verdict is seen within 0.2 s
WHOLE_S = 1.0  # between two looks at what changes without a part: lights, what waits
BEAT_S = 1.5  # how often a page hears that its program lives
BODY_BYTES = 4096
MOST_FIELDS = 16  # of a form: ours have three at most
JSON_TYPE = "application/json"
TOLD = 32  # answers that wait to be shown to a browser without scripts

DONE: Mapping[str, str] = {
    "acknowledge": "Seen.",
    "bypass": "Parts go by without inspection from now on.",
    "clear": "The counts begin at zero.",
    "label": "Written down as a false reject.",
    "product": "The product changes with the next part.",
    "resume": "Parts are inspected again.",
    "self-test": "The engine computes what it should.",
    "trigger": "Triggered.",
}
"""What the page may have done, and what it says then."""
_ARGUMENTS = {"bypass": ("reason",), "label": ("id",), "product": ("use",), "trigger": ("camera",)}


class Page:
    """What all browsers that look share: one look at the station is for all of them."""

    def __init__(self, client: ControlClient, view: View, token: str, is_ending: Callable[[], bool]) -> None:
        self._is_ending = is_ending
        self._client = client
        self._view = view
        self._token = token
        self._seen = Seen(status=None, problem="")
        self._pieces: dict[str, str] = {}
        self._looked_at = self._whole_at = float("-inf")
        self._looking = asyncio.Lock()
        self._told: OrderedDict[str, tuple[bool, str]] = OrderedDict()

    async def look(self) -> tuple[Seen, dict[str, str]]:
        """The station as it is now, or was a moment ago, and the pieces that show it."""
        async with self._looking:
            if time.monotonic() - self._looked_at >= LOOK_S:
                await self._look()
                self._looked_at = time.monotonic()
        return self._seen, self._pieces

    async def _look(self) -> None:
        now, status = time.monotonic(), self._seen.status
        arguments = {}
        if status is not None and now - self._whole_at < WHOLE_S:
            arguments["since"] = status["version"]
        try:
            said = await self._ask("status", **arguments)
        except ControlError as error:
            seen = Seen(status=None, problem=str(error))
        else:
            if said.get("unchanged"):
                return
            self._whole_at = now
            seen = Seen(status=said)
        self._seen, self._pieces = seen, self._view.pieces(seen)

    async def home(self, request: Request) -> Response:
        """The whole page."""
        seen, _ = await self.look()
        products = await self._products() if seen.status is not None and seen.status["changeover"] else []
        told = self._told.pop(request.query_params.get("told", ""), None)
        return HTMLResponse(self._view.page(seen, products, told))

    async def events(self, _request: Request) -> Response:
        """Server-sent events: the pieces that changed, as they change."""
        return StreamingResponse(self._news(), media_type="text/event-stream")

    async def _news(self) -> AsyncIterator[str]:
        shown: dict[str, str] = {}
        beaten_at = 0.0
        yield "retry: 1000\n\n"  # milliseconds until a browser that lost us asks again
        while not self._is_ending():
            seen, pieces = await self.look()
            changed = {name: html for name, html in pieces.items() if shown.get(name) != html}
            if changed:
                shown |= changed
                yield f"data: {json.dumps({'station': _start_of(seen), 'pieces': changed})}\n\n"
                beaten_at = time.monotonic()
            elif time.monotonic() - beaten_at > BEAT_S:
                yield "event: beat\ndata: \n\n"
                beaten_at = time.monotonic()
            await asyncio.sleep(LOOK_S)

    async def reject(self, request: Request) -> Response:
        """The picture of a reject."""
        try:
            said = await self._ask("picture", id=request.path_params["id"])
        except ControlError as error:
            return PlainTextResponse(f"{error}\n", 404)
        return _jpeg(said, {"cache-control": "private, max-age=86400, immutable"})

    async def last(self, _request: Request) -> Response:
        """The last part of all."""
        try:
            return _jpeg(await self._ask("snapshot"))
        except ControlError as error:
            return PlainTextResponse(f"{error}\n", 404)

    async def do(self, request: Request) -> Response:
        """Tell the station something, as a button of the page or a program asks.

        A program sends JSON and needs no token: no other site's page can send that through a visitor's browser, which
        would ask with OPTIONS first and be refused.
        """
        name = request.path_params["command"]
        body = await _body(request)
        if name not in DONE or body is None:
            return PlainTextResponse("No such thing can be done here.\n", 404 if name not in DONE else 413)
        is_program = request.headers.get("content-type", "").partition(";")[0].strip().lower() == JSON_TYPE
        given = _arguments_of(body) if is_program else _fields_of(body)
        known = _ARGUMENTS.get(name, ())
        if given is None and not is_program:
            return _answer(False, f"This form has more than {MOST_FIELDS} fields. Load the page again.", 400)
        if given is None or (is_program and not given.keys() <= set(known)):
            expected = ", ".join(f'"{key}": "..."' for key in known)
            return _answer(False, f"{name} takes a JSON object of texts: {{{expected}}}.", 400)
        if not is_program and not hmac.compare_digest(given.get("token", "").encode(), self._token.encode()):
            told, status = (False, "This page is older than its program. Load it again, then try once more."), 403
        else:
            told = await self._do(name, {key: given[key] for key in known if key in given})
            status = 200 if told[0] else 409
        if is_program or JSON_TYPE in request.headers.get("accept", ""):
            return _answer(*told, status)
        key = secrets.token_urlsafe(8)
        self._told[key] = told
        while len(self._told) > TOLD:
            self._told.popitem(last=False)
        return RedirectResponse(f"../?told={key}", 303)

    async def _do(self, name: str, arguments: Mapping[str, str]) -> tuple[bool, str]:
        more = {"source": "http"} if name == "trigger" else {}  # who triggers is counted
        try:
            await self._ask(name, **arguments, **more)
        except ControlError as error:
            return False, str(error)
        self._looked_at = float("-inf")
        return True, DONE[name]

    async def _products(self) -> list[dict[str, Any]]:
        try:
            said = await self._ask("products")
        except ControlError:
            return []
        names: dict[str, bool] = {}
        for camera in said.values():
            for product, versions in camera["products"].items():
                names.setdefault(f"{product}@{versions[-1]}", False)
            if camera["in_use"] is not None:
                names[camera["in_use"]] = True
        return [{"name": name, "in_use": in_use} for name, in_use in sorted(names.items())]

    async def _ask(self, name: str, **arguments: Any) -> dict[str, Any]:
        return await run_in_threadpool(self._client.ask, name, **arguments)


def live_app(client: ControlClient, station: str, is_ending: Callable[[], bool] = lambda: False) -> Starlette:
    """The application, without its guard.

    station:   the station's file, as it is named on the command line.
    is_ending: whether the program ends, so that pages which are open should be let go.
    """
    token = new_token()
    page = Page(client, View(token, station), token, is_ending)
    return Starlette(
        routes=[
            Route("/", page.home),
            Route("/events", page.events),
            Route("/last.jpg", page.last),
            Route("/reject/{id:str}.jpg", page.reject),
            Route("/do/{command:str}", page.do, methods=["POST"]),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        ]
    )


def _start_of(seen: Seen) -> str:
    return "" if seen.status is None else str(seen.status["station"]["started"])


async def _body(request: Request) -> bytes | None:
    """What was sent; None where it is larger than any of ours."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES:
            return None
    return body


def _fields_of(body: bytes) -> dict[str, str] | None:
    """The fields of a form; None where there are more than any of ours has."""
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        return None


def _arguments_of(body: bytes) -> dict[str, str] | None:
    """What a program sent; None where it is no object of texts. Nothing at all is one without any."""
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        return None
    return found if is_text(found) else None


def _answer(fine: bool, text: str, status: int) -> JSONResponse:
    return JSONResponse({"fine": fine, "text": text}, status)


def _jpeg(said: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    return Response(base64.b64decode(said["jpeg"]), media_type="image/jpeg", headers=dict(headers or {}))
