"""Errands: what somebody else wants done by the line's thread, between two parts."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

from edge_resad.errors import ControlError

_T = TypeVar("_T")

PATIENCE_S = 5.0  # a part and a camera's pause are over by then
LONGEST_S = 30.0  # for an errand that was begun; an engine that computes anything is done by then


class Errands:
    """The engine belongs to one thread; whoever wants something of it leaves an errand and waits."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[[], Any], Future[Any], threading.Event]] = deque()

    def ask(self, work: Callable[[], _T], within_s: float = PATIENCE_S, longest_s: float = LONGEST_S) -> _T:
        """Have something done, and what it gave or raised. From any thread but the line's.

        within_s: until it is begun. longest_s: from then on, until it is done.

        Raises:
            ControlError: the line's thread did not come to it in time, and it is not done later either; or it was
                begun and hangs.
        """
        future: Future[_T] = Future()
        begun = threading.Event()
        self._waiting.append((work, future, begun))
        if not begun.wait(within_s) and future.cancel():
            raise ControlError(
                f"the line did not come to it within {within_s:g} s: it hangs, or stops. Look at the station's log."
            )
        try:
            return future.result(longest_s)
        except FutureTimeout:
            if future.done():  # what it raised was a time that ran out
                raise
            raise ControlError(
                f"the line began it and was not done with it {longest_s:g} s later: it hangs, and whether it takes "
                "effect is not known. Look at the station's log."
            ) from None

    def do(self) -> None:
        """Do what waits. The line's thread calls it between two parts; where nothing waits it costs nothing."""
        while self._waiting:
            work, future, begun = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            begun.set()
            try:
                future.set_result(work())
            except BaseException as error:  # that of whoever asked
                future.set_exception(error)
