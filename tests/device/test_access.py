"""Certificates and clocks: who a station is, and what a clock at 1970 means for whom it believes."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from edge_resad.clock_floor import FLOOR_S, is_set
from edge_resad.device.access import read_access
from edge_resad.device.settings import BrokerSection
from edge_resad.errors import SettingsError
from tests.device.certificates import make_certificate
from tests.mqtt_peers import Mosquitto, Subscriber, free_port, make_certificates
from tests.wall_clock import MONOTONIC_AS_IT_IS

ROOT = Path(__file__).parents[2]
NO_CHECK_TIME = 0x200000


def section(folder: Path, *, name: str = "press-7", **more: object) -> BrokerSection:
    ca, _, _ = make_certificates(folder)
    cert, key = make_certificate(folder, name, authority=folder)
    return BrokerSection.model_validate({"host": "h", "ca_file": ca, "cert_file": cert, "key_file": key, **more})


def test_tls_is_at_least_1_2_and_looks_at_names_and_dates(tmp_path: Path) -> None:
    tls = read_access(section(tmp_path), client_id="press-7", connect_timeout_s=1, device="press-7").tls
    assert tls is not None
    assert tls.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert tls.check_hostname
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert not tls.verify_flags & NO_CHECK_TIME


@pytest.mark.parametrize(("without_clock", "now", "blind"), [
    ("wait", 0.0, False), ("connect", 0.0, True), ("connect", FLOOR_S, False), ("connect", FLOOR_S - 1, True),
])  # fmt: skip
def test_dates_are_passed_over_only_where_the_clock_is_wrong_and_that_was_asked_for(
    tmp_path: Path, without_clock: str, now: float, blind: bool
) -> None:
    told = section(tmp_path, without_clock=without_clock)
    tls = read_access(told, client_id="press-7", connect_timeout_s=1, now=now).tls
    assert tls is not None
    assert bool(tls.verify_flags & NO_CHECK_TIME) == blind
    assert tls.check_hostname
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert is_set(now) == (now >= FLOOR_S)


def test_a_certificate_must_bear_the_stations_name_where_it_is_what_proves_who_it_is(tmp_path: Path) -> None:
    told = section(tmp_path, name="press-8")
    with pytest.raises(SettingsError, match="is the certificate of 'press-8' and this station is 'press-7'"):
        read_access(told, client_id="press-7", connect_timeout_s=1, device="press-7")
    named = told.model_copy(update={"username": "line-4"})  # the broker knows it by that
    access = read_access(named, client_id="press-7", connect_timeout_s=1, device="press-7")
    assert access.certificate is not None
    assert access.certificate.common_name == "press-8"


_STATION = """
import select, sys
from pathlib import Path
from edge_resad.device.publisher import Publisher, Timing
from edge_resad.device.settings import BrokerSection, StationSection
from edge_resad.device.spool import Spool
path, port, ca, without_clock = sys.argv[1:]
broker = BrokerSection(host="localhost", port=int(port), ca_file=Path(ca), without_clock=without_clock)
with Spool(Path(path), max_bytes=1 << 20, commit_ms=1.0, reserve_bytes=0) as spool:
    stamps = [spool.put("er/v1/s/l/d/evt/c", lambda stamp: b"1", kind="fail") for _ in range(3)]
    assert spool.flush(60)
    station, timing = StationSection(site="s", line="l", device="d"), Timing(connect_s=60, connack_s=60)
    with Publisher(spool, broker, station, birth={}, timing=timing) as publisher:
        while publisher.status.problem is None and spool.waiting():
            select.select([], [], [], 0.01)  # faketime knows no sleep
        print(int(stamps[0].wall < 1e6), spool.waiting(), publisher.status.problem)
"""


@pytest.mark.broker
@pytest.mark.parametrize(("without_clock", "expected"), [
    ("wait", "1 3 this station's clock is not set (it says 1970-01-02 "), ("connect", "1 0 None"),
])  # fmt: skip
def test_a_station_that_boots_in_1970_waits_or_connects_as_it_was_told(
    tmp_path: Path, without_clock: str, expected: str
) -> None:
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("no faketime on PATH: apt-get install faketime")
    ca, cert, key = make_certificates(tmp_path)
    plain = free_port()  # for somebody who subscribes
    settings = [f"cafile {ca}", f"certfile {cert}", f"keyfile {key}", f"listener {plain} 127.0.0.1"]
    with Mosquitto(tmp_path / "broker", settings=settings) as broker, Subscriber(plain):
        words = [sys.executable, "-c", _STATION, str(tmp_path / "spool.db"), str(broker.port), str(ca), without_clock]
        environment = {**os.environ, **MONOTONIC_AS_IT_IS, "FAKETIME_DONT_RESET": "1"}
        command = [faketime, "-f", "@1970-01-02 12:00:00", *words]
        run = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT, env=environment)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(expected)
