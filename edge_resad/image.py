"""How an image gets from a file or a camera to the network: 8-bit BGR, both sides resized, nothing cut away."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.errors import ImageError

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Names of files that are taken from a folder, in lower case; upper case counts too."""

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
"""Names of files that are taken frame by frame, likewise."""


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """The picture in one file, the way a viewer shows it.

    Gray becomes three equal channels, transparency is dropped, 16 bit become 8, a camera's note about its
    orientation is followed.

    returns: (H, W, 3) uint8, BGR.
    """
    return decode_image(file_content(path), path)


def file_content(path: str | os.PathLike[str]) -> bytes:
    """The bytes of an image's file, for who needs more of it than the picture."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise ImageError(f"no file {path}. Expected an image there. Check the path.") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(
            f"{path} cannot be opened: {reason}. Expected an image file that this user may read."
        ) from error


def decode_image(content: bytes, name: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """The picture in a file's bytes, as `read_image` gives it.

    name:    what to call the file where it holds no picture.
    returns: (H, W, 3) uint8, BGR.
    """
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    except cv2.error:  # a header that promises more pixels than OpenCV takes
        image = None
    if image is None:
        what = "cannot be read as an image" if content else "is empty"
        raise ImageError(
            f"{name} {what}. Expected a whole picture in one of the formats {_formats()}. "
            "Copy the file again, or remove it."
        )
    return np.ascontiguousarray(image, dtype=np.uint8)


def fit(image: NDArray[np.uint8], size: int, out: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Resize both sides to what the network takes, into memory that exists already.

    image: (H, W, 3) uint8.
    size:  side of the network's input, pixels.
    out:   (size, size, 3) uint8, overwritten and returned.
    """
    check_frame(image)
    if out.shape != (size, size, 3) or out.dtype != np.uint8 or not out.flags.c_contiguous:
        raise ValueError(f"out must be a C-contiguous ({size}, {size}, 3) uint8, got {out.shape} {out.dtype}")
    shrinks = image.shape[0] >= size and image.shape[1] >= size
    cv2.resize(image, (size, size), dst=out, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return out


def check_frame(image: NDArray[np.uint8]) -> None:
    """Refuse what is not a C-contiguous (H, W, 3) uint8 picture with at least one pixel."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ImageError(
            f"this frame is an array {image.shape} of {image.dtype}. Expected (height, width, 3) of uint8, BGR. "
            "Convert the camera's pixel format to 8-bit BGR."
        )
    if not image.flags.c_contiguous:
        raise ImageError(
            f"this frame {image.shape} has gaps or turned axes in memory. Expected rows that follow each other. "
            "Pass numpy.ascontiguousarray(frame)."
        )


def image_files(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The images that a file, a folder or several of them name; `2.png` comes before `10.png`, each file once.

    Of a folder: the files directly inside with a suffix of `IMAGE_SUFFIXES`, hidden ones left out.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    found = {file for path in given for file in _files_at(Path(path))}
    if not found:
        raise ImageError(f"no images were given. Expected a folder, or files in one of the formats {_formats()}.")
    return sorted(found, key=natural_order)


def natural_order(path: Path) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """A sorting key that counts: numbers inside names compare as numbers."""
    pieces = re.split(r"([0-9]+)", str(path).casefold())
    counted = tuple((0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces if piece)
    return counted, str(path)


def _files_at(path: Path) -> list[Path]:
    if not path.exists():
        raise ImageError(f"no file or folder {path}. Expected images there. Check the path.")
    if not path.is_dir():
        return [path]
    try:
        inside = sorted(path.iterdir())
    except OSError as error:
        raise ImageError(f"the folder {path} cannot be read: {error.strerror}. Expected images there.") from error
    images = [file for file in inside if is_image_name(file) and file.is_file()]
    if not images:
        folders = [folder.name for folder in inside if folder.is_dir() and not folder.name.startswith(".")]
        hint = f" It holds the folders {', '.join(folders[:5])}: name one of them." if folders else ""
        raise ImageError(f"no images in the folder {path}. Expected files named like {_formats()}.{hint}")
    return images


def is_image_name(path: Path) -> bool:
    """Whether a file is called like an image; `._part.png`, as some systems leave behind, is not one."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _formats() -> str:
    return " ".join(IMAGE_SUFFIXES)
