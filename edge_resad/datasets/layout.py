"""What a layout is: a way of keeping one product's images that is recognised by the folders that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from edge_resad.datasets.inspection_class import InspectionClass


class Layout(Protocol):
    """One way of keeping the images of a product."""

    def is_class(self, folder: Path) -> bool:
        """Whether the folder is one product kept this way, whole or with something missing."""
        ...

    def read(self, name: str, folder: Path) -> InspectionClass:
        """The product, or an ImageError that names what is missing."""
        ...
