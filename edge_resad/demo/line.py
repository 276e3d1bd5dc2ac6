"""The demo's line: so many parts and no more, one in six defective, and what is wrong with each is known."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from typing import TypeVar

from edge_resad.demo import products
from edge_resad.device.frame import Clock, Frame, Pace
from edge_resad.device.synthetic import SyntheticLine

BAD_EVERY = 6
SEVERITIES = (1, 2, 3)
FIRST_SHOWN = 999_000  # parts from here on are for enrolment: the line never gets there
FIRST_MORE = 999_500  # good parts from here on are for a better threshold

_Choice = TypeVar("_Choice")


class DemoLine(SyntheticLine):
    """A synthetic line that ends. It keeps its pace, but every part waits for its turn: a demo judges them all.

    A part is drawn when it is due and photographed after that, so that drawing takes nothing from the inspection of
    the part before: a real camera computes nothing either.
    """

    def __init__(
        self, family: str, parts: int, *, seed: int, fps: float | None, stop: threading.Event | None = None
    ) -> None:
        super().__init__(products, family, seed=seed, bad_every=BAD_EVERY)
        self._due = Pace(fps, stop or threading.Event(), Clock())
        self._seed_of_plan = seed
        self._left = parts

    def read(self) -> Frame | None:
        if self._left == 0 or not self._due.wait():
            return None
        self._left -= 1
        return super().read()

    def plan(self, frame_id: int) -> tuple[str | None, int]:
        """What is wrong with a part, and how badly: None for a good one."""
        return planned(frame_id, self._seed_of_plan)


def planned(frame_id: int, seed: int) -> tuple[str | None, int]:
    """What is wrong with a part, and how badly.

    Every kind of defect comes once before one comes again, and so does every severity. No two defective parts follow
    each other, so that each has an alert of its own.
    """
    block, place = divmod(frame_id, BAD_EVERY)
    if place != random.Random(f"{seed} place {block}").randrange(1, BAD_EVERY):
        return None, 2
    return _in_turn(products.DEFECTS, block, f"{seed} kind"), _in_turn(SEVERITIES, block, f"{seed} severity")


def shown(family: str, count: int, *, seed: int) -> list[products.Part]:
    """Good parts to enrol, none of which comes down the line of this seed."""
    return _good(family, FIRST_SHOWN, count, seed)


def more_good(family: str, count: int, *, seed: int) -> list[products.Part]:
    """Good parts that neither come down the line of this seed nor were enrolled."""
    return _good(family, FIRST_MORE, count, seed)


def _good(family: str, first: int, count: int, seed: int) -> list[products.Part]:
    return [products.draw(family, 1_000_000 * seed + first + k) for k in range(count)]


def _in_turn(choices: Sequence[_Choice], turn: int, seed: str) -> _Choice:
    """The choices shuffled anew for every round through them."""
    around, place = divmod(turn, len(choices))
    return random.Random(f"{seed} {around}").sample(choices, len(choices))[place]
