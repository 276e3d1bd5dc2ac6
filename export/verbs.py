"""The verbs of `python -m export`: write a bundle, say what it costs and whether its precisions agree."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from json import dumps
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.progress import Progress as Bar

from edge_resad.bundle import open_bundle
from edge_resad.datasets.find import find_classes
from edge_resad.errors import EdgeResadError
from edge_resad.model.profile import PROFILES
from export.accuracy import judge_labelled, judged_classes
from export.cost_report import as_json, as_text, report
from export.head import own_head
from export.ranges import load_ranges, own_ranges
from export.sample import drawn_samples, sample_of
from export.tables import tables
from export.verification import Progress, attach, compare
from export.verified import build_verified
from export.way import ways_of

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _export() -> None:
    """From torch to a bundle that a device can trust."""


@app.command()
def bundle(
    out: Annotated[Path, typer.Option(help="Folder of the bundle; replaced as a whole.")],
    profile: Annotated[str, typer.Option(help=f"One of: {', '.join(PROFILES)}.")] = "edge",
    head: Annotated[
        Optional[str],  # noqa: UP045 - typer reads this at run time, on Python 3.10 too
        typer.Option(
            help="File of a trained head, best.pt of edge-resad train; none: the nearest reference alone. Without it, "
            "the profile's head in export/heads where there is one."
        ),
    ] = None,
    ranges: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="File of ranges for INT8, from python -m calibration ranges; none: no INT8. Without it, the profile's "
            "in export/calibrated where there are some."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write it even if its precisions do not agree; the manifest says so.")
    ] = False,
) -> None:
    """Export encoder and detector to ONNX in every precision, compare these, and write them as a bundle."""
    console = Console(stderr=True)
    if profile not in PROFILES:
        console.print(f"no profile {profile!r}. Known: {', '.join(PROFILES)}.", highlight=False)
        raise typer.Exit(2)
    asked = PROFILES[profile]
    file = own_head(asked) if head is None else None if head == "none" else Path(head)
    found = own_ranges(asked) if ranges is None else None if ranges == "none" else Path(ranges)
    limits = load_ranges(found) if found is not None else None
    with _bar(console) as progress:
        written = build_verified(
            asked, out, file, limits, force=force, say=lambda line: console.print(line, highlight=False),
            progress=progress,
        )  # fmt: skip
    size = sum(file.stat().st_size for file in written.path.iterdir()) / 1e6
    heads = ", ".join(written.manifest.heads)
    said = f"wrote {written.path}, {size:.1f} MB, heads {heads}, id {written.manifest.bundle_id[:12]}"
    console.print(said, highlight=False)
    if written.manifest.verified is not None and written.manifest.verified.forced:
        console.print("its precisions do not agree, and it says so: python -m export verify", out, highlight=False)


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    images: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Argument(help="Files or folders of one product, four good parts first; none: parts drawn by the demo."),
    ] = None,
    labelled: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(help="Folder of classes with labels, to measure accuracy too; several times for several."),
    ] = None,
    shots: Annotated[int, typer.Option(min=1, help="References a class, with --labelled.")] = 4,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of references, with --labelled.")] = 3,
    max_good: Annotated[Optional[int], typer.Option(min=1, help="At most so many good test images a class.")] = None,  # noqa: UP045
    max_defect: Annotated[Optional[int], typer.Option(min=1, help="At most so many defective ones a class.")] = None,  # noqa: UP045
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Show too what INT8 makes of a bank that FP32 has made.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads of ONNX Runtime.")] = 1,
) -> None:
    """Compare a bundle's precisions with FP32, on real frames and by labels, and write the report into the bundle.

    Every precision makes its own bank of the good parts and judges the others with it. Exit code 1: one of them is not
    within its budget. The bundle's id stays, and so do banks.
    """
    console = Console(stderr=True)
    opened = open_bundle(bundle)
    samples = [sample_of(opened.manifest, images)] if images else drawn_samples(opened.manifest)
    classes = judged_classes(find_classes(labelled)) if labelled else None
    with _bar(console) as progress:
        found = classes and judge_labelled(
            opened, ways_of(opened, rungs=False, mixed=mixed), classes, shots=shots, seeds=seeds, max_good=max_good,
            max_defect=max_defect, threads=threads, progress=progress,
        )  # fmt: skip
        compared = compare(opened, samples, labelled=found or None, mixed=mixed, threads=threads, progress=progress)
    written = attach(compared, opened)
    if json:
        print(dumps(compared.as_json()))
    else:
        for table in tables(compared):
            Console().print(table)
    for line in (*compared.not_run.values(), *compared.misses):
        console.print(line, highlight=False)
    assert written.manifest.verified is not None
    verdict = "not within budget" if compared.misses else "within budget"
    console.print(f"{verdict}: {bundle / written.manifest.verified.report}", highlight=False)
    if compared.misses:
        raise typer.Exit(1)


@app.command()
def cost(
    bundle: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder of the bundle. Without it, the one that comes with the package."),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Which of the bundle's graphs: a precision, or one of TensorRT's rungs.")
    ] = "fp32",
    size: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Plan: pixels of another image, both sides. The FP32 graph is traced anew; nothing is kept."),
    ] = None,
    capacity: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Plan: rows of another bank, for every level, finest first: 4096,2048,512."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count a detector's multiplications, bytes and memory, and estimate its time on NVIDIA's modules."""
    try:
        rows = None if capacity is None else [int(count) for count in capacity.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{capacity!r} is not a list of numbers such as 4096,2048,512") from None
    found = report(open_bundle(bundle), precision, size=size, capacities=rows)
    print(as_json(found) if json else as_text(found))


@contextmanager
def _bar(console: Console) -> Iterator[Progress]:
    """A bar on a terminal, nothing elsewhere."""
    with Bar(console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=None)
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)


def main() -> None:
    """Run the command line; what an engineer can fix is one line on stderr and exit code 1."""
    try:
        app()
    except EdgeResadError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
