"""`edge-resad fleet images`: the receiver of pictures as a program, and who fills in its address."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge_resad.device.commands.upload import Upload, upload_context
from edge_resad.errors import SettingsError
from edge_resad.fleet.serve_images import serve_images
from edge_resad.fleet.settings import ImagesSection, load_fleet
from edge_resad.messages import image_path, new_key, upload_token, write_key
from tests.device.commanded import ADDRESS, make_keys, meet, running, station_file
from tests.fleet.peers import CHECKOUT
from tests.fleet.test_send import edge_resad
from tests.mqtt_peers import Mosquitto, make_certificates

PATH = image_path(ADDRESS, "e-1", "frame")


def fleet_file(folder: Path, more: str = "") -> Path:
    file = folder / "fleet.toml"
    file.write_text(
        '[broker]\nhost = "127.0.0.1"\n[images]\nport = 0\ncertificate = "broker.pem"\nkey = "broker.key"\n'
        f'keys = ["operator.key"]\nmin_free_mb = 0\n{more}'
    )
    return file


@pytest.mark.parametrize(
    "came",
    [None, (50_000, 0), (0, 0), (50_000, 50_000)],
    ids=["nothing", "the half", "all, and killed before it was in its place", "all, of which a power cut took a half"],
)
def test_the_receiver_takes_a_picture_and_ends_when_it_is_told(tmp_path: Path, came: tuple[int, int] | None) -> None:
    """came: of an earlier try, bytes that are not there, and zeros in place of them."""
    make_certificates(tmp_path)
    key = new_key("operator-1", "operator")
    write_key(key, tmp_path / "operator.key")
    picture = b"\xff\xd8" + b"x" * 100_000
    (tmp_path / "frame.jpg").write_bytes(picture)
    home = tmp_path / "images" / "berlin" / "a" / "press-7"
    if came is not None:
        home.mkdir(parents=True)
        name = f".e-1-frame.{hashlib.sha256(picture).hexdigest()[:32]}.{len(picture)}.part"
        (home / name).write_bytes(picture[: len(picture) - came[0]] + b"\0" * came[1])
    command = [sys.executable, "-m", "edge_resad", "fleet", "images", str(fleet_file(tmp_path))]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as receiver:
        try:
            assert receiver.stdout is not None
            port = receiver.stdout.readline().strip().rstrip("/").rpartition(":")[2]
            sent = Upload(
                tmp_path / "frame.jpg",
                f"https://localhost:{port}{PATH}",
                content_type="image/jpeg",
                token=upload_token(key, ADDRESS, PATH),
                context=upload_context(tmp_path / "ca.pem"),
                stop=threading.Event(),
            ).run()
            receiver.send_signal(signal.SIGTERM)
            assert receiver.wait(60) in (0, -signal.SIGTERM)
        finally:
            receiver.kill()
    assert hashlib.sha256((home / "e-1-frame.jpg").read_bytes()).hexdigest() == sent.sha256
    assert not list(home.glob(".*.part"))


def test_a_receiver_without_a_certificate_or_keys_does_not_begin(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs certificate, key and keys"):
        serve_images(ImagesSection())
    (tmp_path / "broker.pem").write_text("no certificate")
    (tmp_path / "broker.key").write_text("no key")
    write_key(new_key("operator-1", "operator"), tmp_path / "operator.key")
    with pytest.raises(SettingsError, match="They must be PEM files"):
        serve_images(load_fleet(fleet_file(tmp_path)).images)


def test_every_path_of_the_section_is_beside_the_file(tmp_path: Path) -> None:
    told = load_fleet(fleet_file(tmp_path)).images
    assert (told.folder, told.certificate, told.keys) == (
        tmp_path / "images", tmp_path / "broker.pem", (tmp_path / "operator.key",)
    )  # fmt: skip


@pytest.mark.broker
def test_who_asks_for_a_picture_need_not_know_where_it_goes(tmp_path: Path) -> None:
    make_keys(tmp_path)
    with Mosquitto(tmp_path / "broker") as broker, running(station_file(tmp_path, broker.port)):
        fleet = fleet_file(tmp_path, 'url = "https://fleet.example:8444"\n')
        fleet.write_text(fleet.read_text().replace('"127.0.0.1"\n', f'"127.0.0.1"\nport = {broker.port}\n', 1))
        signed = ("--fleet", fleet, "--key", tmp_path / "operator.key")
        meet(broker.port)
        asked = edge_resad("send", "press-7", "fetch-image", "event=s-1", *signed)
    assert asked.exit_code == 1
    assert f"https://fleet.example:8444{image_path(ADDRESS, 's-1', 'frame')}" in asked.stdout
