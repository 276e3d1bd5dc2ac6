"""`edge-resad pictures VERB` and `edge-resad capture`: the pictures that a station keeps, and takes when asked."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from edge_resad.errors import PicturesError

if TYPE_CHECKING:
    from edge_resad.device.pictures.album import Kind
    from edge_resad.device.settings import StationFile

pictures_app = typer.Typer(no_args_is_help=True, help="Pictures of parts that a station keeps: rejects, some passes.")

GLANCE_S = 0.2  # between two looks at a capture

StationArgument = Annotated[Path, typer.Argument(help="The station file.")]
RejectsOption = Annotated[bool, typer.Option("--rejects", help="Rejects alone.")]
PassesOption = Annotated[bool, typer.Option("--passes", help="Passes alone.")]
NotInspectedOption = Annotated[bool, typer.Option("--not-inspected", help="Parts without a verdict alone.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@pictures_app.command(name="list")
def list_pictures(
    station: StationArgument,
    rejects: RejectsOption = False,
    passes: PassesOption = False,
    not_inspected: NotInspectedOption = False,
    last: Annotated[int, typer.Option("--last", min=1, help="So many, the newest.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the newest pictures, and say how many there are and what they take."""
    from edge_resad.device.pictures.export import kept_pictures, said_of
    from edge_resad.device.settings import load_station

    told = load_station(station)
    kinds = _kinds(rejects, passes, not_inspected) or ["reject", "not_inspected", "pass"]
    for picture in kept_pictures(_folder(told, station), kinds=kinds, last=last):
        if as_json:
            print(json.dumps({"file": str(picture.frame), "bytes": picture.size, **picture.about}))
        else:
            print(picture)
    if not as_json:
        print(f"{said_of(_folder(told, station))} of {told.pictures.max_mb} MB")


@pictures_app.command()
def export(
    station: StationArgument,
    out: Annotated[Path, typer.Argument(help="Folder for the copies: OUT/PRODUCT/good and OUT/PRODUCT/defect.")],
    rejects: RejectsOption = False,
    passes: PassesOption = False,
    not_inspected: NotInspectedOption = False,
    last: Annotated[Optional[int], typer.Option("--last", min=1, help="So many, the newest; all without it.")] = None,  # noqa: UP045
    labels: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--labels", help="What operators said of rejects; without it [control] labels, where it is there."
        ),
    ] = None,
) -> None:
    """Copy rejects and passes into folders that enrol and evaluate understand."""
    from edge_resad.device.pictures.export import export_pictures, false_rejects, kept_pictures
    from edge_resad.device.settings import load_station

    told = load_station(station)
    kinds = _kinds(rejects, passes, not_inspected) or ["reject", "pass"]
    found = kept_pictures(_folder(told, station), kinds=kinds, last=last)
    if not found:
        raise PicturesError(
            f"no pictures of this kind in {_folder(told, station)}. Let the station run, or ask for others."
        )
    marked = labels or (told.control.labels if told.control.labels.exists() else None)
    good = false_rejects(marked) if marked is not None else frozenset()
    for folder, count in sorted(export_pictures(found, out, product=told.station.product, false=good).items()):
        print(f"{folder}: {count}")


@pictures_app.command()
def find(
    station: StationArgument,
    event: Annotated[str, typer.Argument(help="The id of a verdict's message, or an alert's.")],
) -> None:
    """Say where the picture lies that a message speaks of."""
    from edge_resad.device.pictures.album import find_picture
    from edge_resad.device.settings import load_station

    folder = _folder(load_station(station), station)
    frame = find_picture(folder, event)
    if frame is None:
        raise PicturesError(f"no picture of {event} in {folder}: it was not kept, or made room for newer ones.")
    print(frame)


def capture(
    station: StationArgument,
    frames: Annotated[int, typer.Option("--frames", "-n", min=1, help="How many.")] = 20,
    label: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--label", help="good, or a defect's name; unlabelled without it."),
    ] = None,
    camera: Annotated[Optional[str], typer.Option("--camera", help="Whose; every camera's without it.")] = None,  # noqa: UP045
    name: Annotated[Optional[str], typer.Option("--name", help="Of the folder; the next number without it.")] = None,  # noqa: UP045
) -> None:
    """Take the next frames of a running station, whole and lossless, to learn from."""
    from edge_resad.device.control import ControlClient
    from edge_resad.station_verbs import socket_of

    client = ControlClient(socket_of(station))
    asked = {"label": label, "camera": camera, "name": name}
    client.ask("capture", n=frames, **{key: value for key, value in asked.items() if value is not None})
    said = 0
    while not (progress := client.ask("capturing"))["ended"]:
        if sys.stderr.isatty() and progress["written"] != said:
            said = progress["written"]
            print(f"{said} of {frames}", end="\r", file=sys.stderr, flush=True)
        time.sleep(GLANCE_S)
    if progress["problem"] is not None:
        raise PicturesError(f"{progress['written']} of {frames} frames in {progress['folder']}. {progress['problem']}")
    print(f"{progress['written']} frames in {progress['folder']}")


def _kinds(rejects: bool, passes: bool, not_inspected: bool) -> list[Kind]:
    """Those that were asked for."""
    asked: list[tuple[Kind, bool]] = [("reject", rejects), ("pass", passes), ("not_inspected", not_inspected)]
    return [kind for kind, wanted in asked if wanted]


def _folder(told: StationFile, station: Path) -> Path:
    if told.pictures.folder is False:
        raise PicturesError(f"{station} keeps no pictures: [pictures] folder is false. Name a folder there.")
    return told.pictures.folder
