"""Values that the GPU keeps beside those it computes with, so that what was there once needs no way from the host."""

from __future__ import annotations

import weakref

import numpy as np
from numpy.typing import NDArray

from edge_resad.engine.cuda import Cuda, DeviceBuffer, Stream
from edge_resad.engine.engine import Constants

SPARE = 2  # copies for which there is room from the beginning: of a product that is left, and of the next
MOST = 32  # with more in use the one that was used longest ago makes room


class DeviceCopy:
    """One of them."""

    def __init__(self, buffer: DeviceBuffer) -> None:
        self._buffer = buffer
        self.address = buffer.address
        self.of: weakref.ref[Constants] | None = None  # what is in it; None: nothing whole

    @property
    def is_free(self) -> bool:
        """Whether nobody has its values any more."""
        return self.of is None or self.of() is None

    def close(self) -> None:
        """Free it."""
        self._buffer.close()


class DeviceCopies:
    """All of one engine. Room that nobody has values for is used again: there is as much as was in use at once."""

    def __init__(self, cuda: Cuda, size: int) -> None:
        """size: of one, bytes; 0: there are none."""
        self._cuda = cuda
        self._size = size
        self._copies: list[DeviceCopy] = []  # the one that was used longest ago first

    def open(self) -> None:
        """Allocate what most stations need."""
        for _ in range(SPARE if self._size else 0):
            self._copies.append(DeviceCopy(self._cuda.device_buffer(self._size)))

    def find(self, constants: Constants) -> DeviceCopy | None:
        """The copy of these values; None where there is none."""
        for index, copy in enumerate(self._copies):
            if copy.of is not None and copy.of() is constants:
                self._copies.append(self._copies.pop(index))
                return copy
        return None

    def add(self, constants: Constants, stream: Stream, source: NDArray[np.uint8]) -> DeviceCopy:
        """Copy values to the GPU, and wait until they are there. source: where they lie, pinned."""
        copy = self._room()
        copy.of = None
        stream.upload(copy.address, source)
        stream.synchronize()
        copy.of = weakref.ref(constants)
        self._copies.remove(copy)
        self._copies.append(copy)
        return copy

    def close(self) -> None:
        """Free them all."""
        while self._copies:
            self._copies.pop().close()

    def _room(self) -> DeviceCopy:
        for copy in self._copies:
            if copy.is_free:
                return copy
        if len(self._copies) == MOST:
            return self._copies[0]
        self._copies.append(DeviceCopy(self._cuda.device_buffer(self._size)))
        return self._copies[-1]
