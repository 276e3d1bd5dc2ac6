"""A line that is drawn: parts whose truth is known, for a first try and for demonstrations."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_resad.device.frame import Clock, Frame, Pace, Truth
from edge_resad.errors import CameraError


class Part(Protocol):
    """A drawn part."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) BGR."""

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) True on the defect."""


class Products(Protocol):
    """Who draws parts, such as the module `edge_resad.demo.products`."""

    @property
    def FAMILIES(self) -> Iterable[str]:
        """The products that can be drawn."""

    @property
    def DEFECTS(self) -> Sequence[str]:
        """What can be wrong with one."""

    def draw(self, family: str, seed: int, *, size: int, defect: str | None, severity: int) -> Part:
        """One part. severity: 1 subtle .. 3 clear."""


class SyntheticLine:
    """Draws part after part, without end; one of every `bad_every` is defective, by a plan that the seed decides."""

    unreadable = 0

    def __init__(
        self,
        products: Products,
        family: str = "",  # the first one
        *,
        fps: float | None = None,
        size: int = 320,  # pixels a side
        seed: int = 1,
        bad_every: int = 8,
        stop: threading.Event | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.live = fps is not None
        self._products = products
        self._family = family
        self._size = size
        self._seed = seed
        self._bad_every = bad_every
        self._clock = clock or Clock()
        self._pace = Pace(fps, stop or threading.Event(), self._clock)
        self._taken = 0

    def __enter__(self) -> SyntheticLine:
        known = list(self._products.FAMILIES)
        if self._family and self._family not in known:
            raise CameraError(
                f'no synthetic part is called "{self._family}". Known: {", ".join(known)}. '
                "Name one of them: synthetic:NAME."
            )
        self._family = self._family or known[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def read(self) -> Frame | None:
        frame_id = self._taken
        defect, severity = self.plan(frame_id)
        part = self._products.draw(
            self._family, 1_000_000 * self._seed + frame_id, size=self._size, defect=defect, severity=severity
        )
        if not self._pace.wait():  # the part is ready before it is due
            return None
        self._taken += 1
        return Frame(
            image=part.image,
            frame_id=frame_id,
            captured_mono=self._clock.monotonic(),
            captured_wall=self._clock.wall(),
            name=f"{self._family}#{frame_id}",
            truth=Truth(defect=defect, mask=part.mask if defect else None),
        )

    def plan(self, frame_id: int) -> tuple[str | None, int]:
        """What is wrong with a part, and how badly: None for a good one."""
        block, place = divmod(frame_id, self._bad_every)
        dice = random.Random(f"{self._seed} {block}")
        if place != dice.randrange(self._bad_every):
            return None, 2
        return dice.choice(self._products.DEFECTS), dice.choice((2, 3))
