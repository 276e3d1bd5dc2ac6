"""What stays of a part is told from what a part only borrows."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.bench.allocation import AllocationMeter, allocation
from tests.fakes import picture

PARTS = [picture()] * 32
KIB = 1024


class Frugal:
    """Allocates nothing."""

    def inspect(self, frame: NDArray[np.uint8], /) -> None: ...


class Borrower:
    """Gives back what it takes."""

    def inspect(self, frame: NDArray[np.uint8], /) -> None:
        np.zeros(64 * KIB, np.uint8)


class Hoarder:
    """Keeps a little of every part."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []

    def inspect(self, frame: NDArray[np.uint8], /) -> None:
        self._kept.append(bytes(10 * KIB))


class Collector:
    """Keeps something of the fortieth part, once for all."""

    def __init__(self) -> None:
        self._seen = 0
        self._cache = b""

    def inspect(self, frame: NDArray[np.uint8], /) -> None:
        self._seen += 1
        if self._seen == 40:
            self._cache = bytes(100 * KIB)


def test_who_allocates_nothing_keeps_nothing() -> None:
    found = allocation(Frugal(), PARTS)
    assert found.kept_bytes == 0
    assert found.temporary_bytes < KIB


def test_what_is_given_back_is_temporary() -> None:
    found = allocation(Borrower(), PARTS)
    assert found.temporary_bytes == pytest.approx(64 * KIB, rel=0.05)
    assert found.kept_bytes < 64


def test_what_grows_with_every_part_is_kept() -> None:
    assert allocation(Hoarder(), PARTS).kept_bytes == pytest.approx(10 * KIB, rel=0.05)


def test_a_cache_that_fills_once_is_no_growth() -> None:
    assert allocation(Collector(), PARTS).kept_bytes < 64


def test_what_waits_for_another_thread_between_two_rounds_is_not_kept() -> None:
    waiting: list[bytes] = []
    with AllocationMeter(rest=waiting.clear) as meter:
        for _ in range(meter.parts):
            waiting.append(bytes(KIB))
            meter.done()
    assert meter.found.kept_bytes < 16


def test_weak_references_to_what_is_gone_are_not_kept() -> None:
    class Cursor: ...

    gone: list[weakref.ref[Cursor]] = []
    with AllocationMeter() as meter:
        for _ in range(meter.parts):
            gone.append(weakref.ref(Cursor()))
            meter.done()
    assert meter.found.kept_bytes < 16
