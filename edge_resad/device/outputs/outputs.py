"""All outputs of a station: told first what became of a part, before disk and network, and never waited for."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType

from edge_resad.device.outputs.encoder import Encoder
from edge_resad.device.outputs.output import Output
from edge_resad.device.outputs.wiring import OutputStatus, Signal
from edge_resad.device.pipeline import Inspection, Reason
from edge_resad.device.settings import Cause
from edge_resad.device.watch import BLINDING

log = logging.getLogger(__name__)

SWITCH_S = 0.0005
_REJECTS: frozenset[Cause] = frozenset({"fail", "not_inspected"})
LET_BY = "bypassed"  # why a part has no verdict: a person lets parts go by, and has said for what reason


class Outputs:
    """Tells every output that listens. No call waits or raises into the line; what fails is said once and counted."""

    def __init__(self, outputs: Sequence[Output], encoders: Sequence[Encoder] = ()) -> None:
        self.errors = 0  # calls that failed: mistakes of ours
        self._outputs = tuple(outputs)
        self._encoders = tuple(encoders)
        self._faults: dict[str, tuple[str, ...]] = {}  # camera -> what is wrong with it
        self._got_on: list[set[str]] = [set() for _ in self._outputs]  # of each: cameras, since it was last alive
        self._stack = ExitStack()
        self._said: set[str] = set()
        for output in self._outputs:
            if "heartbeat" in output.wiring.on:
                output.watch(
                    one for one in self._outputs if one.wiring.on & _REJECTS and one.wiring.shares(output.wiring)
                )

    def __enter__(self) -> Outputs:
        with self._stack as stack:
            if self._outputs:  # an output's thread shall not wait for the line's by the 5 ms that Python lets one run
                stack.callback(sys.setswitchinterval, sys.getswitchinterval())
                sys.setswitchinterval(SWITCH_S)
            for encoder in self._encoders:
                stack.enter_context(encoder)
            for output in self._outputs:
                stack.callback(output.close)
            stack.callback(self.stopping)  # of all, before any is waited for
            for output in self._outputs:
                output.open()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._stack.close()

    def judged(self, inspection: Inspection) -> None:
        """Signal what became of a part: its verdict, or that it has none."""
        verdict, reason = inspection.verdict, str(inspection.not_inspected)
        signal: Signal = verdict.status if verdict is not None else "not_inspected"
        if reason == LET_BY:
            signal = "pass"
        self.signal(signal, inspection.camera, inspection.frame.there_mono)

    def missed(self, reason: Reason, camera: str, there_mono: float) -> None:
        """Signal a part that never came to the inspection. there_mono: when it was there, monotonic seconds."""
        self.signal("not_inspected", camera, there_mono)

    def signal(self, signal: Signal, camera: str, there_mono: float) -> None:
        """Signal what became of a part of a camera. there_mono: when it was there, monotonic seconds."""
        try:
            for output in self._outputs:
                if signal in output.wiring.on and output.wiring.listens(camera):
                    output.signal(there_mono)
        except Exception as error:  # whatever it is, the next part is already on its way
            self.errors += 1
            kind = type(error).__name__
            if kind not in self._said:
                self._said.add(kind)
                log.exception("a part was not signalled (%s); more of this kind are only counted", kind)

    def alive(self, gets_on: Mapping[str, bool]) -> None:
        """Whether the station gets on with each of its cameras now.

        Where it has not with one of an output's cameras for a while, the output takes its safe level.
        """
        for output, got_on in zip(self._outputs, self._got_on, strict=True):
            ours = [camera for camera in gets_on if output.wiring.listens(camera)]
            got_on.update(camera for camera in ours if gets_on[camera])
            if len(got_on) == len(ours):
                output.alive()
                got_on.clear()

    def at_work(self, is_it: bool) -> None:
        """Whether the station is at work, at a part or its engine, or waits for a part.

        Outputs take their safe level where work lasts too long: parts go by meanwhile.
        """
        for output in self._outputs:
            output.at_work(is_it)

    def faults(self, found: Mapping[str, tuple[str, ...]]) -> None:
        """What is wrong with cameras now; of those that are not named nothing has changed."""
        self._faults.update(found)
        for output in self._outputs:
            ours = {
                fault for camera, faults in self._faults.items() if output.wiring.listens(camera) for fault in faults
            }
            output.ail(ill=bool(ours), blind=not BLINDING.isdisjoint(ours))

    def stopping(self) -> None:
        """The station judges no more: show what is due still, then the safe level, and end. Waits for nothing."""
        for output in self._outputs:
            output.begin_close()

    @property
    def status(self) -> tuple[OutputStatus, ...]:
        """How each output does."""
        return tuple(output.status for output in self._outputs)

    def facts(self) -> dict[str, object]:
        """What the station's state says of its outputs; nothing where there are none."""
        said = {
            status.name: {
                "fired": status.fired,
                "late": status.late,
                "failed": status.failed,
                "problem": status.problem,
            }
            for status in self.status
        }
        return {"outputs": said} if said else {}

    @property
    def ill(self) -> dict[str, str]:
        """Outputs that cannot be set and encoders that are lost: name -> what the operator should know."""
        found = {status.name: status.problem for status in self.status if status.problem}
        return found | {one.name: one.problem for one in self._encoders if one.problem is not None}

    @property
    def problems(self) -> tuple[str, ...]:
        """The same, a sentence each."""
        return tuple(self.ill.values())
