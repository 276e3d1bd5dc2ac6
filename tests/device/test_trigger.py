"""Triggers: every part comes out once, with the first picture that can show it or without one."""

from __future__ import annotations

import logging
import threading
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_resad.device.frame import NO_ID, Frame
from edge_resad.device.handover import NewestFrame
from edge_resad.device.part_queue import EveryFrame, PartQueue
from edge_resad.device.pipeline import Alarm, Inspection, Line, Tally
from edge_resad.device.rota import Rota
from edge_resad.device.trigger import Trigger, Triggers
from edge_resad.errors import TriggerError
from tests.fakes import FakeClock, FakeJudge, frame

WAIT_S = 60.0  # a deadline, not a pause
FOR_EVER_S = 1000.0  # longer than a test may take


def triggered(
    clock: FakeClock,
    *,
    wait_s: float = 1.0,
    delay_s: float = 0.0,
    capture_s: float | None = 0.0,
    most: int = 8,
    live: bool = True,
) -> tuple[Trigger, PartQueue]:
    trigger = Trigger(wait_s=wait_s, delay_s=delay_s, capture_s=capture_s, clock=clock)
    return trigger, PartQueue(trigger, most=most, live=live, clock=clock)


def show(queue: PartQueue, clock: FakeClock, frame_id: int, at: float) -> None:
    clock.now = at
    queue.put(frame(frame_id, captured_mono=at))


def taken(queue: PartQueue) -> list[Frame]:
    parts = []
    while (part := queue.get(0.0)) is not None:
        parts.append(part)
    return parts


def told(parts: list[Frame]) -> list[tuple[int, float | None, str | None]]:
    return [(part.frame_id, part.triggered_mono, part.missed) for part in parts]


# Which frame shows the part


def test_the_first_frame_that_was_captured_after_the_trigger_is_judged_and_no_other() -> None:
    clock = FakeClock(10.0)
    trigger, queue = triggered(clock)
    show(queue, clock, 0, 10.0)
    clock.now = 10.5
    assert trigger.fire("key")
    show(queue, clock, 1, 10.6)
    show(queue, clock, 2, 10.7)
    assert told(taken(queue)) == [(1, 10.5, None)]


def test_a_frame_whose_capture_began_before_the_trigger_shows_another_moment() -> None:
    clock = FakeClock(10.0)
    trigger, queue = triggered(clock, capture_s=0.03)
    trigger.fire("key")
    show(queue, clock, 0, 10.02)
    show(queue, clock, 1, 10.05)
    assert told(taken(queue)) == [(1, 10.0, None)]


def test_where_nobody_knows_the_capture_a_frame_begins_when_the_one_before_was_there() -> None:
    clock = FakeClock(10.0)
    trigger, queue = triggered(clock, capture_s=None)
    trigger.fire("key")  # before the first frame: it may have been exposed at any time
    show(queue, clock, 0, 10.1)
    show(queue, clock, 1, 10.2)
    clock.now = 10.25
    trigger.fire("key")
    show(queue, clock, 2, 10.3)
    show(queue, clock, 3, 10.4)
    assert told(taken(queue)) == [(1, 10.0, None), (3, 10.25, None)]


def test_the_delay_lets_the_part_travel_to_where_the_camera_sees_it() -> None:
    clock = FakeClock(10.0)
    trigger, queue = triggered(clock, delay_s=0.25)
    trigger.fire("gpio")
    show(queue, clock, 0, 10.2)
    show(queue, clock, 1, 10.3)
    assert told(taken(queue)) == [(1, 10.0, None)]


def test_a_trigger_that_is_told_late_counts_from_when_it_was() -> None:
    clock = FakeClock(10.0)
    trigger, queue = triggered(clock)
    trigger.fire("gpio", at=9.5)
    show(queue, clock, 0, 10.0)
    (part,) = taken(queue)
    assert part.triggered_mono == 9.5


def test_of_several_triggers_before_one_frame_the_first_has_it_and_the_others_wait_for_theirs() -> None:
    clock = FakeClock(10.0)
    trigger, queue = triggered(clock)
    for _ in range(3):
        clock.now += 0.125
        trigger.fire("key")
    show(queue, clock, 0, 10.5)
    show(queue, clock, 1, 10.75)
    clock.now = 12.0
    assert told(taken(queue)) == [(0, 10.125, None), (1, 10.25, None), (NO_ID, 10.375, "no_picture")]


# Parts without a picture


def test_a_part_without_a_picture_in_time_is_not_inspected() -> None:
    clock = FakeClock(10.0)
    trigger, queue = triggered(clock, wait_s=0.5)
    trigger.fire("key")
    show(queue, clock, 0, 10.6)
    parts = taken(queue)
    assert told(parts) == [(NO_ID, 10.0, "no_picture")]
    assert parts[0].image.size == 0
    inspection = Line(FakeJudge(), Alarm(1, 1), clock=clock).step(parts[0])
    assert (inspection.verdict, inspection.not_inspected) == (None, "no_picture")


def test_whoever_waits_for_a_part_hears_at_once_that_it_has_no_picture() -> None:
    changed = threading.Condition()
    trigger = Trigger(wait_s=0.01, changed=changed)
    queue = PartQueue(trigger)
    trigger.fire("key")
    part = queue.get(FOR_EVER_S)
    assert part is not None
    assert part.missed == "no_picture"
    trigger.fire("key")
    turn = Rota([NewestFrame(live=True, changed=changed), queue], changed).next(FOR_EVER_S)
    assert turn is not None
    assert (turn[0], turn[1].missed) == (1, "no_picture")


def test_a_part_whose_time_is_over_is_news_and_a_picture_at_the_very_end_of_it_is_in_time() -> None:
    clock = FakeClock(10.0)
    trigger, queue = triggered(clock, wait_s=0.5)
    trigger.fire("key")
    assert not queue.has_news
    show(queue, clock, 0, 10.5)
    assert told(taken(queue)) == [(0, 10.0, None)]
    trigger.fire("key")
    clock.now = 11.0
    assert queue.has_news


def test_who_asks_a_queue_for_news_need_hold_nothing() -> None:
    """Or a part that is taken just then would be looked at where it no longer is."""
    held: list[bool] = []

    class Parts(EveryFrame):
        def until(self) -> float | None:
            free: list[bool] = []
            other = threading.Thread(target=lambda: free.append(self.changed.acquire(blocking=False)))
            other.start()
            other.join(WAIT_S)
            held.append(free == [False])
            return None

    assert not PartQueue(Parts()).has_news
    assert held == [True]


def test_a_trigger_from_another_thread_wakes_who_waits_for_its_part() -> None:
    trigger = Trigger(wait_s=0.01)
    queue = PartQueue(trigger)
    taken: list[Frame | None] = []
    waiting = threading.Thread(target=lambda: taken.append(queue.get(WAIT_S)), daemon=True)
    waiting.start()
    trigger.fire("key")
    waiting.join(WAIT_S)
    assert [part and part.missed for part in taken] == ["no_picture"]


def test_when_the_camera_is_at_its_end_no_part_waits_for_a_picture() -> None:
    clock = FakeClock(10.0)
    trigger, queue = triggered(clock, wait_s=100.0)
    trigger.fire("key")
    queue.end()
    assert not queue.ended
    trigger.fire("key")
    assert [part.missed for part in taken(queue)] == ["no_picture", "no_picture"]
    assert queue.ended


def test_what_waits_when_the_station_stops_is_counted_and_no_trigger_is_taken_any_more() -> None:
    clock = FakeClock(10.0)
    trigger, queue = triggered(clock, wait_s=0.5)
    trigger.fire("key")
    show(queue, clock, 0, 10.1)
    trigger.fire("key")
    queue.abandon()
    assert not trigger.fire("key")
    assert not queue.put(frame(1, captured_mono=11.0))
    assert queue.unseen() == {"stopped": 2}
    wired = PartQueue(EveryFrame())
    wired.abandon()
    assert not wired.put(frame(0))
    wired.end()
    assert wired.unseen()["stopped"] == 1


# The queue


def test_a_camera_that_is_triggered_by_wire_makes_every_frame_a_part_in_its_turn() -> None:
    queue = PartQueue(EveryFrame())
    for number in range(5):
        queue.put(frame(number))
    assert [part.frame_id for part in taken(queue)] == [0, 1, 2, 3, 4]


def test_a_full_queue_gives_up_the_picture_of_a_part_in_its_place_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    queue = PartQueue(EveryFrame(), most=2)
    for number in range(4):
        queue.put(frame(number))
    queue.get(0.0)
    queue.put(frame(4))
    parts = [queue.get(0.0) for _ in range(4)]
    assert [(part.frame_id, part.missed) for part in parts if part] == [
        (1, None), (2, "backlog"), (3, "backlog"), (4, None)
    ]  # fmt: skip
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "2 parts behind" in caplog.messages[0]
    assert "2 parts were not inspected" in caplog.messages[1]


def test_a_queue_knows_how_many_parts_wait_and_the_most_of_this_minute_and_the_one_before() -> None:
    clock = FakeClock(60.0)
    queue = PartQueue(EveryFrame(), most=3, clock=clock)

    assert queue.waiting() == (0, 0)
    for number in range(5):
        queue.put(frame(number))
    assert queue.waiting() == (3, 3)  # of the others nothing waits but to be said
    queue.get(0.0)
    queue.get(0.0)
    assert queue.waiting() == (1, 3)
    clock.now = 179.0
    assert queue.waiting() == (1, 3)
    taken(queue)
    assert queue.waiting() == (0, 3)
    clock.now = 180.0
    assert queue.waiting() == (0, 1)  # one still waited in the minute before
    queue.put(frame(5))
    queue.put(frame(6))
    taken(queue)
    assert queue.waiting() == (0, 2)
    clock.now = 400.0  # nobody asked meanwhile
    assert queue.waiting() == (0, 0)
    queue.put(frame(7))
    queue.abandon()
    assert queue.waiting() == (0, 1)


def test_the_inspection_is_behind_from_the_first_lost_picture_until_it_has_caught_up() -> None:
    queue = PartQueue(EveryFrame(), most=2)
    for number in range(2):
        queue.put(frame(number))
    assert not queue.is_behind
    queue.put(frame(2))
    assert queue.is_behind
    queue.get(0.0)
    queue.get(0.0)
    assert queue.is_behind
    taken(queue)
    assert not queue.is_behind


def test_a_slot_of_the_newest_frame_has_no_queue_and_is_never_behind() -> None:
    slot = NewestFrame(live=True)
    slot.put(frame(0))
    slot.put(frame(1))
    assert (slot.waiting(), slot.is_behind) == (None, False)


def test_a_source_that_can_wait_does_and_loses_nothing() -> None:
    queue = PartQueue(EveryFrame(), most=2, live=False)

    def show_all() -> None:
        for number in range(20):
            queue.put(frame(number))
        queue.end()

    putting = threading.Thread(target=show_all, daemon=True)
    putting.start()
    parts: list[Frame] = []
    while not queue.ended:
        part = queue.get(WAIT_S)
        parts += [part] if part is not None else []
        assert not queue.is_behind
        assert queue.waiting()[1] <= 2
    putting.join(WAIT_S)
    assert [(part.frame_id, part.missed) for part in parts] == [(number, None) for number in range(20)]


def test_what_shows_no_part_is_there_for_the_watch_over_the_camera() -> None:
    clock = FakeClock(10.0)
    trigger, queue = triggered(clock)
    show(queue, clock, 0, 10.0)
    show(queue, clock, 1, 10.1)
    idle = queue.idle()
    assert idle is not None
    assert idle.frame_id == 1
    assert queue.idle() is None
    trigger.fire("key")
    show(queue, clock, 2, 10.2)
    assert queue.idle() is None
    assert NewestFrame(live=True).idle() is None


def test_no_flood_of_triggers_fills_the_memory_and_none_of_it_goes_uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("trigger", "part_queue"):
        monkeypatch.setattr(f"edge_resad.device.{module}.MOST_WAITING", 5)
    clock = FakeClock(10.0)
    trigger, queue = triggered(clock)
    fired = []
    for number in range(3):
        for _ in range(7):
            clock.now += 0.01
            fired.append(clock.now)
            trigger.fire("gpio")
        show(queue, clock, number, clock.now + 2.0)
    given = [part.there_mono for part in taken(queue)]
    missed = list(queue.missed())
    assert len(given) + sum(queue.unseen().values()) == 21
    assert sorted(given + [there_mono for _, there_mono in missed]) == fired  # each by its own moment
    assert list(queue.missed()) == []


# Any order of events

EVENTS = st.lists(st.tuples(st.sampled_from(["fire", "frame", "judge", "wait"]), st.integers(0, 12)), max_size=120)


@settings(max_examples=300, deadline=None)
@given(
    events=EVENTS,
    wait=st.integers(0, 20),
    delay=st.integers(0, 8),
    capture=st.none() | st.integers(0, 6),
    most=st.integers(1, 4),
    ends=st.sampled_from(["stop", "end"]),
)
def test_every_trigger_is_one_verdict_or_one_part_not_inspected(
    events: list[tuple[str, int]], wait: int, delay: int, capture: int | None, most: int, ends: str
) -> None:
    """Time in 1/16 s, so that sums are exact. `judge` takes one part; between two of them the judge is busy."""
    clock = FakeClock(16.0)
    capture_s = None if capture is None else capture / 16
    trigger, queue = triggered(clock, wait_s=wait / 16, delay_s=delay / 16, capture_s=capture_s, most=most)
    line, tally = Line(FakeJudge(), Alarm(1, 1), clock=clock), Tally()
    inspections: list[Inspection] = []
    shown: list[float] = []

    def judge() -> None:
        part = queue.get(0.0)
        if part is not None:
            inspections.append(line.step(part))
            tally.count(inspections[-1])

    for event, duration in events:
        clock.now += duration / 16
        if event == "fire":
            trigger.fire("key")
        elif event == "frame":
            shown.append(clock.now)
            queue.put(frame(len(shown) - 1, captured_mono=clock.now))
        elif event == "judge":
            judge()
    if ends == "end":
        queue.end()
        while not queue.ended:
            judge()
    queue.abandon()
    unseen = Counter(queue.unseen())

    assert tally.parts + unseen.total() == trigger.fired.total()
    assert ends == "stop" or unseen.total() == 0
    judged = [inspection.frame for inspection in inspections if inspection.verdict is not None]
    assert len({part.frame_id for part in judged}) == len(judged)
    for part in judged:
        assert part.triggered_mono is not None
        began = part.captured_mono - capture_s if capture_s is not None else shown[part.frame_id - 1]
        assert part.triggered_mono + delay / 16 <= began
        assert part.captured_mono <= part.triggered_mono + (delay + wait) / 16
    times = [inspection.frame.triggered_mono or 0.0 for inspection in inspections]
    assert times == sorted(times)


@settings(max_examples=100, deadline=None)
@given(takes=st.lists(st.booleans(), max_size=60), most=st.integers(1, 5))
def test_every_frame_of_a_camera_triggered_by_wire_is_one_part(takes: list[bool], most: int) -> None:
    queue = PartQueue(EveryFrame(), most=most)
    parts: list[Frame] = []
    shown = 0
    for take in takes:
        if take:
            part = queue.get(0.0)
            parts += [part] if part is not None else []
        else:
            queue.put(frame(shown))
            shown += 1
    queue.end()
    parts += taken(queue)
    assert [part.frame_id for part in parts] == list(range(shown))
    assert sum(queue.unseen().values()) == 0


# From outside


def test_whoever_asks_for_news_looks_at_no_parts_that_another_thread_takes_away() -> None:
    trigger, queue = triggered(FakeClock(10.0))
    trigger.fire("key")
    answers = list[bool]()
    asks = threading.Thread(target=lambda: answers.append(queue.has_news))
    with trigger.changed:
        asks.start()
        asks.join(0.1)
        assert not answers
    asks.join()
    assert answers == [False]


def test_a_command_fires_one_camera_or_all_that_are_told() -> None:
    top, side = Trigger(), Trigger()
    triggers = Triggers({"top": top, "side": side, "belt": None})
    assert triggers.command({"camera": "top", "source": "key"}) == {"triggered": ["top"]}
    assert triggers.command({}) == {"triggered": ["top", "side"]}
    assert (top.fired, side.fired) == ({"key": 1, "control": 1}, {"control": 1})


def test_a_command_that_fires_nothing_says_why() -> None:
    stopped = Trigger()
    stopped.close()
    triggers = Triggers({"top": stopped, "belt": None})
    with pytest.raises(TriggerError, match=r"no camera 'side'\. There are: top, belt"):
        triggers.fire("key", "side")
    with pytest.raises(TriggerError, match=r"belt takes no triggers from outside\. Set \[camera\.trigger\] kind ="):
        triggers.fire("key", "belt")
    with pytest.raises(TriggerError, match="the station stops"):
        triggers.fire("key")
    with pytest.raises(TriggerError, match="no camera of this station takes triggers"):
        Triggers({"belt": None}).fire("key")


def test_names_of_those_who_fire_do_not_pile_up_over_the_years() -> None:
    trigger = Trigger(clock=FakeClock())
    for number in range(1000):  # somebody says the number of each part as its source
        trigger.fire(f"part-{number}")
    assert trigger.fired.total() == 1000
    assert len(trigger.fired) <= 17
