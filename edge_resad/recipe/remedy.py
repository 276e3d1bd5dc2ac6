"""The command that puts something right with a product, as it has to be typed for its folder."""

from __future__ import annotations

import shlex
from pathlib import Path

FOLDER = Path("products")
"""Where `edge-resad product` looks when it is not told where."""


def product_command(words: str, folder: Path | None) -> str:
    """`edge-resad product WORDS`, with --products where it would look elsewhere. folder: None: it is not known."""
    where = "" if folder is None or folder == FOLDER else f" --products {shlex.quote(str(folder))}"
    return f"edge-resad product {words}{where}"
