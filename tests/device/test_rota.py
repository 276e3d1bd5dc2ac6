"""Whose turn it is among several cameras."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_resad.device.frame import Frame
from edge_resad.device.handover import NewestFrame
from edge_resad.device.rota import Rota
from edge_resad.errors import CameraError


def frame(number: int) -> Frame:
    image = np.zeros((2, 2, 3), np.uint8)
    return Frame(image=image, frame_id=number, captured_mono=0.0, captured_wall=0.0)


def places(count: int) -> tuple[list[NewestFrame], Rota]:
    changed = threading.Condition()
    slots = [NewestFrame(live=True, changed=changed) for _ in range(count)]
    return slots, Rota(slots, changed)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_a_camera_waits_for_one_frame_of_each_other_at_most(fast: list[int]) -> None:
    slots, rota = places(4)
    waited = 0
    slots[3].put(frame(0))
    for number in fast:
        for index in range(3):  # the others always have one
            slots[index].put(frame(number))
        turn = rota.next(0.0)
        assert turn is not None
        waited = 0 if turn[0] == 3 else waited + 1
        if turn[0] == 3:
            slots[3].put(frame(number))
        assert waited <= 3


def test_a_frame_of_any_camera_ends_the_wait() -> None:
    slots, rota = places(2)
    putter = threading.Thread(target=lambda: slots[1].put(frame(7)))
    putter.start()
    turn = rota.next(20.0)
    putter.join()
    assert turn is not None
    assert (turn[0], turn[1].frame_id) == (1, 7)


def test_cameras_at_their_end_are_not_waited_for() -> None:
    slots, rota = places(2)
    slots[0].end()
    slots[1].put(frame(1))
    slots[1].end()
    assert rota.next(20.0) is not None
    assert rota.next(20.0) is None
    assert all(slot.ended for slot in slots)


def test_what_ended_a_camera_is_raised_when_its_frames_are_taken() -> None:
    slots, rota = places(2)
    slots[1].end(CameraError("no camera at /dev/video1"))
    with pytest.raises(CameraError, match="video1"):
        rota.next(20.0)
