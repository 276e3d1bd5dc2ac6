"""NVIDIA's Model Optimizer on one encoder: `PYTHON model_optimizer_side.py ENCODER FRAMES OUT METHOD [LEFT_OUT...]`.

Run with an interpreter that has nvidia-modelopt; of ours it needs nothing.
"""

from __future__ import annotations

import re
import sys

import numpy as np


def main() -> None:
    """Quantise and write."""
    encoder, frames, out, method, *left_out = sys.argv[1:]
    from modelopt.onnx.quantization import quantize  # type: ignore[import-not-found, unused-ignore]

    quantize(
        encoder,
        quantize_mode="int8",
        calibration_data={"image": np.load(frames)},
        calibration_method=method,
        calibration_eps=["cpu"],
        nodes_to_exclude=[f"^{re.escape(name)}$" for name in left_out] or None,
        high_precision_dtype="fp32",
        output_path=out,
    )


if __name__ == "__main__":
    main()
