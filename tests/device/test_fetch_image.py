"""A kept picture goes to the fleet's receiver by HTTPS: whole, checked, and from where an earlier try ended."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import random
import shutil
import ssl
import threading
from collections import namedtuple
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from edge_resad.device.commands.upload import TRIES, Upload, Uploaded, upload_context
from edge_resad.device.pictures.album import FRAME, HEAT, find_picture
from edge_resad.errors import ControlError
from edge_resad.fleet.images import Receiver
from edge_resad.fleet.send import Sender
from edge_resad.messages import Alert, AlertMessage, SigningKey, image_path, new_key, upload_token
from edge_resad.sections import BrokerAddress
from edge_resad.web_server import listen, web_server
from tests.device.commanded import ADDRESS, make_keys, running, station_file
from tests.device.test_commands import Office, done
from tests.mqtt.fault_proxy import FaultProxy
from tests.mqtt.fault_proxy import Wire as WireOfProxy
from tests.mqtt_peers import Mosquitto, eventually, free_port, make_certificates

WAIT_S = 60.0  # a deadline, not a pause
PATH = image_path(ADDRESS, "e-1", "frame")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authority")
    make_certificates(folder)
    return folder


@contextmanager
def receiver(folder: Path, key: SigningKey, certificates: Path, **more: int) -> Iterator[int]:
    """The receiver at a port of its own."""
    told = {"max_bytes": 10**7, "min_free_bytes": 0, **more}
    server = web_server(
        Receiver(folder, [key], **told).app,
        certificate=certificates / "broker.pem",
        key=certificates / "broker.key",
        goodbye_s=3,
        most_connections=200,
    )
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        assert eventually(lambda: server.started, WAIT_S)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(WAIT_S)


class Picture:
    """A file to be sent."""

    def __init__(self, folder: Path, size: int = 300_000) -> None:
        self.file = folder / "frame.jpg"
        self.content = random.Random(1).randbytes(size)
        self.file.write_bytes(self.content)

    def upload(
        self, port: int, key: SigningKey | None, certificates: Path, *, stop: threading.Event | None = None, **more: Any
    ) -> Uploaded:
        return Upload(
            self.file,
            f"https://localhost:{port}{more.get('path', PATH)}",
            content_type=more.get("content_type", "image/jpeg"),
            token=None if key is None else upload_token(key, ADDRESS, PATH),
            context=upload_context(more.get("ca_file", certificates / "ca.pem")),
            stop=stop or threading.Event(),
            first_pause_s=0.01,
        ).run()

    def is_at(self, folder: Path) -> bool:
        home = folder / "berlin" / "a" / "press-7"
        return [file.read_bytes() for file in home.iterdir()] == [self.content]


def test_a_picture_arrives_whole_and_once(tmp_path: Path, certificates: Path) -> None:
    key, picture = new_key("operator-1", "operator"), Picture(tmp_path)
    with receiver(tmp_path / "images", key, certificates) as port:
        sent = picture.upload(port, key.for_device(ADDRESS), certificates)
        digest = hashlib.sha256(picture.content).hexdigest()
        assert sent == Uploaded(size_bytes=300_000, sha256=digest, resumed_from=0)
        assert picture.is_at(tmp_path / "images")
        assert picture.upload(port, key, certificates).resumed_from == 300_000  # nothing is sent again
        picture.file.write_bytes(b"other bytes")
        picture.content = b"other bytes"
        assert picture.upload(port, key, certificates).resumed_from == 0
        assert picture.is_at(tmp_path / "images")


class Watched:
    """What a receiver is sent. It reads nothing more while what is to happen at a size happens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object], *sizes: int) -> None:
        self.received = 0  # bytes, over all tries
        self._happens, self._sizes = happens, list(sizes)
        take = Receiver._take

        async def taken(taker: Receiver, request: Request, wanted: Any, part: Path) -> None:
            seen: Any = SimpleNamespace(stream=lambda: self._seen(request, part))
            await take(taker, seen, wanted, part)

        monkeypatch.setattr(Receiver, "_take", taken)

    async def _seen(self, request: Request, part: Path) -> AsyncIterator[bytes]:
        async for piece in request.stream():
            self.received += len(piece)
            yield piece  # and it is in the file
            if self._sizes and part.stat().st_size > self._sizes[0]:
                self._sizes.pop(0)
                self._happens()


def test_a_picture_that_is_cut_in_the_middle_goes_on_where_it_was(
    tmp_path: Path, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, picture = new_key("operator-1", "operator"), Picture(tmp_path, 2_000_000)
    with receiver(tmp_path / "images", key, certificates) as port, FaultProxy(port) as proxy:
        watched = Watched(monkeypatch, proxy.reset, 300_000, 900_000)
        sent = picture.upload(proxy.port, key, certificates)
        assert sent.size_bytes == watched.received == 2_000_000  # each byte once
        assert picture.is_at(tmp_path / "images")
        assert proxy.connections >= 4


def test_a_station_that_begins_anew_goes_on_where_it_was(
    tmp_path: Path, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 40_000_000  # more than all that is on the way can hold
    key, picture, stop = new_key("operator-1", "operator"), Picture(tmp_path, size), threading.Event()
    with receiver(tmp_path / "images", key, certificates, max_bytes=10**8) as port:
        home = tmp_path / "images" / "berlin" / "a" / "press-7"
        Watched(monkeypatch, stop.set, 200_000)
        with (
            FaultProxy(port, wire=WireOfProxy(bytes_per_s=2e7)) as proxy,
            pytest.raises(ControlError, match="the station stops"),
        ):
            picture.upload(proxy.port, key, certificates, stop=stop)
        assert not any(home.glob("*.jpg"))
        sent = picture.upload(port, key, certificates)
        assert 200_000 < sent.resumed_from < size
        assert picture.is_at(tmp_path / "images")


def test_who_is_not_the_station_is_kept_out(tmp_path: Path, certificates: Path) -> None:
    key, picture = new_key("operator-1", "operator"), Picture(tmp_path)
    other = image_path(ADDRESS, "e-2", "frame")
    with receiver(tmp_path / "images", key, certificates) as port:
        for shown, path in ((None, PATH), (new_key("operator-1", "operator"), PATH), (key, other)):
            with pytest.raises(ControlError, match="does not take the picture: 401"):
                picture.upload(port, shown, certificates, path=path)
    assert not (tmp_path / "images").exists()


def test_a_server_that_nobody_vouches_for_gets_nothing(tmp_path: Path, certificates: Path) -> None:
    key, picture = new_key("operator-1", "operator"), Picture(tmp_path)
    make_certificates(tmp_path / "foreign")
    with receiver(tmp_path / "images", key, certificates) as port:
        for ca_file in (tmp_path / "foreign" / "ca.pem", None):
            with pytest.raises(ControlError, match="cannot be trusted"):
                picture.upload(port, key, certificates, ca_file=ca_file)
    assert not (tmp_path / "images").exists()


def test_what_is_too_large_or_no_picture_is_refused_at_once(tmp_path: Path, certificates: Path) -> None:
    key, picture = new_key("operator-1", "operator"), Picture(tmp_path)
    with (
        receiver(tmp_path / "images", key, certificates, max_bytes=1000) as port,
        pytest.raises(ControlError, match="413 a picture has 1 to 1000 bytes"),
    ):
        picture.upload(port, key, certificates)
    with receiver(tmp_path / "images", key, certificates) as port, pytest.raises(ControlError, match="415"):
        picture.upload(port, key, certificates, content_type="text/html")


def test_a_server_that_is_away_is_tried_so_often_and_then_said(tmp_path: Path, certificates: Path) -> None:
    picture = Picture(tmp_path)
    with pytest.raises(ControlError, match=f"in {TRIES} tries"):
        picture.upload(free_port(), None, certificates)


def test_a_full_disk_is_said_and_the_picture_goes_on_later(
    tmp_path: Path, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, picture = new_key("operator-1", "operator"), Picture(tmp_path)
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
        with (
            receiver(tmp_path / "images", key, certificates) as port,
            pytest.raises(ControlError, match="507 the receiver's disk has too little room"),
        ):
            picture.upload(port, key, certificates)
    with receiver(tmp_path / "images", key, certificates) as port:
        assert picture.upload(port, key, certificates).size_bytes == 300_000


def ask(port: int, certificates: Path, method: str, body: bytes | None, **headers: str) -> int:
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=WAIT_S)
    connection.request(method, PATH, body, {name.replace("_", "-"): value for name, value in headers.items()})
    status = connection.getresponse().status
    connection.close()
    return status


def test_bytes_that_are_not_what_was_announced_are_no_picture(tmp_path: Path, certificates: Path) -> None:
    key = new_key("operator-1", "operator")
    digest = base64.b64encode(hashlib.sha256(b"what was announced").digest()).decode()
    about = {
        "Authorization": f"Bearer {upload_token(key, ADDRESS, PATH)}", "Repr_Digest": f"sha-256=:{digest}:",
        "Upload_Length": "18", "Content_Type": "image/jpeg",
    }  # fmt: skip
    with receiver(tmp_path / "images", key, certificates) as port:

        def put(body: bytes, content_range: str) -> int:
            return ask(port, certificates, "PUT", body, **about, Content_Range=content_range)

        assert put(b"what was different", "bytes 0-17/18") == 409
        assert ask(port, certificates, "HEAD", None, **about) == 404  # it begins anew
        assert put(b"what", "bytes 4-17/18") == 409
        assert put(b"what", "bytes 0-3/18") == 400
        assert put(b"far too much of it all", "bytes 0-17/18") == 400
        assert put(b"what", "nonsense") == 400
        assert ask(port, certificates, "PUT", b"", **{**about, "Repr_Digest": "md5=:x:"}) == 400
        assert not list((tmp_path / "images").rglob("*.jpg"))
        shutil.rmtree(tmp_path / "images")
        assert put(b"what was announced", "bytes 0-17/18") == 201
        assert ask(port, certificates, "GET", None, **about) == 405


def test_a_beginning_that_nobody_goes_on_with_is_removed(tmp_path: Path, certificates: Path) -> None:
    key, picture = new_key("operator-1", "operator"), Picture(tmp_path)
    home = tmp_path / "images" / "berlin" / "a" / "press-7"
    home.mkdir(parents=True)
    stale = home / ".e-0-frame.x.1.part"
    stale.write_bytes(b"x")
    os.utime(stale, (0, 0))
    with receiver(tmp_path / "images", key, certificates) as port:
        picture.upload(port, key, certificates)
    assert not stale.exists()


@pytest.mark.broker
def test_a_reject_of_a_running_station_is_fetched_on_command(tmp_path: Path, certificates: Path) -> None:
    keys = make_keys(tmp_path)
    with (
        Mosquitto(tmp_path / "broker") as broker,
        receiver(tmp_path / "images", keys["operator"], certificates) as port,
        Office(broker.port) as office,
    ):
        upload = {"upload_to": [f"https://localhost:{port}/v1/images"], "upload_ca_file": str(certificates / "ca.pem")}
        told = station_file(tmp_path, broker.port, commands=upload)
        with running(told) as station:
            assert station.camera is not None
            station.camera.brightness = 200
            assert eventually(lambda: bool(office.told(AlertMessage)), WAIT_S)
            alert: Alert = office.told(AlertMessage)[0]
            station.camera.brightness = 50
            event = f"{alert.stream_id}-{alert.seq}"
            pictures = tmp_path / "pictures"
            assert eventually(lambda: find_picture(pictures, event) is not None, WAIT_S)
            frame = find_picture(pictures, event)
            assert frame is not None
            url = f"https://localhost:{port}{image_path(ADDRESS, event, 'frame')}"
            reply = done(
                office.send("fetch-image", keys["operator"], event=event, upload_url=url, token_id="operator-1")
            )
            assert reply.result is not None
            assert reply.result["resumed_from"] == 0
            (kept,) = (tmp_path / "images").rglob(f"{event}-frame.jpg")
            assert hashlib.sha256(kept.read_bytes()).hexdigest() == reply.result["sha256"]
            for what in ("overlay", "heatmap"):
                there = f"https://localhost:{port}{image_path(ADDRESS, event, what)}"
                asked: dict[str, Any] = {"event": event, "what": what, "upload_url": there, "token_id": "operator-1"}
                drawn = done(office.send("fetch-image", keys["operator"], **asked))
                assert drawn.result is not None
                assert drawn.result["what"] == what
                (kept,) = (tmp_path / "images").rglob(f"{event}-{what}.jpg")
                assert kept.read_bytes() == frame.with_name(frame.name.replace(FRAME, HEAT)).read_bytes()
            outside = office.send("fetch-image", keys["operator"], event=event, upload_url="https://thief.example/x")
            assert outside.reply is not None
            assert "sends no pictures to" in str(outside.reply.sentence)
            gone = office.send("fetch-image", keys["operator"], event="s-9", upload_url=url.replace(event, "s-9"))
            assert gone.reply is not None
            assert "there is no picture of s-9" in str(gone.reply.sentence)
            with Sender(BrokerAddress(host="127.0.0.1", port=broker.port)) as sender:
                assert sender.find("press-7") == (ADDRESS, True)
