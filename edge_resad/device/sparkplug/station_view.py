"""What a SCADA is shown of a station, read from outside: the line is not asked and knows nothing of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Protocol

from edge_resad import __version__
from edge_resad.device.board import Board
from edge_resad.device.bypass import Bypassed
from edge_resad.device.changeover import Changeover
from edge_resad.device.outputs import OutputStatus
from edge_resad.device.pipeline import Alert, Judge, Tally
from edge_resad.device.pressure import Pressure
from edge_resad.device.sparkplug.edge_node import Readings
from edge_resad.device.sparkplug.payload import Value
from edge_resad.device.spool import Spool
from edge_resad.engine.inspector import Inspector


class Shown(Protocol):
    """A camera's lane, as far as it is shown."""

    @property
    def name(self) -> str: ...

    @property
    def judge(self) -> Judge: ...

    @property
    def product(self) -> str: ...

    @property
    def tally(self) -> Tally: ...

    @property
    def alert(self) -> Alert | None: ...

    @property
    def pressure(self) -> Pressure | None: ...


class StationView:
    """Looks at a station that runs. From any thread."""

    def __init__(
        self,
        lanes: Sequence[Shown],
        board: Board,
        spool: Spool,
        *,
        bypass: Callable[[], Bypassed | None],
        outputs: Callable[[], Sequence[OutputStatus]],
        machine: str,
    ) -> None:
        """machine: under which name the board has the faults of the machine."""
        self._lanes = lanes
        self._board = board
        self._spool = spool
        self._bypass = bypass
        self._outputs = outputs
        self._machine = machine
        self._began = time.monotonic()
        self._bundle: str | None = None

    def urgent(self) -> Hashable:
        """What of all this is worth a message at once when it is another: alerts, faults, the bypass, the product."""
        return (
            # An alert is open before it is counted: a look in between must not be the last at it for long.
            tuple((lane.product, _said_of(lane.alert), lane.tally.alerts) for lane in self._lanes),
            tuple(sorted(self._board.faults.items())),
            self._bypass(),
            self._faulty_outputs(),
            self._board.failures > 0,
        )

    def readings(self) -> Readings:
        """All of it, as it is now."""
        board, spool, bypassed = self._board, self._spool, self._bypass()
        faults, last = board.faults, board.last
        self._bundle = next((found for lane in self._lanes if (found := _bundle_of(lane.judge))), self._bundle)
        node: Mapping[str, Value] = {
            "Properties/Version": __version__,
            "Properties/Bundle": self._bundle,
            "Properties/Boot": spool.boot_id,
            "Uptime": int(time.monotonic() - self._began),
            "Bypass": None if bypassed is None else bypassed.reason,
            "Engine/Failures": board.failures,
            "Spool/Waiting": spool.waiting(),
            "Spool/Dead": spool.dead,
            "Spool/Dropped": spool.dropped,
            "Machine/Faults": ", ".join(faults.get(self._machine, ())),
            "Outputs/Faults": self._faulty_outputs(),
        }
        devices: dict[str, Mapping[str, Value]] = {}
        for lane in self._lanes:
            wrong, seen, alert = faults.get(lane.name, ()), last.get(lane.name), lane.alert
            pressure = lane.pressure
            tally = Tally.of([lane.tally])
            devices[lane.name] = {
                "Product": lane.product,
                "Product version": lane.judge.product.version if isinstance(lane.judge, Changeover) else None,
                "State": "bypassed" if bypassed is not None else "fault" if wrong else "running",
                "Faults": ", ".join(wrong),
                "Parts/Passed": tally.passed,
                "Parts/Failed": tally.failed,
                "Parts/Not inspected": tally.not_inspected.total(),
                "Parts/Waiting": None if pressure is None else pressure.waiting,
                "Last/Status": None if seen is None else seen.status,
                "Last/Reason": None if seen is None else seen.reason,
                "Last/Score": None if seen is None else seen.score,
                "Last/Threshold": None if seen is None else seen.threshold,
                "Latency/p50": tally.latency_ms(50),
                "Latency/p99": tally.latency_ms(99),
                "Alerts/Count": tally.alerts,
                "Alerts/Active": alert is not None,
                "Alerts/Severity": None if alert is None else alert.severity,
            }
        return Readings(node=node, devices=devices)

    def _faulty_outputs(self) -> str:
        return ", ".join(status.name for status in self._outputs() if status.problem is not None)


def _said_of(alert: Alert | None) -> Hashable:
    return None if alert is None else (alert.alert_id, alert.severity)


def _bundle_of(judge: Judge) -> str | None:
    """The id of the bundle whose network judges, as far as it is known."""
    if isinstance(judge, Changeover):
        return judge.product.bank_of(0).info.bundle_id
    if isinstance(judge, Inspector) and judge.prepared is not None:
        return judge.prepared.bank.info.bundle_id
    return None
