"""The link to the broker, as far as it needs no network: what an answer means, when to try again, whom to suspect."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Fate = Literal["delivered", "later", "never"]

NOBODY_SUBSCRIBES = 0x10
_LETTER_IS_WRONG = {0x90, 0x95, 0x99}  # topic name invalid, packet too large, payload format invalid


@dataclass(frozen=True, kw_only=True)
class LinkStatus:
    """How it stands between this station and its broker."""

    connected: bool
    protocol: str | None  # "5" or "3.1.1" while connected
    waiting: int  # messages
    dead: int  # messages that the broker refuses for ever
    problem: str | None  # one sentence for the operator
    state_problem: str | None = None  # why the station's state is not whole at the broker; letters go all the same


def fate_of(reason: int, *, final: bool = False) -> Fate:
    """What a PUBACK's reason code means for the letter.

    final: the letter leaves with this answer; then one that the broker dropped, as nobody subscribes, is not delivered.
    """
    if reason == NOBODY_SUBSCRIBES and final:
        return "later"
    if reason < 0x80:
        return "delivered"
    return "never" if reason in _LETTER_IS_WRONG else "later"


def blames_a_letter(reason: int | None) -> bool:
    """True where a broker hung up because of what it was sent."""
    return reason in _LETTER_IS_WRONG


class Backoff:
    """How long to wait before the next try: doubling, and spread at random, for a fleet must not come all at once."""

    def __init__(self, min_s: float, max_s: float, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._min_s = min_s
        self._max_s = max(min_s, max_s)
        self._uniform = uniform
        self._tries = 0

    def next(self) -> float:
        """Seconds to wait now."""
        ceiling = min(self._max_s, self._min_s * 2.0 ** min(self._tries, 30))
        self._tries += 1
        return self._uniform(ceiling / 2, ceiling)

    def slow(self) -> float:
        """Seconds to wait where only a person can help."""
        return self._uniform(self._max_s / 2, self._max_s)

    def reset(self) -> None:
        """The link held: begin again at the shortest wait."""
        self._tries = 0


class PoisonDetector:
    """Finds the letter that makes a broker hang up, which old protocols do not say.

    After `patience` connections that ended with letters on their way and not one acknowledged, letters go one at a
    time; the one that ends `alone` connections alone is it. A bad network looks the same for a while, so `alone` is
    large; a broker that blames what it was sent is believed at once.
    """

    def __init__(self, patience: int = 3, alone: int = 10) -> None:
        self._patience = patience
        self._alone = alone
        self._times = 0
        self._suspect: int | None = None
        self.careful = False  # send one letter at a time

    def hung_up(self, on_the_way: Sequence[int], *, blamed: bool) -> int | None:
        """A connection ended with these letters (seq) on their way and none taken; the guilty one, if it is known.

        blamed: the broker said that it hung up because of what it was sent.
        """
        if not on_the_way:
            return None
        if not self.careful:
            self._times += 1
            if blamed or self._times >= self._patience:
                self.careful, self._times, self._suspect = True, 0, None
            return None
        first = min(on_the_way)
        self._times = self._times + 1 if first == self._suspect else 1
        self._suspect = first
        if len(on_the_way) > 1 or not (blamed or self._times >= self._alone):
            return None
        self.acknowledged()
        return first

    def acknowledged(self) -> None:
        """The broker took a letter: all is well again."""
        self.careful, self._times, self._suspect = False, 0, None
