"""`edge-resad output VERB`: the signals to the line, tried or set to their safe level by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

output_app = typer.Typer(no_args_is_help=True, help="Signals to the line: try their wires, make them safe.")


@output_app.command(name="test")
def try_wires(
    station: Annotated[Path, typer.Argument(help="The station file.")],
    name: Annotated[Optional[str], typer.Argument(help="One output; without it, each in turn.")] = None,  # noqa: UP045
    hold_s: Annotated[
        Optional[float],  # noqa: UP045 - typer reads this at run time, on Python 3.10 too
        typer.Option("--hold-s", min=0.001, max=60, help="Seconds to stay active; without it the output's own pulse."),
    ] = None,
) -> None:
    """Fire one pulse of each output, so that an electrician can check the wiring. The station must not run."""
    from edge_resad.device.outputs import terminal_of
    from edge_resad.device.outputs.trial import fire
    from edge_resad.device.settings import load_station
    from edge_resad.errors import SettingsError

    told = load_station(station)
    known = [output.name for output in told.outputs]
    if not known:
        raise SettingsError(f"{station} has no outputs. Add a section [[output]]: docs/outputs.md tells how.")
    if name is not None and name not in known:
        raise SettingsError(f"no output {name} in {station}. There are: {', '.join(known)}.")
    for output in told.outputs:
        if name in (None, output.name):
            seconds = output.pulse_ms / 1e3 if hold_s is None else hold_s
            for line in fire(terminal_of(output), pulse_s=seconds, after=int(output.safe_active)):
                print(f"{output.name}: {line}", flush=True)


@output_app.command(name="safe")
def make_outputs_safe(station: Annotated[Path, typer.Argument(help="The station file.")]) -> None:
    """Set every output to its level while nobody judges, as after a crash of the station. The station must not run.

    Exit code 1 where one could not be set.
    """
    from edge_resad.device.outputs import terminal_of
    from edge_resad.device.outputs.safe import PATIENCE_S, make_safe
    from edge_resad.device.settings import load_station
    from edge_resad.errors import OutputError

    told = load_station(station)
    if not told.outputs:
        print(f"{station} has no outputs.")
    terminals = {output.name: (terminal_of(output), output.safe_active) for output in told.outputs}
    failed = []
    for left in make_safe(terminals, patience_s=PATIENCE_S):
        print(left, flush=True)
        if not left.is_safe:
            failed.append(left.name)
    if failed:
        raise OutputError(
            f"{len(failed)} of {len(told.outputs)} outputs could not be set to their safe level: {', '.join(failed)}. "
            "What they show is unknown; see above what to do."
        )
