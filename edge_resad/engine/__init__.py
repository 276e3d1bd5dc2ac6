"""Runs a bundle's graphs: one protocol, ONNX Runtime behind it. Never imports torch."""
