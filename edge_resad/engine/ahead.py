"""Room for one part that another thread makes ready while the engine computes the one before."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

WAIT_S = 1.0  # for a part that is being made ready; then it is as if nobody had begun

Room = TypeVar("Room")
Picture = NDArray[Any]
_Reference = Callable[[], "Picture | None"]


def _nothing() -> Picture | None:
    """Refers to no picture."""
    return None


class Ahead(Generic[Room]):
    """Two rooms: one thread fills the one while another one uses the other. Nothing is allocated after the first part.

    A picture is known by its array, so nothing is ever taken for another part than the one that it was made of; its
    pixels must stay as they are until then.
    """

    def __init__(self, make_room: Callable[[], Room]) -> None:
        self._make_room = make_room
        self._rooms: list[Room] = []  # a part that never waits needs none
        self._in_use = 0
        self._filled: _Reference = _nothing  # what the other room holds; the picture itself is not kept
        self._filling: _Reference = _nothing
        self._changed = threading.Condition()

    def fill(self, picture: Picture, fill: Callable[[Room], None]) -> None:
        """Let `fill` make a picture ready in a room that is free. Whatever it raises is raised; the room is empty then.

        Belongs to the thread that works ahead.
        """
        if not self._rooms:
            self._rooms = [self._make_room(), self._make_room()]
        with self._changed:
            if self._filled() is picture:
                return
            self._filled, self._filling = _nothing, weakref.ref(picture)
            room = self._rooms[1 - self._in_use]
        filled: _Reference = _nothing
        try:
            fill(room)
            filled = self._filling
        finally:
            with self._changed:
                self._filled, self._filling = filled, _nothing
                self._changed.notify_all()

    def take(self, picture: Picture) -> Room | None:
        """The room that holds a picture, valid until the next one is taken; None where it was not made ready.

        Belongs to the thread that judges, which waits for a moment where just this picture is being made ready.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._filling() is not picture, WAIT_S)
            if self._filled() is not picture:
                return None
            self._filled = _nothing
            self._in_use = 1 - self._in_use
            return self._rooms[self._in_use]
