"""Errands: what somebody else wants done by the line's thread, between two parts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

from edge_resad.errors import ControlError

_T = TypeVar("_T")

PATIENCE_S = 5.0  # a part and a camera's pause are over by then


class Errands:
    """The engine belongs to one thread; whoever wants something of it leaves an errand and waits."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[[], Any], Future[Any]]] = deque()

    def ask(self, work: Callable[[], _T], within_s: float = PATIENCE_S) -> _T:
        """Have something done, and what it gave or raised. From any thread but the line's.

        Raises:
            ControlError: the line's thread did not come to it in time; it is not done later either.
        """
        future: Future[_T] = Future()
        self._waiting.append((work, future))
        try:
            return future.result(within_s)
        except FutureTimeout:
            if future.cancel():
                raise ControlError(
                    f"the line did not come to it within {within_s:g} s: it hangs, or stops. Look at the station's log."
                ) from None
            return future.result()

    def do(self) -> None:
        """Do what waits. The line's thread calls it between two parts; where nothing waits it costs nothing."""
        while self._waiting:
            work, future = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except BaseException as error:  # that of whoever asked
                future.set_exception(error)
