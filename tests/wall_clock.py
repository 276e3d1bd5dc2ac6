"""The wall clock of another program, set while the program runs; its monotonic clock goes on as it is."""

from __future__ import annotations

from pathlib import Path

LIBFAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
"""None: apt-get install faketime."""

MONOTONIC_AS_IT_IS = {
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "DONT_FAKE_MONOTONIC": "1",  # what older versions call it
    # Debian's reckons waits by the monotonic clock with the faked one (wolfcw/libfaketime, issue 287, request 503).
    # Each is over at once then: Python's threads spin while they wait for one another, and get on in jerks.
    "FAKETIME_FORCE_MONOTONIC_FIX": "0",
}


class WallClock:
    """Run a program with `environment` and its clock says what `set` told it last."""

    def __init__(self, file: Path, says: str = "+0") -> None:
        """file: where the program reads its time, at every look at its clock. says: what faketime calls a time."""
        self._file = file
        self.set(says)
        self.environment = {
            **MONOTONIC_AS_IT_IS,
            "LD_PRELOAD": str(LIBFAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
        }

    def set(self, says: str) -> None:
        """Let the clock jump: "+1d" and "-1d" from the real time, or "@1970-01-01 00:00:05" and on from there."""
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{says}\n")
        beside.replace(self._file)  # a program that reads half of it would end
