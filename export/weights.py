"""One file of weights for all graphs of a bundle: what encoder, detector and several precisions share is there once."""

from __future__ import annotations

import hashlib

import onnx
from onnx import TensorProto, numpy_helper

WEIGHTS = "weights.bin"
SMALLEST = 1024  # bytes; what is smaller, such as a shape that the checker has to see, stays in the graph
_ALIGNMENT = 64  # bytes, of every tensor's place


class WeightStore:
    """Gathers tensors by their content."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}
        self._content = bytearray()

    @property
    def content(self) -> bytes:
        """The file."""
        return bytes(self._content)

    def move_out(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """A copy of the graph that refers to the file where a tensor is large."""
        moved = onnx.ModelProto()
        moved.CopyFrom(model)
        for tensor in moved.graph.initializer:
            raw = numpy_helper.to_array(tensor).tobytes()
            if len(raw) >= SMALLEST:
                kept = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
                kept.data_location = TensorProto.EXTERNAL
                for key, value in (("location", WEIGHTS), ("offset", self._place(raw)), ("length", len(raw))):
                    entry = kept.external_data.add()
                    entry.key, entry.value = key, str(value)
                tensor.CopyFrom(kept)
        return moved

    def _place(self, raw: bytes) -> int:
        digest = hashlib.sha256(raw).digest()
        if digest not in self._places:
            self._content.extend(bytes(-len(self._content) % _ALIGNMENT))
            self._places[digest] = len(self._content)
            self._content.extend(raw)
        return self._places[digest]
