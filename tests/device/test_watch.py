"""The watch sees what is wrong with a camera in time, says it once each way, and leaves good pictures alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.demo import products
from edge_resad.device.frame import Frame
from edge_resad.device.health import Health
from edge_resad.device.lane import limits_of
from edge_resad.device.post import Post
from edge_resad.device.settings import StationFile
from edge_resad.device.spool import Spool
from edge_resad.device.watch import LEARN_FRAMES, MOST_PRODUCTS, NOISY_FRAMES, Limits, Watch
from edge_resad.messages import Address, AlertMessage, read_message
from tests.traced import traced

CAMERA = Limits(frozen_s=1.0, silent_s=1.5, one_size=True)
NOTICED_S = 2.0
RATES = [0.2, 1.0, 7.0, 30.0, 120.0]
DICE = np.random.default_rng(3)


Image = NDArray[np.uint8]


def scene(level: float = 110.0, *, noise: float = 2.0, size: tuple[int, int] = (96, 128)) -> Image:
    """A part with edges before a background, as a sensor gives it: never twice the same. level: of the background."""
    image = np.full((*size, 3), level)
    cv2.rectangle(image, (30, 20), (100, 70), (level * 1.8,) * 3, -1)
    cv2.circle(image, (60, 45), 14, (level * 0.4,) * 3, -1)
    noisy: Image = np.clip(image + DICE.normal(0, noise, image.shape), 0, 255).astype(np.uint8)
    return noisy


def shown(image: NDArray[np.uint8]) -> Frame:
    return Frame(image=image, frame_id=0, captured_mono=0.0, captured_wall=0.0)


def black() -> Image:
    image: Image = np.clip(DICE.normal(1.0, 1.5, (96, 128, 3)), 0, 255).astype(np.uint8)
    return image


def white() -> Image:
    image: Image = DICE.integers(254, 256, (96, 128, 3), np.uint8)
    return image


def smooth() -> Image:
    blurred: Image = np.asarray(cv2.GaussianBlur(scene(noise=0.0), (0, 0), 4.0), np.uint8)
    image: Image = np.clip(blurred + DICE.normal(0, 1.0, blurred.shape), 0, 255).astype(np.uint8)
    return image


STUCK = scene()
ILL = {
    "black": black,
    "white": white,
    "frozen": lambda: STUCK,
    "wrong_size": lambda: scene(size=(48, 64)),
    "underexposed": lambda: scene(8.0, noise=1.0),
    "overexposed": lambda: np.clip(scene().astype(int) // 32 + DICE.integers(242, 244, (96, 128, 3)), 0, 255).astype(
        np.uint8
    ),
    "blurred": smooth,
}
UNJUDGED = {"black", "white", "frozen", "wrong_size"}


def trained(limits: Limits = CAMERA, *, until: float = 10.0) -> Watch:
    """A watch that has seen 30 good pictures."""
    watch = Watch(limits)
    for number in range(30):
        assert watch.look(shown(scene()), until - 3.0 + number / 10) is None
    assert watch.said == ()
    return watch


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("fault", ILL)
def test_what_is_wrong_is_noticed_within_two_seconds_at_any_frame_rate(fault: str, fps: float) -> None:
    watch, first, now = trained(), 10.0, 10.0
    due = first
    allowed_s = (
        NOTICED_S if fault != "frozen" else max(NOTICED_S, 1 / fps + 0.01)
    )  # a repetition needs a second picture
    while fault not in watch.said:
        if now >= due:
            watch.look(shown(ILL[fault]()), now)
            due += 1 / fps
        watch.tick(now)
        assert now - first <= allowed_s, f"{fault} at {fps} a second was not noticed"
        now += 0.005
    assert watch.said in ((fault,), tuple(sorted((fault, "silent"))))


NEVER_TWICE = Limits(frozen_s=1.0, never_twice=True)


def answers_to(watch: Watch, images: Sequence[Image], *, begin: int = 0) -> list[str | None]:
    """What the watch says of pictures that a camera takes at 30 a second."""
    return [
        watch.look(Frame(image=image, frame_id=at, captured_mono=at / 30, captured_wall=0.0), at / 30)
        for at, image in enumerate(images, begin)
    ]


def test_a_camera_that_never_gave_a_picture_twice_is_frozen_with_the_first_that_it_does() -> None:
    watch, noise = Watch(NEVER_TWICE), [scene() for _ in range(NOISY_FRAMES)]
    assert answers_to(watch, [*noise, noise[-1], *[noise[-1]] * 40, scene()]) == [
        *[None] * NOISY_FRAMES, *["frozen"] * 41, None,
    ]  # fmt: skip
    assert watch.said == ("frozen",)
    thawed = [scene(), scene()]
    assert answers_to(watch, [*thawed, thawed[-1]], begin=100) == [None, None, "frozen"]  # it stays sure


def test_a_camera_whose_still_pictures_repeat_themselves_is_judged_as_before_after_one_mistake() -> None:
    watch, noise = Watch(NEVER_TWICE), [scene() for _ in range(NOISY_FRAMES)]
    assert answers_to(watch, [*noise, noise[-1], scene()])[-2:] == ["frozen", None]
    again = [picture for picture in (scene() for _ in range(2 * NOISY_FRAMES)) for _ in range(2)]
    assert answers_to(watch, again, begin=100) == [None] * len(again)


def test_a_camera_that_repeats_itself_from_the_start_and_a_file_are_not_frozen_before_their_time() -> None:
    twice = [picture for picture in (scene() for _ in range(2 * NOISY_FRAMES)) for _ in range(2)]
    assert answers_to(Watch(NEVER_TWICE), twice) == [None] * len(twice)
    noise = [scene() for _ in range(NOISY_FRAMES)]
    assert answers_to(Watch(CAMERA), [*noise, noise[-1]])[-1] is None


def test_a_frame_that_is_looked_at_again_is_no_repeat() -> None:
    watch, noise = Watch(NEVER_TWICE), [scene() for _ in range(NOISY_FRAMES)]
    answers_to(watch, noise)
    assert answers_to(watch, [noise[-1]], begin=NOISY_FRAMES - 1) == [None]


@pytest.mark.parametrize(("source", "expected"), [
    ("/dev/video0", True), ("csi:0", True), ("rtsp://camera/1", False), ("folder:parts", False), ("video:a.mp4", False),
])  # fmt: skip
def test_pictures_of_cameras_with_noise_alone_are_expected_never_to_repeat(source: str, expected: bool) -> None:
    raw = {"station": {"device": "d"}, "camera": {"source": source}, "inspection": {"bank": "b.npz"}}
    limits = limits_of(StationFile.model_validate(raw))
    assert limits is not None
    assert limits.never_twice is expected
    unwatched = limits_of(StationFile.model_validate(raw | {"watch": {"frozen_s": 0.0}}))
    assert unwatched is not None
    assert not unwatched.never_twice


@pytest.mark.parametrize("fault", sorted(UNJUDGED - {"frozen"}))
def test_the_very_first_picture_that_shows_nothing_is_not_judged(fault: str) -> None:
    watch = trained()
    assert watch.look(shown(ILL[fault]()), 10.0) == fault
    assert watch.look(shown(scene()), 10.1) is None


def test_a_picture_that_repeats_itself_is_not_judged_from_the_set_time_on() -> None:
    watch = trained()
    answers = [watch.look(shown(STUCK), 10.0 + number / 10) for number in range(13)]
    assert answers[:10] == [None] * 10
    assert answers[11:] == ["frozen"] * 2


@pytest.mark.parametrize("fault", sorted(ILL.keys() - UNJUDGED))
def test_a_picture_that_is_only_poor_is_judged_all_the_same(fault: str) -> None:
    watch = trained()
    assert [watch.look(shown(ILL[fault]()), 10.0 + number / 10) for number in range(15)] == [None] * 15
    assert watch.said == (fault,)


def test_one_black_picture_is_not_said() -> None:
    watch = trained()
    assert watch.look(shown(black()), 10.0) == "black"
    for number in range(1, 60):
        watch.look(shown(scene()), 10.0 + number / 30)
        assert watch.said == ()


def test_a_light_that_flickers_is_said_once_and_does_not_flap() -> None:
    watch, changes = trained(), []
    for number in range(300):  # ten seconds, every third picture black
        before = watch.said
        watch.look(shown(black() if number % 3 == 0 else scene()), 10.0 + number / 30)
        if watch.said != before:
            changes.append(watch.said)
    assert changes == [("black",)]


def test_what_is_over_is_taken_back_after_three_seconds() -> None:
    watch = trained()
    for number in range(20):
        watch.look(shown(black()), 10.0 + number / 10)
    for number in range(29):
        watch.look(shown(scene()), 12.0 + number / 10)
        assert watch.said == ("black",)
    watch.look(shown(scene()), 15.0)
    assert watch.said == ()


def test_a_camera_that_gives_nothing_is_silent_until_it_gives_something() -> None:
    watch = trained(until=10.0)
    watch.tick(11.3)
    assert "silent" not in watch.said
    watch.tick(11.5)
    assert "silent" in watch.said
    watch.look(shown(scene()), 20.0)
    watch.look(shown(scene()), 20.1)
    watch.tick(24.0)
    assert "silent" in watch.said  # silent again since 20.1
    for number in range(40):
        watch.look(shown(scene()), 24.1 + number / 10)
    assert watch.said == ()


def test_a_camera_whose_frame_waits_for_the_line_is_not_silent() -> None:
    watch = trained(until=10.0)
    watch.arrived(16.0)
    watch.tick(16.0)
    assert watch.said == ()


def test_a_camera_that_opens_and_gives_no_first_picture_in_five_seconds_is_silent() -> None:
    watch = Watch(CAMERA)
    watch.tick(50.0)
    watch.begin(50.0)
    watch.begin(51.0)
    watch.tick(54.9)
    assert "silent" not in watch.said
    watch.tick(55.0)
    assert "silent" in watch.said


def test_files_may_repeat_themselves_pause_and_differ_in_size() -> None:
    watch = Watch(Limits())
    for number in range(40):
        assert watch.look(shown(STUCK), number * 1.0) is None
    watch.tick(1000.0)
    assert watch.look(shown(scene(size=(48, 64))), 1000.0) is None
    assert watch.said == ()


@pytest.mark.parametrize("family", products.FAMILIES)
def test_the_drawn_products_are_well_good_or_bad(family: str) -> None:
    watch = Watch(CAMERA)
    for number in range(60):
        defect = None if number % 3 else products.DEFECTS[number % len(products.DEFECTS)]
        part = products.draw(family, number, size=160, defect=defect, severity=3)
        assert watch.look(shown(part.image), number / 10) is None
        assert watch.said == ()


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("a dark part before a dark ground", lambda: scene(14.0)),
        ("a bright part before a bright ground", lambda: np.maximum(scene(140.0), 180)),
        ("a small part lit before a black ground", lambda: np.where(scene() > 150, scene(), 0).astype(np.uint8)),
        ("an empty belt", lambda: np.clip(DICE.normal(90, 2, (96, 128, 3)), 0, 255).astype(np.uint8)),
    ],
)  # fmt: skip
def test_legitimate_pictures_are_well(name: str, image: object) -> None:
    watch = Watch(CAMERA)
    for number in range(60):
        assert callable(image)
        assert watch.look(shown(image()), number / 10) is None
    assert watch.said == (), name


def test_a_belt_that_is_empty_now_and_then_is_not_blurred() -> None:
    watch = Watch(CAMERA)
    for number in range(200):
        empty = number % 20 < 12
        image = np.clip(DICE.normal(90, 2, (96, 128, 3)), 0, 255).astype(np.uint8) if empty else scene()
        watch.look(shown(image), number / 10)
        assert watch.said == ()


def test_another_product_may_have_softer_edges() -> None:
    watch = trained()
    watch.show("soft")
    for number in range(60):
        watch.look(shown(smooth()), 10.0 + number / 10)
        assert watch.said == ()


def test_products_that_come_by_turns_are_each_compared_with_their_own_pictures() -> None:
    watch, now = Watch(CAMERA), 0.0

    def pass_by(turns: int, flange: Callable[[], Image]) -> None:
        nonlocal now
        for _ in range(turns):
            for product, image in (("flange", flange), ("soft", smooth)):
                watch.show(product)
                watch.look(shown(image()), now)
                now += 0.1

    pass_by(LEARN_FRAMES, scene)
    assert list(watch.said) == []
    pass_by(10, smooth)  # the lens has become dirty
    assert watch.said == ("blurred",)


def test_a_lens_that_becomes_dirty_at_a_changeover_is_noticed_with_a_product_that_was_there_before() -> None:
    watch = Watch(CAMERA)
    for number in range(60):
        watch.show("flange" if number < 30 else "cap")
        watch.look(shown(scene()), number / 10)
    watch.show("flange")
    for number in range(60, 80):
        watch.look(shown(smooth()), number / 10)
    assert watch.said == ("blurred",)


def test_a_picture_whose_product_nobody_knows_is_compared_with_none() -> None:
    watch = trained()
    for number in range(20):
        assert watch.glance(shown(smooth()), 10.0 + number / 10) is None
    assert watch.said == ()


def test_what_is_usual_of_the_products_that_were_shown_last_is_remembered_and_of_no_more() -> None:
    watch = trained()
    for number in range(10 * MOST_PRODUCTS):
        watch.show(number)
    assert list(watch._usual_of) == list(range(9 * MOST_PRODUCTS, 10 * MOST_PRODUCTS))


def test_looking_allocates_nothing_that_stays() -> None:
    watch = Watch(CAMERA)
    frames = [shown(scene(size=(720, 1280))) for _ in range(4)]
    for number in range(30):
        watch.look(frames[number % 4], 9.0 + number / 100)
    moments = count(1000)
    most, left = traced(lambda number: watch.look(frames[number % 4], next(moments) / 100), 100)
    assert left < 1000
    assert most < 16_000  # views and numbers; the sample alone has 138 kB


def test_a_look_at_a_picture_of_1280_by_720_takes_a_fraction_of_a_millisecond() -> None:
    watch = Watch(CAMERA)
    frames = [shown(scene(size=(720, 1280))) for _ in range(4)]
    took: list[float] = []
    for number in range(200):
        began = time.perf_counter()
        watch.look(frames[number % 4], number / 30)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.0006  # measured: about 0.15 ms; three times that, for the machines of tests


# What is said of it


def test_a_fault_is_one_line_one_alert_and_a_new_state_each_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    states: list[object] = []
    watch = trained()
    with Spool(tmp_path / "spool.db", max_bytes=10**9) as spool:
        address = Address(site="graz", line="l4", device="jetson-07")
        post = Post(spool, address, product="bolt", camera="cam0", draw=None)
        health = Health("cam0", watch, post, lambda faults: states.append(dict(faults)))
        for number in range(80):
            watch.look(shown(black() if number < 30 else scene()), 10.0 + number / 10)
            health.step(10.0 + number / 10)
        assert spool.flush(60.0)
        letters = spool.oldest(10)
    said = [read_message(letter.body) for letter in letters]
    alerts = [message.data for message in said if isinstance(message, AlertMessage)]
    assert states == [{"cam0": ()}, {"cam0": ("black",)}, {"cam0": ()}]
    assert [(alert.phase, alert.severity, alert.fault) for alert in alerts] == [
        ("new", "critical", "black"), ("end", "critical", "black")
    ]  # fmt: skip
    assert len({alert.alert_id for alert in alerts}) == 1
    assert [record.message for record in caplog.records] == [
        "camera cam0 gives black pictures. Check the light and the lens cap.",
        "camera cam0 is no longer black",
    ]
