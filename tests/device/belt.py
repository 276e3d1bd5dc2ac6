"""A belt under a camera that stands still: drawn products travel over it, with noise and a light that drifts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.demo.products import draw
from edge_resad.device.frame import Frame

WIDTH, HEIGHT = 240, 80
SIZE = 64  # pixels of a part's picture
RADIUS = 28  # of its outline


@dataclass(frozen=True, kw_only=True)
class Traveller:
    """A part and where its middle is, by the number of the frame."""

    where: Callable[[int], tuple[float, float]]
    family: str = "flange"
    seed: int = 1


def passing(
    start: int, speed: float, *, behind: float = 0.0, y: float = HEIGHT / 2, family: str = "flange", seed: int = 1
) -> Traveller:
    """A part that reaches the camera's left edge with frame `start`, or lies so much behind; speed: pixels a frame."""
    return Traveller(
        where=lambda number: (speed * (number - start) - RADIUS - behind, y),
        family=family,
        seed=seed,
    )


def film(
    travellers: Sequence[Traveller],
    count: int,
    *,
    noise: float = 2.0,  # grey levels
    light: Callable[[int], float] = lambda _number: 1.0,  # brightness by the number of the frame
    belt_speed: float = 0.0,  # of the belt's weave
) -> Iterator[Frame]:
    """The frames that a camera takes, 30 a second."""
    belt, grain = _belt(), _grain()
    for number in range(count):
        image = np.roll(belt, round(belt_speed * number), axis=1).astype(np.float32)
        for traveller in travellers:
            _lay(image, *traveller.where(number), *_part(traveller.family, traveller.seed))
        image *= light(number)
        image += noise * grain[number % len(grain)]
        yield Frame(
            image=np.clip(image, 0, 255).astype(np.uint8),
            frame_id=number,
            captured_mono=number / 30,
            captured_wall=number / 30,
        )


@lru_cache
def _belt() -> NDArray[np.uint8]:
    weave = np.random.default_rng(7).normal(0, 12, (HEIGHT, WIDTH, 1)).astype(np.float32)
    return np.clip(52 + cv2.GaussianBlur(weave, (0, 0), 1.2)[..., None] + np.zeros(3), 0, 255).astype(np.uint8)


@lru_cache
def _grain() -> NDArray[np.float32]:
    """What a sensor adds to a few pictures, deviation 1."""
    return np.random.default_rng(5).normal(0, 1, (24, HEIGHT, WIDTH, 3)).astype(np.float32)


@lru_cache
def _part(family: str, seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The picture of a part, (SIZE, SIZE, 3), and where it is the part and not its belt."""
    image = cv2.resize(draw(family, seed, size=2 * SIZE).image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    outline = np.zeros((SIZE, SIZE), np.uint8)
    cv2.circle(outline, (SIZE // 2, SIZE // 2), RADIUS, 1, -1)
    return image.astype(np.float32), outline > 0


def _lay(image: NDArray[np.float32], x: float, y: float, part: NDArray[np.float32], outline: NDArray[np.bool_]) -> None:
    left, top = round(x) - SIZE // 2, round(y) - SIZE // 2
    x0, x1 = max(left, 0), min(left + SIZE, WIDTH)
    y0, y1 = max(top, 0), min(top + SIZE, HEIGHT)
    if x0 < x1 and y0 < y1:
        inside = outline[y0 - top : y1 - top, x0 - left : x1 - left]
        image[y0:y1, x0:x1][inside] = part[y0 - top : y1 - top, x0 - left : x1 - left][inside]
