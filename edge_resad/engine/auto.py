"""`--precision auto`: build fp16 and INT8, time both on this GPU, and say which to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_resad.bundle import LADDERS, Bundle, Precision
from edge_resad.engine.build import Built, Progress, build_engines, own_rungs
from edge_resad.engine.child import Refused, ask
from edge_resad.engine.choice import Choice, Measured, choose
from edge_resad.engine.engine_file import Engines, Settings
from edge_resad.engine.host import Host, this_host
from edge_resad.engine.timing import Timing, TimingRequest
from edge_resad.errors import EngineError

_CANDIDATES: tuple[Precision, ...] = ("fp16", "int8")

Timer = Callable[[Engines], float]


@dataclass(frozen=True, kw_only=True)
class AutoBuilt:
    """Everything that was built, and the precision to run."""

    built: dict[Precision, Built]
    choice: Choice


def build_quickest(
    bundle: Bundle,
    folder: Path | None = None,
    *,
    settings: Settings | None = None,
    force: bool = False,
    progress: Progress | None = None,
    host: Host | None = None,
    timer: Timer | None = None,
) -> AutoBuilt:
    """Build what the bundle holds of fp16 and INT8, else fp32, and choose; timing takes place only between two.

    timer: milliseconds of one run of the detector; the GPU's events where it is None.

    Raises:
        EngineError: there are two to choose from and no GPU to time them on; and what build_engines raises.
    """
    machine = host or this_host()
    candidates = [one for one in _CANDIDATES if own_rungs(bundle, one)] or ["fp32"]
    if len(candidates) > 1 and timer is None and machine.gpu is None:
        raise EngineError(
            "--precision auto times engines on the GPU, and no GPU is seen here (pycuda asks for it: pip install "
            "'edge-resad[jetson]'). Name the precision instead: --precision fp16, or --precision int8."
        )
    built: dict[Precision, Built] = {
        one: build_engines(bundle, one, folder, settings=settings, force=force, progress=progress, host=machine)
        for one in candidates
    }
    if len(built) == 1:
        (only,) = built
        return AutoBuilt(built=built, choice=Choice(precision=only, why="the bundle leaves no choice"))
    if built["int8"].engines.about.rung == built["fp16"].engines.about.rung:
        why = "TensorRT took no int8 rung, so both would be the same"
        return AutoBuilt(built=built, choice=Choice(precision="fp16", why=why))
    inaccurate = beyond_budget(bundle)
    measured = [
        Measured(
            precision=one, median_ms=(timer or time_detector)(built[one].engines), within_budget=one not in inaccurate
        )
        for one in built
    ]
    return AutoBuilt(built=built, choice=choose(measured))


def beyond_budget(bundle: Bundle) -> set[Precision]:
    """Precisions that lose more against fp32 than they may, by the report that the bundle carries."""
    verified = bundle.manifest.verified
    beyond = set(verified.beyond_budget) if verified is not None else set()
    return {precision for precision, ladder in LADDERS.items() if precision in beyond or ladder[0] in beyond}


def time_detector(engines: Engines) -> float:
    """Median milliseconds of the detector, in a process of its own.

    Raises:
        EngineError: it cannot be timed.
    """
    detector = engines.about.detector
    request = TimingRequest(plan=engines.file(detector).absolute(), inputs=detector.inputs, outputs=detector.outputs)
    try:
        said = ask("edge_resad.engine.timing", request)
    except Refused as refusal:
        raise EngineError(
            f"{engines.file(detector)} was built and does not run: {refusal}. Name the precision: --precision fp16."
        ) from refusal
    return Timing.model_validate_json(said).median_ms
