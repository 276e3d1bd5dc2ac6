"""The candidates of `onnxruntime.quantization`: its defaults, what its guide advises, and what TensorRT takes."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from benchmarks.quantizers.candidate import Candidate
from export.quantize import layers_of
from export.ranges import Dialect

Image = NDArray[np.uint8]
METHODS = {
    "min-max": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}
_AT_ONCE = 3  # frames whose tensors are held in memory; the number of frames is a multiple of it
_FOR_TENSORRT: dict[str, Any] = {
    "activation_type": QuantType.QInt8,
    "weight_type": QuantType.QInt8,
    "per_channel": True,
    "op_types_to_quantize": ["Conv"],
}
_SYMMETRIC = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
_INPUTS = {**_SYMMETRIC, "OpTypesToExcludeOutputQuantization": ["Conv"]}


def static(
    model: onnx.ModelProto, images: Sequence[Image], folder: Path, methods: Sequence[str] = tuple(METHODS)
) -> Iterator[Candidate]:
    """Its defaults, unsigned activations with a scale for every channel, and what TensorRT takes, by every method.

    For TensorRT it quantises what convolutions read and give, or what they read alone, as TensorRT's guide advises.
    It needs ONNX Runtime 1.32, which keeps ranges from one call to the next.

    images: each (S, S, 3) uint8 BGR, to calibrate with; what is left over of threes is not read.
    folder: for its files.
    """
    source = folder / "prepared.onnx"
    plain = folder / "plain.onnx"
    onnx.save(model, plain)
    with _quiet():
        quant_pre_process(str(plain), str(source), skip_symbolic_shape=True)
    for method in methods:
        known = folder / f"static-{method}.json"  # ranges are the same whatever is done with them
        for settings, (dialect, arguments, options) in _settings(model).items():
            target = folder / "quantised.onnx"
            frames = images[: len(images) // _AT_ONCE * _AT_ONCE]
            with _quiet():
                quantize_static(
                    str(source),
                    str(target),
                    _Frames(frames),
                    calibrate_method=METHODS[method],
                    extra_options={**options, "CalibStridedMinMax": _AT_ONCE},
                    calibration_cache_path=known,
                    **arguments,
                )
            yield Candidate(
                maker="onnxruntime", settings=settings, method=method, dialect=dialect, model=onnx.load(target)
            )


def _settings(model: onnx.ModelProto) -> Mapping[str, tuple[Dialect, dict[str, Any], dict[str, Any]]]:
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    dense = [node.name for node in convs if not any(item.name == "group" and item.i > 1 for item in node.attribute)]
    unsigned = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "per_channel": True}
    own = layers_of(model, "tensorrt")
    return {
        "defaults": ("onnxruntime", {}, {}),
        "U8S8, per channel": ("onnxruntime", unsigned, {}),
        "S8S8, no depthwise": ("tensorrt", {**_FOR_TENSORRT, "nodes_to_quantize": dense}, _SYMMETRIC),
        "S8S8, no depthwise, inputs alone": ("tensorrt", {**_FOR_TENSORRT, "nodes_to_quantize": dense}, _INPUTS),
        "S8S8, our layers, inputs alone": ("tensorrt", {**_FOR_TENSORRT, "nodes_to_quantize": own}, _INPUTS),
    }


class _Frames(CalibrationDataReader):  # type: ignore[misc, unused-ignore]
    """Frames one by one, and parts of them where it is asked to."""

    def __init__(self, images: Sequence[Image]) -> None:
        self._images = images
        self._left = iter(images)

    def __len__(self) -> int:
        return len(self._images)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._left = iter(self._images[start_index:end_index])

    def get_next(self) -> dict[str, Image] | None:
        image = next(self._left, None)
        return None if image is None else {"image": image}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """It prints its progress, and warns of a preparation that was made."""
    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
