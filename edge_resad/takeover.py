"""Takeover: how it shows that two clients of one name throw each other out of a broker."""

from __future__ import annotations

from collections import deque

TAKEN_OVER = 0x8E  # MQTT 5: the reason code of a broker that says it


class TakeoverDetector:
    """Tells whether two clients of one name throw each other out, which many brokers do not say.

    The sign: connections that end within `short_s`, `times` in a row within `within_s`. Once seen it stays until a
    connection has held for `calm_s`.
    """

    def __init__(self, *, short_s: float = 5.0, times: int = 3, within_s: float = 120.0, calm_s: float = 60.0) -> None:
        self._short_s = short_s
        self._times = times
        self._within_s = within_s
        self._calm_s = calm_s
        self._ends: deque[float] = deque(maxlen=times)
        self.suspicious = False

    def ended(self, began: float, now: float, *, told: bool = False) -> None:
        """A connection ended. told: the broker itself said that another took it over."""
        self.holds(began, now)
        if told:
            self.suspicious = True
        if now - began >= self._short_s:
            self._ends.clear()
            return
        self._ends.append(now)
        if len(self._ends) == self._times and now - self._ends[0] <= self._within_s:
            self.suspicious = True

    def holds(self, began: float, now: float) -> None:
        """A connection still holds."""
        if now - began >= self._calm_s:
            self.forget()

    def forget(self) -> None:
        """There was another reason, or it is long ago."""
        self.suspicious = False
        self._ends.clear()
