"""One side of a comparison: a process of its own, on one CPU, that judges frames on demand and says how long it took.

Run with the interpreter that has the side's packages: `PYTHON side.py KIND MODEL FRAMES CPU`. Of ours it needs nothing
unless KIND is `ours`. Every line on stdin, `FRAMES_NAME COUNT`, is answered by a line of JSON: the milliseconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]  # (H, W, 3), BGR
Judge = Callable[[Frame], float]
"""A frame in memory to its verdict; returns the milliseconds that the network took of it."""


def main() -> None:
    """Answer until stdin ends."""
    kind, model, frames_file, cpu = sys.argv[1:5]
    os.sched_setaffinity(0, {int(cpu)})
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print
    with np.load(frames_file) as archive:
        frames = {name: archive[name] for name in archive.files}
    judge = {"ours": ours, "onnxruntime": anomalib_onnxruntime, "openvino": anomalib_openvino}[kind](model)
    for line in sys.stdin:
        name, count = line.split()
        answers.write(json.dumps(_timed(judge, frames[name], int(count))) + "\n")
        answers.flush()


def ours(model: str) -> Judge:
    """The product: the shipped bundle with the bank at `model`."""
    from pathlib import Path

    from edge_resad.bank import load_bank
    from edge_resad.bundle import open_bundle
    from edge_resad.engine.inspector import Inspector

    inspector = Inspector(open_bundle(), load_bank(Path(model)), threads=1).__enter__()  # lives as long as the process

    def judge(frame: Frame) -> float:
        inspector.inspect(frame)
        return inspector.timings["engine_ms"]

    return judge


def anomalib_onnxruntime(model: str) -> Judge:
    """A model that anomalib exported to ONNX, in plain ONNX Runtime on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    node = session.get_inputs()[0]
    return _judge(lambda image: session.run(None, {node.name: image}), node.shape[2], node.shape[3])


def anomalib_openvino(model: str) -> Judge:
    """A model that anomalib exported to OpenVINO, tuned for latency on one thread."""
    import openvino  # type: ignore[import-not-found, unused-ignore]

    compiled = openvino.Core().compile_model(
        model, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    )
    height, width = list(compiled.input(0).shape)[2:]
    request = compiled.create_infer_request()
    return _judge(lambda image: list(request.infer([image]).to_tuple()), height, width)


def _judge(run: Callable[[NDArray[np.float32]], list[Any]], height: int, width: int) -> Judge:
    """Resize, RGB, 0 to 1, (1, 3, H, W), run, and the label that the model gives itself."""
    import cv2

    image = np.empty((1, 3, height, width), np.float32)

    def judge(frame: Frame) -> float:
        if frame.shape[:2] != (height, width):
            frame = np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        np.multiply(frame[:, :, ::-1].transpose(2, 0, 1), np.float32(1 / 255), out=image[0])
        start = time.perf_counter()
        outputs = run(image)
        took = (time.perf_counter() - start) * 1e3
        bool(np.ravel(outputs[1])[0])
        return took

    return judge


def _timed(judge: Judge, frames: NDArray[np.uint8], count: int) -> dict[str, list[float]]:
    whole, engine = [], []
    for index in range(count):
        frame = frames[index % len(frames)]
        start = time.perf_counter()
        engine.append(judge(frame))
        whole.append((time.perf_counter() - start) * 1e3)
    return {"end_to_end_ms": whole, "engine_ms": engine}


if __name__ == "__main__":
    main()
