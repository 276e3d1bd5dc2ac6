"""`python -m export`: write a bundle of a profile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from edge_resad.errors import EdgeResadError
from edge_resad.model.profile import PROFILES
from export.build import build_bundle


def main(
    out: Annotated[Path, typer.Option(help="Folder of the bundle; replaced as a whole.")],
    profile: Annotated[str, typer.Option(help=f"One of: {', '.join(PROFILES)}.")] = "edge",
) -> None:
    """Export encoder and detector to ONNX and write them as a bundle."""
    console = Console(stderr=True)
    if profile not in PROFILES:
        console.print(f"no profile {profile!r}. Known: {', '.join(PROFILES)}.", highlight=False)
        raise typer.Exit(2)
    try:
        bundle = build_bundle(PROFILES[profile], out, lambda line: console.print(line, highlight=False))
    except EdgeResadError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    size = sum(file.stat().st_size for file in bundle.path.iterdir()) / 1e6
    console.print(f"wrote {bundle.path}, {size:.1f} MB, id {bundle.manifest.bundle_id[:12]}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
