"""`edge-resad spool VERB`: what waits in a station's outbox, and what is to become of messages that no broker takes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from edge_resad.errors import SpoolError

if TYPE_CHECKING:
    from edge_resad.device.spoolfile import SpoolFile

spool_app = typer.Typer(no_args_is_help=True, help="A station's outbox: what waits in it, and dead letters.")

StationArgument = Annotated[Path, typer.Argument(metavar="STATION", help="The station file.")]
SeqOption = Annotated[
    Optional[list[int]],  # noqa: UP045 - typer reads this at run time, on Python 3.10 too
    typer.Option("--seq", help="One dead letter, by its number; several times. All without it."),
]


@spool_app.command("list")
def list_waiting(station: StationArgument) -> None:
    """Say what waits; also while the station runs."""
    from edge_resad.device.spool_look import look

    found = look(_path(station))
    print(f"stream {found.stream_id}, next number {found.next_seq}")
    for kind, count, size in found.waiting:
        print(f"  {kind:8} {count:9} waiting, {size / 1e6:.1f} MB")
    if not found.waiting:
        print("  nothing waits")
    if found.dead:
        print(f"  {len(found.dead)} dead: see edge-resad spool dead {station}")
    if found.dropped:
        print(f"  {found.dropped} given up over the life of the stream")
    for aside in found.damaged:
        print(f"  a damaged file was set aside: {aside}")


@spool_app.command("dead")
def list_dead(station: StationArgument) -> None:
    """List the messages that the broker will never take, and why; also while the station runs."""
    from edge_resad.device.spool_look import look

    found = look(_path(station))
    for letter in found.dead:
        print(f"{letter.seq}  {letter.kind}  {letter.size} bytes  {letter.topic}  {letter.problem}")
    if not found.dead:
        print("no dead letters")


@spool_app.command("retry")
def retry(station: StationArgument, seq: SeqOption = None) -> None:
    """Let dead letters wait again: the broker was changed. The station must be stopped."""
    with _stopped(station) as file:
        count = file.retry_dead(_known(file, seq))
    print(f"{count} will be sent when the station runs again")


@spool_app.command("drop")
def drop(station: StationArgument, seq: SeqOption = None) -> None:
    """Give dead letters up for good; a gap tells the fleet which. The station must be stopped."""
    with _stopped(station) as file:
        count = file.drop_dead(_known(file, seq))
    print(f"{count} given up")


def _path(station: Path) -> Path:
    from edge_resad.device.settings import load_station

    return load_station(station).spool.path


def _stopped(station: Path) -> SpoolFile:
    """The file of a station that does not run; in use by a running one otherwise, which is said when it is entered."""
    from edge_resad.device.settings import load_station
    from edge_resad.device.spool_look import look
    from edge_resad.device.spoolfile import SpoolFile

    spool = load_station(station).spool
    look(spool.path)  # there is one
    return SpoolFile(spool.path, max_bytes=spool.max_mb * 10**6, reserve_bytes=0)


def _known(file: SpoolFile, seqs: list[int] | None) -> list[int]:
    """The numbers that were asked for, all of them of dead letters."""
    from edge_resad.device.spool_look import look

    dead = {letter.seq for letter in look(file.path).dead}
    for seq in seqs or ():
        if seq not in dead:
            raise SpoolError(f"{seq} is no dead letter of {file.path}. edge-resad spool dead STATION lists them.")
    if not dead:
        print("no dead letters", file=sys.stderr)
    return seqs or []
