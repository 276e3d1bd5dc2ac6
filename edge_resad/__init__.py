"""edge-resad: show a handful of good parts, find what is wrong with the next ones, tell the fleet."""

__version__ = "0.1.0"
