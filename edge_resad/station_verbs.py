"""`edge-resad control`, `trigger` and `live`: speak with a station that runs, from a shell or from a browser."""

from __future__ import annotations

import base64
import json
import sys
import termios
import time
import tty
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from edge_resad.errors import ControlError
from edge_resad.moment import ago, local
from edge_resad.options import read_pair

StationArgument = Annotated[Path, typer.Argument(help="The station file.", metavar="STATION")]

_MOMENTS = ("now", "since", "started", "time")
"""What a station says in seconds since 1970."""


def control(
    station: StationArgument,
    command: Annotated[str, typer.Argument(help="What to ask or tell; help lists all there is.")] = "help",
    arguments: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads this at run time, on Python 3.10 too
        typer.Argument(help="Such as use=cap or reason='new lamp'.", metavar="[KEY=VALUE]..."),
    ] = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", help="Where to write the picture of snapshot and picture."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask a station that runs, or tell it something: its status, a changeover, a trigger, a bypass."""
    from edge_resad.device.control import ControlClient

    answer = ControlClient(socket_of(station)).ask(command, **dict(map(_pair, arguments or ())))
    if "jpeg" in answer and output is not None:
        try:
            output.write_bytes(base64.b64decode(answer["jpeg"]))
        except OSError as refused:
            raise ControlError(f"{output} cannot be written: {refused.strerror}. Choose another --output.") from refused
        print(output)
    elif as_json:
        print(json.dumps(answer))
    elif "jpeg" in answer:
        raise ControlError("that is a picture. Say where to write it: --output picture.jpg.")
    else:
        for line in _lines(answer, now=answer.get("now", time.time())):
            print(line)


def live(
    station: StationArgument,
    host: Annotated[str, typer.Option(help="Address to serve on; this machine alone without it.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on; 0 takes a free one.")] = 8080,
    password_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A file that holds the page's password alone; needed where others can reach the page."),
    ] = None,
    name: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="A name under which this machine is known, such as press-7.example.com."),
    ] = None,
    certificate: Annotated[Optional[Path], typer.Option(help="PEM file; with --key the page is https.")] = None,  # noqa: UP045
    key: Annotated[Optional[Path], typer.Option(help="PEM file of the certificate's key.")] = None,  # noqa: UP045
) -> None:
    """Serve the operator's page of a station: verdicts, rejects, lights and buttons, for a browser or a phone."""
    try:
        from edge_resad.live.serve import serve
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] not in ("jinja2", "markupsafe", "starlette", "uvicorn"):
            raise
        raise ControlError(
            f"the operator's page needs {missing.name}, which is not installed. pip install 'edge-resad[live]'"
        ) from None

    if (certificate is None) != (key is None):
        raise typer.BadParameter("--certificate and --key belong together")
    serve(
        socket_of(station),
        station=str(station),
        host=host,
        port=port,
        password_file=password_file,
        names=name or (),
        certificate=certificate,
        key=key,
    )


def trigger(
    station: StationArgument,
    camera: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--camera", help="The camera that sees the part; without it all that are told of parts."),
    ] = None,
    keys: Annotated[bool, typer.Option("--keys", help="A part with every key that is pressed; q ends it.")] = False,
) -> None:
    """Tell a station that runs that a part is there now, once or with every key."""
    from edge_resad.device.control import ControlClient

    client, where = ControlClient(socket_of(station)), {} if camera is None else {"camera": camera}
    if not keys:
        print(f"triggered: {', '.join(client.ask('trigger', source='command', **where)['triggered'])}")
        return
    with suppress(KeyboardInterrupt), closing(_keys()) as pressed:
        for number, _ in enumerate(pressed, start=1):
            client.ask("trigger", source="key", **where)
            print(f"part {number}", flush=True)


def _keys() -> Generator[str, None, None]:
    """Every key that is pressed until q or Ctrl-D; where there is no terminal, every line."""
    if not sys.stdin.isatty():
        print("a part with every line", flush=True)
        yield from sys.stdin
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)  # forgets what was pressed before
        print("a part with every key, q ends it", flush=True)
        while (key := sys.stdin.read(1)) not in ("q", "\x04", ""):
            yield key
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def socket_of(station: Path) -> Path:
    """Where the station of a file answers.

    Raises:
        SettingsError: the file is missing or wrong.
        ControlError: the file says that nobody can ask.
    """
    from edge_resad.device.settings import load_station

    path = load_station(station).control.socket
    if path is False:
        raise ControlError(f"[control] socket is false in {station}: nobody can ask this station. Give it a path.")
    return path


def _pair(text: str) -> tuple[str, Any]:
    """`use=cap` is text, `set=1.4` a number."""
    name, value, said = read_pair(text)
    return name, said if isinstance(said, (bool, int, float)) else value


def _lines(answer: Mapping[str, Any], indent: str = "", *, now: float) -> Iterator[str]:
    """An answer as a person reads it: a line for each thing, what belongs to it further in."""
    for name, said in answer.items():
        if isinstance(said, dict) and said:
            yield f"{indent}{name}:"
            yield from _lines(said, indent + "  ", now=now)
        elif isinstance(said, list) and any(isinstance(one, dict) for one in said):
            yield f"{indent}{name}:"
            for one in said:
                yield f"{indent}  " + ", ".join(f"{key} {_shown(key, value, now)}" for key, value in one.items())
        else:
            yield f"{indent}{name}: {_shown(name, said, now)}"


def _shown(name: str, value: Any, now: float) -> str:
    if name not in _MOMENTS or not isinstance(value, float):
        return _said(value)
    return local(value) if name == "now" else f"{local(value)} ({ago(now - value)} ago)"


def _said(value: Any) -> str:
    if value is None or value in ({}, []):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.0f}"
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    return str(value)
