"""From the camera's thread to the inspection loop: one frame at a time."""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from edge_resad.device.frame import Frame, FrameSource

log = logging.getLogger(__name__)

THREAD = "camera"  # name of the thread that reads the camera
LEAVE_S = 0.3  # how long a camera may take to notice that nobody wants its frames any more


class NewestFrame:
    """A slot for one frame. Of a live camera the newest frame wins; a backlog waits until the slot is free."""

    def __init__(self, *, live: bool) -> None:
        self.overwritten = 0  # frames that a newer one replaced
        self.left = 0  # frames that were there when the inspection stopped
        self._live = live
        self._frame: Frame | None = None
        self._ended = False
        self._abandoned = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, frame: Frame) -> bool:
        """Hand a frame over; False where nobody takes frames any more."""
        with self._changed:
            while not self._live and self._frame is not None and not self._abandoned:
                self._changed.wait()
            if self._abandoned:
                self.left += 1
                return False
            self.overwritten += self._frame is not None
            self._frame = frame
            self._changed.notify_all()
            return True

    def end(self, error: BaseException | None = None) -> None:
        """Say that no frame follows, and why, where the camera failed."""
        with self._changed:
            self._ended = True
            self._error = error
            self._changed.notify_all()

    def get(self, timeout_s: float) -> Frame | None:
        """Take the frame; None where none came in time. What ended the camera is raised once the slot is empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._ended, timeout_s)
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
            self._changed.notify_all()
            return frame

    @property
    def ended(self) -> bool:
        """True when the camera came to its end and its last frame was taken; an error is there for `get` to raise."""
        with self._changed:
            return self._ended and self._frame is None and self._error is None

    def abandon(self) -> None:
        """Stop taking frames; a camera's thread that waits in `put` goes on at once."""
        with self._changed:
            self._abandoned = True
            self.left += self._frame is not None
            self._frame = None
            self._changed.notify_all()


class Capture:
    """The camera's thread: opens the source, reads it and closes it, all in one thread of its own."""

    def __init__(self, source: FrameSource, halt: threading.Event) -> None:
        """halt: the event that the source was given to stop at; set when the inspection ends."""
        self.slot = NewestFrame(live=source.live)
        self.opened = False  # whether the source was entered: frames may come
        self._source = source
        self._halt = halt
        self._thread = threading.Thread(target=self._work, name=THREAD, daemon=True)

    def __enter__(self) -> Capture:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._halt.set()
        self.slot.abandon()
        self._thread.join(LEAVE_S)
        if self._thread.is_alive():
            log.warning("the camera hangs in a read; left behind, it ends with the program")

    def _work(self) -> None:
        try:
            with self._source:
                self.opened = True
                while (frame := self._source.read()) is not None and self.slot.put(frame):
                    pass
        except BaseException as error:  # raised again by the inspection loop, in the thread that can say it
            self.slot.end(error)
        else:
            self.slot.end()


def left_behind() -> bool:
    """Whether a camera still hangs in a read, although nobody wants its frames any more."""
    return any(thread.name == THREAD for thread in threading.enumerate())
