"""What a station says of itself: what several threads say at the same time is said together."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from edge_resad.device.presence import Presence
from edge_resad.device.settings import StationSection
from edge_resad.device.spool import Spool
from edge_resad.messages import Birth, read_message

Faults = tuple[str, ...]


class Slow(Mapping[str, Faults]):
    """Faults of a camera, of a thread that is held up while it says them."""

    def __init__(self) -> None:
        self.is_said, self.go_on = threading.Event(), threading.Event()

    def __getitem__(self, camera: str) -> Faults:
        return ("black",)

    def __iter__(self) -> Iterator[str]:
        self.is_said.set()
        assert self.go_on.wait(60.0)
        return iter(("cam0",))

    def __len__(self) -> int:
        return 1


def test_what_two_threads_say_at_the_same_time_is_both_in_the_state(tmp_path: Path) -> None:
    slow = Slow()
    with Spool(tmp_path / "spool.db", max_bytes=10**8) as spool:
        presence = Presence(StationSection(device="press-7"), spool, {})
        line = threading.Thread(target=presence.set_faults, args=(slow,))
        machine = threading.Thread(target=presence.set_faults, args=({"machine": ("hot",)},))
        line.start()
        assert slow.is_said.wait(60.0)
        machine.start()
        machine.join(0.2)  # done, or waiting for its turn
        slow.go_on.set()
        line.join()
        machine.join()
        birth = read_message(presence.birth(bd_seq=1, live_from_seq=1)).data
    assert isinstance(birth, Birth)
    assert birth.faults == {"cam0": ("black",), "machine": ("hot",)}
