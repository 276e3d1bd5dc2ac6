"""Every output at its safe level, set from outside the station: after it has died, or by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edge_resad.device.outputs.terminal import Terminal
from edge_resad.errors import OutputError

PATIENCE_S = 3.0  # for all together; a Modbus server has 0.5 s for its connection and as much for its answer
_LEVELS = ("idle", "active")


@dataclass(frozen=True, kw_only=True)
class Left:
    """How one output was left."""

    name: str
    is_safe: bool
    says: str

    def __str__(self) -> str:
        return f"{self.name}: {self.says}"


def make_safe(terminals: Mapping[str, tuple[Terminal, bool]], *, patience_s: float) -> Iterator[Left]:
    """Set all outputs at the same time, and tell of each in its turn how it is left; none is waited for any longer.

    terminals: by the output's name, its terminal and whether its safe level is the active one.
    """
    attempts = [_Attempt(name, terminal, is_active) for name, (terminal, is_active) in terminals.items()]
    until = time.monotonic() + patience_s
    for attempt in attempts:
        attempt.thread.start()
    for attempt in attempts:
        attempt.thread.join(max(0.0, until - time.monotonic()))
        yield attempt.left or Left(name=attempt.name, is_safe=False, says=f"no answer within {patience_s:g} s.")


class _Attempt:
    """A thread that sets one output; one that hangs keeps it, and ends with the program."""

    def __init__(self, name: str, terminal: Terminal, is_active: bool) -> None:
        self.name = name
        self.left: Left | None = None
        self.thread = threading.Thread(target=self._work, name=f"output {name}", daemon=True)
        self._terminal = terminal
        self._is_active = is_active

    def _work(self) -> None:
        try:
            self._terminal.open(int(self._is_active)).close()
        except OutputError as error:
            self.left = Left(name=self.name, is_safe=False, says=str(error))
        except Exception as error:  # the others are to be heard of all the same
            self.left = Left(name=self.name, is_safe=False, says=f"failed with {type(error).__name__}. Report it.")
        else:
            says = f"{_LEVELS[self._is_active]}, as while nobody judges"
            self.left = Left(name=self.name, is_safe=True, says=says)
