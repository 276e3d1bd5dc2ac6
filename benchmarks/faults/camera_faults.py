"""Faults of a camera: it hangs, goes away, or gives pictures that nobody can judge."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.faults.belt import BeltCamera, BeltDevice, Mood
from benchmarks.faults.scene import Outcome, Scene, Stage
from edge_resad.device.device_name import DeviceName
from edge_resad.device.frame import FrameSource
from edge_resad.device.v4l2 import V4L2Camera
from edge_resad.errors import CameraError

LASTS_S = 4.0
LEARN_PARTS = 40  # from which a station learns how sharp its pictures are, and that none comes twice

Play = Callable[[Stage], Outcome]

MOODS: tuple[tuple[Mood, str], ...] = (
    ("black", "black"),
    ("white", "white"),
    ("frozen", "again and again"),
    ("wrong size", "another size"),
    ("blurred", "blurred"),
    ("too dark", "too dark"),
    ("too bright", "too bright"),
)


def hangs(stage: Stage) -> Outcome:
    """A read that never returns; the camera can be opened anew."""
    with Scene(stage, "camera-hangs") as scene:
        scene.until_judged()
        scene.begin()
        scene.camera.hang(opened_anew_too=False)
        scene.until(lambda: scene.warned("opened again") is not None)
        scene.end()
        return scene.outcome("camera hangs in read()", recovered_s=scene.until_recovered(), words=("hangs",))


def hangs_for_a_while(stage: Stage) -> Outcome:
    """Every read hangs, then none."""
    with Scene(stage, "camera-hangs-a-while") as scene:
        scene.until_judged()
        scene.begin()
        scene.camera.hang(opened_anew_too=True)
        scene.last_for(LASTS_S)
        scene.camera.mood = "well"
        scene.camera.release()
        scene.end()
        return scene.outcome("every read() hangs for 4 s", recovered_s=scene.until_recovered(), words=("hangs",))


def the_second_hangs(stage: Stage) -> Outcome:
    """The second camera of two hangs, also when it is opened anew, and no part of the first one is lost by it."""
    with Scene(stage, "second-camera-hangs", has_second=True) as scene:
        scene.until_judged()
        scene.begin()
        scene.second.hang(opened_anew_too=True)
        scene.last_for(2 * LASTS_S)
        scene.second.mood = "well"
        scene.second.release()
        scene.end()
        recovered_s = scene.until_recovered()
        return scene.outcome("second camera of two hangs for 8 s", recovered_s=recovered_s, words=("hangs",))


def goes_and_comes_back(stage: Stage) -> Outcome:
    """Unplugged, and plugged in again as another device."""
    tree = stage.folder / "dev"
    lasting = tree / "v4l" / "by-id"
    lasting.mkdir(parents=True)
    first, second, link = tree / "video0", tree / "video1", lasting / "usb-camera"
    first.touch()
    link.symlink_to(first)

    def open_camera(camera: BeltCamera, halt: threading.Event) -> FrameSource:
        name, opened = DeviceName(str(first), (lasting,)), camera.opened(halt)

        def open_device() -> BeltDevice:
            there = Path(name.now())
            if not there.exists() or (there == first and second.exists()):
                raise CameraError(f"no camera at {there}")
            name.remember()
            return opened()

        return V4L2Camera(str(first), open_device=open_device, stop=halt)

    with Scene(stage, "camera-goes", open_camera=open_camera) as scene:
        scene.until_judged()
        scene.begin()
        link.unlink()
        first.unlink()
        scene.camera.mood = "gone"
        scene.last_for(LASTS_S)
        second.touch()
        link.symlink_to(second)
        scene.camera.mood = "well"
        scene.end()
        recovered_s = scene.until_recovered()
        return scene.outcome("camera unplugged for 4 s, back under another name", recovered_s=recovered_s)


def gives(mood: Mood, words: str, stage: Stage) -> Outcome:
    """Pictures that are ill."""
    with Scene(stage, f"camera-{mood.replace(' ', '-')}") as scene:
        scene.until_judged(LEARN_PARTS if mood in ("blurred", "frozen") else 10)
        scene.begin()
        scene.camera.mood = mood
        scene.last_for(LASTS_S)
        scene.camera.mood = "well"
        scene.end()
        return scene.outcome(f"pictures {mood}", recovered_s=scene.until_recovered(), words=(words,))


CAMERA_FAULTS: dict[str, Play] = {
    "camera-hangs": hangs,
    "camera-hangs-a-while": hangs_for_a_while,
    "camera-second-hangs": the_second_hangs,
    "camera-goes": goes_and_comes_back,
    **{f"camera-{mood.replace(' ', '-')}": partial(gives, mood, words) for mood, words in MOODS},
}
