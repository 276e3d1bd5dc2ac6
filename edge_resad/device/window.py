"""The letters that are on their way: in order, a bounded number, and none that the broker does not want now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_resad.device.link import Fate
from edge_resad.device.spoolfile import Letter


@dataclass
class _Hold:
    """A topic whose letters the broker refuses for now."""

    first_seq: int  # of the letters held back
    until: float
    wait_s: float
    probe: int | None = None  # seq of the one letter that asks whether it would be taken now


def held_as(letter: Letter) -> str:
    """The topic, or the filter of all pictures, whose letters wait where the broker does not want this one now."""
    return letter.topic if letter.kind != "image" else f"{letter.topic.rpartition('/')[0]}/+"


class Window:
    """What one connection has sent and not yet heard of.

    Letters of one topic go out in their order. Where the broker refuses one for now, its topic is held; after a while
    a single letter asks again, so that the others of the topic do not overtake it. All pictures are held as one, for
    each has a topic of its own.
    """

    def __init__(self, cap: int, *, retry_s: float = 10.0, retry_max_s: float = 300.0) -> None:
        self.cap = cap  # letters on their way
        self.acknowledged = 0  # letters
        self._retry_s = retry_s
        self._retry_max_s = retry_max_s
        self._sent: dict[int, Letter | None] = {}  # packet id -> letter; None for what is not a letter
        self._seqs: set[int] = set()
        self._holds: dict[str, _Hold] = {}
        self._heard_at: float | None = None
        self._again_from: int | None = None

    @property
    def room(self) -> int:
        """How many more may go now."""
        return max(0, self.cap - len(self._sent))

    @property
    def on_the_way(self) -> Sequence[int]:
        """The letters (seq) that were sent and not settled."""
        return sorted(self._seqs)

    def letter(self, seq: int) -> Letter | None:
        """One of the letters that are on their way; None where it is none of them."""
        return next((letter for letter in self._sent.values() if letter is not None and letter.seq == seq), None)

    @property
    def held_topics(self) -> Sequence[str]:
        return sorted(self._holds)

    def admits(self, letter: Letter) -> bool:
        """Whether this letter may go now; where its topic is held, it is held back as well."""
        hold = self._holds.get(held_as(letter))
        if hold is not None:
            hold.first_seq = min(hold.first_seq, letter.seq)
        return hold is None and letter.seq not in self._seqs

    def sent(self, packet_id: int, letter: Letter | None, now: float) -> None:
        """A packet went out."""
        if not self._sent:
            self._heard_at = now
        self._sent[packet_id] = letter
        if letter is not None:
            self._seqs.add(letter.seq)
            hold = self._holds.get(held_as(letter))
            if hold is not None:
                hold.probe = letter.seq

    def answered(self, packet_id: int, fate: Fate, now: float) -> Letter | None:
        """The broker answered; the letter that it was about."""
        self._heard_at = now
        letter = self._sent.pop(packet_id, None)
        if letter is None:
            return None
        self._seqs.discard(letter.seq)
        hold = self._holds.get(held_as(letter))
        if fate == "later":
            self._hold(letter, hold, now)
        else:
            self.acknowledged += 1
            if hold is not None and hold.probe == letter.seq:
                self.release(held_as(letter))
        return letter

    def due(self, now: float) -> list[tuple[str, int]]:
        """The held topics whose turn it is to ask again, each with the letter (seq) that asks."""
        return [
            (topic, hold.first_seq)
            for topic, hold in self._holds.items()
            if now >= hold.until and (hold.probe is None or hold.probe not in self._seqs)
        ]

    def release(self, topic: str) -> None:
        """Let a topic's letters go again, from the first that was held back."""
        hold = self._holds.pop(topic, None)
        if hold is not None:
            first = hold.first_seq
            self._again_from = first if self._again_from is None else min(first, self._again_from)

    def take_back(self) -> int | None:
        """The first letter (seq) of those that were held back and may go since this was last asked."""
        again_from, self._again_from = self._again_from, None
        return again_from

    def silent_for(self, now: float) -> float:
        """Seconds that the broker has left what was sent without any answer."""
        return now - self._heard_at if self._sent and self._heard_at is not None else 0.0

    def _hold(self, letter: Letter, hold: _Hold | None, now: float) -> None:
        if hold is None:
            self._holds[held_as(letter)] = _Hold(letter.seq, now + self._retry_s, self._retry_s)
            return
        hold.first_seq = min(hold.first_seq, letter.seq)
        if hold.probe == letter.seq:
            hold.probe = None
            hold.wait_s = min(2 * hold.wait_s, self._retry_max_s)
            hold.until = now + hold.wait_s
