"""What lies directly inside a folder, in natural order, hidden names left out."""

from __future__ import annotations

from pathlib import Path

from edge_resad.image import is_image_name, natural_order


def folders_in(folder: Path) -> list[Path]:
    """The folders, links to folders included."""
    inside = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(inside, key=natural_order)


def images_in(folder: Path) -> list[Path]:
    """The images; none where there is no such folder."""
    if not folder.is_dir():
        return []
    inside = [path for path in folder.iterdir() if is_image_name(path) and path.is_file()]
    return sorted(inside, key=natural_order)
