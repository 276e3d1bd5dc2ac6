"""One output to the line: a thread that shows at its terminal, at the right moment, what became of each part."""

from __future__ import annotations

import logging
import math
import select
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress

from edge_resad.device.bell import Bell
from edge_resad.device.frame import Clock
from edge_resad.device.link import Backoff
from edge_resad.device.outputs.encoder import Encoder
from edge_resad.device.outputs.pulses import MOST_WAITING, NOTHING, Begun, Pulses
from edge_resad.device.outputs.terminal import Pin, Terminal
from edge_resad.device.outputs.track import Track
from edge_resad.device.outputs.wiring import OutputStatus, Wiring
from edge_resad.errors import OutputError

log = logging.getLogger(__name__)

JUDGING_S = 5.0  # a station, or a camera of the output, that has not got on for so long is not judged by
STUCK_S = 1.5  # neither does one that has worked for so long at one part, or at its engine
LOOK_S = 1.0  # how often an idle output looks whether the station is at work
TOLERANCE_S = 0.01  # a pulse that begins later after its moment is late
EXIT_S = 0.5  # how long pulses that are still to come are waited for when the station stops
JOIN_S = 1.5  # and how long a terminal that hangs
RETRY_MIN_S, RETRY_MAX_S = 0.2, 5.0
HANGS_S = 1.0  # a terminal that takes longer hangs: a PLC that answers does so within half of it
STILL_BEATS = 3  # half periods for which a heartbeat stands still at least: a PLC misses an edge after two
MOST_TOLD = 2 * MOST_WAITING  # signals that a thread which hangs has not taken yet
STANDS_STILL = (
    f"more than {MOST_WAITING} signals wait for their moment. Check that the encoder counts, or set a shorter delay."
)
HANGS = (
    f"its terminal has not taken a value for {HANGS_S:g} s or more, and signals wait. Check the hardware; of a PLC the "
    "network, and that its name can be looked up, or give its address instead."
)


class Output:
    """One terminal and its thread. Being told never waits and never raises; the thread alone touches the pin."""

    def __init__(
        self, wiring: Wiring, terminal: Terminal, *, encoder: Encoder | None = None, clock: Clock | None = None
    ) -> None:
        """encoder: needed where the delay is counts."""
        self.wiring = wiring
        self.problem: str | None = None
        self._terminal = terminal
        self._encoder = encoder if wiring.delay_counts is not None else None
        self._clock = clock or Clock()
        self._bell: Bell | None = None
        self._thread = threading.Thread(target=self._work, name=f"output {wiring.name}", daemon=True)
        self._backoff = Backoff(RETRY_MIN_S, RETRY_MAX_S)
        # What other threads tell:
        self._told: deque[tuple[float, float]] = deque()  # a signal: when its part was there, when it came
        self._unheard = 0  # signals that the thread will never know of
        self._alive_at: float | None = None  # when the station last got on
        self._at_work_since: float | None = None  # None: it waits for a part
        self._blind = self._ill = False  # a camera of ours sees nothing; anything is wrong with it
        self._was_lost = self._encoder is not None and self._encoder.count is None  # as the encoder said last
        self._awaited: float | None = None  # count at which the encoder wakes us
        self._closing_at: float | None = None
        # What the thread alone knows:
        self._pulses = Pulses(wiring.pulse_s, only_in_time="pass" in wiring.on)  # a late pass is that of another part
        self._track = self._encoder.track if self._encoder is not None else None  # whose counts pulses wait for
        self._pin: Pin | None = None
        self._asked_at: float | None = None  # since when the terminal is being asked for something
        self._shown: int | None = None
        self._is_stuck = False  # said
        self._sees_parts = False  # when its value was last asked for
        self._unseen_until: float = -math.inf  # parts that nobody has seen are on their way to the gate: seconds ...
        self._unseen_count: float = -math.inf  # ... or counts
        self._retry_at = 0.0
        self._refresh_at = math.inf
        self._beats = 0
        self._next_beat = 0.0
        self._is_beating = False
        self._watched: tuple[Output, ...] = ()
        self._failures_seen = 0  # of those
        self._still_until: float = -math.inf
        self._fired = self._late = self._failed = 0
        self._missed = 0  # of the late ones, those that were not shown for their own parts
        self._overflowed = False
        self._said: set[str] = set()
        if self._encoder is not None:
            self._encoder.listen(self._moved)

    def watch(self, others: Iterable[Output]) -> None:
        """Let this heartbeat stand still while one of these cannot signal, and when a signal of theirs has failed."""
        self._watched = tuple(others)

    def open(self) -> None:
        """Show the safe level and begin. Raises OutputError where the terminal is of this machine and not there."""
        if self._terminal.is_local:
            self._open()
            if self._pin is None:
                raise OutputError(self.problem)
        self._bell = Bell()
        self._thread.start()

    def signal(self, there_mono: float) -> None:
        """A part that this output is to show. there_mono: when it was there: its trigger, or its picture."""
        if len(self._told) >= MOST_TOLD:  # the terminal hangs, for days perhaps: memory has an end
            self._unheard += 1
            return
        self._told.append((there_mono, self._clock.monotonic()))
        self._ring()

    def alive(self) -> None:
        """The station gets on with all cameras of this output."""
        now = self._clock.monotonic()
        slept = self._alive_at is None or now - self._alive_at >= JUDGING_S
        self._alive_at = now
        if slept:
            self._ring()

    def at_work(self, is_it: bool) -> None:
        """Whether the station does something now that should not take long, or waits for a part."""
        since, now = self._at_work_since, self._clock.monotonic()
        self._at_work_since = now if is_it else None
        if since is not None and now - since >= STUCK_S:
            self._ring()

    def ail(self, *, ill: bool, blind: bool) -> None:
        """What is wrong with the cameras of this output. blind: with one of them no part is inspected."""
        if (ill, blind) != (self._ill, self._blind):
            self._ill, self._blind = ill, blind
            self._ring()

    def begin_close(self) -> None:
        """Show what is still due, then the safe level, and end; `close` waits for it."""
        if self._closing_at is None:
            self._closing_at = self._clock.monotonic()
        self._ring()

    def close(self) -> None:
        """Wait for the end. A terminal that hangs keeps its thread, not us."""
        if self._thread.ident is None:
            if self._pin is not None:
                self._pin.close()
        else:
            self._thread.join(JOIN_S)
            if self._thread.is_alive():
                log.warning("output %s hangs; what it shows now is unknown", self.wiring.name)

    @property
    def is_set(self) -> bool:
        """Whether its terminal shows what it is to show. From any thread."""
        return self._pin is not None and not self._hangs

    @property
    def failures(self) -> int:
        """Signals that were not shown, or not to their own parts. From any thread."""
        return self._failed + self._unheard + self._missed

    @property
    def status(self) -> OutputStatus:
        """How it does. Asked from any thread."""
        return OutputStatus(
            name=self.wiring.name,
            fired=self._fired,
            late=self._late,
            failed=self._failed + self._unheard,
            waiting=len(self._pulses) + len(self._told),
            problem=self.problem or (HANGS if self._hangs else STANDS_STILL if self._overflowed else None),
        )

    @property
    def _hangs(self) -> bool:
        """Whether its thread waits for a driver or a network that does not come back."""
        asked_at = self._asked_at
        return asked_at is not None and self._clock.monotonic() - asked_at >= HANGS_S

    def step(self, now: float) -> float | None:
        """Do what is due, and how many seconds nothing else will be; None after the end. now: monotonic seconds."""
        self._look_at_encoder()
        self._take()
        self._pulses.end(now)
        begun = self._begin(now)
        self._failed += begun.dropped
        if self._shown is not None and not self._shown & 1:  # or it was active at their moment, as while nobody judges
            self._missed += begun.over
        if self._closing_at is not None and self._is_done(now):
            self._finish(begun)
            return None
        if self._pin is None:
            self._failed += begun.signals  # nor are they made up for later, when they would hit other parts
            self._pulses.cut()
            if now >= self._retry_at:
                self._open()
            return max(0.0, (self._retry_at if self._pin is None else now) - now)
        value = self._value(now)
        if value != self._shown or now >= self._refresh_at:
            self._show(value, begun)
        else:
            self._count(begun)
        return max(0.0, self._next(now) - self._clock.monotonic())

    def _ring(self) -> None:
        if self._bell is not None:
            self._bell.ring()

    def _work(self) -> None:
        assert self._bell is not None
        with closing(self._bell):  # by this thread, which may be left behind
            self._work_until_the_end(self._bell)

    def _work_until_the_end(self, bell: Bell) -> None:
        while True:
            try:
                wait_s = self.step(self._clock.monotonic())
            except Exception as error:  # whatever it is, parts keep coming
                kind = type(error).__name__
                if kind not in self._said:
                    self._said.add(kind)
                    log.exception("output %s failed (%s); more of this kind are not said", self.wiring.name, kind)
                self._lose(f"output {self.wiring.name} failed with {kind}. Report it.")
                wait_s = RETRY_MIN_S
            if wait_s is None:
                return
            select.select([bell], [], [], wait_s)  # not a lock: on Python 3.10 its waits follow the wall clock
            bell.hush()

    def _look_at_encoder(self) -> None:
        """What waits for counts of an encoder that was lost since waits for ever, or for another part, and so fails.

        It may be found again by now: a terminal keeps us longer than the encoder may need for that.
        """
        if self._encoder is None or self._encoder.track is self._track:
            return
        self._track, self._awaited = self._encoder.track, None
        self._failed += self._pulses.drop()
        self._sees_parts = False  # those that failed are on their way to the gate

    def _take(self) -> None:
        """Put what was told among what waits."""
        while self._told:
            there, came = self._told.popleft()
            if self._track is None:
                due = there + self.wiring.delay_s if self.wiring.delay_s else came
                taken = self._pulses.add(due, late=due < came)
            else:
                taken = self._take_counted(there, came, self._track)
            if not taken:
                self._failed += 1
                if not self._overflowed:
                    self._overflowed = True
                    log.warning("output %s: %s", self.wiring.name, STANDS_STILL)
        if self._overflowed and len(self._pulses) < MOST_WAITING:
            self._overflowed = False

    def _take_counted(self, there: float, came: float, track: Track) -> bool:
        begun, reached = track.at(there), track.at(came)
        if begun is None or reached is None:
            self._failed += 1
            return True
        due = begun + (self.wiring.delay_counts or 0)
        return self._pulses.add(due, late=due < reached)

    def _begin(self, now: float) -> Begun:
        if self._track is None:
            return self._pulses.begin(now, now, TOLERANCE_S)
        count = self._track.count
        if count is None:
            return NOTHING
        begun = self._pulses.begin(count, now)
        self._await(count)
        return begun

    def _await(self, count: int) -> None:
        """Have the encoder wake us at the next count at which there is something to do."""
        dues = (self._pulses.next_due, self._unseen_count)
        self._awaited = min((due for due in dues if due is not None and due > count), default=None)

    def _moved(self, count: int | None) -> None:
        """The encoder says that the belt moved, or that it is lost; in its thread."""
        awaited, was_lost, self._was_lost = self._awaited, self._was_lost, count is None
        if self._was_lost != was_lost or (count is not None and awaited is not None and count >= awaited):
            self._ring()

    def _value(self, now: float) -> int:
        """What is to be shown now: 1 active, 0 idle; a heartbeat counts on, odd is active."""
        judging = self._judging_until > now
        self._say_stuck(is_stuck=not judging and self._alive_at is not None and self._closing_at is None)
        if "heartbeat" in self.wiring.on:
            self._is_beating = judging and not self._is_held_up(now)
            if not self._is_beating:
                self._beats += self._beats & 1  # stands still, idle
                self._next_beat = now
            elif now >= self._next_beat:
                self._beats += 1
                behind = now - self._next_beat >= self.wiring.pulse_s
                self._next_beat = (now if behind else self._next_beat) + self.wiring.pulse_s
            return self._beats
        is_lost = self._track is not None and self._track.count is None
        sees_parts = judging and not self._blind and not is_lost
        held = self.wiring.safe_active and not self._is_clear(now, sees_parts=sees_parts)
        ill = "fault" in self.wiring.on and (not judging or self._ill)
        return int(held or ill or self._pulses.until is not None)

    def _is_held_up(self, now: float) -> bool:
        """Whether a heartbeat must not say that all is well: a part that fails would not be rejected, or was not."""
        failures = sum(output.failures for output in self._watched)
        if failures != self._failures_seen:
            self._failures_seen = failures
            self._still_until = now + STILL_BEATS * self.wiring.pulse_s
        return now < self._still_until or not all(output.is_set for output in self._watched)

    def _is_clear(self, now: float, *, sees_parts: bool) -> bool:
        """Whether the parts at the gate were seen: those are not that passed the camera before parts are seen again."""
        count = self._track.count if self._track is not None else None
        if not sees_parts or not self._sees_parts:
            self._unseen_until = now + self.wiring.delay_s
            if count is not None:
                self._unseen_count = count + (self.wiring.delay_counts or 0)
                self._await(count)
        self._sees_parts = sees_parts
        return sees_parts and now >= self._unseen_until and (count is None or count >= self._unseen_count)

    @property
    def _judging_until(self) -> float:
        if self._alive_at is None:
            return -math.inf
        since = self._at_work_since
        until = self._alive_at + JUDGING_S
        return until if since is None else min(until, since + STUCK_S)

    def _say_stuck(self, *, is_stuck: bool) -> None:
        if is_stuck and not self._is_stuck:
            log.warning("output %s: parts of its cameras are not judged; it shows so until they are", self.wiring.name)
        self._is_stuck = is_stuck

    def _next(self, now: float) -> float:
        """When there is something to do next, without anybody ringing."""
        moments = [now + LOOK_S]  # at the latest
        if self._pulses.until is not None:
            moments.append(self._pulses.until)
        due = self._pulses.next_due
        if due is not None and self._track is None:
            moments.append(due)
        elif due is not None and self._track is not None and (self._track.count or 0) >= due:
            moments.append(now)  # the encoder came there before it knew that it is awaited
        if self._unseen_until > now:
            moments.append(self._unseen_until)
        if self._judging_until > now:
            moments.append(self._judging_until)
        if self._is_beating:
            moments.append(self._next_beat)
        if self._still_until > now:
            moments.append(self._still_until)
        moments.append(self._refresh_at)
        if self._closing_at is not None:
            moments.append(self._closing_at + EXIT_S)
        return min(moments)

    def _open(self) -> None:
        value = self._value(self._clock.monotonic())
        try:
            with self._asking():
                self._pin = self._terminal.open(value)
        except OutputError as error:
            self._lose(str(error))
            return
        self._is_shown(value)
        if self.problem is not None:
            log.info("output %s works again; %d signals have failed so far", self.wiring.name, self._failed)
        self.problem = None
        self._backoff.reset()

    def _show(self, value: int, begun: Begun) -> None:
        assert self._pin is not None
        try:
            with self._asking():
                self._pin.set(value)
        except Exception as error:
            self._failed += begun.signals  # a mistake of ours, or a library's, must not lose them in silence
            if not isinstance(error, OutputError):
                raise
            self._lose(str(error))
            return
        self._is_shown(value)
        self._count(begun)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        self._asked_at = self._clock.monotonic()
        try:
            yield
        finally:
            self._asked_at = None

    def _is_shown(self, value: int) -> None:
        self._shown = value
        if self._terminal.refresh_s is not None:
            self._refresh_at = self._clock.monotonic() + self._terminal.refresh_s

    def _count(self, begun: Begun) -> None:
        self._fired += begun.signals
        self._late += begun.late

    def _lose(self, says: str) -> None:
        """The terminal is lost: say it once, and look for it later."""
        if self._pin is not None:
            pin, self._pin = self._pin, None
            with suppress(Exception):  # it is broken: so may its end be
                pin.close()
        self._shown = None
        self._retry_at = self._clock.monotonic() + self._backoff.next()
        self._pulses.cut()
        if self.problem is None and self._thread.ident is not None:
            log.warning("output %s: %s Until then its signals fail.", self.wiring.name, says)
        self.problem = says

    def _is_done(self, now: float) -> bool:
        assert self._closing_at is not None
        idle = not self._pulses and self._pulses.until is None
        return idle or self.wiring.safe_active or self._pin is None or now >= self._closing_at + EXIT_S

    def _finish(self, begun: Begun) -> None:
        left = self._pulses.drop()
        is_shown = self._pin is not None and self.wiring.safe_active  # from now on, for every part
        if self._pin is not None:
            try:
                self._pin.set(int(self.wiring.safe_active))
            except OutputError as error:
                is_shown = False
                log.warning("output %s: %s What it shows now is unknown.", self.wiring.name, error)
            with suppress(Exception):  # the station stops in any case
                self._pin.close()
        if is_shown:
            self._fired += begun.signals + left
            return
        self._failed += begun.signals + left
        if left:
            log.warning("output %s: %d signals were not due yet when the station stopped", self.wiring.name, left)
