"""A bundle: what a workstation hands to a device. One folder with a manifest and ONNX graphs, moved as a unit."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge_resad.errors import BundleError
from edge_resad.whole_file import write_whole

SCHEMA_VERSION = 3
MANIFEST = "manifest.json"
_SHIPPED = Path(__file__).parent / "bundles" / "edge"

HeadName = Literal["nn", "resad", "fused"]
"""What judges a part: its distance to the nearest reference, the learned head, or both."""

Precision = Literal["fp32", "fp16", "int8"]
"""In what the network computes; a bank belongs to one."""

Rung = Literal["int8+fp16", "int8+fp32", "fp16", "fp32"]
"""What TensorRT is given, best first: the convolutions' precision, and that of the rest."""

LADDERS: dict[Precision, tuple[Rung, ...]] = {
    "int8": ("int8+fp16", "int8+fp32", "fp16", "fp32"),
    "fp16": ("fp16", "fp32"),
    "fp32": ("fp32",),
}
"""Where a builder refuses a rung, it is given the next."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TensorSpec(_Part):
    """One input or output of a graph: all shapes are static."""

    name: str
    shape: tuple[int, ...]
    dtype: Literal["uint8", "float32"]


class GraphSpec(_Part):
    """One ONNX file."""

    file: str = Field(pattern=r"^[A-Za-z0-9_.-]+\.onnx$")
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class GraphPair(_Part):
    """The two graphs of one precision."""

    encoder: GraphSpec
    detector: GraphSpec


class Level(_Part):
    """One level of the reference bank."""

    layer: str  # the backbone's name for what is tapped
    stride: int  # pixels of the network's input per cell
    channels: int
    cells: int  # N_l, rows that one image gives
    capacity: int  # M_l, rows that the bank holds
    weight: float  # of the level in map and score, against the other levels
    top_cells: int  # how many of the largest distances make the level's part of the score


class LearnedHead(_Part):
    """A trained head inside the detector, beside the nearest reference's distance."""

    network: Literal["residual-net"]
    sha256: str  # of its weights
    share: float = Field(gt=0)  # of its logit in the logarithm of the score


class Weights(_Part):
    """The file that all graphs take their large constants from: it lies beside them, ONNX's external data."""

    file: str = Field(pattern=r"^[A-Za-z0-9_.-]+\.bin$")
    sha256: str


class Calibration(_Part):
    """Where INT8's ranges come from."""

    method: str
    images: int
    sha256: str  # of the ranges


class Verification(_Part):
    """How the precisions agree, as `python -m export verify` or the export itself has measured it."""

    report: Literal["verification.json"] = "verification.json"
    sha256: str  # of the report
    within_budget: bool
    beyond_budget: tuple[str, ...]  # the precisions and rungs that are not
    images: int  # parts that were judged
    forced: bool  # written by an export although it missed the budget


class Manifest(_Part):
    """What is in a bundle, and for what it was made."""

    schema_version: int
    profile: str
    heads: tuple[HeadName, ...]
    default_head: HeadName
    learned: LearnedHead | None  # None: the nearest reference alone
    match: Literal["cosine", "l2"]
    backbone: str
    backbone_sha256: str
    image_size: int  # pixels, both sides; the graphs take uint8 BGR and normalise it themselves
    levels: tuple[Level, ...]  # finest first
    weights: Weights
    precisions: dict[Precision, GraphPair]  # for ONNX Runtime
    rungs: dict[Rung, GraphPair]  # for TensorRT, strongly typed; a file may serve both
    calibration: Calibration | None  # None: no INT8
    producer: dict[str, str]  # versions of what made it
    verified: Verification | None = None  # None: nobody has looked yet

    @model_validator(mode="after")
    def _heads_agree(self) -> Manifest:
        if self.default_head not in self.heads:
            raise ValueError(f"default_head {self.default_head} is none of heads {', '.join(self.heads)}")
        if (self.learned is None) != (self.heads == ("nn",)):
            raise ValueError(f"heads {', '.join(self.heads)} ask for {'no' if self.learned else 'a'} learned head")
        for precision, pair in (*self.precisions.items(), *self.rungs.items()):
            takes_fusion = any(tensor.name == "fusion" for tensor in pair.detector.inputs)
            if takes_fusion != (self.learned is not None):
                says = f"the {precision} detector {'takes' if takes_fusion else 'lacks'} an input fusion"
                raise ValueError(f"{says}, unlike heads {', '.join(self.heads)}")
        return self

    @model_validator(mode="after")
    def _sizes_agree(self) -> Manifest:
        side = self.image_size
        for name, pair in (*self.precisions.items(), *self.rungs.items()):
            shapes = {tensor.name: tensor.shape for tensor in pair.detector.inputs}
            expected: dict[str, tuple[int, ...]] = {"image": (side, side, 3)}
            for index, level in enumerate(self.levels):
                for bank in (f"bank_{index}", f"bank_unit_{index}"):
                    expected[bank] = (level.capacity, level.channels)
            for tensor, shape in expected.items():
                if shapes.get(tensor, shape) != shape:
                    raise ValueError(f"{tensor} of the {name} detector is {shapes[tensor]}, the levels say {shape}")
        return self

    @property
    def bundle_id(self) -> str:
        """What banks refer to: a hash over everything but the producer's versions and what was found afterwards."""
        content = self.model_dump(mode="json", exclude={"producer", "verified"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A verified bundle on disk."""

    path: Path
    manifest: Manifest

    @property
    def named(self) -> Path | None:
        """What `--bundle` has to say for it; None for the one that comes with the package."""
        return None if self.path == _SHIPPED else self.path

    def graphs(self, precision: Precision) -> GraphPair:
        """The graphs of one precision.

        Raises:
            BundleError: the bundle does not hold this precision.
        """
        try:
            return self.manifest.precisions[precision]
        except KeyError:
            raise BundleError(
                f"the bundle {self.path} holds no {precision} graphs, only {', '.join(self.manifest.precisions)}. "
                "Choose one, or export again."
            ) from None

    def file(self, graph: GraphSpec) -> Path:
        """Where a graph's ONNX file lies."""
        return self.path / graph.file


def open_bundle(path: Path | None = None) -> Bundle:
    """Open a bundle and check that it is whole and ours; without a path, the one that comes with the package.

    Raises:
        BundleError: no bundle there, another schema, a missing or changed file.
    """
    folder = path or _SHIPPED
    manifest = _read_manifest(folder)
    graphs = {
        graph
        for pair in (*manifest.precisions.values(), *manifest.rungs.values())
        for graph in (pair.encoder, pair.detector)
    }
    for graph in graphs:
        _check_file(folder, graph.file, graph.sha256)
    _check_file(folder, manifest.weights.file, manifest.weights.sha256)
    if manifest.verified is not None:
        _check_file(folder, manifest.verified.report, manifest.verified.sha256)
    return Bundle(path=folder, manifest=manifest)


def write_bundle(path: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle as a whole or not at all, replacing one that stands there.

    Raises:
        BundleError: the folder holds something that is no bundle, or cannot be written.
    """
    if path.exists() and not (path / MANIFEST).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise BundleError(f"{path} holds something that is not a bundle. Name a new folder, or empty this one.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch:
            fresh = Path(scratch) / "bundle"
            fresh.mkdir()
            for name, content in files.items():
                (fresh / name).write_bytes(content)
            (fresh / MANIFEST).write_text(_manifest_text(manifest), encoding="utf-8")
            if path.exists():
                os.replace(path, Path(scratch) / "old")
            os.replace(fresh, path)
    except OSError as error:
        raise BundleError(
            f"cannot write the bundle {path}: {error.strerror or error}. Check space and rights."
        ) from error
    return Bundle(path=path, manifest=manifest)


def write_verification(bundle: Bundle, report: bytes, verified: Verification) -> Bundle:
    """Put a report into a bundle that stands there, in place of an older one; whatever happens, it can be opened.

    Raises:
        BundleError: the disk refuses.
    """
    without, with_it = (bundle.manifest.model_copy(update={"verified": found}) for found in (None, verified))
    first, last = _manifest_text(without).encode(), _manifest_text(with_it).encode()
    for name, content in ((MANIFEST, first), (verified.report, report), (MANIFEST, last)):
        try:
            write_whole(bundle.path / name, content)
        except OSError as error:
            raise BundleError(
                f"cannot write {bundle.path / name}: {error.strerror or error}. Check space and rights."
            ) from error
    return Bundle(path=bundle.path, manifest=with_it)


def _manifest_text(manifest: Manifest) -> str:
    return manifest.model_dump_json(indent=2) + "\n"


def file_digest(content: bytes) -> str:
    """The sha256 of a file's bytes, as manifests hold it."""
    return hashlib.sha256(content).hexdigest()


def _read_manifest(folder: Path) -> Manifest:
    file = folder / MANIFEST
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(
            f"no bundle at {folder}: it has no {MANIFEST}. A bundle is a folder written by `python -m export bundle`."
        ) from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{file} cannot be read ({error}). Copy the bundle again, as a whole folder.") from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA_VERSION:
        raise BundleError(
            f"{folder} is a bundle of schema {version}, this release reads schema {SCHEMA_VERSION}. "
            "Export it again with this release, or install the release that wrote it."
        )
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "as a whole"
        raise BundleError(
            f"{file} is not a valid manifest: {where}: {first['msg']}. Export the bundle again."
        ) from error


def _check_file(folder: Path, name: str, sha256: str) -> None:
    file = folder / name
    try:
        found = file_digest(file.read_bytes())
    except OSError as error:
        raise BundleError(
            f"the bundle {folder} lacks {name} ({error.strerror}). Copy the bundle again, as a whole folder."
        ) from error
    if found != sha256:
        raise BundleError(
            f"{file} is damaged or was changed: sha256 {found[:12]}..., the manifest says {sha256[:12]}... "
            "Copy the bundle again, or export it again."
        )
