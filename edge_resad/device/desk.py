"""The desk: what a running station answers to those who ask it, and does when they tell it."""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from edge_resad.device.board import Board, Label
from edge_resad.device.bypass import LONGEST_REASON, Bypass
from edge_resad.device.control import Controls
from edge_resad.device.labels import Labels
from edge_resad.device.lights import Light, camera_lights
from edge_resad.device.pressure import Pressure
from edge_resad.errors import ControlError
from edge_resad.recipe import Choice, Shelf

Arguments = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class CameraDesk:
    """What the desk has to know of one camera."""

    camera: str
    shelf: Shelf | None  # where its products are; None where it judges by a bank
    threshold: Callable[[float | None], float]
    """Sets the threshold between two parts, or with None only says it. Raises ControlError where a recipe holds it."""
    check_product: Callable[[Choice], None]
    """Raises ProductError where this version of a product cannot judge here."""
    self_test: Callable[[], str | None]
    """What is wrong with what its engine computes, in words; None where nothing is."""


class Desk:
    """Registers the commands that every station has; others are added by those who can do them."""

    def __init__(
        self,
        board: Board,
        lanes: Sequence[CameraDesk],
        bypass: Bypass,
        labels: Labels,
        *,
        about: Mapping[str, Any],
        lights: Callable[[], Sequence[Light]] = tuple,
        pressures: Callable[[], Mapping[str, Pressure]] = dict,
    ) -> None:
        """about: site, line, device, version. lights: all but the cameras'.

        pressures: of the cameras whose parts wait in a queue.
        """
        self._board = board
        self._lanes = {lane.camera: lane for lane in lanes}
        self._bypass = bypass
        self._labels = labels
        self._about = dict(about)
        self._lights = lights
        self._pressures = pressures
        self._controls = Controls()

    def register(self, controls: Controls) -> None:
        """Put the commands where they can be asked for."""
        self._controls = controls
        for name, command, says in (
            ("acknowledge", self._acknowledge, "acknowledge: the rejects so far were seen"),
            ("bypass", self._begin_bypass, "bypass reason=WHY: parts go by without inspection until resume"),
            ("clear", self._clear, "clear: count from zero, as for a new shift"),
            ("help", self._help, "help: every command"),
            (
                "label",
                self._label,
                "label id=REJECT [label=false_reject|true_reject] [by=NAME]: what a reject really was",
            ),
            ("picture", self._picture, "picture id=REJECT: one of the last rejects as a JPEG in base64"),
            ("product", self._product, "product use=NAME[@VERSION] [camera=NAME]: change over"),
            ("products", self._products, "products: which there are, and which is in use"),
            ("resume", self._end_bypass, "resume: inspect again after a bypass"),
            ("self-test", self._self_test, "self-test [camera=NAME]: whether the engine computes what it should"),
            ("snapshot", self._snapshot, "snapshot: the last part of all as a JPEG in base64"),
            ("status", self._status, "status [since=VERSION]: how the line does; little where nothing is new"),
            (
                "threshold",
                self._threshold,
                "threshold [set=VALUE] [camera=NAME]: say it, or set it until the station stops",
            ),
        ):
            controls.register(name, command, says)

    def _help(self, _arguments: Arguments) -> Mapping[str, Any]:
        return self._controls.known

    def _status(self, arguments: Arguments) -> Mapping[str, Any]:
        if arguments.get("since") == self._board.version:
            return {"version": self._board.version, "unchanged": True}
        bypassed = self._bypass.now
        lights = [*camera_lights(self._board.faults, self._pressures()), *self._lights()]
        return {
            **self._board.snapshot(),
            "station": self._about,
            "now": time.time(),
            "bypass": None if bypassed is None else asdict(bypassed),
            "lights": [asdict(light) for light in lights],
            "commands": list(self._controls.known),
            "changeover": any(lane.shelf is not None for lane in self._lanes.values()),
        }

    def _products(self, _arguments: Arguments) -> Mapping[str, Any]:
        judging = self._board.products
        return {
            lane.camera: {
                "products": {name: lane.shelf.versions(name) for name in lane.shelf.names()},
                "in_use": judging[lane.camera] if (chosen := lane.shelf.in_use()) is None else str(chosen),
            }
            for lane in self._lanes.values()
            if lane.shelf is not None
        }

    def _product(self, arguments: Arguments) -> Mapping[str, Any]:
        wanted = _text(arguments, "use", example="use=flange")
        lanes = [lane for lane in self._chosen(arguments) if lane.shelf is not None]
        shelves = {lane.shelf.folder: lane.shelf for lane in lanes if lane.shelf is not None}
        if not shelves:
            raise ControlError("this camera has one bank and no products. To change over set [products] folder.")
        choices = {folder: shelf.find(wanted) for folder, shelf in shelves.items()}  # all or none
        for lane in lanes:
            if lane.shelf is not None:
                lane.check_product(choices[lane.shelf.folder])
        for folder, choice in choices.items():
            shelves[folder].use(choice)
        return {"asked_for": str(next(iter(choices.values()))), "cameras": [lane.camera for lane in lanes]}

    def _threshold(self, arguments: Arguments) -> Mapping[str, Any]:
        value = arguments.get("set")
        if value is not None and not (_is_number(value) and value > 0):
            raise ControlError(f"a threshold is a number above 0, not {value!r}. Say set=1.4.")
        chosen = sorted(self._chosen(arguments), key=lambda lane: lane.shelf is None)  # those that refuse first
        thresholds = {lane.camera: lane.threshold(value) for lane in chosen}
        return {"threshold": thresholds, **({} if value is None else {"until": "the station stops"})}

    def _self_test(self, arguments: Arguments) -> Mapping[str, Any]:
        for lane in self._chosen(arguments):
            wrong = lane.self_test()
            if wrong is not None:
                raise ControlError(f"the engine of {lane.camera} does not compute what it should: {wrong}.")
        return {"engine": "computes what it should"}

    def _snapshot(self, _arguments: Arguments) -> Mapping[str, Any]:
        return _jpeg(self._board.last_frame())

    def _picture(self, arguments: Arguments) -> Mapping[str, Any]:
        return _jpeg(self._board.picture(_text(arguments, "id", example="id=1f2e3d4c-7")))

    def _label(self, arguments: Arguments) -> Mapping[str, Any]:
        label = arguments.get("label", "false_reject")
        if label not in get_args(Label):
            raise ControlError(f"no label {label!r}. There are: {', '.join(get_args(Label))}.")
        by = arguments.get("by")
        found = self._board.find(_text(arguments, "id", example="id=1f2e3d4c-7"))
        said = {"labelled": time.time(), **asdict(found), "label": label, "by": None if by is None else str(by)[:64]}
        self._labels.append(said)
        with suppress(ControlError):  # others took its place while the disk took its time: it is written down
            self._board.label(found.id, cast(Label, label))
        return {"id": found.id, "label": label}

    def _acknowledge(self, _arguments: Arguments) -> Mapping[str, Any]:
        return {"acknowledged": self._board.acknowledge()}

    def _clear(self, _arguments: Arguments) -> Mapping[str, Any]:
        self._board.clear()
        return {"counts": "begin at zero"}

    def _begin_bypass(self, arguments: Arguments) -> Mapping[str, Any]:
        reason = " ".join(_text(arguments, "reason", example='reason="new lamp"').split())
        if not reason:
            raise ControlError('a bypass needs a reason, for it is written down. Say reason="new lamp".')
        bypassed = self._bypass.begin(reason[:LONGEST_REASON])
        self._board.touch()
        return asdict(bypassed)

    def _end_bypass(self, _arguments: Arguments) -> Mapping[str, Literal["again", "all along"]]:
        was = self._bypass.end()
        self._board.touch()
        return {"inspected": "again" if was else "all along"}

    def _chosen(self, arguments: Arguments) -> list[CameraDesk]:
        """Of one camera, where it is named; of all."""
        camera = arguments.get("camera")
        if camera is None:
            return list(self._lanes.values())
        if camera not in self._lanes:
            raise ControlError(f"no camera {camera!r}. There are: {', '.join(self._lanes)}.")
        return [self._lanes[camera]]


def _text(arguments: Arguments, name: str, *, example: str) -> str:
    value = arguments.get(name)
    value = str(value) if isinstance(value, int) and not isinstance(value, bool) else value  # a product called 4711
    if not isinstance(value, str):
        raise ControlError(f"{name} is {'missing' if value is None else 'no text'}. Say it like {example}.")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _jpeg(content: bytes) -> dict[str, str]:
    return {"jpeg": base64.b64encode(content).decode("ascii")}
