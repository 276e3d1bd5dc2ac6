"""The judges of a station, opened anew with growing pauses when their engine fails part after part."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edge_resad.decision import Verdict
from edge_resad.device.frame import Clock
from edge_resad.device.link import Backoff
from edge_resad.device.pipeline import Inspection, Judge
from edge_resad.device.procfs import memory
from edge_resad.errors import EngineError

log = logging.getLogger(__name__)

PATIENCE = 5  # parts of one camera in a row that may fail: half of what the watchdog waits for
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
CALM_S = 60.0  # without a failure, after which the next one is a new reason
STARTS = 6  # times that a start without memory is tried

_NO_MEMORY = ("out of memory", "out_of_memory", "failed to allocate memory", "cannot allocate memory", "bad_alloc")


class Absent:
    """The judge while the engine is being opened again: no part is passed."""

    def __init__(self, why: str) -> None:
        self.score_map: NDArray[np.float32] = np.zeros((1, 1), np.float32)
        self._why = why

    def inspect(self, frame: NDArray[np.uint8], /) -> Verdict:
        """Never judges."""
        raise EngineError(f"the engine is being opened again: {self._why}")


class Revival:
    """Opens every camera's judge, notices when they fail, and opens them again. Belongs to the line's thread."""

    def __init__(
        self,
        open_judges: Callable[[ExitStack], Sequence[Judge]],
        *,
        wait: Callable[[float], bool],
        clock: Clock | None = None,
    ) -> None:
        """open_judges: enters all judges on a stack.

        wait: waits so many seconds; True where the station is to stop.
        """
        self.judges: Sequence[Judge] = ()
        self.revivals = 0  # times that the engine was opened again
        self._open_judges = open_judges
        self._wait = wait
        self._clock = clock or Clock()
        self._stack = ExitStack()
        self._failures: Counter[str] = Counter()  # camera -> in a row
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._due_at: float | None = None
        self._opened_at = 0.0

    def __enter__(self) -> Revival:
        for attempt in range(1, STARTS + 1):
            try:
                self._open()
                break
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                room = memory()
                says = "the engine finds no memory" + (f": {room.free_mb:.0f} MB are free" if room else "")
                pause_s = self._backoff.next()
                if attempt == STARTS or self._wait(pause_s):
                    raise EngineError(f"{says}. Stop what else runs here, or take a smaller precision") from error
                log.warning("%s. Stop what else runs here; it is tried again after %.0f s", says, pause_s)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def step(self, inspection: Inspection | None) -> bool:
        """Take what became of a part, None where there was none; whether `judges` are others now."""
        now = self._clock.monotonic()
        if inspection is not None:
            self._take(inspection, now)
        if self._due_at is None or now < self._due_at:
            return False
        self._due_at = None
        self._failures.clear()
        self._revive(now)
        return True

    def _take(self, inspection: Inspection, now: float) -> None:
        if inspection.not_inspected != "inspector_error":
            if inspection.verdict is not None:
                self._failures[inspection.camera] = 0
            return
        self._failures[inspection.camera] += 1
        if self._due_at is not None or self._failures[inspection.camera] < PATIENCE:
            return
        if now - self._opened_at >= CALM_S:
            self._backoff.reset()
        is_first = not self.revivals or now - self._opened_at >= CALM_S
        pause_s = 0.0 if is_first else self._backoff.next()
        when = f" after {pause_s:.0f} s" if pause_s else ""
        says = "camera %s: the inspector failed on %d parts in a row. The engine is opened again%s; until then %s"
        log.error(says, inspection.camera, PATIENCE, when, "parts are not inspected")
        self._due_at = now + pause_s

    def _revive(self, now: float) -> None:
        """Close what is open and open it again; where that fails, later once more."""
        self.revivals += 1
        try:
            self._stack.close()
        except Exception:
            log.exception("the engine could not be closed in order")
        try:
            self._open()
            log.info("the engine is open again")
        except Exception as error:  # whatever it is, the next time may go well
            pause_s = self._backoff.next()
            log.error("the engine cannot be opened (%s); it is tried again after %.0f s", error, pause_s)
            self._due_at = now + pause_s
            self.judges = [Absent(str(error)) for _ in self.judges]
        self._opened_at = self._clock.monotonic()

    def _open(self) -> None:
        with ExitStack() as opening:
            self.judges = self._open_judges(opening)
            self._stack = opening.pop_all()


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory was missing, the host's or the GPU's; what libraries say of it is all there is to go by."""
    while error is not None:
        says = f"{type(error).__name__} {error}".lower()
        if isinstance(error, MemoryError) or any(words in says for words in _NO_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False
