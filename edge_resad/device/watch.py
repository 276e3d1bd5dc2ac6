"""The watch over a camera: whether its pictures can be judged, and what is wrong with them where they cannot."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.device.frame import Frame

Fault = Literal[
    "silent", "wrong_size", "black", "white", "frozen", "underexposed", "overexposed", "blurred", "trigger_lost",
    "behind",
]  # fmt: skip
"""What can be wrong with a camera; that its trigger's pin is lost or its inspection behind, its lane sees."""

Blind = Literal["wrong_size", "black", "white", "frozen"]
"""What a picture cannot be judged with: its part is not inspected."""

BLINDING: frozenset[str] = frozenset({"silent", "wrong_size", "black", "white", "frozen", "trigger_lost"})
"""Faults with which no part is inspected."""

BEGIN_S = 1.0  # what lasts so long is said; a single odd frame is not
FORGET_S = 1.0  # what has not been seen for so long has not begun
END_S = 3.0  # what was said is over when it has not been seen for so long
FIRST_S = 5.0  # a camera that has just been opened may be silent for so long: a CSI camera needs about two
NOISY_FRAMES = 30  # pictures in a row, none like the one before, from which a camera is known to give none twice
LESS_SURE = 10  # times as many where it gave one twice after all and then went on
LEARN_FRAMES = 24  # pictures with edges from which the sharpness that is usual of a product is learnt
MOST_PRODUCTS = 32  # of which what is usual is remembered: those that were shown last
STRAY = 0.001  # share of the samples that may lie beyond a limit: hot pixels, a reflection
ROWS = 21  # places down a picture where three rows are looked at
REACH = 8  # pixels; what edges are at this distance against their neighbours tells blur from sharpness
SAMPLE = 16_000  # pixels in one of every three rows, at most
NOISE_SAMPLES = 1024

WORDS: dict[Fault, str] = {
    "silent": "gives no picture. Check its cable and its power",
    "wrong_size": "gives pictures of another size than it did. Check [camera] width and height, and who else sets it",
    "black": "gives black pictures. Check the light and the lens cap",
    "white": "gives white pictures. Check the exposure and the light",
    "frozen": "gives the very same picture again and again. Replug it",
    "underexposed": "gives pictures that are too dark. Check the light and the exposure",
    "overexposed": "gives pictures that are too bright. Check the light and the exposure",
    "blurred": "gives blurred pictures. Clean the lens and check the focus",
    "trigger_lost": "is told of no parts: its trigger's pin gives no edges. Check the pin, its wire and its adapter",
    "behind": "has parts that come faster than they are inspected: some are not. Give it a faster engine, or the line "
    "more time between parts",
}
"""What is wrong and what to do, as the end of a sentence that begins with the camera's name."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """From where on something is wrong. A limit of None is not watched."""

    black: int | None = 8  # gray levels: nothing in the picture is brighter
    white: int | None = 251  # nothing is darker
    dark: int | None = 20
    bright: int | None = 240
    blur: float | None = 0.3  # of the sharpness that is usual of the product
    frozen_s: float | None = None  # the same bytes for so long; real cameras only
    never_twice: bool = False  # a camera that has given no picture twice is frozen with the first that it does
    silent_s: float | None = None  # no frame for so long; real cameras only
    one_size: bool = False  # pictures of another size than the first are wrong; real cameras only


class Watch:
    """Looks at every frame of one camera, a sample of its pixels each; allocates nothing but for the first.

    `look` tells what this frame cannot be judged with; `said` is what is wrong with the camera for long enough that
    somebody should know, and changes with hysteresis.
    """

    def __init__(self, limits: Limits) -> None:
        self.said: tuple[Fault, ...] = ()
        self.brightness: float | None = None  # of the last picture that could be judged, mean grey level
        self.sharpness: float | None = None  # of it; None where it shows no edges, or where blur is not watched
        self._limits = limits
        self._size: tuple[int, ...] | None = None  # (height, width) of the first picture
        self._eye: _Eye | None = None
        self._spells: dict[Fault, _Spell] = {}
        self._same_since: float | None = None  # when the picture that the camera shows now was first seen
        self._unlike = 0  # pictures in a row that were not like the one before
        self._enough = NOISY_FRAMES
        self._is_repeating = self._was_frozen = False
        self._taken_at: float | None = None  # when the last picture was taken
        self._is_comparable = False  # whether the last picture's sharpness says anything
        self._usual = _Usual()  # of the product that is shown
        self._usual_of: OrderedDict[Hashable, _Usual] = OrderedDict()  # the one that was shown last at the end
        self._last_at: float | None = None
        self._is_gone = False

    def begin(self, now: float) -> None:
        """The camera is open: from now on it should give frames."""
        if self._last_at is None:
            self._last_at = now

    def arrived(self, now: float) -> None:
        """A frame is there that nobody has looked at yet: the camera is not silent, whatever keeps the line."""
        self._last_at = now

    def gone(self, is_gone: bool) -> None:
        """Hear from who knows, of a camera that may be silent for long, whether it is there at all."""
        self._is_gone = is_gone

    def show(self, product: Hashable) -> None:
        """Pictures show this product from now on: how sharp they are as a rule is known from the last time, or learnt.

        product: another one where other pictures of the same product are to be expected.
        """
        self._usual = self._usual_of.setdefault(product, _Usual())
        self._usual_of.move_to_end(product)
        if len(self._usual_of) > MOST_PRODUCTS:
            self._usual_of.popitem(last=False)

    def look(self, frame: Frame, now: float) -> Blind | None:
        """Take a frame; why it cannot be judged, None where it can. now: monotonic seconds."""
        blind = self.glance(frame, now)
        self.compare(now)
        return blind

    def glance(self, frame: Frame, now: float) -> Blind | None:
        """What `look` does, but for what is usual of a product: which one the frame shows may not be known yet."""
        self._last_at, self._is_comparable = now, False
        size = frame.image.shape[:2]
        if self._eye is None or size != self._size:
            if self._eye is not None and self._limits.one_size:
                self._see(now, "wrong_size")
                return "wrong_size"
            self._size, self._eye = size, _Eye(*size)
        eye = self._eye
        is_new = eye.look(frame.image)
        if is_new or self._same_since is None:
            self._same_since = now
        exposed = self._exposure(eye)
        repeats = self._limits.never_twice and self._repeats(frame, is_new, exposed)
        self.brightness, self.sharpness = eye.brightness(), None
        frozen = self._limits.frozen_s is not None and now - self._same_since >= self._limits.frozen_s
        self._was_frozen = frozen
        self._is_comparable = exposed is None and not frozen
        if self._is_comparable and self._limits.blur is not None:
            self.sharpness = eye.sharpness()
        self._see(now, exposed, "frozen" if frozen else None)
        if exposed == "black" or exposed == "white":
            return exposed
        return "frozen" if frozen or repeats else None

    def compare(self, now: float) -> None:
        """Compare the picture of the last glance with what is usual of the product that is shown by now."""
        self._step(now, "blurred", self._is_comparable and self._is_blurred())

    def tick(self, now: float) -> None:
        """Let time pass without a frame: what was wrong with the last one goes on."""
        silent_s = self._limits.silent_s
        if silent_s is not None and self._eye is None:
            silent_s = max(silent_s, FIRST_S)
        silent = silent_s is not None and self._last_at is not None and now - self._last_at >= silent_s
        silent = silent or self._is_gone
        if silent or "silent" in self._spells:
            self._step(now, "silent", silent)
        for fault, spell in list(self._spells.items()):
            if fault != "silent":
                self._step(now, fault, spell.is_on)

    def _exposure(self, eye: _Eye) -> Fault | None:
        limits = self._limits
        if limits.dark is not None and eye.none_above(limits.dark):
            return "black" if limits.black is not None and eye.none_above(limits.black) else "underexposed"
        if limits.dark is None and limits.black is not None and eye.none_above(limits.black):
            return "black"
        if limits.bright is not None and eye.none_below(limits.bright):
            return "white" if limits.white is not None and eye.none_below(limits.white) else "overexposed"
        if limits.bright is None and limits.white is not None and eye.none_below(limits.white):
            return "white"
        return None

    def _repeats(self, frame: Frame, is_new: bool, exposed: Fault | None) -> bool:
        """Whether a camera of whose noise no two pictures are alike gives one again."""
        is_other = frame.captured_mono != self._taken_at  # or somebody looked at this very frame before
        self._taken_at = frame.captured_mono
        if is_new:
            if self._is_repeating and not self._was_frozen:  # it was not frozen: such pictures are usual here
                self._enough *= LESS_SURE
                self._unlike = 0
            self._is_repeating = False
            self._unlike += 1
        elif is_other and exposed not in ("black", "white"):  # in those noise is cut off
            self._is_repeating = self._is_repeating or self._unlike >= self._enough
            self._unlike = self._unlike if self._is_repeating else 0
        return self._is_repeating

    def _is_blurred(self) -> bool:
        if self._limits.blur is None or self.sharpness is None:
            return False
        usual = self._usual.sharpness
        if usual is None:
            self._usual.learn(self.sharpness)
            return False
        return self.sharpness < self._limits.blur * usual

    def _see(self, now: float, *seen: Fault | None) -> None:
        """Take what a frame showed."""
        for fault in list(self._spells):
            if fault not in seen and fault != "blurred":
                self._step(now, fault, False)
        for wrong in seen:
            if wrong is not None:
                self._step(now, wrong, True)

    def _step(self, now: float, fault: Fault, is_on: bool) -> None:
        spell = self._spells.get(fault)
        if spell is None:
            if not is_on:
                return
            spell = self._spells[fault] = _Spell(now)
        begin_s = 0.0 if fault in ("frozen", "silent") else BEGIN_S  # these two have lasted already
        is_said = spell.step(now, is_on, begin_s=begin_s)
        if is_said is None:
            del self._spells[fault]
        if bool(is_said) != (fault in self.said):
            others = [one for one in self.said if one != fault]
            self.said = tuple(sorted([*others, fault] if is_said else others))


class _Usual:
    """How sharp a product's pictures are as a rule; learnt from the first of them, also where it is shown by turns."""

    def __init__(self) -> None:
        self.sharpness: float | None = None  # None: not known yet
        self._seen: list[float] = []

    def learn(self, sharpness: float) -> None:
        """Take one more picture's."""
        self._seen.append(sharpness)
        if len(self._seen) == LEARN_FRAMES:
            self.sharpness = float(np.median(self._seen))
            self._seen = []


class _Spell:
    """A time in which something is wrong, from its first sign on."""

    def __init__(self, now: float) -> None:
        self.is_on = True
        self._began = self._seen = now
        self._is_said = False

    def step(self, now: float, is_on: bool, *, begin_s: float) -> bool | None:
        """Whether to say it; None where it is over."""
        self.is_on = is_on
        if is_on:
            self._seen = now
            self._is_said = self._is_said or now - self._began >= begin_s
        elif now - self._seen >= (END_S if self._is_said else FORGET_S):
            return None
        return self._is_said


class _Eye:
    """A sample of a picture: three rows at each of some places, whole. Its buffers are made once."""

    def __init__(self, height: int, width: int) -> None:
        reach = min(REACH, height - 1, width - 1)
        places = max(1, min(ROWS, height - reach, SAMPLE // width))
        tops = np.linspace(0, height - 1 - reach, places).astype(int)
        self._rows = [int(row) for top in tops for row in (top, min(top + 1, top + reach), top + reach)]
        self._now = np.zeros((3 * places, width, 3), np.uint8)
        self._before = np.full_like(self._now, 1)
        self._mask = np.zeros(self._now.shape, np.bool_)
        self._green = np.zeros((places, 3, width), np.float32)
        self._near = np.zeros((places, max(width - reach, 1)), np.float32)
        self._far = np.zeros_like(self._near)
        self._down = np.zeros((places, width), np.float32)
        self._noise = np.zeros(min(NOISE_SAMPLES, self._near.size), np.float32)
        self._every = self._near.size // self._noise.size
        self._reach = reach
        self._stray = STRAY * self._now.size

    def look(self, image: NDArray[np.uint8]) -> bool:
        """Take a picture, (H, W, 3); whether it differs from the one before."""
        self._now, self._before = self._before, self._now
        for place, row in enumerate(self._rows):
            np.copyto(self._now[place], image[row])
        np.not_equal(self._now, self._before, out=self._mask)
        return bool(self._mask.any())

    def brightness(self) -> float:
        """Mean grey level."""
        blue, green, red, _ = cv2.mean(self._now)
        return (blue + green + red) / 3

    def none_above(self, level: int) -> bool:
        """Whether nothing in the picture is brighter."""
        return bool(np.count_nonzero(np.greater(self._now, level, out=self._mask)) <= self._stray)

    def none_below(self, level: int) -> bool:
        """Whether nothing in the picture is darker."""
        return bool(np.count_nonzero(np.less(self._now, level, out=self._mask)) <= self._stray)

    def sharpness(self) -> float | None:
        """How steep edges are: squared differences of neighbours over those of pixels some way apart, 0 to about 1.

        It does not depend on light and contrast. None where the picture shows no edges above its noise, such as an
        empty belt.
        """
        if self._reach < REACH:
            return None
        # cv2.subtract, for numpy's allocates buffers where rows do not follow each other.
        np.copyto(self._green, self._now.reshape(*self._green.shape, 3)[..., 1])
        rows, width = self._green[:, 0], self._near.shape[1]
        cv2.subtract(rows[:, 1 : width + 1], rows[:, :width], dst=self._near)
        cv2.subtract(rows[:, self._reach :], rows[:, :width], dst=self._far)
        near, far = _energy(self._near), _energy(self._far)
        np.abs(self._near.reshape(-1)[:: self._every][: self._noise.size], out=self._noise)
        self._noise.partition(self._noise.size // 2)
        noise = (1.4826 * float(self._noise[self._noise.size // 2])) ** 2  # the median is of flat places
        cv2.subtract(self._green[:, 1], rows, dst=self._down)
        near += _energy(self._down)
        cv2.subtract(self._green[:, 2], rows, dst=self._down)
        far += _energy(self._down)
        return near / far if far / 2 >= 3 * noise + 4 else None


def _energy(differences: NDArray[np.float32]) -> float:
    flat = differences.reshape(-1)
    return float(np.dot(flat, flat)) / flat.size
