"""The receiver of pictures: takes what stations send on demand by HTTPS, whole or not at all."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from edge_resad.messages import Address, SigningKey, is_id, upload_token

log = logging.getLogger(__name__)

PREFIX = "/v1/images"  # as `image_path` has it
SILENT_S = 30.0  # how long a station may say nothing in the middle of a picture
STALE_S = 86_400.0  # after which a beginning that nobody goes on with is removed
_WHAT = ("frame", "overlay", "heatmap")
_SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png"}
_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]{44}):")
_LENGTH = re.compile(r"\d{1,15}")


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What a request is about."""

    address: Address
    name: str  # of the file, without its kind
    sha256: bytes
    size: int


class _No(Exception):
    """The request is answered with this status and sentence."""

    def __init__(self, status: int, says: str, **headers: str) -> None:
        super().__init__(says)
        about = {name.replace("_", "-"): value for name, value in headers.items()}
        self.response = PlainTextResponse(says, status, headers={**about, "X-Says": says})  # a HEAD has no body


class Receiver:
    """Stores pictures below a folder: a HEAD tells how much of one is there, a PUT takes the rest."""

    def __init__(self, folder: Path, keys: Sequence[SigningKey], *, max_bytes: int, min_free_bytes: int) -> None:
        """keys: of the fleet, by which stations show that they are who they say."""
        self._folder = folder
        self._keys = tuple(keys)
        self._max = max_bytes
        self._min_free = min_free_bytes
        self._busy: set[Path] = set()  # pictures that somebody sends now

    @property
    def app(self) -> Starlette:
        """The program for a web server."""
        route = PREFIX + "/{site}/{line}/{device}/{event}/{what}"
        return Starlette(routes=[Route(route, self._serve, methods=["HEAD", "PUT"])])

    async def _serve(self, request: Request) -> Response:
        try:
            wanted = self._wanted(request)
            if request.method == "HEAD":
                return await run_in_threadpool(self._head, wanted)
            return await self._put(request, wanted)
        except _No as no:
            return no.response

    def _wanted(self, request: Request) -> _Wanted:
        place = request.path_params
        if not all(is_id(part) for part in place.values()) or place["what"] not in _WHAT:
            raise _No(400, "the path is none of a picture's")
        address = Address(site=place["site"], line=place["line"], device=place["device"])
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        good = [upload_token(key, address, request.url.path) for key in self._keys if key.device is None]
        shown = token.strip().encode("utf-8", "replace")
        matches = [hmac.compare_digest(one.encode(), shown) for one in good]
        if scheme.lower() != "bearer" or not any(matches):
            raise _No(
                401, "the token is not this station's. Check token_id, and [images] keys", WWW_Authenticate="Bearer"
            )
        digest = _DIGEST.fullmatch(request.headers.get("Repr-Digest", ""))
        length = _LENGTH.fullmatch(request.headers.get("Upload-Length", ""))
        if digest is None or length is None:
            raise _No(400, "Repr-Digest: sha-256 and Upload-Length are needed")
        try:
            sha256 = base64.b64decode(digest[1], validate=True)
        except binascii.Error as error:
            raise _No(400, "Repr-Digest is no base64") from error
        size = int(length[0])
        if not 0 < size <= self._max:
            raise _No(413, f"a picture has 1 to {self._max} bytes, this one {size}")
        name = f"{place['event']}-{place['what']}"
        return _Wanted(address=address, name=name, sha256=sha256, size=size)

    def _home(self, wanted: _Wanted) -> Path:
        return self._folder / wanted.address.site / wanted.address.line / wanted.address.device

    def _part(self, wanted: _Wanted) -> Path:
        # The name says what it will be: a picture with other bytes begins anew.
        return self._home(wanted) / f".{wanted.name}.{wanted.sha256.hex()[:32]}.{wanted.size}.part"

    def _whole(self, wanted: _Wanted) -> Path | None:
        for suffix in _SUFFIXES.values():
            file = self._home(wanted) / (wanted.name + suffix)
            is_there = file.is_file() and file.stat().st_size == wanted.size
            if is_there and hashlib.sha256(file.read_bytes()).digest() == wanted.sha256:
                return file
        return None

    def _head(self, wanted: _Wanted) -> Response:
        if self._whole(wanted) is not None:
            return Response(status_code=200, headers={"Upload-Offset": str(wanted.size), "Upload-Complete": "?1"})
        offset = self._offset(wanted)
        if offset == 0:
            raise _No(404, "nothing of it is here", Upload_Offset="0")
        return Response(status_code=200, headers={"Upload-Offset": str(offset), "Upload-Complete": "?0"})

    def _offset(self, wanted: _Wanted) -> int:
        """How much of what began to come is of use."""
        part = self._part(wanted)
        offset = _size(part)
        if offset < wanted.size:
            return offset
        if part in self._busy:
            raise _No(409, "it is looked at now")
        # We were ended before it was looked at and put in its place, which its last byte brings about once more.
        os.truncate(part, wanted.size - 1)
        return wanted.size - 1

    async def _put(self, request: Request, wanted: _Wanted) -> Response:
        suffix = _SUFFIXES.get(request.headers.get("Content-Type", "").partition(";")[0].strip())
        if suffix is None:
            raise _No(415, f"a picture is one of {', '.join(_SUFFIXES)}")
        part = self._part(wanted)
        if await run_in_threadpool(self._whole, wanted) is not None:
            return Response(status_code=200, headers={"Upload-Complete": "?1"})
        if part in self._busy:
            raise _No(409, "somebody sends it already")
        self._busy.add(part)
        try:
            self._check_range(request, wanted, _size(part))
            await self._take(request, wanted, part)
            await run_in_threadpool(self._settle, wanted, part, suffix)
        except OSError as full:
            log.warning("a picture of %s cannot be stored: %s", wanted.address.device, full.strerror)
            raise _No(507, f"the receiver's disk takes nothing: {full.strerror}") from full
        finally:
            self._busy.discard(part)
        log.info("%s of %s is here, %d bytes", wanted.name, wanted.address.device, wanted.size)
        return Response(status_code=201, headers={"Upload-Complete": "?1"})

    def _check_range(self, request: Request, wanted: _Wanted, offset: int) -> None:
        said = _RANGE.fullmatch(request.headers.get("Content-Range", ""))
        if said is None:
            raise _No(400, "Content-Range: bytes FIRST-LAST/SIZE is needed")
        first, last, size = map(int, said.groups())
        if size != wanted.size or last != size - 1 or first > last:
            raise _No(400, "Content-Range does not fit Upload-Length: it goes up to the last byte")
        if first != offset:
            raise _No(409, f"{offset} bytes are here", Upload_Offset=str(offset))
        home = self._home(wanted)
        home.mkdir(parents=True, exist_ok=True)
        self._remove_stale(home)
        if shutil.disk_usage(home).free - (size - offset) < self._min_free:
            raise _No(507, "the receiver's disk has too little room")

    async def _take(self, request: Request, wanted: _Wanted, part: Path) -> None:
        """Write what comes, as it comes: what a cut leaves is gone on with."""
        stream = request.stream().__aiter__()
        with part.open("ab") as file:
            while True:
                try:
                    piece = await asyncio.wait_for(stream.__anext__(), SILENT_S)
                except StopAsyncIteration:
                    break
                except (ClientDisconnect, asyncio.TimeoutError) as cut:
                    raise _No(408, "the picture was cut") from cut
                if file.tell() + len(piece) > wanted.size:
                    raise _No(400, "more came than Content-Range said")
                file.write(piece)
                file.flush()

    def _settle(self, wanted: _Wanted, part: Path, suffix: str) -> None:
        if _size(part) != wanted.size:
            raise _No(400, f"only {_size(part)} bytes came", Upload_Offset=str(_size(part)))
        with part.open("rb") as file:
            digest = hashlib.sha256(file.read()).digest()
            if digest != wanted.sha256:
                part.unlink()
                raise _No(409, "what came is not what Repr-Digest says. It begins anew", Upload_Offset="0")
            os.fsync(file.fileno())
        part.replace(self._home(wanted) / (wanted.name + suffix))
        folder = os.open(self._home(wanted), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _remove_stale(self, home: Path) -> None:
        for part in home.glob(".*.part"):
            try:
                if part not in self._busy and time.time() - part.stat().st_mtime > STALE_S:
                    part.unlink()
            except FileNotFoundError:
                continue


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
