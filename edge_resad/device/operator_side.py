"""The operator's side of a running station: what people see of it, and what they tell it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol

from edge_resad import __version__
from edge_resad.bundle import open_bundle
from edge_resad.device.board import Board
from edge_resad.device.bypass import Bypass, Bypassed
from edge_resad.device.changeover import Changeover
from edge_resad.device.control import Controls, ControlSocket, Occupied
from edge_resad.device.desk import CameraDesk, Desk
from edge_resad.device.errands import Errands
from edge_resad.device.labels import Labels
from edge_resad.device.lights import Light, broker_light, disk_light, engine_light, oldest_s, output_lights, spool_light
from edge_resad.device.outputs import OutputStatus
from edge_resad.device.pipeline import Inspection, Judge
from edge_resad.device.pressure import Pressure
from edge_resad.device.publisher import Publisher
from edge_resad.device.settings import StationFile
from edge_resad.device.spool import Spool
from edge_resad.engine.golden import Golden
from edge_resad.engine.golden_run import golden_runs
from edge_resad.engine.inspector import Inspector
from edge_resad.errors import ControlError
from edge_resad.recipe import Choice, Shelf, product_command

log = logging.getLogger(__name__)

GLANCE_S = 1.0  # what is looked up for the lights is that old at most


class Judging(Protocol):
    """A camera by its name, and who judges its parts now: another one where the engine had to be opened again."""

    @property
    def name(self) -> str: ...

    @property
    def judge(self) -> Judge: ...

    def set_threshold(self, threshold: float) -> None:
        """Let parts fail from another score on until the station stops. From any thread."""


class OperatorSide:
    """Opens the station's control socket and keeps its board. Nothing here is waited for by the line.

    `controls` is where others register commands of their own; `bypass` says whether parts go by.
    """

    def __init__(self, settings: StationFile) -> None:
        self.controls = Controls()
        self.errands = Errands()
        self.board = Board([camera.name for camera in settings.cameras])
        self.bypass = Bypass(self._say_bypass)
        self._settings = settings
        self._publisher: Publisher | None = None
        self._products: dict[str, tuple[str, int | None]] = {}
        self._golden: Golden | None = None
        self._lights: tuple[float, tuple[Light, ...]] = (float("-inf"), ())
        self._failed = False
        self._at_work_since: float | None = None  # None: the line waits for a part
        self._others: dict[str, Callable[[], str | None]] = {}
        self._open = ExitStack()

    def __enter__(self) -> OperatorSide:
        """Raises Occupied where another station that runs has this socket."""
        self._open.enter_context(self.board)
        self.controls.register("status", _starting, "status: how the line does")
        path = self._settings.control.socket
        if path is not False and path.is_absolute():  # settings that were never in a file have no folder to be beside
            try:
                self._open.enter_context(ControlSocket(path, self.controls))
            except Occupied:
                self._open.close()
                raise
            except ControlError as error:  # no page and no commands; the line runs all the same
                log.warning("%s Until then nobody can ask this station or tell it anything.", error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._open.close()

    def connect(self, publisher: Publisher | None) -> None:
        """Tell the fleet too from now on."""
        self._publisher = publisher

    def watch(self, part: str, health: Callable[[], str | None]) -> None:
        """Give another part of the station a light. health: what is wrong with it, in a sentence; None: nothing."""
        self._others = {**self._others, part: health}

    def open_desk(
        self,
        lanes: Sequence[Judging],
        spool: Spool,
        outputs: Callable[[], Sequence[OutputStatus]] = tuple,
        pressures: Callable[[], Mapping[str, Pressure]] = dict,
    ) -> None:
        """Answer from now on."""
        settings, station = self._settings, self._settings.station
        for lane in lanes:
            judge = lane.judge
            if isinstance(judge, Changeover):
                self._products[lane.name] = (judge.product.recipe.product, judge.product.version)
                self.board.set_product(lane.name, judge.product.label)
        about = {
            "site": station.site, "line": station.line, "device": station.device, "version": __version__,
            "started": time.time(),
        }  # fmt: skip
        desk = Desk(
            self.board,
            [self._camera_desk(lane) for lane in lanes],
            self.bypass,
            Labels(settings.control.labels),
            about=about,
            lights=lambda: [*self._glance([lane.judge for lane in lanes], spool), *output_lights(outputs())],
            pressures=pressures,
        )
        desk.register(self.controls)

    def is_bypassed(self) -> bool:
        """Whether parts go by without inspection."""
        return self.bypass.now is not None

    def say_faults(self, faults: Mapping[str, tuple[str, ...]]) -> None:
        """camera -> what is wrong with it now: on the board and in the station's state."""
        self.board.set_faults(faults)
        if self._publisher is not None:
            self._publisher.say_faults(faults)

    def at_work(self, is_it: bool) -> None:
        """Whether the line does something now that should not take long, or waits for a part."""
        self._at_work_since = time.monotonic() if is_it else None

    def missed(self, reason: str) -> None:
        """Count a part that passed without ever reaching the inspection."""
        self.board.missed(reason)

    def inspected(self, inspection: Inspection, judge: Judge) -> None:
        """Show one more part. What fails here costs the page, not the line."""
        try:
            self.board.inspected(inspection, judge.score_map)
            self._say_product(inspection)
        except Exception:
            if not self._failed:
                log.exception("a part is not on the operator's page; more of this kind are not said")
            self._failed = True

    def _say_product(self, inspection: Inspection) -> None:
        verdict = inspection.verdict
        if verdict is None or verdict.product is None:
            return
        product = (verdict.product, verdict.product_version)
        if product == self._products.get(inspection.camera):
            return
        self._products[inspection.camera] = product
        if self._publisher is not None:
            self._publisher.say_facts(**product_facts(self._settings, self._products))

    def _say_bypass(self, bypassed: Bypassed | None) -> None:
        if self._publisher is not None:
            self._publisher.say_facts(bypass=None if bypassed is None else bypassed.reason)

    def _camera_desk(self, lane: Judging) -> CameraDesk:
        told = next(one for one in self._settings.cameras if one.name == lane.name)
        products = self._settings.of_camera(told).products
        return CameraDesk(
            camera=lane.name,
            shelf=None if products is None else Shelf(products.folder),
            threshold=lambda value: _threshold(lane, value),
            check_product=lambda choice: _check_product(lane.judge, choice),
            self_test=lambda: self._self_test(lane.judge),
        )

    def _self_test(self, judge: Judge) -> str | None:
        if not isinstance(judge, Inspector | Changeover):
            raise ControlError("this station's inspector runs no engine that could be tested.")
        if self._golden is None:
            self._golden = golden_runs(open_bundle(self._settings.inspection.bundle)).get("detector")
        golden = self._golden
        return self.errands.ask(lambda: judge.inspector.fault(golden))

    def _glance(self, judges: Sequence[Judge], spool: Spool) -> tuple[Light, ...]:
        looked_at, lights = self._lights
        now = time.monotonic()
        if now - looked_at >= GLANCE_S or self.board.failures:
            lights = tuple(self._look(judges, spool))
            self._lights = (now, lights)
        return lights

    def _look(self, judges: Sequence[Judge], spool: Spool) -> Iterator[Light]:
        problems = [judge.problem for judge in judges if isinstance(judge, Changeover) and judge.problem]
        engine = self._settings.engine
        first = next((judge.inspector for judge in judges if isinstance(judge, Inspector | Changeover)), None)
        precision = f", {first.precision}" if first is not None else ""
        since = self._at_work_since
        yield engine_light(
            f"{engine.provider}{precision}",
            self.board.failures,
            problems[0] if problems else None,
            0.0 if since is None else time.monotonic() - since,
        )
        broker = broker_light(self._publisher.status if self._publisher is not None else None)
        if broker is not None:
            yield broker
        waiting = spool.waiting()
        age_s = oldest_s(spool, time.time()) if waiting else None
        yield spool_light(waiting, age_s, spool.health(), has_broker=broker is not None, dead=spool.dead)
        yield disk_light(self._settings.spool.path.parent)
        for part, health in self._others.items():
            wrong = health()
            yield Light(name=part, colour="green" if wrong is None else "amber", says=wrong or "well")


def product_facts(settings: StationFile, products: Mapping[str, tuple[str, int | None]]) -> dict[str, Any]:
    """What a station's state says of its products. products: camera -> product and version, where there are recipes."""
    cameras = {
        camera.name: products[camera.name][0] if camera.name in products else settings.of_camera(camera).station.product
        for camera in settings.cameras
    }
    versions = {camera: version for camera, (_, version) in products.items() if version is not None}
    return {
        "product": cameras[settings.camera.name],
        "cameras": cameras,
        **({"product_versions": versions} if versions else {}),
    }


def _starting(_arguments: dict[str, Any]) -> dict[str, Any]:
    raise ControlError("the station is starting and loads its engine. Wait a moment.")


def _check_product(judge: Judge, choice: Choice) -> None:
    if isinstance(judge, Changeover):
        judge.check(choice)


def _threshold(lane: Judging, value: float | None) -> float:
    judge = lane.judge
    if isinstance(judge, Changeover):
        if value is None:
            return judge.product.threshold_of(0)
        raise ControlError(
            f"the threshold of {judge.product.label} stands in its recipe. Make a new version and put it to use: "
            f"{product_command(f'change {judge.product.recipe.product} --threshold {value:g}', judge.product.shelf)}."
        )
    if not isinstance(judge, Inspector):
        raise ControlError("this station's inspector has no threshold to set.")
    if value is not None:
        log.warning("the threshold is %g from now on until the station stops; it was %g", value, judge.threshold)
        lane.set_threshold(value)
    return judge.threshold if value is None else value
