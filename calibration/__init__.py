"""Workstation only: what INT8 has to know of real frames (`python -m calibration`)."""
