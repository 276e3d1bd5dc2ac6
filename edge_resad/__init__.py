"""edge-resad: show a handful of good parts, find what is wrong with the next ones, tell the fleet."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime would keep an id and a diary in the user's cache

__version__ = "0.1.0"
