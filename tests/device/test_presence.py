"""What a station says of itself is what its threads have said, whichever came first."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_resad.device.presence import Presence
from edge_resad.device.settings import StationSection
from edge_resad.device.spool import Spool
from edge_resad.messages import Birth, read_message

CAMERAS = ("cam0", "cam1", "cam2")


@pytest.fixture
def _threads_take_turns() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_threads_take_turns")
def test_what_threads_say_at_the_same_moment_is_all_said(tmp_path: Path) -> None:
    station = StationSection(device="press-7", site="berlin", line="a", product="housing")
    with Spool(tmp_path / "spool.db", max_bytes=10**7) as spool:
        for _ in range(20):
            presence = Presence(station, spool, {})

            def say(camera: str, presence: Presence = presence) -> None:
                for number in range(1000):
                    presence.set_faults({camera: (f"dark-{number}",)})
                    presence.set_problem(camera, f"ill {number}")

            threads = [threading.Thread(target=say, args=(camera,)) for camera in CAMERAS]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            birth = read_message(presence.birth(bd_seq=1, live_from_seq=1)).data
            assert isinstance(birth, Birth)
            assert birth.faults == dict.fromkeys(CAMERAS, ("dark-999",))
            assert birth.about["problems"] == dict.fromkeys(CAMERAS, "ill 999")
