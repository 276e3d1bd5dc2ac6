"""A program whose wall clock a test sets: it jumps while the program runs, and nothing that waits hears of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.wall_clock import LIBFAKETIME, WallClock

pytestmark = pytest.mark.skipif(LIBFAKETIME is None, reason="no libfaketime: apt-get install faketime")

DAY_S = 86400
SAYS_ITS_TIME = "import time\nwhile input():\n    print(time.time(), flush=True)"
WAITS_AS_PYTHONS_THREADS_DO = """
import ctypes
import errno
import time

c = ctypes.CDLL(None)
about, condition, mutex = (ctypes.create_string_buffer(128) for _ in range(3))
assert c.pthread_condattr_init(about) == 0
assert c.pthread_condattr_setclock(about, time.CLOCK_MONOTONIC) == 0
assert c.pthread_cond_init(condition, about) == 0
assert c.pthread_mutex_init(mutex, None) == 0
assert c.pthread_mutex_lock(mutex) == 0
until_ns = time.monotonic_ns() + 200_000_000
until = (ctypes.c_long * 2)(*divmod(until_ns, 10**9))
while (code := c.pthread_cond_timedwait(condition, mutex, until)) == 0:
    pass
assert code == errno.ETIMEDOUT, code
print(time.monotonic_ns() >= until_ns)
"""


@pytest.mark.parametrize("says", ["+0", "+1d", "-1d"])
def test_a_wait_by_the_monotonic_clock_is_not_over_before_its_time(tmp_path: Path, says: str) -> None:
    environment = {**os.environ, **WallClock(tmp_path / "time", says).environment}
    command = [sys.executable, "-c", WAITS_AS_PYTHONS_THREADS_DO]
    assert subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout == "True\n"


def test_the_clock_jumps_while_the_program_runs(tmp_path: Path) -> None:
    clock = WallClock(tmp_path / "time")
    environment = {**os.environ, **clock.environment}
    command = [sys.executable, "-c", SAYS_ITS_TIME]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        for says, days in (("+0", 0), ("+1d", 1), ("-1d", -1)):
            clock.set(says)
            before = time.time()
            program.stdin.write("and now?\n")
            program.stdin.flush()
            said = float(program.stdout.readline())
            assert before <= said - days * DAY_S <= time.time()
        program.stdin.write("\n")
