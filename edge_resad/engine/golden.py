"""What an engine must give for a stored input, so that one that computes nonsense judges no part."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_resad.bundle import Rung
from edge_resad.engine.engine import Engine

Arrays = Mapping[str, NDArray[Any]]

TOLERANCE: dict[Rung, float] = {"fp32": 0.02, "fp16": 0.05, "int8+fp32": 0.2, "int8+fp16": 0.2}
"""How far an output may lie from ONNX Runtime's in FP32: the length of the difference over that of the output."""


@dataclass(frozen=True, kw_only=True)
class Golden:
    """One run of one graph, as ONNX Runtime computes it in FP32."""

    inputs: Arrays
    outputs: Arrays


def golden_bytes(goldens: Mapping[str, Golden]) -> bytes:
    """Several graphs' runs by the graphs' names, as one npz file."""
    arrays = {
        f"{graph}/{kind}/{name}": array
        for graph, golden in goldens.items()
        for kind, held in (("inputs", golden.inputs), ("outputs", golden.outputs))
        for name, array in held.items()
    }
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


def read_golden(file: Path, graph: str) -> Golden:
    """One graph's run.

    Raises:
        OSError, ValueError: the file is not there or not ours.
    """
    with np.load(file, allow_pickle=False) as archive:
        held = {
            kind: {
                name.split("/", 2)[2]: archive[name] for name in archive.files if name.startswith(f"{graph}/{kind}/")
            }
            for kind in ("inputs", "outputs")
        }
    return Golden(inputs=held["inputs"], outputs=held["outputs"])


def fault(engine: Engine, golden: Golden | None, tolerance: float) -> str | None:
    """What is wrong with what an engine computes, in words; None where nothing is. Its inputs are zero afterwards.

    golden: where it is None, outputs of random inputs are looked at: finite, not all zero, not the same for any image.
    """
    _fill(engine, golden)
    try:
        engine.run()
        first = {name: output.copy() for name, output in engine.outputs.items()}
        for name, output in first.items():
            if not np.isfinite(output).all():
                return f"its {name} holds values that are no numbers"
            if not output.any():
                return f"its {name} is zero throughout"
            if golden is not None:
                off = deviation(output, golden.outputs[name])
                if off > tolerance:
                    return f"its {name} is off by {off:.1%} on a picture for which at most {tolerance:.0%} is allowed"
        return _blindness(engine, first)
    finally:
        _clear(engine)


def deviation(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """The length of the difference over the length of what was expected."""
    return float(np.linalg.norm(found - expected) / max(float(np.linalg.norm(expected)), 1e-12))


def _fill(engine: Engine, golden: Golden | None) -> None:
    random = np.random.default_rng(0)
    for name, buffer in engine.inputs.items():
        drawn = random.random(buffer.shape) * (255 if buffer.dtype == np.uint8 else 1)
        value = drawn.astype(buffer.dtype) if golden is None else golden.inputs[name]
        if name == "image":
            np.copyto(buffer, value)
        else:
            engine.write(name, value)


def _blindness(engine: Engine, first: Arrays) -> str | None:
    image = engine.inputs.get("image")
    if image is None:
        return None
    np.subtract(255, image, out=image)
    engine.run()
    if all(np.array_equal(output, first[name]) for name, output in engine.outputs.items()):
        return "it gives the same for every image"
    return None


def _clear(engine: Engine) -> None:
    for name, buffer in engine.inputs.items():
        if name == "image":
            buffer[...] = 0
        else:
            engine.write(name, np.zeros(buffer.shape, buffer.dtype))
