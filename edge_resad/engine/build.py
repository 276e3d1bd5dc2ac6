"""Building a bundle's engines: the best rung that TensorRT takes, each graph in a process of its own."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_resad import __version__
from edge_resad.bundle import LADDERS, Bundle, GraphPair, GraphSpec, Precision, Rung, file_digest
from edge_resad.engine.builder import BuildRequest, BuildResult
from edge_resad.engine.child import Refused, ask
from edge_resad.engine.engine_file import (
    SCHEMA_VERSION,
    BuiltGraph,
    Engines,
    EngineSet,
    GoldenFile,
    GraphName,
    RefusedRung,
    Settings,
    cannot_write,
    engine_folder,
    open_engines,
    sidecar_of,
    write_whole,
)
from edge_resad.engine.golden import golden_bytes
from edge_resad.engine.golden_run import golden_runs
from edge_resad.engine.host import Host, this_host
from edge_resad.engine.tensorrt_api import TensorRT, find_tensorrt
from edge_resad.errors import EngineError

Progress = Callable[[str, int, int], None]

GRAPHS: tuple[GraphName, ...] = ("encoder", "detector")
_SCRATCH = ".building"
_LOCK = ".lock"
_TIMING_CACHE = "timing.cache"


@dataclass(frozen=True, kw_only=True)
class Built:
    """Engines, and whether this call made them."""

    engines: Engines
    fresh: bool


def build_engines(
    bundle: Bundle,
    precision: Precision,
    folder: Path | None = None,
    *,
    settings: Settings | None = None,
    force: bool = False,
    progress: Progress | None = None,
    host: Host | None = None,
) -> Built:
    """Build both engines of one precision, from the best rung of its ladder that TensorRT takes.

    What is already built and fits is left as it is, unless force is set. Old engines are replaced only by new ones.
    folder: engine_folder(bundle) where it is None.

    Raises:
        EngineError: no TensorRT, no rung that it takes, no such graphs in the bundle, another build at work, or the
            disk refuses.
    """
    tensorrt, machine, asked = find_tensorrt(), host or this_host(), settings or Settings()
    ladder = _ladder(bundle, precision)
    place = engine_folder(bundle) if folder is None else folder
    with _locked(place) as lock:
        if not force:
            found = _fitting(bundle, precision, folder, asked, tensorrt, machine)
            if found is not None:
                return Built(engines=found, fresh=False)
        with _scratch(place) as scratch:
            step = _Steps(progress, len(GRAPHS) * len(ladder))
            golden = _golden(bundle, scratch, precision)
            rung, results, refused = _climb(bundle, precision, ladder, scratch, asked, step, lock)
            about = EngineSet(
                schema_version=SCHEMA_VERSION,
                bundle_id=bundle.manifest.bundle_id,
                precision=precision,
                rung=rung,
                refused=refused,
                calibration_sha256=_calibration(bundle, rung),
                encoder=_built(bundle.manifest.rungs[rung].encoder, f"encoder.{precision}.plan", results["encoder"]),
                detector=_built(
                    bundle.manifest.rungs[rung].detector, f"detector.{precision}.plan", results["detector"]
                ),
                golden=golden,
                tensorrt=tensorrt.name,
                tensorrt_version=tensorrt.version,
                settings=asked,
                host=machine,
                producer=__version__,
            )
            _move_in(scratch, place, about)
    return Built(engines=Engines(folder=place, about=about), fresh=True)


def own_rungs(bundle: Bundle, precision: Precision) -> tuple[Rung, ...]:
    """The bundle's rungs whose convolutions are of this precision, best first."""
    return tuple(rung for rung in LADDERS[precision] if rung.startswith(precision) and rung in bundle.manifest.rungs)


def _ladder(bundle: Bundle, precision: Precision) -> tuple[Rung, ...]:
    if not own_rungs(bundle, precision):
        held = ", ".join(bundle.manifest.rungs) or "none at all"
        raise EngineError(
            f"the bundle {bundle.path} holds no {precision} graphs for TensorRT, only {held}. Name another "
            "--precision, or export the bundle again."
        )
    return LADDERS[precision]


def _fitting(
    bundle: Bundle, precision: Precision, folder: Path | None, asked: Settings, tensorrt: TensorRT, host: Host
) -> Engines | None:
    try:
        found = open_engines(bundle, precision, folder, host=host, tensorrt=tensorrt)
    except EngineError:  # that is what we are here for
        return None
    return found if found.about.settings == asked else None


def _climb(
    bundle: Bundle,
    precision: Precision,
    ladder: tuple[Rung, ...],
    scratch: Path,
    asked: Settings,
    step: _Steps,
    lock: int,
) -> tuple[Rung, dict[GraphName, BuildResult], tuple[RefusedRung, ...]]:
    """The first rung of which both graphs are built, and why the better ones were not."""
    refused: list[RefusedRung] = []
    for rung in ladder:
        pair = bundle.manifest.rungs.get(rung)
        if pair is None:
            refused.append(RefusedRung(rung=rung, graph=None, reason="the bundle does not hold it"))
            continue
        try:
            return rung, _build_pair(bundle, precision, rung, pair, scratch, asked, step, lock), tuple(refused)
        except _GraphRefused as refusal:
            refused.append(RefusedRung(rung=rung, graph=refusal.graph, reason=refusal.reason))
    said = "; ".join(f"{one.rung}: {one.graph}: {one.reason}" for one in refused if one.graph)
    raise EngineError(
        f"TensorRT refuses every {precision} graph of the bundle {bundle.path} ({said}). Export the bundle again, or "
        "give the builder more --workspace-mb."
    )


class _GraphRefused(Exception):
    def __init__(self, graph: GraphName, reason: str) -> None:
        super().__init__(reason)
        self.graph = graph
        self.reason = reason


def _build_pair(
    bundle: Bundle,
    precision: Precision,
    rung: Rung,
    pair: GraphPair,
    scratch: Path,
    asked: Settings,
    step: _Steps,
    lock: int,
) -> dict[GraphName, BuildResult]:
    results: dict[GraphName, BuildResult] = {}
    for name, graph in zip(GRAPHS, (pair.encoder, pair.detector), strict=True):
        step(f"{rung} {name}")
        request = BuildRequest(
            onnx=bundle.file(graph).absolute(),
            plan=(scratch / f"{name}.{precision}.plan").absolute(),
            inputs=graph.inputs,
            outputs=graph.outputs,
            settings=asked,
            timing_cache=(scratch.parent / _TIMING_CACHE).absolute(),
        )
        try:
            said = ask("edge_resad.engine.builder", request, keep_open=[lock])
        except Refused as refusal:
            raise _GraphRefused(name, str(refusal)) from refusal
        results[name] = BuildResult.model_validate_json(said)
    return results


def _built(graph: GraphSpec, plan: str, result: BuildResult) -> BuiltGraph:
    return BuiltGraph(
        file=plan,
        onnx=graph.file,
        onnx_sha256=graph.sha256,
        inputs=graph.inputs,
        outputs=graph.outputs,
        **result.model_dump(),
    )


def _golden(bundle: Bundle, scratch: Path, precision: Precision) -> GoldenFile | None:
    runs = golden_runs(bundle)
    if not runs:
        return None
    file, content = scratch / f"golden.{precision}.npz", golden_bytes(runs)
    write_whole(file, content)
    return GoldenFile(file=file.name, sha256=file_digest(content))


def _calibration(bundle: Bundle, rung: Rung) -> str | None:
    calibration = bundle.manifest.calibration
    return calibration.sha256 if calibration and rung.startswith("int8") else None


def _move_in(scratch: Path, place: Path, about: EngineSet) -> None:
    """Plans first, the sidecar last: one that was interrupted in between does not fit, and is built again."""
    for held in (about.encoder, about.detector, about.golden):
        if held is None:
            continue
        try:
            os.replace(scratch / held.file, place / held.file)
        except OSError as error:
            raise cannot_write(place / held.file, error) from error
    text = about.model_dump_json(indent=2) + "\n"
    write_whole(sidecar_of(place, about.precision), text.encode())


@contextmanager
def _locked(place: Path) -> Iterator[int]:
    """The file descriptor of a lock that one build at a time holds; its child keeps it if we are killed."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = os.open(place / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise cannot_write(place, error) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EngineError(
                f"another build is at work in {place}. Wait for it, or name another folder with --out."
            ) from None
        yield lock
    finally:
        os.close(lock)


@contextmanager
def _scratch(place: Path) -> Iterator[Path]:
    """A folder for what is being built; what a killed build left is removed first."""
    scratch = place / _SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        for stale in place.glob(".*.part"):
            stale.unlink()
        scratch.mkdir()
    except OSError as error:
        raise cannot_write(scratch, error) from error
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Steps:
    """Counts what was begun, for a progress bar."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._begun = 0

    def __call__(self, stage: str) -> None:
        if self._progress is not None:
            self._progress(stage, self._begun, self._total)
        self._begun += 1
