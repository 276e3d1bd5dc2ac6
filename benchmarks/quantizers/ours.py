"""Our candidates: both dialects, every method, with and without what others do not do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.quantizers.candidate import Candidate
from calibration.collect import histograms
from calibration.methods import find_range
from calibration.sensitivity import sensitivity
from export.graph import check
from export.precisions import quantized_layers
from export.quantize import layers_of, quantize, tensors_of
from export.ranges import Dialect, Method, Range, Ranges

Image = NDArray[np.uint8]
WATCHED = 16  # frames that the layers' costs are measured on


def ours(
    encoder: Path, images: Sequence[Image], *, threads: int, progress: Callable[[str, int, int], None]
) -> Iterator[Candidate]:
    """Every method in both dialects: as shipped, without bias correction, with all layers, and with neither.

    encoder: the FP32 graph. images: each (S, S, 3) uint8 BGR, to calibrate with.
    """
    model = onnx.load(encoder)
    seen = histograms(encoder, tensors_of(model), images, threads=threads, progress=progress)
    watched = images[:: max(1, len(images) // WATCHED)][:WATCHED]
    for method in get_args(Method):
        tensors = {name: find_range(histogram, method) for name, histogram in seen.items()}
        for dialect in get_args(Dialect):
            costs = sensitivity(encoder, tensors, watched, dialect, threads=threads, progress=progress)
            yield from variants(model, tensors, method, dialect, costs)


def variants(
    model: onnx.ModelProto,
    tensors: Mapping[str, Range],
    method: Method,
    dialect: Dialect,
    costs: Mapping[str, float],
) -> Iterator[Candidate]:
    """One dialect's candidates from the same ranges: four, or two where no layer costs so much that it stays in float.

    costs: what quantising each layer alone costs, as `calibration.sensitivity` finds it.
    """
    chosen = quantized_layers(model, _with_costs(tensors, method, dialect, costs), dialect)
    plain: Mapping[str, Range] = {
        name: found.model_copy(update={"means": (0.0,) * len(found.means)}) for name, found in tensors.items()
    }
    every = layers_of(model, dialect)
    settings_of = {"as shipped": (tensors, chosen), "without bias correction": (plain, chosen)}
    if chosen != every:
        settings_of |= {"all layers": (tensors, every), "all layers, without bias correction": (plain, every)}
    for settings, (given, layers) in settings_of.items():
        made = onnx.ModelProto()
        made.CopyFrom(model)
        yield Candidate(
            maker="edge-resad",
            settings=settings,
            method=method,
            dialect=dialect,
            model=check(quantize(made, given, dialect, layers)),
        )


def _with_costs(tensors: Mapping[str, Range], method: Method, dialect: Dialect, costs: Mapping[str, float]) -> Ranges:
    return Ranges(
        method=method,
        profile="",
        image_size=0,
        backbone_sha256="",
        images=(),
        tensors=dict(tensors),
        layers={dialect: dict(costs)},
    )
