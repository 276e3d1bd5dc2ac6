"""What a station says of itself is what all of its threads said, also those that speak in the same moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from edge_resad.device.presence import Presence
from edge_resad.device.settings import StationSection
from edge_resad.device.spool import Spool
from edge_resad.messages import Birth, read_message


class Interrupted(Mapping[str, tuple[str, ...]]):
    """Faults of a camera; while somebody looks at them another thread has its say, unless it has to wait."""

    def __init__(self, presence: Presence) -> None:
        self.other = threading.Thread(target=lambda: presence.set_faults({"cam1": ("frozen",)}))

    def __iter__(self) -> Iterator[str]:
        self.other.start()
        self.other.join(0.2)
        return iter(("cam0",))

    def __getitem__(self, camera: str) -> tuple[str, ...]:
        return ("black",)

    def __len__(self) -> int:
        return 1


def test_faults_of_two_cameras_in_one_moment_are_both_said(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool.db", max_bytes=1 << 20) as spool:
        presence = Presence(StationSection(site="graz", line="l4", device="press-7"), spool, {"product": "bolt"})
        faults = Interrupted(presence)
        presence.set_faults(faults)
        faults.other.join(60)
        said = read_message(presence.birth(bd_seq=1, live_from_seq=1)).data
    assert isinstance(said, Birth)
    assert said.faults == {"cam0": ("black",), "cam1": ("frozen",)}
    assert presence.version == 2
