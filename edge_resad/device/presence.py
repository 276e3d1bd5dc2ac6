"""A station's presence: what it says of itself when it comes and when it goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from edge_resad.device.settings import StationSection
from edge_resad.device.spool import Spool
from edge_resad.device.stages import StageTimes
from edge_resad.messages import birth_message, offline_message

AskStages = Callable[[], Mapping[str, StageTimes]]
AskFacts = Callable[[], Mapping[str, object]]

SPARES = ("stages_ms", "machine", "about", "problems", "faults")
"""What a state can do without, in the order in which it goes where a broker takes no message so large."""
_NAMED = ("product", "version", "bundle")  # facts that have a field of their own


class Presence:
    """Writes the retained messages of the state topic; `bd_seq` numbers the connection they belong to."""

    def __init__(
        self,
        station: StationSection,
        spool: Spool,
        facts: Mapping[str, object],
        stages: AskStages | None = None,
        changing: AskFacts | None = None,
    ) -> None:
        """facts: version, bundle, product, anything else that others should know. stages: what each takes by now.

        changing: facts that are asked for each time.
        """
        self.device = station.device
        self._address = station.address
        self._spool = spool
        self._facts = {"product": station.product, **facts}
        self._faults: dict[str, tuple[str, ...]] | None = None
        self._machine: dict[str, float] | None = None
        self._problems: dict[str, str] = {}
        self._lock = threading.Lock()  # of what is changed from several threads
        self.version = 0  # grows with everything that a birth would say anew
        self._stages = stages or dict
        self._changing: AskFacts = changing or dict
        self.too_large: str | None = None  # that the broker takes no state so large, and what becomes of it
        self.forms: list[Sequence[str]] = [SPARES[:count] for count in range(len(SPARES) + 1)]
        """What a state may leave out, the whole first: a broker that hangs up at the whole one leaves fewer."""

    @property
    def topic(self) -> str:
        return self._address.state_topic

    def spare(self, *, blamed: bool) -> None:
        """The broker hangs up at the state: from now on it goes in its shortest form, and in none where that is blamed.

        blamed: the broker said that it was because of what it was sent, and not the network.
        """
        if len(self.forms) > 1:
            self.forms = self.forms[-1:]
        elif blamed:
            self.forms = []

    def set_faults(self, faults: Mapping[str, tuple[str, ...]]) -> None:
        """camera -> what is wrong with it now; what was said of other cameras stays. From any thread."""
        with self._lock:
            self._faults = {**(self._faults or {}), **faults}
            self.version += 1

    def set_machine(self, figures: Mapping[str, float]) -> None:
        """How the machine does; goes with whatever the station says next. From any thread."""
        self._machine = dict(figures)

    def set_problem(self, part: str, sentence: str | None) -> None:
        """What is wrong with a part of the station other than its cameras; None: nothing any more. From any thread."""
        with self._lock:
            others = {name: said for name, said in self._problems.items() if name != part}
            problems = others if sentence is None else {**others, part: sentence}
            if problems != self._problems:
                self._problems = problems
                self.version += 1

    def set_facts(self, **facts: object) -> None:
        """What others should know anew, such as another product; None forgets a fact. From any thread."""
        with self._lock:
            kept = {name: fact for name, fact in {**self._facts, **facts}.items() if fact is not None}
            if kept != self._facts:
                self._facts = kept
                self.version += 1

    def birth(self, *, bd_seq: int, live_from_seq: int, again: int = 0, left_out: Sequence[str] = ()) -> bytes:
        """The station is there. live_from_seq: of the first letter that was written after it connected.

        left_out: those of `SPARES` that it does without, which it says.
        """
        facts: dict[str, object] = {**self._facts, **self._changing()}
        if "about" in left_out:
            facts = {name: fact for name, fact in facts.items() if name in _NAMED}
        if self._problems and "problems" not in left_out:
            facts["problems"] = self._problems
        stages_ms = (
            {name: asdict(times) for name, times in self._stages().items()} if "stages_ms" not in left_out else {}
        )
        if left_out:
            facts["left_out"] = list(left_out)
        return birth_message(
            self._address,
            bd_seq=bd_seq,
            **self._when(),
            live_from_seq=live_from_seq,
            waiting=self._spool.waiting(),
            dropped=self._spool.dropped,
            dead=self._spool.dead,
            facts=facts,
            faults=self._faults if "faults" not in left_out else None,
            stages_ms=stages_ms,
            machine=self._machine if "machine" not in left_out else None,
            again=again,
        )

    def offline(self, *, bd_seq: int) -> bytes:
        """The station is gone: its will, or its own last word."""
        return offline_message(self._address, bd_seq=bd_seq, **self._when())

    def _when(self) -> dict[str, Any]:
        return {"stream_id": self._spool.stream_id, "boot_id": self._spool.boot_id, "wall": time.time()}
