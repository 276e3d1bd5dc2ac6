"""What the network sees of one part of a product: aligned, cut out and scaled, ahead of its turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edge_resad.decision import NotInspected
from edge_resad.engine.ahead import Ahead
from edge_resad.engine.alignment import Aligner, Place
from edge_resad.engine.cutout import Cutout, Matrix

Image = NDArray[np.uint8]
Tools = tuple[Aligner | None, Sequence[Cutout]]
See = Callable[[Image, "NDArray[np.bool_] | None", Image], None]
"""What turns a cutout, and what of it is to be grey, into what the network sees; `Inspector.see`."""


class Sight:
    """All regions of one part, or why they are not to be judged."""

    def __init__(self, regions: int, side: int) -> None:
        """side: pixels of both sides of the network's input."""
        self.images = np.empty((regions, side, side, 3), np.uint8)
        self.to_frame: Matrix | None = None
        self.place: Place | None = None
        self.refusal: NotInspected | None = None


class Foresight:
    """Sees parts of one product before their turn, with an aligner and cutouts of its own."""

    def __init__(self, regions: int, side: int, see: See, tools: Callable[[], Tools]) -> None:
        """tools: makes what parts are aligned and cut out by; asked for when a part waits for the first time."""
        self._ahead = Ahead(lambda: Sight(regions, side))
        self._see = see
        self._make_tools = tools
        self._tools: Tools | None = None

    def make_ready(self, frame: Image) -> None:
        """See a part. Belongs to one thread, which is not that of `take`."""
        aligner, cutouts = self._tools = self._tools or self._make_tools()  # nobody waits for this part meanwhile

        def fill(sight: Sight) -> None:
            sight.refusal = None
            try:
                sight.to_frame, sight.place = aligned(aligner, frame)
                for cutout, image in zip(cutouts, sight.images, strict=True):
                    self._see(cutout.take(frame, sight.to_frame), cutout.paint, image)
            except NotInspected as refusal:
                sight.refusal = refusal

        self._ahead.fill(frame, fill)

    def take(self, frame: Image) -> Sight | None:
        """What was seen of a part, valid until the next one is taken; None where it was not seen before."""
        return self._ahead.take(frame)


def aligned(aligner: Aligner | None, frame: Image) -> tuple[Matrix | None, Place | None]:
    """Where a part's reference picture lies on a frame, and how the part lies; None without an aligner.

    Raises:
        NotInspected: the part cannot be aligned.
    """
    if aligner is None:
        return None, None
    to_frame = aligner.align(frame)
    return to_frame, aligner.place
