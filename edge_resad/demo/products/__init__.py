"""Products for the demo line, drawn by ourselves: good parts, and defects whose every pixel is known."""

from edge_resad.demo.products.family import Family
from edge_resad.demo.products.part import DEFECTS, FAMILIES, Part, draw

__all__ = ["DEFECTS", "FAMILIES", "Family", "Part", "draw"]
