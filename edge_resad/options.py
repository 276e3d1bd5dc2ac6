"""Options that several verbs have."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

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


def read_pair(text: str) -> tuple[str, str, Any]:
    """A KEY=VALUE of the command line: the key, the value as text, and what it says as JSON, the text where nothing."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{text} is no KEY=VALUE")
    try:
        said = json.loads(value)
    except ValueError:
        return name, value, value
    return name, value, value if isinstance(said, float) and not math.isfinite(said) else said
