"""Chaos, from the command line: `python -m tests.chaos --minutes 10 --kills 200`, or `make chaos`."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.chaos.nemesis import Nemesis
from tests.chaos.run import Outcome, unleash


def main(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long things are broken.")] = 10.0,
    kills: Annotated[int, typer.Option(min=0, help="Processes that are killed with kill -9 in this time.")] = 200,
    seed: Annotated[int, typer.Option(help="Of all that is done; the machine decides when.")] = 1,
    stations: Annotated[int, typer.Option(min=1)] = 3,
    a_second: Annotated[float, typer.Option(min=0.1, help="Parts of each station.")] = 20.0,
    on: Annotated[str, typer.Option("--on", help="sqlite or postgresql.")] = "sqlite",
    ack_s: Annotated[float, typer.Option(help="After this a station sends again what nobody acknowledged.")] = 30.0,
    damages: Annotated[int, typer.Option(min=0, help="Outboxes that are damaged; what they cost is told.")] = 0,
    budget: Annotated[int, typer.Option(min=1000, help="Messages that may wait in an outbox.")] = 5_000_000,
    folder: Annotated[Path | None, typer.Option(help="Keep logs, spools, histories and store here.")] = None,
) -> None:
    """Break stations, broker, collector, store and network at random, heal all of it, and count what is missing."""
    screen = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        here = folder or Path(name)
        here.mkdir(parents=True, exist_ok=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=screen) as progress:
            task = progress.add_task("chaos", total=60 * minutes)

            def look(past: float, nemesis: Nemesis, waiting: list[int | None]) -> None:
                what = f"chaos: {nemesis.kills} kills, {nemesis.crashes} crash points"
                if waiting:
                    what = f"healed: {', '.join('?' if left is None else str(left) for left in waiting)} wait"
                progress.update(task, completed=past, description=what)

            outcome = unleash(
                here, seconds=60 * minutes, kills=kills, seed=seed, stations=stations, a_second=a_second, on=on,
                ack_s=ack_s, damages=damages,
                budget=budget, look=look,
            )  # fmt: skip
    _show(screen, outcome, on)
    print(outcome.verdict.costs)
    print(outcome.verdict)  # the last line
    if not outcome.verdict.good or outcome.drain_s is None:
        raise typer.Exit(1)


def _show(screen: Console, outcome: Outcome, on: str) -> None:
    verdict, table = outcome.verdict, Table("what", "count", title=f"Chaos, the store is {on}")
    table.columns[1].justify = "right"
    for what, count in (
        ("kill -9", outcome.kills),
        ("ended at a crash point", outcome.crashes),
        *sorted(outcome.done.items()),
        *((what, count) for what, count in Counter(outcome.exits).items()),
        *((f"committed, {kind}", count) for kind, count in sorted(verdict.kinds.items())),
        ("streams", verdict.streams),
        *((f"given up and told, {kind}", count) for kind, count in sorted(verdict.sacrificed.items())),
        ("order violations", verdict.disorder),
        ("missing by the store's own account", verdict.holes),
        ("not readable", verdict.rejected),
    ):
        table.add_row(what, f"{count:,}")
    table.add_row("drain", "never" if outcome.drain_s is None else f"{outcome.drain_s:.1f} s")
    screen.print(table)
    for loss in verdict.first_losses:
        screen.print(f"lost: {loss}")


if __name__ == "__main__":
    typer.run(main)
