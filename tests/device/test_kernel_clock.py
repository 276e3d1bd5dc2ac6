"""What the kernel says of its clock, said by a kernel of ours."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edge_resad.device.kernel_clock import ClockState, clock_state


@pytest.mark.parametrize(
    ("answer", "maxerror", "says"),
    [
        (0, 16_000, ClockState(True, 0.016)),  # TIME_OK
        (5, 16_000_000, ClockState(False, None)),  # TIME_ERROR: 16 s then stand for nothing
        (-1, 0, ClockState(None, None)),  # not allowed
    ],
)
def test_a_clock_that_is_synchronised_has_a_bound_of_its_error(
    monkeypatch: pytest.MonkeyPatch, answer: int, maxerror: int, says: ClockState
) -> None:
    def adjtimex(asked: Any) -> int:
        timex = asked._obj
        assert timex.modes == 0  # nothing is changed
        timex.maxerror = maxerror
        return answer

    monkeypatch.setattr("edge_resad.device.kernel_clock._libc", SimpleNamespace(adjtimex=adjtimex))
    assert clock_state() == says


def test_a_system_without_the_call_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_resad.device.kernel_clock._libc", SimpleNamespace())
    assert clock_state() == ClockState(None, None)


def test_the_kernel_of_this_machine_can_be_asked() -> None:
    state = clock_state()
    assert (state.error_s is not None) == (state.synced is True)
    assert state.error_s is None or 0 <= state.error_s < 1000
