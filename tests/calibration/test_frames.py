"""Frames to calibrate with are real, enough and different, or one sentence says what they are not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is the workstation's alone: pip install 'edge-resad[workstation]'")
pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

from calibration.frames import FEWEST, load_frames
from edge_resad.demo.products import draw
from edge_resad.errors import CalibrationError, ImageError


def _parts(folder: Path, count: int) -> Path:
    folder.mkdir()
    for seed in range(count):
        cv2.imwrite(str(folder / f"{seed:03d}.png"), draw("flange", seed, size=128).image)
    return folder


def test_frames_are_as_the_network_takes_them(tmp_path: Path) -> None:
    frames = load_frames([str(_parts(tmp_path / "good", FEWEST))], 64, 99)
    assert len(frames) == FEWEST
    assert {frame.image.shape for frame in frames} == {(64, 64, 3)}
    assert {frame.image.dtype for frame in frames} == {np.dtype(np.uint8)}


def test_more_than_wanted_are_spread_over_all(tmp_path: Path) -> None:
    names = [Path(frame.name).stem for frame in load_frames([str(_parts(tmp_path / "good", 40))], 64, 20)]
    assert len(names) == 20
    assert (names[0], names[-1]) == ("000", "039")


def test_three_frames_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=rf"3 frames are too few .* at least {FEWEST} are needed.*Give more"):
        load_frames([str(_parts(tmp_path / "good", 3))], 64, 99)


def test_a_picture_that_is_there_twice_is_named(tmp_path: Path) -> None:
    good = _parts(tmp_path / "good", FEWEST)
    (good / "copy.png").write_bytes((good / "005.png").read_bytes())
    with pytest.raises(
        CalibrationError, match=r"copy\.png is the same picture as .*005\.png|005\.png is the same .*copy"
    ):
        load_frames([str(good)], 64, 99)


def test_the_same_picture_in_another_format_is_the_same(tmp_path: Path) -> None:
    good = _parts(tmp_path / "good", FEWEST)
    cv2.imwrite(str(good / "copy.bmp"), draw("flange", 3, size=128).image)
    with pytest.raises(CalibrationError, match="is the same picture as"):
        load_frames([str(good)], 64, 99)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    good = _parts(tmp_path / "good", FEWEST)
    (good / "007.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"007\.png cannot be read as an image"):
        load_frames([str(good)], 64, 99)


def test_a_video_gives_its_frames(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "line.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (128, 128))
    for seed in range(FEWEST + 2):
        writer.write(draw("flange", seed, size=128).image)
    writer.release()
    frames = load_frames([str(tmp_path / "line.avi")], 64, FEWEST + 1)
    assert len(frames) == FEWEST + 1


def test_a_running_line_gives_its_frames() -> None:
    frames = load_frames(["synthetic:flange"], 64, FEWEST)
    assert len({frame.sha256 for frame in frames}) == FEWEST
