"""Where an output's wire begins: a pin of this machine, or a coil or register of a PLC."""

from __future__ import annotations

from typing import Protocol


class Pin(Protocol):
    """A terminal that is open. One thread uses it."""

    def set(self, value: int) -> None:
        """Show a value: 1 active, 0 idle; a heartbeat counts on. Raises OutputError where it cannot be shown."""

    def close(self) -> None:
        """Give it back."""


class Terminal(Protocol):
    """What can be opened as often as it is lost."""

    @property
    def is_local(self) -> bool:
        """True: it is part of this machine, and one that is missing at the start is a mistake in the station file."""

    @property
    def refresh_s(self) -> float | None:
        """Seconds after which a value is shown again, for the other side may have forgotten it; None: never."""

    def open(self, value: int) -> Pin:
        """Open it so that it shows a value from the first moment. Raises OutputError, which says what to do."""
