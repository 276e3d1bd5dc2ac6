"""Options that several verbs have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

ProviderOption = Annotated[
    Literal["cpu", "cuda", "tensorrt"],
    typer.Option("--provider", help="What runs the network; tensorrt: the engines that edge-resad build has built."),
]
EnginesOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--engines", help="Folder of the engines; without it, where edge-resad build puts them."),
]
BundleOption = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads this at run time, on Python 3.10 too
    typer.Option("--bundle", help="Folder of a bundle; without it, the one that comes with the package."),
]
FalseAlarmRateOption = Annotated[
    float, typer.Option("--false-alarm-rate", min=0.0001, max=0.5, help="Share of good parts that may fail.")
]
