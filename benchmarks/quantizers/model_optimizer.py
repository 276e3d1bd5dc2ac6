"""The candidates of NVIDIA's Model Optimizer, made by an interpreter that has it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.quantizers.candidate import Candidate
from edge_resad.errors import CalibrationError
from export.quantize import layers_of

Image = NDArray[np.uint8]
SIDE = Path(__file__).with_name("model_optimizer_side.py")
METHODS = ("max", "entropy")


def model_optimizer(model: onnx.ModelProto, images: Sequence[Image], folder: Path, python: Path) -> Iterator[Candidate]:
    """Its own choice of layers and ours, by both methods that it has for INT8; what is not quantised stays FP32.

    images: each (S, S, 3) uint8 BGR, to calibrate with. folder: for its files.
    python: an interpreter with nvidia-modelopt, onnx and onnxruntime.

    Raises:
        CalibrationError: it fails, in its last words.
    """
    source, frames = folder / "encoder.onnx", folder / "frames.npy"
    onnx.save(model, source)
    np.save(frames, np.concatenate(images))  # (N S, S, 3): it cuts along the first axis
    others = [node.name for node in model.graph.node if node.op_type == "Conv"]
    others = [name for name in others if name not in layers_of(model, "tensorrt")]
    for method in METHODS:
        for settings, excluded in (("defaults", []), ("our layers", others)):
            target = folder / "modelopt.onnx"
            command = [str(python), str(SIDE), str(source), str(frames), str(target), method, *excluded]
            done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
            if done.returncode != 0:
                said = (done.stderr.strip() or "nothing").splitlines()[-1]
                raise CalibrationError(
                    f"nvidia-modelopt ended with {done.returncode} and said {said}. Install nvidia-modelopt, onnx and "
                    f"onnxruntime for {python}, or leave --modelopt-python away."
                )
            yield Candidate(
                maker="nvidia-modelopt", settings=settings, method=method, dialect="tensorrt", model=onnx.load(target)
            )
