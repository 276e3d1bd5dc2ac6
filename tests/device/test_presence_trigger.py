"""Part presence by the picture: every part on the belt is judged once and whole, and the empty belt never is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edge_resad.device.presence_trigger as presence_module
from edge_resad.demo.products import FAMILIES
from edge_resad.device.frame import Frame
from edge_resad.device.part_queue import PartQueue
from edge_resad.device.presence_trigger import PresenceTrigger
from edge_resad.errors import SettingsError
from tests.device.belt import HEIGHT, RADIUS, WIDTH, Traveller, film, passing

MIDDLE = WIDTH / 2


def judged(frames: Iterable[Frame], trigger: PresenceTrigger | None = None) -> list[int]:
    """The numbers of the frames that are to be judged, in the order in which that is said."""
    trigger = trigger or PresenceTrigger()
    told = []
    for frame in frames:
        trigger.look(frame)
        told += [part.frame_id for part in trigger.take(frame)]
    return told + [part.frame_id for part in trigger.end()]


def halting(start: int, speed: float, where: float, until: int) -> Traveller:
    """A part that stops at `where` and goes on with frame `until`."""

    def at(number: int) -> tuple[float, float]:
        arrived = min(speed * (number - start) - RADIUS, where)
        return (arrived if number < until else where + speed * (number - until)), HEIGHT / 2

    return Traveller(where=at)


# Parts that pass


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("speed", [1.5, 4, 15])
def test_a_part_that_passes_is_judged_once_where_it_is_in_the_middle(family: str, speed: float) -> None:
    part = passing(30, speed, family=family)
    (number,) = judged(film([part], 40 + round((WIDTH + 2 * RADIUS) / speed)))
    assert abs(part.where(number)[0] - MIDDLE) <= max(0.05 * WIDTH, speed)


def test_a_part_may_come_from_any_side() -> None:
    leftwards = Traveller(where=lambda number: (WIDTH + RADIUS - 4.0 * (number - 30), HEIGHT / 2))
    assert len(judged(film([leftwards], 140))) == 1
    downwards = Traveller(where=lambda number: (MIDDLE, 2.0 * (number - 30) - RADIUS))
    assert len(judged(film([downwards], 140))) == 1


@settings(max_examples=15, deadline=None)
@given(
    pace=st.floats(0.05, 0.33),
    gaps=st.lists(st.integers(2 * RADIUS + 10, 250), min_size=1, max_size=5),
    drift=st.floats(0, 0.3),
    noise=st.floats(0, 6),
)
def test_parts_with_a_gap_between_them_are_judged_once_each(
    pace: float, gaps: list[int], drift: float, noise: float
) -> None:
    """pace: of the way from one part to the next, from frame to frame."""
    speed = min(pace * min(gaps), WIDTH / 4)
    places = np.cumsum([0, *gaps])
    parts = [passing(30, speed, behind=int(place), seed=seed) for seed, place in enumerate(places)]
    count = 40 + math.ceil((WIDTH + 2 * RADIUS + places[-1]) / speed)
    numbers = judged(film(parts, count, noise=noise, light=lambda number: 1 + drift * math.sin(number / 40)))
    assert len(numbers) == len(parts)
    for number, part in zip(numbers, parts, strict=True):
        assert abs(part.where(number)[0] - MIDDLE) <= max(0.08 * WIDTH, speed)


def test_parts_beside_each_other_are_two_parts() -> None:
    trigger = PresenceTrigger(least_change=0.01)
    numbers = judged(film([passing(30, 4, y=5), passing(33, 4, y=75, seed=2)], 150), trigger)
    assert len(numbers) == 2  # both reach over the edge of the picture


def test_a_part_that_is_still_there_at_the_end_is_judged_too() -> None:
    part = passing(30, 4)
    assert len(judged(film([part], 55))) == 1


# Parts that rest


def test_a_part_that_stops_is_judged_once_when_it_has_come_to_rest() -> None:
    (number,) = judged(film([halting(30, 4, 100, until=150)], 220))
    assert halting(30, 4, 100, until=150).where(number)[0] == 100


def test_a_part_that_stops_while_the_camera_sees_half_of_it_waits_until_it_is_whole() -> None:
    part = halting(30, 4, 10, until=150)
    (number,) = judged(film([part], 260))
    assert part.where(number)[0] > RADIUS


def test_a_part_that_rests_for_long_is_not_judged_again_when_it_goes_and_the_next_one_is() -> None:
    assert len(judged(film([halting(30, 4, 100, until=400), passing(480, 4, seed=3)], 620))) == 2


def test_with_passing_a_belt_that_stops_does_not_make_a_part_be_judged_early() -> None:
    part = halting(30, 4, 75, until=150)
    (number,) = judged(film([part], 260), PresenceTrigger(moment="passing"))
    assert abs(part.where(number)[0] - MIDDLE) <= 0.05 * WIDTH


def test_with_still_what_never_rests_is_a_hand_and_no_part() -> None:
    trigger = PresenceTrigger(moment="still")
    assert judged(film([passing(30, 4), halting(150, 4, 100, until=250)], 330), trigger) != []
    trigger = PresenceTrigger(moment="still")
    assert judged(film([passing(30, 4)], 140), trigger) == []


def test_a_part_rests_for_as_many_frames_as_the_station_file_says() -> None:
    early, late = (judged(film([halting(30, 4, 100, until=150)], 140), PresenceTrigger(settle=n))[0] for n in (3, 20))
    assert late - early >= 15


# The empty belt


@pytest.mark.parametrize(
    ("light", "noise", "belt_speed"),
    [
        pytest.param(lambda _number: 1.0, 12.0, 0.0, id="noise"),
        pytest.param(lambda number: 1 + 0.4 * math.sin(number / 60), 2.0, 0.0, id="light that drifts"),
        pytest.param(lambda number: 1.3 if number > 100 else 1.0, 2.0, 0.0, id="another lamp"),
        pytest.param(lambda number: 1.1 if number % 2 else 1.0, 2.0, 0.0, id="light that flickers"),
        pytest.param(lambda _number: 1.0, 2.0, 3.0, id="weave that moves"),
    ],
)
def test_the_empty_belt_is_never_judged(light: Callable[[int], float], noise: float, belt_speed: float) -> None:
    assert judged(film([], 400, noise=noise, light=light, belt_speed=belt_speed)) == []


def test_what_is_smaller_than_the_least_change_is_no_part() -> None:
    share = math.pi * RADIUS**2 / (WIDTH * HEIGHT)
    assert judged(film([passing(30, 4)], 140), PresenceTrigger(least_change=2 * share)) == []
    assert len(judged(film([passing(30, 4)], 140), PresenceTrigger(least_change=0.5 * share))) == 1


def test_what_lies_outside_of_the_area_is_no_part_and_the_middle_is_that_of_the_area() -> None:
    part = passing(30, 4)
    left = PresenceTrigger(area=(0, 0, 120, HEIGHT))
    (number,) = judged(film([part], 140), left)
    assert abs(part.where(number)[0] - 60) <= 0.05 * WIDTH
    below = PresenceTrigger(area=(0, 70, WIDTH, 10))
    assert judged(film([passing(30, 4, y=35)], 140), below) == []


def test_an_area_beyond_the_picture_is_said() -> None:
    trigger = PresenceTrigger(area=(200, 0, 50, 50))
    with pytest.raises(SettingsError, match=r"area is \[200, 0, 50, 50\].*240 x 80"):
        trigger.look(next(film([], 1)))


def _lit_from_the_side(frames: Iterable[Frame], lit: range) -> Iterator[Frame]:
    lamp = np.linspace(30, 120, WIDTH)[None, :, None]
    for frame in frames:
        image = frame.image + lamp if frame.frame_id in lit else frame.image
        yield Frame(
            image=np.clip(image, 0, 255).astype(np.uint8),
            frame_id=frame.frame_id,
            captured_mono=frame.captured_mono,
            captured_wall=frame.captured_wall,
        )


def test_a_lamp_that_changes_the_whole_belt_costs_one_false_part_and_then_parts_are_seen_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(presence_module, "FULL_FRAMES", 60)
    frames = _lit_from_the_side(film([passing(250, 4), passing(450, 4, seed=3)], 600), range(60, 400))
    false, lit, unlit = judged(frames)
    assert false < 250 < lit < 400 < 450 < unlit
    assert "Keep the light steady" in caplog.text


# With the queue


def test_a_part_leaves_the_queue_with_its_best_frame_and_what_shows_none_goes_by() -> None:
    queue = PartQueue(PresenceTrigger())
    for frame in film([passing(30, 4)], 140):
        queue.put(frame)
    queue.end()
    part = queue.get(0.0)
    assert part is not None
    assert abs(passing(30, 4).where(part.frame_id)[0] - MIDDLE) <= 0.05 * WIDTH
    assert queue.ended
