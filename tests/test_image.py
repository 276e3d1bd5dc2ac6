"""An image is the same picture to the network whatever file or camera it came from."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.errors import ImageError
from edge_resad.image import check_frame, decode_image, file_content, fit, image_files, read_image
from tests.traced import traced


def _write(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> Path:
    ok, encoded = cv2.imencode(path.suffix.lower(), pixels)
    assert ok
    path.write_bytes(encoded.tobytes())
    return path


def test_a_colour_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(read_image(_write(tmp_path / "part.png", pixels)), pixels)


def test_bytes_of_a_file_are_the_picture_in_it(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    path = _write(tmp_path / "part.png", pixels)
    assert np.array_equal(decode_image(file_content(path), path), pixels)


def test_a_name_with_spaces_and_signs_can_be_read(tmp_path: Path) -> None:
    pixels = np.full((4, 4, 3), 9, np.uint8)
    assert read_image(_write(tmp_path / "Stück nº 7 – ü.PNG", pixels)).shape == (4, 4, 3)


def test_gray_becomes_three_equal_channels(tmp_path: Path) -> None:
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(read_image(_write(tmp_path / "gray.png", gray)), np.stack([gray] * 3, axis=2))


def test_transparency_is_dropped(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    assert np.array_equal(read_image(_write(tmp_path / "part.png", pixels)), pixels[:, :, :3])


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_become_eight(tmp_path: Path, suffix: str) -> None:
    deep = np.array([[0, 256, 0x7F00, 0xFFFF]], np.uint16)
    image = read_image(_write(tmp_path / f"deep{suffix}", deep))
    assert image.dtype == np.uint8
    assert np.allclose(image[0, :, 0], [0, 1, 127, 255], atol=1)


def test_the_cameras_orientation_is_followed(tmp_path: Path) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:, :16] = 255
    ok, encoded = cv2.imencode(".jpg", upright)
    assert ok
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)  # orientation 6: to be turned clockwise
    tiff = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1) + entry + struct.pack("<I", 0)
    exif = b"Exif\0\0" + tiff
    jpeg = encoded.tobytes()
    turned = tmp_path / "turned.jpg"
    turned.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    image = read_image(turned)
    assert image.shape == (32, 16, 3)
    assert image[:12].mean() > 250
    assert image[20:].mean() < 5


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"", "is empty"), (b"not a picture at all\n", "cannot be read as an image")],
)
def test_a_file_without_a_picture_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "notes.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=complaint) as refused:
        read_image(path)
    assert str(path) in str(refused.value)
    assert ".png" in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"no file .*lost\.png"):
        read_image(tmp_path / "lost.png")


def test_a_folder_is_not_an_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be opened"):
        read_image(tmp_path)


def test_fit_fills_the_array_it_is_given() -> None:
    out = np.zeros((8, 8, 3), np.uint8)
    assert fit(np.full((20, 12, 3), 77, np.uint8), 8, out) is out
    assert (out == 77).all()


def test_fit_shows_the_whole_image() -> None:
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, :2] = image[:, -2:] = 255
    out = fit(image, 40, np.empty((40, 40, 3), np.uint8))
    assert (out[:, [0, -1]] == 255).all()
    assert (out[:, 1:-1] == 0).all()


def test_shrinking_averages_so_that_fine_texture_does_not_alias() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[::2, ::2] = 200
    out = fit(image, 16, np.empty((16, 16, 3), np.uint8))
    assert (out == 50).all()


def test_growing_is_smooth() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[:, 1] = 240
    row = fit(image, 8, np.empty((8, 8, 3), np.uint8))[0, :, 0].astype(int)
    assert (np.diff(row) >= 0).all()
    assert len(set(row.tolist())) > 2


def test_an_image_of_the_right_size_is_not_changed() -> None:
    image = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert np.array_equal(fit(image, 16, np.empty_like(image)), image)


def test_fit_allocates_no_pixels() -> None:
    image, out = np.zeros((512, 512, 3), np.uint8), np.empty((256, 256, 3), np.uint8)
    fit(image, 256, out)
    most, _ = traced(lambda _: fit(image, 256, out), 1)
    assert most < 10_000


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 8, 3), np.uint8)[:, ::2],
        np.zeros((3, 4, 4), np.uint8).transpose(1, 2, 0),
    ],
    ids=["gray", "four channels", "float", "no pixels", "gaps", "turned axes"],
)
def test_a_frame_of_another_kind_is_refused(frame: NDArray[np.uint8]) -> None:
    with pytest.raises(ImageError, match="Expected"):
        check_frame(frame)
    with pytest.raises(ImageError, match="Expected"):
        fit(frame, 8, np.empty((8, 8, 3), np.uint8))


def test_fit_refuses_an_output_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"\(8, 8, 3\)"):
        fit(np.zeros((4, 4, 3), np.uint8), 8, np.empty((9, 8, 3), np.uint8))


def test_files_come_in_the_order_people_count(tmp_path: Path) -> None:
    for name in ("10.png", "2.PNG", "1.jpg", "b.tiff", "notes.txt", "._2.png"):
        (tmp_path / name).touch()
    assert [file.name for file in image_files(tmp_path)] == ["1.jpg", "2.PNG", "10.png", "b.tiff"]


def test_files_and_folders_can_be_mixed_and_each_file_comes_once(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    for name in ("good/2.png", "good/11.png", "extra.png"):
        (tmp_path / name).touch()
    files = image_files([tmp_path / "good", tmp_path / "extra.png", str(tmp_path / "good" / "2.png")])
    assert files == [tmp_path / "extra.png", tmp_path / "good" / "2.png", tmp_path / "good" / "11.png"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"no file or folder .*nowhere"):
        image_files(tmp_path / "nowhere")


def test_a_folder_without_images_points_at_the_folders_inside(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    with pytest.raises(ImageError, match=r"no images in the folder .* holds the folders good"):
        image_files(tmp_path)


def test_no_paths_at_all_is_an_error() -> None:
    with pytest.raises(ImageError, match="no images were given"):
        image_files([])
