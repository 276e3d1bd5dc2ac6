"""Workstation only: torch model to ONNX graphs to a bundle (`python -m export`)."""
