"""From the camera's thread to the inspection loop: one frame at a time."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain
from types import TracebackType
from typing import Protocol

from edge_resad.device.frame import FIRST_PAUSE_S, LONGEST_PAUSE_S, Clock, Frame, FrameSource
from edge_resad.device.pipeline import Reason
from edge_resad.device.progress import VitalSigns
from edge_resad.device.unseen import MissedPart, Unseen
from edge_resad.errors import CameraError

log = logging.getLogger(__name__)

THREAD = "camera"  # name of the thread that reads the camera
LEAVE_S = 0.3  # how long a camera may take to notice that nobody wants its frames any more
OPEN_S = 10.0  # how long a camera may take from its opening to its first frame
MOST_LEFT = 2  # readers that may hang while another one is begun

Reopen = Callable[[threading.Event], FrameSource]


class Slot(Protocol):
    """Where a camera's thread puts frames and the inspection takes parts."""

    def put(self, frame: Frame, /) -> bool:
        """Hand a frame over; False where nobody takes frames any more."""

    def end(self, error: BaseException | None = None) -> None:
        """Say that no frame follows, and why, where the camera failed."""

    def get(self, timeout_s: float) -> Frame | None:
        """What `take` does, after a wait for it; None where no part came in time."""

    @property
    def has_news(self) -> bool:
        """Whether there is a part, or an end to be told of. From any thread."""

    def news_within_s(self) -> float:
        """For how long there can be none, unless the condition says so; infinite where it says all."""

    def take(self) -> Frame | None:
        """Take the next part, None where there is none. What ended the camera is raised once the slot is empty."""

    def coming(self) -> Frame | None:
        """The next part, left where it is; None where none is there whose turn will come."""

    @property
    def is_behind(self) -> bool:
        """Whether parts have lost their pictures, for too many wait. Takes no lock."""

    def waiting(self) -> tuple[int, int] | None:
        """How many parts wait for the inspection, now and at most of late; None where no more than one ever does."""

    def idle(self) -> Frame | None:
        """Take the newest frame that shows no part, for the watch over the camera; None where there is none."""

    @property
    def ended(self) -> bool:
        """True when the camera came to its end and its last part was taken; an error is there for `take` to raise."""

    def abandon(self) -> None:
        """Stop taking frames; a camera's thread that waits in `put` goes on at once."""

    def unseen(self) -> dict[Reason, int]:
        """The parts that `take` never gave, by what became of them."""

    def missed(self) -> Iterable[MissedPart]:
        """Those of them that this has not told yet, and when each was there."""


class NewestFrame:
    """A slot for one frame. Of a live camera the newest frame wins; a backlog waits until the slot is free."""

    def __init__(self, *, live: bool, changed: threading.Condition | None = None) -> None:
        """changed: notified of all news; the slots of several cameras share one, so that one loop waits on all."""
        self._unseen = Unseen()
        self._live = live
        self._frame: Frame | None = None
        self._ended = False
        self._abandoned = False
        self._error: BaseException | None = None
        self._changed = changed or threading.Condition()

    def put(self, frame: Frame) -> bool:
        """Hand a frame over; False where nobody takes frames any more."""
        with self._changed:
            while not self._live and self._frame is not None and not self._abandoned:
                self._changed.wait()
            if self._abandoned:
                self._unseen.add("stopped", frame.there_mono)
                return False
            if self._frame is not None:
                self._unseen.add("overwritten", self._frame.there_mono)
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
            self._changed.wait_for(lambda: self.has_news, timeout_s)
            return self.take()

    @property
    def has_news(self) -> bool:
        """Whether there is a frame, or an end to be told of. From any thread."""
        with self._changed:
            return self._frame is not None or self._ended

    def news_within_s(self) -> float:
        """The condition says all."""
        return math.inf

    def take(self) -> Frame | None:
        """What `get` does, without waiting."""
        with self._changed:
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
            self._changed.notify_all()
            return frame

    def coming(self) -> Frame | None:
        """The frame, left where it is; None of a live camera, for a newer one may take its place."""
        with self._changed:
            return None if self._live else self._frame

    @property
    def ended(self) -> bool:
        """True when the camera came to its end and its last frame was taken; an error is there for `get` to raise."""
        with self._changed:
            return self._ended and self._frame is None and self._error is None

    @property
    def is_behind(self) -> bool:
        """Never: a newer frame takes the place of an older one, or waits before it is taken."""
        return False

    def waiting(self) -> tuple[int, int] | None:
        """One frame at most waits."""
        return None

    def idle(self) -> Frame | None:
        """Every frame is a part."""
        return None

    def abandon(self) -> None:
        """Stop taking frames; a camera's thread that waits in `put` goes on at once."""
        with self._changed:
            self._abandoned = True
            if self._frame is not None:
                self._unseen.add("stopped", self._frame.there_mono)
            self._frame = None
            self._changed.notify_all()

    def unseen(self) -> dict[Reason, int]:
        """The parts that `take` never gave, by what became of them."""
        with self._changed:
            return dict(self._unseen.counts)

    def missed(self) -> Iterable[MissedPart]:
        """Those of them that this has not told yet, and when each was there."""
        with self._changed:
            return self._unseen.take()


class Capture:
    """The camera's thread: opens the source, reads it and closes it, all in one thread of its own.

    Where it is told how to open the source anew, it is also the watchdog of a live camera: a thread that hangs in a
    driver cannot be ended, so it is left behind and another one opens the camera again. What is left behind closes its
    camera when the driver lets it go. While as many hang as may, no other is begun. A camera that was opened anew has
    `OPEN_S` for its first frame, or `silent_s` where that is longer, so one that hangs at once is tried again every ten
    seconds.
    """

    def __init__(
        self,
        source: FrameSource,
        halt: threading.Event,
        *,
        reopen: Reopen | None = None,
        silent_s: float | None = None,
        clock: Clock | None = None,
        changed: threading.Condition | None = None,
        slot: Slot | None = None,
        may_be_missing: bool = False,
        arrived: Callable[[], None] = lambda: None,
    ) -> None:
        """halt: the event that the source was given to stop at; set when the inspection ends.
        reopen:   another source of the same camera, which stops at the given event.
        silent_s: without a frame or another sign of life for so long, a camera hangs; None: it is not watched.
        changed:  what the slot says its news through.
        slot:     where frames are put; without it the newest one is kept.
        may_be_missing: a live camera that is not there at the start is looked for, instead of being an error.
        arrived: called when a frame was put into the slot, in the camera's thread.
        """
        self.slot: Slot = slot or NewestFrame(live=source.live, changed=changed)
        self.opened = False  # whether the source was entered: frames may come
        self.hangs = 0  # how many times the camera hung
        self.missing: CameraError | None = None  # why it cannot be opened, where it never was and is looked for
        self._may_be_missing = may_be_missing and source.live
        self._arrived = arrived
        self._reopen = reopen
        self._silent_s = silent_s if reopen is not None and source.live else None
        self._clock = clock or Clock()
        self._reader = _Reader(self, source, halt, is_first=True)
        self._readers = [self._reader]  # that read, or still hang
        self._unreadable_before = 0  # by those that have ended
        self._unread_before: list[MissedPart] = []  # of those, what was not told yet
        self._frames = 0  # handed over by all readers
        self._seen = (0, 0)  # frames and waits when somebody last looked
        self._shown = 0  # frames when somebody last asked for a sign of life
        self._alive_at: float | None = None
        self._open_s = max(OPEN_S, silent_s or 0.0)  # for the first frame
        self._patience_s = self._open_s
        self.is_stuck = False  # as many hang as may
        self._has_left = False
        self._lock = threading.Lock()

    def __enter__(self) -> Capture:
        self._reader.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.leave()
        if self._reader.source.live:
            self._reader.thread.join(LEAVE_S)
        if any(reader.thread.is_alive() for reader in self._readers):  # another camera may be ending still
            log.warning("the camera hangs in a read; left behind, it ends with the program")

    def leave(self) -> None:
        """Take no more frames. What a backlog held ready is counted then; a live camera may hang: no wait for it."""
        if self._has_left:
            return
        self._has_left = True
        self._reader.halt.set()
        self.slot.abandon()
        if not self._reader.source.live:
            self._reader.thread.join(LEAVE_S)

    @property
    def unreadable(self) -> int:
        """How many parts there were without a picture that could be read."""
        return self._unreadable_before + sum(reader.source.unreadable for reader in self._readers)

    def missed(self) -> Iterable[MissedPart]:
        """Parts that nobody judges and that this has not told yet: why, and when each was there."""
        before, self._unread_before = self._unread_before, []
        return chain(self.slot.missed(), before, *(_unread(reader) for reader in self._readers))

    @property
    def is_gone(self) -> bool:
        """Whether the camera is known to be away: its driver says so, or hangs, or it is not open again yet."""
        return self.is_stuck or not getattr(self._reader.source, "is_open", True)

    @property
    def is_looked_for(self) -> bool:
        """Whether it was never open and is known to be missing, or to hang in its opening."""
        return not self.opened and (self.missing is not None or self.hangs > 0 or self.is_stuck)

    def shown(self) -> bool:
        """Whether the camera gave a sign of life since this was last asked, or is being opened again."""
        before, self._shown = self._shown, self._frames
        return self._reader.shown() or self._shown > before  # frames that show no part are a sign of life too

    def look(self) -> None:
        """See whether the camera hangs, and open it again where it does. To be called a few times a second."""
        if self._silent_s is None or self._reopen is None:
            return
        now, reader = self._clock.monotonic(), self._reader
        waits = getattr(reader.halt, "waits", 0)
        if self._alive_at is None or (self._frames, waits) != self._seen or getattr(reader.halt, "is_waited_on", False):
            if self._frames != self._seen[0]:
                self._patience_s = self._silent_s
            elif waits != self._seen[1]:
                self._patience_s = self._open_s  # it looks for its camera and then opens it, which takes its time
            self._seen, self._alive_at = (self._frames, waits), now
            self.is_stuck = False  # where the driver has let go of this very read, no other one is begun
            return
        if now - self._alive_at >= self._patience_s:
            self._leave_behind(reader, self._reopen, now)

    def _leave_behind(self, hanging: _Reader, reopen: Reopen, now: float) -> None:
        self._forget_the_ended()
        if len(self._readers) > MOST_LEFT:
            if not self.is_stuck:
                self.is_stuck = True
                log.error("the camera hangs again and again: its driver lets go of nothing. Replug it, or restart")
            return
        self.hangs += 1
        self.is_stuck = False
        log.warning("the camera hangs in a read; it is opened again")
        halt = VitalSigns()
        with self._lock:
            self._reader = _Reader(self, reopen(halt), halt, is_first=False)
        hanging.halt.set()  # not before: it may come back now of all times, and its end must not be the camera's
        self._readers.append(self._reader)
        self._seen, self._alive_at, self._patience_s = (self._frames, 0), now, self._open_s
        self._reader.thread.start()

    def _forget_the_ended(self) -> None:
        ended = [reader for reader in self._readers if not reader.thread.is_alive()]
        self._unreadable_before += sum(reader.source.unreadable for reader in ended)
        self._unread_before += [part for reader in ended for part in _unread(reader)]
        self._readers = [reader for reader in self._readers if reader not in ended]

    def put(self, reader: _Reader, frame: Frame) -> bool:
        """Hand a reader's frame over; False where nobody takes frames of this reader any more."""
        is_taken = self._put(reader, frame)
        self._arrived()
        return is_taken

    def _put(self, reader: _Reader, frame: Frame) -> bool:
        if self._silent_s is None:
            self._frames += 1
            return self.slot.put(frame)
        with self._lock:  # a live camera: nobody waits in here
            if reader is not self._reader:
                return False
            if self.hangs:
                frame = replace(frame, frame_id=self._frames)
            self._frames += 1
            return self.slot.put(frame)

    def is_open(self) -> None:
        """A reader has opened the camera."""
        self.opened, self.missing = True, None

    def misses(self, error: CameraError) -> bool:
        """The camera is not there at the start; whether it is looked for."""
        if self._may_be_missing:
            self.missing = error
        return self._may_be_missing

    def end(self, reader: _Reader, error: BaseException | None = None) -> None:
        """A reader is at its end."""
        with self._lock:
            if reader is self._reader:
                self.slot.end(error)


class _Reader:
    """A thread that reads one source."""

    def __init__(self, capture: Capture, source: FrameSource, halt: threading.Event, *, is_first: bool) -> None:
        self.source = source
        self.halt = halt
        self.thread = threading.Thread(target=self._work, name=THREAD, daemon=True)
        self._capture = capture
        self._is_first = is_first

    def shown(self) -> bool:
        return self.halt.shown() if isinstance(self.halt, VitalSigns) else True

    def _work(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                self._read()
            except CameraError as error:
                if self._is_first and (self._capture.opened or not self._capture.misses(error)):
                    self._capture.end(self, error)  # a mistake of the station file
                    return
                log.debug("the camera cannot be opened yet: %s", error)
                if self.halt.wait(pause_s):
                    return
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            except BaseException as error:  # raised again by the inspection loop, in the thread that can say it
                self._capture.end(self, error)
                return
            else:
                self._capture.end(self)
                return

    def _read(self) -> None:
        with self.source:
            self._capture.is_open()
            while (frame := self.source.read()) is not None and self._capture.put(self, frame):
                pass


def _unread(reader: _Reader) -> Iterable[MissedPart]:
    """The parts without a readable picture of which a source has not told yet; one that draws its parts has none."""
    unseen = getattr(reader.source, "unseen", None)
    return unseen.take() if isinstance(unseen, Unseen) else ()


def left_behind(patience_s: float = 0.0) -> bool:
    """Whether a camera still hangs in a read, although nobody wants its frames any more.

    patience_s: how long it may take to end, where the machine is only slow.
    """
    until = time.monotonic() + patience_s
    readers = [thread for thread in threading.enumerate() if thread.name == THREAD]
    for reader in readers:
        reader.join(max(0.0, until - time.monotonic()))
    return any(reader.is_alive() for reader in readers)
