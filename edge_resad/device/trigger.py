"""A trigger of one camera: told from outside that a part is there, it finds the picture that shows the part."""

from __future__ import annotations

import bisect
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from edge_resad.device.frame import Clock, Frame
from edge_resad.device.unseen import Unseen
from edge_resad.errors import TriggerError

MOST_WAITING = 10_000  # parts without a picture that are kept to be said; more of them are counted alone

MOST_SOURCES, OTHERS = 16, "others"  # names of those who fire that are told apart; a part number is no name

TRIGGER_SAYS = "trigger [camera=NAME] [source=WHO]: a part is there now"


@dataclass(frozen=True)
class _Announced:
    """A part that waits for its picture, in seconds of the monotonic clock."""

    at: float  # the trigger
    wall: float
    due: float  # from here on a picture shows the part
    until: float  # then there is none


class Trigger:
    """Announces parts from any thread, and gives each the first frame whose capture began when the part was there.

    Every part comes out once: with a frame, or as one without a picture when `wait_s` are over. One frame shows one
    part, so of several parts announced before it the first one gets it.

    The camera runs by itself, and a frame is stamped when it is there, not when its exposure began. `capture_s` is what
    lies between; where nobody knows it, a capture is taken to begin when the frame before was there.
    """

    def __init__(
        self,
        *,
        wait_s: float = 0.5,
        delay_s: float = 0.0,
        capture_s: float | None = None,
        clock: Clock | None = None,
        changed: threading.Condition | None = None,
    ) -> None:
        """wait_s:  how long a part waits for its picture, from the trigger and its delay on.
        delay_s:   from the trigger until the part is where the camera sees it.
        capture_s: from the beginning of an exposure until the frame is there.
        changed:   notified of all news; the cameras of a station share one.
        """
        self.changed = changed or threading.Condition()  # held by whoever calls any method but `fire`
        self.fired: Counter[str] = Counter()  # parts announced, by who announced them
        self.unseen = Unseen()  # parts that were announced while too many waited, or wait when it is closed
        self._wait_s = wait_s
        self._delay_s = delay_s
        self._capture_s = capture_s
        self._clock = clock or Clock()
        self._waiting: list[_Announced] = []  # by their time
        self._before: float | None = None  # when the last frame was there
        self._ended = False
        self._closed = False

    def fire(self, source: str, at: float | None = None) -> bool:
        """Say that a part is there; False where the station stops and nobody takes parts any more.

        source: who says so, such as "key", "mqtt", "gpio".
        at: when it was there, in seconds of the monotonic clock; now without it.
        """
        with self.changed:
            if self._closed:
                return False
            now = self._clock.monotonic()
            at = now if at is None else at
            self.fired[source if source in self.fired or len(self.fired) < MOST_SOURCES else OTHERS] += 1
            if len(self._waiting) >= MOST_WAITING:
                self.unseen.add("backlog", at)
                return True
            due = now if self._ended else at + self._delay_s
            until = now if self._ended else due + self._wait_s
            part = _Announced(at=at, wall=self._clock.wall() - (now - at), due=due, until=until)
            bisect.insort(self._waiting, part, key=attrgetter("due"))
            self.changed.notify_all()
            return True

    def look(self, frame: Frame) -> None: ...

    def take(self, frame: Frame) -> Sequence[Frame]:
        """The parts that this frame decides: those whose time was over before it, and the one that it shows."""
        parts = self._over(bisect.bisect_left(self._waiting, frame.captured_mono, key=attrgetter("until")))
        before, self._before = self._before, frame.captured_mono
        began = before if self._capture_s is None else frame.captured_mono - self._capture_s
        if self._waiting and began is not None and self._waiting[0].due <= began:
            parts.append(replace(frame, triggered_mono=self._waiting.pop(0).at))
        return parts

    def due(self, now: float) -> Sequence[Frame]:
        """The parts whose time is over without a picture."""
        return self._over(bisect.bisect_right(self._waiting, now, key=attrgetter("until")))

    def until(self) -> float | None:
        """When to ask for `due` again; None while no part waits."""
        return self._waiting[0].until if self._waiting else None

    def end(self) -> Sequence[Frame]:
        """No frame comes any more: all parts that wait, and from now on every one at once, have no picture."""
        self._ended = True
        return self._over(len(self._waiting))

    def close(self) -> None:
        """Nobody takes parts any more."""
        self._closed = True
        for part in self._waiting:
            self.unseen.add("stopped", part.at)
        self._waiting.clear()

    def _over(self, over: int) -> list[Frame]:
        """The first so many parts, given up."""
        parts = [Frame.never_taken(part.at, part.wall) for part in self._waiting[:over]]
        del self._waiting[:over]
        return parts


class Triggers:
    """The triggers of a station's cameras: what somebody outside fires, by a command, a key or a message."""

    def __init__(self, triggers: Mapping[str, Trigger | None]) -> None:
        """triggers: by camera; None where nobody is to tell that a part is there."""
        self._triggers = dict(triggers)

    def fire(self, source: str, camera: str | None = None) -> list[str]:
        """Say that a part is there, for one camera or for all that are told; the cameras that took it.

        Raises:
            TriggerError: there is no such camera, it is told by somebody else, or the station stops.
        """
        told = {name: trigger for name, trigger in self._triggers.items() if trigger is not None}
        if camera is not None and camera not in self._triggers:
            raise TriggerError(f"no camera {camera!r}. There are: {', '.join(self._triggers)}.")
        chosen = {name: trigger for name, trigger in told.items() if camera in (None, name)}
        if not chosen:
            raise TriggerError(
                f"{camera or 'no camera of this station'} takes {'no ' if camera else ''}triggers from outside. "
                'Set [camera.trigger] kind = "software".'
            )
        taken = [name for name, trigger in chosen.items() if trigger.fire(source)]
        if not taken:
            raise TriggerError("the station stops and takes no parts any more.")
        return taken

    def command(self, arguments: dict[str, Any]) -> Mapping[str, Any]:
        """What a running station answers to `trigger [camera=NAME] [source=WHO]`, as `TRIGGER_SAYS` tells people."""
        camera, source = arguments.get("camera"), arguments.get("source", "control")
        return {"triggered": self.fire(str(source)[:64], None if camera is None else str(camera))}
