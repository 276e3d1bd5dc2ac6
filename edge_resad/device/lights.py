"""Lights: green, amber or red for each thing that a station needs, with what to do in words."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from edge_resad.device.drift.figures import ADVICE
from edge_resad.device.link import LinkStatus
from edge_resad.device.outputs import OutputStatus
from edge_resad.device.pressure import Pressure
from edge_resad.device.spool import Spool
from edge_resad.device.watch import BLINDING, WORDS
from edge_resad.errors import SpoolError

Colour = Literal["green", "amber", "red"]

FEW_BYTES, LOW_BYTES = 256 * 10**6, 1024 * 10**6  # free: the disk's light is red and amber
_WORDS: dict[str, str] = {
    **{str(fault): words for fault, words in WORDS.items()},
    **{fault: f"{fault.replace('_', ' ')}. {advice}" for fault, advice in ADVICE.items()},
}
LATE_S = 60.0  # what waits for longer than this is late: the spool's light is amber
HELD_UP_S = 2.0  # a part takes a fraction of that; an engine that is opened again may take longer
FAILURES = 10  # parts in a row that the inspector could not judge


@dataclass(frozen=True, kw_only=True)
class Light:
    """How one thing does."""

    name: str
    colour: Colour
    says: str


def camera_lights(faults: Mapping[str, Sequence[str]], pressures: Mapping[str, Pressure]) -> Iterator[Light]:
    """One for each camera. faults: camera -> what is wrong with it. pressures: of those whose parts wait in a queue."""
    for camera, said in faults.items():
        colour: Colour = "green" if not said else "red" if any(fault in BLINDING for fault in said) else "amber"
        says = "; ".join(_WORDS.get(fault, fault.replace("_", " ")) for fault in said) or "well"
        if camera in pressures:
            says += f"; parts that wait: {pressures[camera].waiting}, of late at most {pressures[camera].most}"
        yield Light(name=camera, colour=colour, says=says)


def engine_light(engine: str, failures: int, problem: str | None, at_work_s: float = 0.0) -> Light:
    """failures: parts in a row that the inspector could not judge. problem: why a product could not be changed to.

    at_work_s: for how long the line has been at one part, or at its engine.
    """
    if at_work_s >= HELD_UP_S:
        says = (
            f"has held the line up for {_long(at_work_s)}: no part is inspected meanwhile. Look at the station's log."
        )
        return Light(name="engine", colour="red", says=says)
    if failures >= FAILURES:
        says = f"fails on every part ({failures} in a row). Look at the station's log."
        return Light(name="engine", colour="red", says=says)
    if failures or problem is not None:
        return Light(name="engine", colour="amber", says=problem or "failed on the last part")
    return Light(name="engine", colour="green", says=engine)


def broker_light(status: LinkStatus | None) -> Light | None:
    """None where the station file names no broker."""
    if status is None:
        return None
    problem = status.problem or status.state_problem
    if status.connected and problem is None:
        return Light(name="broker", colour="green", says="connected")
    colour: Colour = "amber" if status.connected else "red"
    return Light(name="broker", colour=colour, says=problem or "not connected yet; messages wait")


def spool_light(waiting: int, oldest_s: float | None, problem: str | None, *, has_broker: bool, dead: int = 0) -> Light:
    """oldest_s: how long the first of those that wait has waited. problem: why the disk takes nothing.

    dead: messages that the broker will never take.
    """
    noun = "message waits" if waiting == 1 else "messages wait"
    says = "nothing waits" if not waiting else f"{waiting} {noun}"
    if waiting and oldest_s is not None:
        says += f", the first for {_long(oldest_s)}"
    if problem is not None:
        return Light(name="spool", colour="red", says=problem)
    late = has_broker and waiting > 0 and oldest_s is not None and oldest_s > LATE_S
    if dead:
        those = "1 message stays that" if dead == 1 else f"{dead} messages stay that"
        says += f"; {those} the broker will never take: edge-resad spool dead STATION says why"
    return Light(name="spool", colour="amber" if late or dead else "green", says=says)


def output_lights(outputs: Sequence[OutputStatus]) -> Iterator[Light]:
    """One for each output to the line."""
    for status in outputs:
        name, signals = f"output {status.name}", f"{status.fired} signals"
        if status.problem is not None:
            yield Light(name=name, colour="red", says=status.problem)
        elif status.late or status.failed:
            says = f"{signals}, {status.late} late, {status.failed} failed. Look at its delay and its wire."
            yield Light(name=name, colour="amber", says=says)
        else:
            yield Light(name=name, colour="green", says=signals)


def disk_light(folder: Path) -> Light:
    """The disk that the spool is on."""
    try:
        found = os.statvfs(folder)
    except OSError as gone:
        return Light(name="disk", colour="red", says=f"{folder} is not there: {gone.strerror}")
    free = found.f_bavail * found.f_frsize
    colour: Colour = "red" if free < FEW_BYTES else "amber" if free < LOW_BYTES else "green"
    return Light(
        name="disk", colour=colour, says=f"{free / 1e9:.1f} GB free" + ("" if colour == "green" else ": make room")
    )


def oldest_s(spool: Spool, now: float) -> float | None:
    """How long the first message that waits has waited, by its own time; None where none does, its clock was off or the
    disk does not say.
    """
    try:
        first = spool.oldest(1)
    except SpoolError:  # who looks at the station must see the rest of it
        return None
    for letter in first:
        try:
            said = json.loads(letter.body)["time"]
            return max(0.0, now - datetime.fromisoformat(said.replace("Z", "+00:00")).timestamp())
        except (ValueError, KeyError, TypeError):  # a picture, whose message went before it
            return None
    return None


def _long(seconds: float) -> str:
    for most, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < most:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86400:.0f} days"
