"""Faults that are said once: a line in the log, an alert and the state when one begins, and again when it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from edge_resad.messages import Phase, Severity

log = logging.getLogger(__name__)


class FaultPost(Protocol):
    """Who sends a fault's alert, such as `edge_resad.device.post.Post`."""

    def fault(
        self, fault: str, phase: Phase, alert_id: str | None = None, *, severity: Severity | None = None
    ) -> str: ...


class Faults:
    """What is wrong with one thing, such as a line's charts or the machine. Belongs to one thread."""

    def __init__(
        self,
        what: str | None,
        post: FaultPost | None,
        say: Callable[[tuple[str, ...]], None] | None = None,
        *,
        severity: Severity = "minor",
    ) -> None:
        """what: begins the lines of the log; None: others say it there.

        say: who puts what is wrong into the station's state.
        """
        self._what = what
        self._post = post
        self._say = say
        self._severity: Severity = severity
        self._alerts: dict[str, str] = {}  # fault -> id of its alert, while it lasts
        if say is not None:
            say(())

    @property
    def said(self) -> tuple[str, ...]:
        """What is wrong now."""
        return tuple(sorted(self._alerts))

    def set(self, wrong: Mapping[str, str]) -> None:
        """Say what has changed. wrong: fault -> sentence without its end."""
        if wrong.keys() == self._alerts.keys():
            return
        for fault, sentence in wrong.items():
            if fault not in self._alerts:
                if self._what is not None:
                    log.warning("%s: %s.", self._what, sentence)
                self._alerts[fault] = self._send(fault, "new") or fault
        for fault in [fault for fault in self._alerts if fault not in wrong]:
            if self._what is not None:
                log.info("%s: no longer %s", self._what, fault.replace("_", " "))
            self._send(fault, "end", self._alerts.pop(fault))
        if self._say is not None:
            self._say(self.said)

    def end(self) -> None:
        """End the alerts that are open: nobody looks any more, or at something else."""
        for fault, alert_id in self._alerts.items():
            self._send(fault, "end", alert_id)
        if self._alerts and self._say is not None:
            self._say(())
        self._alerts = {}

    def _send(self, fault: str, phase: Phase, alert_id: str | None = None) -> str | None:
        if self._post is None:
            return None
        return self._post.fault(fault, phase, alert_id, severity=self._severity)


class Roll:
    """What several who look at one thing find wrong with it, told as one: its camera's watch and its charts."""

    def __init__(self, thing: str, say: Callable[[Mapping[str, tuple[str, ...]]], None] | None) -> None:
        """say: who puts thing -> faults into the station's state."""
        self._thing = thing
        self._say = say
        self._found: dict[str, tuple[str, ...]] = {}

    def tell(self, who: str, faults: tuple[str, ...]) -> None:
        """Take what one of them finds wrong now."""
        self._found[who] = faults
        if self._say is not None:
            self._say({self._thing: tuple(sorted({fault for found in self._found.values() for fault in found}))})
