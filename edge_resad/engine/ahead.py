"""Room for one part that another thread makes ready while the engine computes the one before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

Room = TypeVar("Room")


class Ahead(Generic[Room]):
    """Two rooms: one thread fills the one while another one uses the other. Nothing is allocated after the first part.

    A picture is known by its array, so nothing is ever taken for another part than the one that it was made of; its
    pixels must stay as they are until then.
    """

    def __init__(self, make_room: Callable[[], Room]) -> None:
        self._make_room = make_room
        self._rooms: list[Room] = []  # a part that never waits needs none
        self._in_use = 0
        self._filled: NDArray[Any] | None = None  # what the other room holds
        self._filling: NDArray[Any] | None = None
        self._changed = threading.Condition()

    def fill(self, picture: NDArray[Any], fill: Callable[[Room], None]) -> None:
        """Let `fill` make a picture ready in a room that is free. Whatever it raises is raised; the room is empty then.

        Belongs to the thread that works ahead.
        """
        if not self._rooms:
            self._rooms = [self._make_room(), self._make_room()]
        with self._changed:
            if self._filled is picture:
                return
            self._filled, self._filling = None, picture
            room = self._rooms[1 - self._in_use]
        filled = None
        try:
            fill(room)
            filled = picture
        finally:
            with self._changed:
                self._filled, self._filling = filled, None
                self._changed.notify_all()

    def take(self, picture: NDArray[Any]) -> Room | None:
        """The room that holds a picture, valid until the next one is taken; None where it was not made ready.

        Belongs to the thread that judges, which waits where just this picture is being made ready.
        """
        with self._changed:
            while self._filling is picture:
                self._changed.wait()
            if self._filled is not picture:
                return None
            self._filled = None
            self._in_use = 1 - self._in_use
            return self._rooms[self._in_use]
