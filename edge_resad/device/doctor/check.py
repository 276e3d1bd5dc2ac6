"""What was found at one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One place that was looked at. A problem keeps the station from its work, a warning does not."""

    name: str
    state: State
    says: str  # what is, and what to do where something is to be done


def ok(name: str, says: str) -> Check:
    """Nothing is to be done."""
    return Check(name=name, state="ok", says=says)


def warning(name: str, says: str) -> Check:
    """It works, but worse than it could."""
    return Check(name=name, state="warning", says=says)


def problem(name: str, says: str) -> Check:
    """It does not work like this."""
    return Check(name=name, state="problem", says=says)
