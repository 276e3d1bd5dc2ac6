"""Tuning: the few settings of the station file that may change while the station runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from edge_resad.device.control import Controls
from edge_resad.device.errands import Errands
from edge_resad.device.pictures.pictures import Pictures
from edge_resad.device.settings import StationFile
from edge_resad.errors import EdgeResadError

TUNABLE = (
    "inspection.threshold", "inspection.debounce_k", "inspection.debounce_n", "pictures.passes", "log.level"
)  # fmt: skip
"""By their place in the station file."""
_OF_RECIPES = ("inspection.threshold", "inspection.debounce_k", "inspection.debounce_n")


class Debounced(Protocol):
    """A camera's lane, as far as it is tuned here."""

    def debounce(self, k: int, n: int) -> None: ...


class Tuning:
    """Sets settings over those of the station file; what is not among them is as the file says again."""

    def __init__(
        self,
        settings: StationFile,
        controls: Controls,
        errands: Errands,
        lanes: Sequence[Debounced],
        pictures: Pictures | None,
    ) -> None:
        self._settings = settings
        self._controls = controls
        self._errands = errands
        self._lanes = lanes
        self._pictures = pictures
        self._held: dict[str, Any] = {}  # what was set over the file's
        self._own_thresholds: dict[str, float] | None = None  # camera -> what it was before anybody set it

    @property
    def held(self) -> dict[str, Any]:
        """What holds now instead of what the file says."""
        return dict(self._held)

    def current(self) -> dict[str, Any]:
        """Every setting that may change, as it holds now."""
        found = {name: self._held.get(name, self._of_file(name)) for name in TUNABLE}
        said = self._controls.answer("threshold", {}).get("result", {}).get("threshold", {})
        thresholds = set(said.values())
        found["inspection.threshold"] = thresholds.pop() if len(thresholds) == 1 else None  # None: not one for all
        return found

    def refused(self, wanted: Mapping[str, Any]) -> dict[str, str]:
        """What is wrong with which of these; empty where all can be set."""
        wrong = {name: f"cannot be set from afar: {', '.join(TUNABLE)} can" for name in wanted if name not in TUNABLE}
        if self._settings.products is not None:
            wrong |= {name: "stands in the product's recipe" for name in wanted if name in _OF_RECIPES}
        if self._pictures is None and "pictures.passes" in wanted:
            wrong["pictures.passes"] = "this station keeps no pictures"
        by_section: dict[str, dict[str, Any]] = {}
        for name, value in wanted.items():
            if name not in wrong:
                section, key = name.split(".")
                by_section.setdefault(section, {})[key] = value
        for section, keys in by_section.items():
            try:
                self._section(section, keys)
            except ValidationError as error:
                for one in error.errors(include_url=False):
                    named = [str(key) for key in one["loc"] if key in keys] or list(keys)
                    wrong |= {f"{section}.{key}": one["msg"] for key in named}
        return wrong

    def put(self, wanted: Mapping[str, Any]) -> None:
        """Have these hold and no others. They must not be refused.

        Raises:
            EdgeResadError: one of them could not be set; what was set before it holds.
        """
        new = {name: wanted.get(name, self._of_file(name)) for name in TUNABLE}
        if any(name in _OF_RECIPES[1:] and new[name] != self._now(name) for name in TUNABLE):
            k, n = new["inspection.debounce_k"], new["inspection.debounce_n"]
            self._errands.ask(lambda: self._debounce(k, n))
        if "inspection.threshold" in wanted or "inspection.threshold" in self._held:
            self._put_threshold(wanted.get("inspection.threshold"))
        if self._pictures is not None:
            self._pictures.passes = new["pictures.passes"]
        if new["log.level"] != self._now("log.level"):
            logging.getLogger().setLevel(new["log.level"].upper())
        self._held = dict(wanted)

    def _debounce(self, k: int, n: int) -> None:
        for lane in self._lanes:
            lane.debounce(k, n)

    def _now(self, name: str) -> Any:
        return self._held.get(name, self._of_file(name))

    def _put_threshold(self, value: float | None) -> None:
        if self._own_thresholds is None:
            self._own_thresholds = self._ask_threshold({})
        if value is not None:
            self._ask_threshold({"set": value})
            return
        for camera, own in self._own_thresholds.items():
            self._ask_threshold({"set": own, "camera": camera})

    def _ask_threshold(self, arguments: dict[str, Any]) -> dict[str, float]:
        answer = self._controls.answer("threshold", arguments)
        if "error" in answer:
            raise EdgeResadError(str(answer["error"]))
        return dict(answer["result"]["threshold"])

    def _of_file(self, name: str) -> Any:
        section, key = name.split(".")
        return getattr(getattr(self._settings, section), key)

    def _section(self, name: str, keys: Mapping[str, Any]) -> BaseModel:
        told: BaseModel = getattr(self._settings, name)
        return type(told).model_validate({**told.model_dump(exclude_unset=True), **keys})
