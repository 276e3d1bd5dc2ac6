"""Engines on disk: two plans and a sidecar that says what they were built from, by what and for what."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_resad import whole_file
from edge_resad.bundle import Bundle, Precision, Rung, TensorSpec
from edge_resad.engine.golden import Golden, read_golden
from edge_resad.engine.host import Host, this_host
from edge_resad.engine.tensorrt_api import TensorRT, find_tensorrt
from edge_resad.errors import EngineError

SCHEMA_VERSION = 2

GraphName = Literal["encoder", "detector"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Settings(_Part):
    """What was asked of the builder; None leaves it to TensorRT."""

    sm: str | None = None  # where TensorRT builds for other GPUs than this machine's, such as SM86
    workspace_mb: int | None = None  # most memory that one layer may use while it runs
    optimization_level: int | None = None  # 0 builds fastest, 5 runs fastest


class RefusedRung(_Part):
    """A better rung than the one that was built, and why it was not."""

    rung: Rung
    graph: GraphName | None  # None: the bundle does not hold this rung
    reason: str


class BuiltGraph(_Part):
    """One plan: TensorRT's engine of one graph."""

    file: str = Field(pattern=r"^[A-Za-z0-9_.-]+\.plan$")
    sha256: str
    size: int  # bytes
    onnx: str
    onnx_sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    weights_bytes: int | None  # as TensorRT logs it; half and quarter say that fp16 and INT8 were chosen
    seconds: float
    timing_cache_used: bool


class GoldenFile(_Part):
    """What both graphs give for a stored input, computed by ONNX Runtime; see `golden`."""

    file: str = Field(pattern=r"^[A-Za-z0-9_.-]+\.npz$")
    sha256: str


class EngineSet(_Part):
    """The sidecar: both engines of one precision."""

    schema_version: int
    bundle_id: str
    precision: Precision
    rung: Rung
    refused: tuple[RefusedRung, ...]
    calibration_sha256: str | None  # None: no INT8
    encoder: BuiltGraph
    detector: BuiltGraph
    golden: GoldenFile | None = None  # None: the bundle holds no FP32 graphs for ONNX Runtime
    tensorrt: str  # the module's name
    tensorrt_version: str
    settings: Settings
    host: Host
    producer: str  # our own version


@dataclass(frozen=True, kw_only=True)
class Engines:
    """Engines that fit the bundle and this machine."""

    folder: Path
    about: EngineSet

    def file(self, graph: BuiltGraph) -> Path:
        """Where a graph's plan lies."""
        return self.folder / graph.file

    def golden(self, graph: GraphName) -> Golden | None:
        """What a graph must give at every start, where that is known."""
        held = self.about.golden
        return None if held is None else read_golden(self.folder / held.file, graph)


def engine_folder(bundle: Bundle, environ: Mapping[str, str] = os.environ) -> Path:
    """Where a bundle's engines lie unless one says otherwise: $XDG_CACHE_HOME/edge-resad/engines/BUNDLE_ID."""
    cache = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "edge-resad" / "engines" / bundle.manifest.bundle_id[:12]


def sidecar_of(folder: Path, precision: Precision) -> Path:
    """The sidecar of one precision's engines."""
    return folder / f"{precision}.json"


def open_engines(
    bundle: Bundle,
    precision: Precision,
    folder: Path | None = None,
    *,
    host: Host | None = None,
    tensorrt: TensorRT | None = None,
) -> Engines:
    """Check that engines are whole, of this bundle, and for this TensorRT and this GPU.

    folder: engine_folder(bundle) where it is None.
    host, tensorrt: what would run them; this machine and its module where they are None.

    Raises:
        EngineError: there are none, or they do not fit; the message has the command that builds them.
    """
    place = engine_folder(bundle) if folder is None else folder
    rebuild = rebuild_command(bundle, precision, folder)
    about = _read(sidecar_of(place, precision), rebuild)
    wrong = _misfit(about, bundle, tensorrt or find_tensorrt(), host or this_host()) or _damage(about, place)
    if wrong:
        raise EngineError(f"the {precision} engines in {place} do not fit: {wrong}. Build them again: {rebuild}")
    return Engines(folder=place, about=about)


def rebuild_command(bundle: Bundle, precision: str, folder: Path | None) -> str:
    """What one types to build these engines again."""
    words = ["edge-resad", "build", "--bundle", str(bundle.path), "--precision", precision]
    return shlex.join([*words, *([] if folder is None else ["--out", str(folder)])])


def write_whole(file: Path, content: bytes | memoryview) -> None:
    """Write a file as a whole or not at all.

    Raises:
        EngineError: the disk is full, or we may not write there.
    """
    try:
        whole_file.write_whole(file, content)
    except OSError as error:
        raise cannot_write(file, error) from error


def cannot_write(path: Path, error: OSError) -> EngineError:
    """The error to raise where the disk refuses."""
    return EngineError(
        f"cannot write {path}: {error.strerror or error}. Make room and check rights, or name another folder "
        "with --out."
    )


def _read(file: Path, rebuild: str) -> EngineSet:
    try:
        raw: Any = json.loads(file.read_text(encoding="utf-8"))
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if version != SCHEMA_VERSION:
            raise EngineError(
                f"{file} has schema {version}, this release reads schema {SCHEMA_VERSION}. Build again: {rebuild}"
            )
        return EngineSet.model_validate(raw)
    except FileNotFoundError:
        raise EngineError(f"no engines at {file.parent}: {file.name} is missing. Build them: {rebuild}") from None
    except OSError as error:
        raise EngineError(
            f"{file} cannot be read ({error.strerror}). Check rights, or build again: {rebuild}"
        ) from error
    except (ValidationError, ValueError) as error:
        raise EngineError(f"{file} is damaged or not ours. Build again: {rebuild}") from error


def _misfit(about: EngineSet, bundle: Bundle, tensorrt: TensorRT, host: Host) -> str | None:
    if about.bundle_id != bundle.manifest.bundle_id:
        return f"they were built from bundle {about.bundle_id[:12]}, this is {bundle.manifest.bundle_id[:12]}"
    if (about.tensorrt, about.tensorrt_version) != (tensorrt.name, tensorrt.version):
        return f"they were built by {about.tensorrt} {about.tensorrt_version}, this machine has {tensorrt}"
    built_for = about.host.gpu
    if built_for and host.gpu and (built_for.name, built_for.sm) != (host.gpu.name, host.gpu.sm):
        return f"they were built on {built_for.name} ({built_for.sm}), this is {host.gpu.name} ({host.gpu.sm})"
    if about.settings.sm and host.gpu and about.settings.sm != host.gpu.sm:
        return f"they were built for {about.settings.sm}, this is {host.gpu.name} ({host.gpu.sm})"
    return None


def _damage(about: EngineSet, folder: Path) -> str | None:
    for held in (about.encoder, about.detector, about.golden):
        if held is None:
            continue
        file = folder / held.file
        try:
            content = file.read_bytes()
        except OSError as error:
            return f"{file.name} cannot be read ({error.strerror})"
        if hashlib.sha256(content).hexdigest() != held.sha256:
            return f"{file.name} is damaged or was changed"
    return None
