"""What became of every part, seen from the line: from the parts on the belt and from what a PLC was told."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

REJECT, ALIVE = 0, 1  # coils of the PLC
HALF_PERIOD_S = 0.5  # of the heartbeat
PULSE_S = 0.06
GATE_S = 2.5  # what a part takes from the camera to the gate
BEFORE_S, AFTER_S = 0.5, 0.7  # a part's pulse is so near to the moment at which its verdict was heard of

Fate = Literal["pass", "fail", "not inspected"]
Span = tuple[float, float]
Write = tuple[float, int, bool]
"""When a coil was written, monotonic seconds; which; its value."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part on the belt."""

    moment: float  # when it was before the camera, monotonic seconds
    fate: Fate | None = None  # None: no camera saw it, or a picture that showed another one
    told_at: float | None = None  # when somebody heard of its verdict; None: that is not known


@dataclass(frozen=True, kw_only=True)
class Account:
    """What became of all parts."""

    shown: int
    verdicts: int
    signalled: int  # without a verdict, and the PLC knew by the time they were at the gate
    lost: int  # passed the gate although they failed or nobody has judged them
    rejects: int  # parts that failed and whose pulse the PLC has seen
    failed: int


def account(parts: Iterable[Part], writes: Sequence[Write], until: float) -> Account:
    """Ask for every part what the PLC knew of it.

    A PLC rejects a part when it has had a pulse for it, when by the time that it is at the gate its reject coil is held
    active, or when it misses the heartbeat: no edge for longer than two half periods. until: monotonic seconds.
    """
    found, writes = list(parts), [write for write in writes if write[0] <= until]  # then it is stopped, and shows so
    pulses = active(writes, REJECT, until)
    pulsed = (part.told_at for part in found if part.told_at is not None and part.fate != "pass")
    first = min(pulsed, default=until) - BEFORE_S  # what is active sooner is a level, however short
    held = [(begin, end) for begin, end in pulses if begin < first or end - begin > 3 * PULSE_S]
    levels = [*held, *missing(writes, until)]
    verdicts = signalled = lost = rejects = failed = 0
    for part in found:
        at_gate = (part.moment, min(part.moment + GATE_S, until))
        told = part.told_at if part.told_at is not None else part.moment
        near = (max(part.moment, told - BEFORE_S), min(told + AFTER_S, part.moment + GATE_S))
        has_pulse = part.fate in ("fail", "not inspected") and overlaps(near, pulses)
        is_known = has_pulse or overlaps(at_gate, levels)
        verdicts += part.fate in ("pass", "fail")
        failed += part.fate == "fail"
        rejects += part.fate == "fail" and has_pulse
        if part.fate not in ("pass", "fail"):
            signalled += is_known
        lost += part.fate != "pass" and not is_known
    return Account(
        shown=len(found), verdicts=verdicts, signalled=signalled, lost=lost, rejects=rejects, failed=failed
    )  # fmt: skip


def active(writes: Sequence[Write], coil: int, until: float) -> list[Span]:
    """When a coil was active."""
    spans: list[Span] = []
    begun: float | None = None
    for mono, address, value in writes:
        if address != coil:
            continue
        if value and begun is None:
            begun = mono
        elif not value and begun is not None:
            spans.append((begun, mono))
            begun = None
    return [*spans, (begun, until)] if begun is not None else spans


def missing(writes: Sequence[Write], until: float) -> list[Span]:
    """When a PLC misses the heartbeat."""
    edges = [-math.inf]
    shown: bool | None = None
    for mono, address, value in writes:
        if address == ALIVE and value != shown:
            shown = value
            edges.append(mono)
    edges.append(until)
    late_s = 2 * HALF_PERIOD_S
    return [(before + late_s, after) for before, after in pairwise(edges) if after - before > late_s]


def overlaps(span: Span, others: Iterable[Span]) -> bool:
    """Whether a span has a moment in common with another."""
    return any(begin <= span[1] and span[0] <= end for begin, end in others)


def fates(parts: Mapping[int, Part], moments: Sequence[float]) -> list[Part]:
    """Every part that was on the belt; of those that nobody knows only the moment is known."""
    return [parts.get(number, Part(moment=moment)) for number, moment in enumerate(moments)]
