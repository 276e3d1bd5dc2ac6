"""From a profile to a bundle on disk.

Both graphs are traced, folded, named, compared with torch, put into every precision, checked, and written as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_resad import __version__
from edge_resad.bundle import (
    SCHEMA_VERSION,
    Bundle,
    Calibration,
    GraphPair,
    GraphSpec,
    LearnedHead,
    Level,
    Manifest,
    Rung,
    TensorSpec,
    Weights,
    file_digest,
    write_bundle,
)
from edge_resad.demo.products import draw
from edge_resad.errors import BundleError, CalibrationError
from edge_resad.image import fit
from edge_resad.model.backbone import LITE0_SHA256
from edge_resad.model.detector import Encoder, FusedDetector, NearestReference, load_backbone, top_cells
from edge_resad.model.profile import Profile
from export.graph import check, fold_batch_norms, fold_constants, fold_input, fold_padding, fold_shapes, trace
from export.head import TrainedHead, load_head
from export.names import name
from export.precisions import precisions, rungs
from export.ranges import Ranges
from export.weights import WEIGHTS, WeightStore

K = TypeVar("K")
TOLERANCE = 1e-4  # of the map, between torch and ONNX Runtime
_LICENCE = Path(__file__).resolve().parent / "BACKBONE_NOTICE.txt"


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A bundle that is not written yet."""

    manifest: Manifest
    files: Mapping[str, bytes]  # by their names


def build_bundle(
    profile: Profile,
    path: Path,
    head: Path | None = None,
    ranges: Ranges | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Bundle:
    """Export and write a bundle whose precisions nobody has compared; `export.verified` does that too.

    Arguments and errors as of `make_draft`; BundleError too where the folder cannot be written.
    """
    draft = make_draft(profile, head, ranges, say)
    return write_bundle(path, draft.manifest, draft.files)


def make_draft(
    profile: Profile,
    head: Path | None = None,
    ranges: Ranges | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Draft:
    """Export a profile's encoder and detector in every precision.

    head:   what `edge-resad train` has written; None exports the nearest reference alone.
    ranges: what `python -m calibration` has written; None exports no INT8.

    Raises:
        BundleError: the head was trained on another profile, or ONNX Runtime and torch disagree.
        CalibrationError: the ranges are another network's.
        TrainingError: the head cannot be read.
    """
    trained = load_head(head, profile) if head is not None else None
    say(f"load {profile.backbone}")
    encoder = Encoder(profile, load_backbone(profile)).eval()
    detector = NearestReference(profile, encoder) if trained is None else FusedDetector(profile, encoder, trained.net)
    detector.eval()
    example = example_inputs(profile, learned=trained is not None)
    levels = range(len(profile.taps))
    say("trace the encoder")
    encoder_graph = exported(encoder, {"image": example["image"]}, [f"feature_{i}" for i in levels])
    say("trace the detector")
    detector_graph = exported(detector, example, ["map", "score"])
    for named, inputs in _of_every_head(_with_a_part(example), trained).items():
        say(f"{named} agrees with torch within {_difference(detector, _bytes(detector_graph), inputs):.1e}")
    if ranges is not None:
        _check_ranges(ranges, profile, _backbone_digest(profile, encoder))
    files = GraphFiles()
    both = {"encoder": encoder_graph, "detector": detector_graph}
    held = {part: precisions(graph, ranges) for part, graph in both.items()}
    own_rungs = {part: rungs(graph, ranges) for part, graph in both.items()}
    pairs = {precision: files.pair(precision, held, precision) for precision in held["encoder"]}
    ladder: dict[Rung, GraphPair] = {rung: files.pair(rung, own_rungs, rung) for rung in own_rungs["encoder"]}
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        profile=profile.name,
        heads=("nn",) if trained is None else ("nn", "resad", "fused"),
        default_head="nn" if trained is None else "fused",
        learned=_learned(trained),
        match=profile.match,
        backbone=profile.backbone,
        backbone_sha256=_backbone_digest(profile, encoder),
        image_size=profile.size,
        levels=tuple(
            Level(
                layer=tap.layer, stride=tap.stride, channels=tap.channels, cells=profile.grid(tap) ** 2,
                capacity=tap.capacity, weight=tap.weight, top_cells=top_cells(profile, tap),
            )
            for tap in profile.taps
        ),
        weights=Weights(file=WEIGHTS, sha256=file_digest(files.weights.content)),
        precisions=pairs,
        rungs={**ladder, "fp16": pairs["fp16"], "fp32": pairs["fp32"]},
        calibration=_calibration(ranges),
        producer={"edge-resad": __version__, "torch": torch.__version__.split("+")[0], "onnx": onnx.__version__},
    )  # fmt: skip
    return Draft(
        manifest=manifest, files={**files.content, WEIGHTS: files.weights.content, "NOTICE.txt": _LICENCE.read_bytes()}
    )


def example_inputs(profile: Profile, seed: int = 0, *, learned: bool = False) -> dict[str, Tensor]:
    """A seeded image and bank of the profile's shapes, by the names and in the order of the detector's inputs.

    learned: whether the detector has a learned head too.
    """
    random = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (profile.size, profile.size, 3), generator=random, dtype=torch.uint8)
    inputs = {"image": image}
    for index, tap in enumerate(profile.taps):
        rows = nn.functional.normalize(torch.randn(tap.capacity, tap.channels, generator=random), dim=1)
        inputs[f"bank_unit_{index}" if profile.match == "cosine" else f"bank_{index}"] = rows
    norm = {"level_norm": torch.full((len(profile.taps), 2), 2.0)}
    if not learned:
        return {**inputs, **norm}
    return {**inputs, **norm, "fusion": torch.tensor([1.0, 0.1, 0.5, -0.5])}


def _with_a_part(example: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same bank, and a picture of a part where noise was."""
    size = example["image"].shape[0]
    part = draw("flange", 0, size=256, defect="scratch").image
    return {**example, "image": torch.from_numpy(fit(part, size, np.empty((size, size, 3), np.uint8)))}


def _learned(trained: TrainedHead | None) -> LearnedHead | None:
    if trained is None:
        return None
    return LearnedHead(network="residual-net", sha256=trained.sha256, share=trained.share)


def _of_every_head(example: Mapping[str, Tensor], trained: TrainedHead | None) -> dict[str, dict[str, Tensor]]:
    if trained is None:
        return {"nn": dict(example)}
    *_, h0, H0 = example["fusion"].tolist()
    weights = {"nn": (1.0, 0.0), "resad": (0.0, trained.share), "fused": (1.0, trained.share)}
    return {name: {**example, "fusion": torch.tensor([b, a, h0, H0])} for name, (b, a) in weights.items()}


def _calibration(ranges: Ranges | None) -> Calibration | None:
    if ranges is None:
        return None
    return Calibration(method=ranges.method, images=len(ranges.images), sha256=ranges.sha256)


def _check_ranges(ranges: Ranges, profile: Profile, backbone_sha256: str) -> None:
    found, expected = (ranges.backbone_sha256, ranges.image_size), (backbone_sha256, profile.size)
    if found != expected:
        raise CalibrationError(
            f"the ranges were found on another network ({ranges.profile}: {found[0][:12]}... at {found[1]} pixels) "
            f"than that of {profile.name} ({expected[0][:12]}... at {expected[1]} pixels). Export with --ranges none, "
            "then find them on that bundle: python -m calibration ranges GOOD_PARTS --bundle FOLDER."
        )


def exported(module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> onnx.ModelProto:
    """trace -> fold -> name -> check."""
    model = trace(module, list(inputs.values()), list(inputs), outputs)
    for step in (fold_constants, fold_shapes, fold_batch_norms, fold_padding, fold_input, name, check):
        model = step(model)
    return model


def _bytes(model: onnx.ModelProto) -> bytes:
    return bytes(model.SerializeToString(deterministic=True))


def _difference(detector: nn.Module, graph: bytes, inputs: Mapping[str, Tensor]) -> float:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    found = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    with torch.no_grad():
        expected = detector(*inputs.values())
    difference = max(_relative(ours, theirs.numpy()) for ours, theirs in zip(found, expected, strict=True))
    if not difference <= TOLERANCE:
        raise BundleError(
            f"ONNX Runtime and torch differ by {difference:.1e}, at most {TOLERANCE:.0e} was expected. "
            "The bundle is not written: report this with the versions of torch, onnx and onnxruntime."
        )
    return difference


def _relative(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The largest difference, over the value where that is above 1: a learned head's map is an exponential."""
    return float((np.abs(found - expected) / np.maximum(np.abs(expected), 1)).max())


class GraphFiles:
    """The ONNX files of a bundle by their names, and the weights that they share."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.weights = WeightStore()

    def pair(self, named: str, graphs: Mapping[str, Mapping[K, onnx.ModelProto]], key: K) -> GraphPair:
        """Keep encoder and detector of one precision: what the manifest says of them."""
        return GraphPair(
            encoder=self._keep(f"encoder.{named}", graphs["encoder"][key]),
            detector=self._keep(f"detector.{named}", graphs["detector"][key]),
        )

    def _keep(self, named: str, model: onnx.ModelProto) -> GraphSpec:
        file = f"{named.replace('+', '-')}.onnx"
        self.content[file] = _bytes(self.weights.move_out(model))
        return GraphSpec(
            file=file,
            sha256=file_digest(self.content[file]),
            inputs=tuple(_tensor(value) for value in model.graph.input),
            outputs=tuple(_tensor(value) for value in model.graph.output),
        )


def _tensor(value: onnx.ValueInfoProto) -> TensorSpec:
    found = value.type.tensor_type
    dtypes: dict[int, str] = {onnx.TensorProto.UINT8: "uint8", onnx.TensorProto.FLOAT: "float32"}
    shape = tuple(dim.dim_value for dim in found.shape.dim)
    return TensorSpec.model_validate({"name": value.name, "shape": shape, "dtype": dtypes[found.elem_type]})


def _backbone_digest(profile: Profile, encoder: Encoder) -> str:
    if profile.backbone == "efficientnet_lite0":
        return LITE0_SHA256
    weights = b"".join(value.numpy().tobytes() for value in encoder.backbone.state_dict().values())
    return file_digest(weights)
