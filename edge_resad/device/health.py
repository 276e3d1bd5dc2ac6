"""A camera's health: says in log, state and alerts what the watch over the camera finds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from edge_resad.device.post import Post
from edge_resad.device.watch import WORDS, Fault, Watch

log = logging.getLogger(__name__)

SayFaults = Callable[[Mapping[str, tuple[str, ...]]], None]


class Health:
    """Turns changes of what is wrong with a camera into one line of the log, one alert and a new state."""

    def __init__(self, camera: str, watch: Watch, post: Post, say: SayFaults | None = None) -> None:
        """say: who puts camera -> faults into the station's state."""
        self._camera = camera
        self._watch = watch
        self._post = post
        self._say = say
        self._alerts: dict[Fault, str] = {}  # fault -> id of its alert, while it lasts
        if say is not None:
            say({camera: ()})

    def step(self, now: float) -> None:
        """Let time pass, with or without a frame. now: monotonic seconds."""
        self._watch.begin(now)
        self._watch.tick(now)
        said = self._watch.said
        if len(said) != len(self._alerts) or any(fault not in self._alerts for fault in said):
            self._change(said)

    def end(self) -> None:
        """End the alerts that are open: the station stops."""
        for fault, alert_id in self._alerts.items():
            self._post.fault(fault, "end", alert_id)
        self._alerts = {}

    def _change(self, said: tuple[Fault, ...]) -> None:
        for fault in said:
            if fault not in self._alerts:
                log.warning("camera %s %s.", self._camera, WORDS[fault])
                self._alerts[fault] = self._post.fault(fault, "new")
        for fault in [fault for fault in self._alerts if fault not in said]:
            log.info("camera %s is no longer %s", self._camera, fault.replace("_", " "))
            self._post.fault(fault, "end", self._alerts.pop(fault))
        if self._say is not None:
            self._say({self._camera: said})
