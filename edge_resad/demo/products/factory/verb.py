"""The factory from a shell: how much of what it is to draw, and how far it is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edge_resad.demo.products.factory.folder import write_factory
from edge_resad.errors import EdgeResadError


def make(
    out: Annotated[Path, typer.Argument(help="Folder to write to: new, empty, or one that the factory began.")],
    families: Annotated[str, typer.Option(help="Families, with commas between them, or all.")] = "all",
    variants: Annotated[int, typer.Option(min=1, help="Products of each family.")] = 2,
    first_variant: Annotated[int, typer.Option(min=0, help="Number of the first of them.")] = 1,
    good: Annotated[
        int, typer.Option(min=1, help="Good parts for training, each product; a third more for tests.")
    ] = 60,
    defective: Annotated[int, typer.Option(min=0, help="Defective parts, each product.")] = 60,
    size: Annotated[int, typer.Option(min=128, max=1024, help="Pixels a side.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Write training material: products that we draw ourselves, good and with defects whose every pixel is known."""
    chosen = () if families == "all" else tuple(name.strip() for name in families.split(","))
    console, began = Console(stderr=True), time.monotonic()
    columns = (TextColumn("factory"), BarColumn(), MofNCompleteColumn(), TextColumn("parts"), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task("factory", total=None)
            classes = write_factory(
                out,
                families=chosen,
                variants=variants,
                first_variant=first_variant,
                good=good,
                defective=defective,
                size=size,
                seed=seed,
                jobs=jobs,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    except EdgeResadError as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    parts = len(classes) * (good + max(1, good // 3) + defective)
    print(f"{out}: {len(classes)} products, {parts} parts in {time.monotonic() - began:.0f} s")


def main() -> None:
    """Run the command line."""
    typer.run(make)
