"""From a profile to a bundle on disk: trace both graphs, check them, compare them with torch, write them as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from edge_resad import __version__
from edge_resad.bundle import (
    SCHEMA_VERSION,
    Bundle,
    GraphPair,
    GraphSpec,
    Level,
    Manifest,
    TensorSpec,
    file_digest,
    write_bundle,
)
from edge_resad.errors import BundleError
from edge_resad.model.backbone import LITE0_SHA256
from edge_resad.model.detector import Encoder, NearestReference, load_backbone, top_cells
from edge_resad.model.profile import Profile
from export.graph import check, fold_batch_norms, fold_constants, fold_padding, trace

TOLERANCE = 1e-4  # of the map, between torch and ONNX Runtime
_LICENCE = Path(__file__).resolve().parent / "BACKBONE_NOTICE.txt"


def build_bundle(profile: Profile, path: Path, say: Callable[[str], None] = lambda line: None) -> Bundle:
    """Export a profile's encoder and detector in FP32 and write the bundle.

    Raises:
        BundleError: ONNX Runtime and torch disagree, or the folder cannot be written.
    """
    say(f"load {profile.backbone}")
    encoder = Encoder(profile, load_backbone(profile)).eval()
    detector = NearestReference(profile, encoder).eval()
    image, banks, level_norm = example_inputs(profile)
    levels = range(len(profile.taps))
    bank_names = [f"bank_unit_{i}" if profile.match == "cosine" else f"bank_{i}" for i in levels]
    say("trace the encoder")
    encoder_bytes = _export(encoder, [image], ["image"], [f"feature_{i}" for i in levels])
    say("trace the detector")
    inputs = [image, *banks, level_norm]
    names = ["image", *bank_names, "level_norm"]
    detector_bytes = _export(detector, inputs, names, ["map", "score"])
    say(f"agrees with torch within {_difference(detector, detector_bytes, names, inputs):.1e}")
    files = {"encoder.fp32.onnx": encoder_bytes, "detector.fp32.onnx": detector_bytes}
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        profile=profile.name,
        head="nn",
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
        precisions={
            "fp32": GraphPair(
                encoder=_spec("encoder.fp32.onnx", encoder_bytes), detector=_spec("detector.fp32.onnx", detector_bytes)
            )
        },
        producer={"edge-resad": __version__, "torch": torch.__version__.split("+")[0], "onnx": onnx.__version__},
    )  # fmt: skip
    return write_bundle(path, manifest, {**files, "NOTICE.txt": _LICENCE.read_bytes()})


def example_inputs(profile: Profile, seed: int = 0) -> tuple[Tensor, list[Tensor], Tensor]:
    """A seeded image and bank of the profile's shapes: image, banks as the graph takes them, level_norm."""
    random = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (profile.size, profile.size, 3), generator=random, dtype=torch.uint8)
    banks = []
    for tap in profile.taps:
        rows = nn.functional.normalize(torch.randn(tap.capacity, tap.channels, generator=random), dim=1)
        banks.append(rows.T.contiguous() if profile.match == "cosine" else rows)
    return image, banks, torch.full((len(profile.taps), 2), 2.0)


def _export(module: nn.Module, inputs: Sequence[Tensor], names: Sequence[str], outputs: Sequence[str]) -> bytes:
    model = check(fold_padding(fold_batch_norms(fold_constants(trace(module, inputs, names, outputs)))))
    return bytes(model.SerializeToString(deterministic=True))


def _difference(detector: nn.Module, graph: bytes, names: Sequence[str], inputs: Sequence[Tensor]) -> float:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    found = session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})
    with torch.no_grad():
        expected = detector(*inputs)
    difference = max(float(np.abs(ours - theirs.numpy()).max()) for ours, theirs in zip(found, expected, strict=True))
    if not difference <= TOLERANCE:
        raise BundleError(
            f"ONNX Runtime and torch differ by {difference:.1e}, at most {TOLERANCE:.0e} was expected. "
            "The bundle is not written: report this with the versions of torch, onnx and onnxruntime."
        )
    return difference


def _spec(name: str, graph: bytes) -> GraphSpec:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return GraphSpec(
        file=name,
        sha256=file_digest(graph),
        inputs=tuple(_tensor(node) for node in session.get_inputs()),
        outputs=tuple(_tensor(node) for node in session.get_outputs()),
    )


def _tensor(node: onnxruntime.NodeArg) -> TensorSpec:
    dtypes = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
    return TensorSpec.model_validate({"name": node.name, "shape": tuple(node.shape), "dtype": dtypes[node.type]})


def _backbone_digest(profile: Profile, encoder: Encoder) -> str:
    if profile.backbone == "efficientnet_lite0":
        return LITE0_SHA256
    weights = b"".join(value.numpy().tobytes() for value in encoder.backbone.state_dict().values())
    return file_digest(weights)
