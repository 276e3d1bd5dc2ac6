"""How a running station is asked and told."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from edge_resad.sections import FilePath, Section


class ControlSection(Section):
    """How a running station is asked and told, by the operator's page and `edge-resad control`."""

    socket: FilePath | Literal[False] = Field(
        default=Path("control.sock"), description="a socket of this machine; false: nobody can ask"
    )
    labels: FilePath = Field(
        default=Path("labels.jsonl"), description="one line of JSON for each reject that an operator has marked"
    )
