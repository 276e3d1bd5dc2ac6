"""What each part of a learned head is worth, and how much its training material matters.

`python -m benchmarks.heads ablations DATA` trains ResAD's head as it is and with one thing changed at a time;
`python -m benchmarks.heads families DATA` trains the residual network on ever more product families, with equally many
steps. Both judge on products that were held out (`--hold-out`) and on other folders (`--on`), from the same
references. Nothing is chosen by what they say of those: every training ends with its last epoch.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from edge_resad.datasets.find import find_classes
from edge_resad.datasets.inspection_class import InspectionClass
from edge_resad.model.profile import EDGE_BLOCK15, Profile
from edge_resad.train.checkpoint import LAST, load
from edge_resad.train.course import Draws
from edge_resad.train.features import FeatureCache
from edge_resad.train.log import LOG
from edge_resad.train.loop import course_of, train
from edge_resad.train.request import draws_for, profile_named
from edge_resad.train.selection import HeldOutScore
from edge_resad.train.split import Split, split_classes
from edge_resad.train.team import Team

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

DataArgument = Annotated[list[Path], typer.Argument(help="Folders with labelled products to learn from.")]
OutOption = Annotated[Path, typer.Option(help="Folder for the trainings; what is there is not trained again.")]
OnOption = Annotated[Optional[list[Path]], typer.Option(help="Folders with other products to judge on.")]  # noqa: UP045
HoldOutOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(help="Pattern of products of DATA that are judged on and not learned from."),
]
LeaveOutOption = Annotated[Optional[list[str]], typer.Option(help="Pattern of products of DATA not to use.")]  # noqa: UP045
CacheOption = Annotated[Path, typer.Option(help="Folder for the backbone's features.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
CACHE = Path("~/.cache/edge-resad")

ABLATIONS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "without residuals": {"residuals": False},
    "without constraintor": {"constraintor": None},
    "without distribution matching": {"alpha": None},
    "signed residuals": {"residual": "signed"},
    "three levels": {},
    "three levels, the last without updates, as released": {"drop_remainder": True},
}
"""What is changed of ResAD's settings; those named after three levels add a tap at stride 32."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one training gave."""

    learned_from: int  # products
    seconds: float  # of all epochs
    held_out: HeldOutScore
    on: HeldOutScore | None

    def as_json(self) -> dict[str, Any]:
        on = self.on._asdict() if self.on else None
        return {
            "products": self.learned_from,
            "seconds": round(self.seconds),
            "held_out": self.held_out._asdict(),
            "on": on,
        }


@app.command()
def ablations(
    data: DataArgument,
    out: OutOption,
    on: OnOption = None,
    hold_out: HoldOutOption = None,
    leave_out: LeaveOutOption = None,
    epochs: Annotated[int, typer.Option(min=2, help="Of every training.")] = 6,
    seed: SeedOption = 42,
    cache: CacheOption = CACHE,
    as_json: JsonOption = False,
) -> None:
    """ResAD's head as it is, and with one thing changed at a time."""
    split = split_classes(find_classes(data), hold_out=hold_out or (), leave_out=leave_out or (), seed=seed)
    others = find_classes(on) if on else []
    profile = profile_named("edge-resad", epochs=epochs)
    assert profile.head is not None
    rows = {}
    for name, changes in ABLATIONS.items():
        changed = replace(profile, head=replace(profile.head, **changes))
        if "three levels" in name:
            changed = replace(changed, taps=EDGE_BLOCK15.taps)
        rows[name] = _trained(
            changed, draws_for(changed, seed, None), split, others, out / name.replace(" ", "-"), cache
        )
    _say(f"ResAD's head, {epochs} epochs", rows, as_json)


@app.command()
def families(
    data: DataArgument,
    out: OutOption,
    on: OnOption = None,
    hold_out: HoldOutOption = None,
    leave_out: LeaveOutOption = None,
    counts: Annotated[
        Optional[list[int]],  # noqa: UP045
        typer.Option(min=1, help="How many families; all of them without it, and halves of halves."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Of every training, about.")] = 3000,
    seed: SeedOption = 42,
    cache: CacheOption = CACHE,
    as_json: JsonOption = False,
) -> None:
    """The residual network, learned from ever more families; a family is what a product is called up to its number."""
    if not hold_out:
        raise typer.BadParameter("hold out whole families by name: --hold-out 'cast-*'; drawn products have siblings")
    split = split_classes(find_classes(data), hold_out=hold_out, leave_out=leave_out or (), seed=seed)
    others = find_classes(on) if on else []
    names = np.random.default_rng(seed).permutation(sorted({_family(one) for one in split.seen})).tolist()
    rows = {}
    for count in counts or [max(1, round(len(names) / part)) for part in (8, 4, 2, 1)]:
        chosen = tuple(one for one in split.seen if _family(one) in names[:count])
        profile = profile_named("edge")
        assert profile.net is not None
        epochs = max(1, round(steps / (profile.net.visits * len(chosen))))
        profile = profile_named("edge", epochs=epochs)
        some = Split(chosen, split.held_out)
        rows[f"{count} families"] = _trained(
            profile, draws_for(profile, seed, None), some, others, out / f"families-{count}", cache
        )
    _say(f"residual network, about {steps} steps", rows, as_json)


def _trained(
    profile: Profile, draws: Draws, split: Split, others: Sequence[InspectionClass], out: Path, folder: Path
) -> Found:
    """Train to the end, without choosing, and judge the last epoch's head."""
    cache = FeatureCache(folder.expanduser(), profile, 40_000_000_000)
    console = Console(stderr=True)
    train(
        profile, Split(split.seen, ()), out, cache, draws,
        epoch_done=lambda said: console.print(f"{out.name}: epoch {said.epoch}", highlight=False),
    )  # fmt: skip
    with (out / LOG).open(newline="", encoding="utf-8") as log:
        seconds = sum(float(epoch["seconds"]) for epoch in csv.DictReader(log))
    course = course_of(profile, draws, Team())
    course.load_state_dict(load(out / LAST)[0])
    held_out = course.judge([cache.of(one) for one in split.held_out])
    on = course.judge([cache.of(one) for one in others]) if others else None
    return Found(learned_from=len(split.seen), seconds=seconds, held_out=held_out, on=on)


def _family(one: InspectionClass) -> str:
    return one.name.rpartition("-")[0] or one.name


def _say(title: str, rows: Mapping[str, Found], as_json: bool) -> None:
    if as_json:
        print(json.dumps({name: found.as_json() for name, found in rows.items()}))
        return
    table = Table(title=f"{title}; image / pixel AUROC, percent")
    for column in ("", "products", "held out", "other folders", "training s"):
        table.add_column(column, justify="right" if column else "left")
    for name, found in rows.items():
        seconds = f"{found.seconds:.0f}"
        table.add_row(name, str(found.learned_from), _aurocs(found.held_out), _aurocs(found.on), seconds)
    Console().print(table)


def _aurocs(score: HeldOutScore | None) -> str:
    if score is None:
        return "-"
    pixel = "-" if score.pixel_auroc is None else f"{100 * score.pixel_auroc:.1f}"
    return f"{100 * score.image_auroc:.1f} / {pixel}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    app()
